"""Keeps secrets out of everything that is written: a value that was read from a Secret is masked in every text.

A password may be any string, also one that the protocol uses: ``snapshot``, ``time``, a part of a UUID. So reports are
masked only in the fields that hold free text. Their keys, numbers, ids, enumerations, names and digests never change.
"""

import threading
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
#: A shorter value is not masked: every text would become unreadable.
_SHORTEST = 4
#: Fields of the protocol that hold free text, alone or as a list: the one place where a program's output can end up.
FREE_TEXT = frozenset(
    {
        *("message", "warnings", "required", "proven", "missing", "incomplete", "checked", "notChecked"),
        *("missingRights", "replicationEnded", "unread", "examples", "notListed", "missingNames"),
    }
)
#: Written by the logger itself.
_LOGGERS_OWN = frozenset({"level", "timestamp"})

_lock = threading.Lock()
_secrets: list[str] = []


def register(value: str) -> None:
    """Masks this value from now on, also percent-encoded as in a URL."""
    if value in _secrets:
        return
    forms = {value, value.strip(), quote(value, safe=""), quote_plus(value), quote(value)}
    with _lock:
        known = set(_secrets) | {form for form in forms if len(form) >= _SHORTEST}
        # The longest first: a secret may contain another one.
        _secrets[:] = sorted(known, key=len, reverse=True)


def text(value: str) -> str:
    """The text with every registered secret masked."""
    for secret in tuple(_secrets):
        if secret in value:
            value = value.replace(secret, MASK)
    return value


def report(value: Any) -> Any:
    """A report line as JSON-like data, with its free text masked."""
    if isinstance(value, dict):
        return {key: data(item) if key in FREE_TEXT else report(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [report(item) for item in value]
    return value


def data(value: Any) -> Any:
    """JSON-like data with every string masked; keys stay. Other objects become text."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {key: data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [data(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return text(str(value))


def log_line(fields: dict[str, Any]) -> dict[str, Any]:
    """A line of the log, with everything masked but what the logger itself writes."""
    return {str(key): item if key in _LOGGERS_OWN else data(item) for key, item in fields.items()}
