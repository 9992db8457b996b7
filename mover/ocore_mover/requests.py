"""Faults of a request that the model of its command has found."""

from collections.abc import Iterator

from pydantic import ValidationError

from ocore_crds.base import UUID_PATTERN


def faults(error: ValidationError) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Place and message of each error. No value is in it, but for what should be a UUID."""
    for each in error.errors(include_url=False):
        context = each.get("ctx") or {}
        text = str(context.get("error") or each["msg"])
        if context.get("pattern") == UUID_PATTERN or (each["type"].startswith("string_too") and _is_uuid(context)):
            text = f"{each['input']!r} is not a valid UUID, for example 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01"
        yield each["loc"], text


def _is_uuid(context: dict[str, object]) -> bool:
    return 36 in (context.get("min_length"), context.get("max_length"))
