"""Keeps secrets out of whatever is written: every value that was read from a Secret is replaced before it is printed."""

import threading
from typing import Any
from urllib.parse import quote, quote_plus

import structlog

MASK = "***"
#: A shorter "secret" would make every text unreadable, and is none.
_SHORTEST = 4

_lock = threading.Lock()
_secrets: list[str] = []


def register(value: str) -> None:
    """From now on this value never appears, neither as it is nor percent-encoded as in a URL."""
    forms = {value, value.strip(), quote(value, safe=""), quote_plus(value), quote(value)}
    with _lock:
        known = set(_secrets) | {form for form in forms if len(form) >= _SHORTEST}
        # The longest first: a secret may contain another one.
        _secrets[:] = sorted(known, key=len, reverse=True)


def text(value: str) -> str:
    """The text with every registered secret replaced."""
    for secret in tuple(_secrets):
        if secret in value:
            value = value.replace(secret, MASK)
    return value


def data(value: Any) -> Any:
    """JSON-like data with every string redacted, keys too."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {data(key): data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [data(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return text(str(value))


def processor(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """For structlog, right before the renderer: JSON's escapes would hide a secret from us."""
    return {str(key): data(item) for key, item in event.items()}
