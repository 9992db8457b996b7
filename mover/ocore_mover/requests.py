"""Requests as models: the document of a Job, checked by the model of its command."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from ocore_crds.commands.base import NAMES, Command, Request
from ocore_crds.commands.request_transport import VARIABLE
from ocore_crds.model import UUID_PATTERN
from ocore_mover.errors import UsageError


def command(name: str) -> Command[Any]:
    """The row of a command. No other command's module is imported: most of a short Job's time is its start, and models
    are built when their module is imported."""
    row: Command[Any] = importlib.import_module(f"ocore_crds.commands.{name.replace('-', '_')}").ROW
    return row


def from_document(arguments: Sequence[str], document: str) -> tuple[Command[Any], Request]:
    """The command and its request. Raises UsageError, which names the fields that do not fit."""
    if len(arguments) != 1 or arguments[0] not in NAMES:
        raise UsageError(f"with {VARIABLE} the only argument is the name of a command: {', '.join(NAMES)}")
    row = command(arguments[0])
    try:
        return row, row.request.model_validate_json(document)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, place)) or 'request'}: {text}" for place, text in faults(error))
        raise UsageError(f"{VARIABLE} is not a valid request of {row.name}: {found}") from error


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
