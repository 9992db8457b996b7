"""Values of answers from raw objects: states, messages, times, JSON. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from ocore_crds import conditions as c
from ocore_crds.model import UUID_PATTERN
from ocore_crds.naming import ANNOTATION_REQUESTED_AT
from ocore_crds.text.timestamps import parse

Object = dict[str, Any]
#: Seconds by which the clocks of the facade and the API server may differ.
CLOCKS = 60.0
#: Characters of a time up to its second.
_SECOND = len("2026-01-31T12:00:00")
_UUID = re.compile(UUID_PATTERN.removesuffix("$"))
_EXACT = re.compile(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z")
#: Statuses after which an operation never changes again.
FINAL = ("completed", "failed")


def encode(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return to_json(value)


def lower_snake(value: str) -> str:
    """``PreRollback`` → ``pre_rollback``."""
    return "".join(f"_{ch.lower()}" if ch.isupper() and n else ch.lower() for n, ch in enumerate(value))


class Resource:
    """An object of the API server, read once where it arrives: what rows, events and the console take from it."""

    __slots__ = (
        *("conditions", "created_at", "error", "first_seen", "id", "meta", "order", "raw", "spec", "state", "status"),
    )

    def __init__(self, raw: Object) -> None:
        self.raw = raw
        self.meta: Object = raw["metadata"]
        self.spec: Object = raw.get("spec") or {}
        #: {} before the operator has written one.
        self.status: Object = raw.get("status") or {}
        #: By type.
        self.conditions: dict[str, Object] = {x["type"]: x for x in self.status.get("conditions") or ()}
        #: status.id; before the operator has written it, what it will be.
        self.id = str(self.status.get("id") or self.spec.get("id") or self.meta["uid"])
        #: pending, running, completed or failed: of an operation.
        self.state = _state(self.status)
        #: Why it failed; None where it has not.
        self.error = _error(self.status, self.conditions) if self.state == "failed" else None
        created = str(self.meta["creationTimestamp"])
        started = str(self.status.get("startedAt") or created)
        #: metadata.creationTimestamp, or the start of what is older than its object: an import.
        self.first_seen = started if started[:_SECOND] < created[:_SECOND] else created
        requested = _requested_at(self.meta)
        #: When the object was created: of one of the facade with milliseconds.
        self.created_at = requested or self.first_seen
        within = requested or self.status.get("queuedAt") or self.status.get("startedAt")
        #: What objects are sorted by; newer is larger. The second of `created_at`; within it, when the facade was asked
        #: for the object, else the first time that the operator recorded of it. An object with neither is the oldest:
        #: what a client of the facade has just created is the newest.
        self.order = f"{self.created_at[:_SECOND]} {_padded(str(within)) if within else ''}"

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.meta["name"])

    @property
    def deleting(self) -> bool:
        """Whether it was deleted, and its finalizers have work."""
        return "deletionTimestamp" in self.meta

    @property
    def refused(self) -> bool:
        """Whether the operator refused the object because another one has its id."""
        found = (self.conditions.get(type_) or {} for type_ in (c.STALLED, c.FAILED))
        return any(x.get("status") == "True" and x.get("reason") == c.DUPLICATE_ID for x in found)


def _state(status: Object) -> str:
    """As ``ocore_crds.rules.evidence`` decides it."""
    phase, ended = status.get("phase"), c.outcome(status.get("conditions") or ())
    if ended == "Complete" and phase != "Corrupt":
        return "completed"
    if ended is not None:
        return "failed"
    return "pending" if phase in (None, "Pending") else "running"


def _error(status: Object, conditions: dict[str, Object]) -> str:
    """Why a failed operation failed; the reason where it has no message."""
    if told := status.get("failureMessage"):
        return str(told)
    # A corrupt Snapshot keeps its condition Complete; one of the others says what was found.
    for type_, value in ((c.FAILED, "True"), (c.STALLED, "True"), (c.READY, "False"), (c.VERIFIED, "False")):
        condition = conditions.get(type_, {})
        if condition.get("status") == value:
            return str(condition.get("message") or condition.get("reason") or "")
    return str(status.get("phase") or "")


def _requested_at(meta: Object) -> str | None:
    """When the facade was asked to create the object; None where another client created it. Anyone can write the
    annotation: one that is not near metadata.creationTimestamp, which only the API server sets, does not count."""
    found = (meta.get("annotations") or {}).get(ANNOTATION_REQUESTED_AT)
    if not isinstance(found, str) or not _EXACT.fullmatch(found):
        return None
    try:
        apart = (parse(found) - parse(str(meta["creationTimestamp"]))).total_seconds()
    except ValueError:
        return None
    return found if abs(apart) <= CLOCKS else None


def _padded(value: str) -> str:
    """A time in UTC whose text sorts as the time does: with nine digits of a second."""
    fraction = value[_SECOND:].strip(".Z")
    return f"{value[:_SECOND]}.{fraction[:9]:0<9}"


def milliseconds(begin: str | None, end: str | None) -> int | None:
    """Milliseconds between two timestamps, never negative; None where one is missing."""
    if not begin or not end:
        return None
    return max(0, round((parse(end) - parse(begin)).total_seconds() * 1000))


def text(found: Mapping[str, Any], name: str) -> str | None:
    """A text of a mapping; None where it is absent or empty."""
    value = found.get(name)
    return str(value) if value else None


def is_id(value: str) -> bool:
    """Whether clients take a value for an id. The schemas of statuses allow any text, and some of it comes from a
    bucket."""
    return _UUID.fullmatch(value) is not None


def identity(found: Mapping[str, Any], name: str) -> str | None:
    """An id of a mapping; None where it is absent or no UUID."""
    value = text(found, name)
    return value if value is not None and is_id(value) else None
