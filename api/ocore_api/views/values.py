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
_EXACT = re.compile(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z")
#: Statuses after which an operation never changes again.
FINAL = ("completed", "failed")
#: Compact JSON in UTF-8.
encode = to_json
#: Whether clients take a value for an id. The schemas of statuses allow any text, and some of it comes from a bucket.
is_id = re.compile(UUID_PATTERN.removesuffix("$")).fullmatch


class Resource:
    """An object of the API server, read once where it arrives: what rows, events and the console take from it."""

    __slots__ = (
        *("conditions", "created_at", "deleting", "ended", "error", "first_seen", "id", "meta", "order", "raw"),
        *("refused", "spec", "state", "status"),
    )

    def __init__(self, raw: Object) -> None:
        self.raw = raw
        self.meta: Object = raw["metadata"]
        self.spec: Object = raw.get("spec") or {}
        #: {} before the operator has written one.
        self.status: Object = raw.get("status") or {}
        found = self.status.get("conditions") or ()
        #: By type.
        self.conditions: dict[str, Object] = {x["type"]: x for x in found}
        #: status.id; before the operator has written it, what it will be.
        self.id = str(self.status.get("id") or self.spec.get("id") or self.meta["uid"])
        #: How an operation ended; None before that.
        self.ended = c.outcome(found)
        phase = self.status.get("phase")
        began = "pending" if phase in (None, "Pending") else "running"
        whole = self.ended == "Complete" and phase != "Corrupt"
        #: pending, running, completed or failed, as ``ocore_crds.rules.evidence`` decides it.
        self.state = began if self.ended is None else "completed" if whole else "failed"
        #: Why it failed; None where it has not.
        self.error = _error(self.status, self.conditions) if self.state == "failed" else None
        #: Whether it was deleted, and its finalizers have work.
        self.deleting = "deletionTimestamp" in self.meta
        #: Whether the operator refused the object because another one has its id.
        self.refused = any(
            x["type"] in (c.STALLED, c.FAILED) and (x.get("status"), x.get("reason")) == ("True", c.DUPLICATE_ID)
            for x in found
        )
        created = str(self.meta["creationTimestamp"])
        started = str(self.status.get("startedAt") or created)
        #: metadata.creationTimestamp, or the start of what is older than its object: an import.
        self.first_seen = started if started[:_SECOND] < created[:_SECOND] else created
        annotated = (self.meta.get("annotations") or {}).get(ANNOTATION_REQUESTED_AT)
        requested = annotated if annotated and _is_near(annotated, created) else None
        #: When the object was created: of one of the facade with milliseconds.
        self.created_at = requested or self.first_seen
        within = str(requested or self.status.get("queuedAt") or self.status.get("startedAt") or "")
        #: What objects are sorted by; newer is larger. The second of `created_at`; within it, when the facade was asked
        #: for the object, else the first time that the operator recorded of it, with nine digits of a second. An object
        #: with neither is the oldest: what a client of the facade has just created is the newest.
        self.order = f"{self.created_at[:_SECOND]} "
        if within:
            self.order += f"{within[:_SECOND]}.{within[_SECOND:].strip('.Z')[:9]:0<9}"

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.meta["name"])


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


def _is_near(annotated: object, created: str) -> bool:
    """Whether the facade can have written when it was asked to create the object. Anyone can write the annotation: one
    that is not near metadata.creationTimestamp, which only the API server sets, does not count."""
    if not isinstance(annotated, str) or not _EXACT.fullmatch(annotated):
        return False
    try:
        return abs((parse(annotated) - parse(created)).total_seconds()) <= CLOCKS
    except ValueError:
        return False


def milliseconds(begin: str | None, end: str) -> int | None:
    """Milliseconds between two timestamps, never negative; None without a beginning."""
    return max(0, round((parse(end) - parse(begin)).total_seconds() * 1000)) if begin else None


def identity(found: Mapping[str, Any], name: str) -> str | None:
    """An id of a mapping; None where it is absent or no UUID."""
    value = found.get(name)
    return value if value and is_id(value) else None
