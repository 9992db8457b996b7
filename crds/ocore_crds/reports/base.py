"""What every command of the mover reports: JSON lines on stdout, the last one its outcome, which is the termination
message, too (4 KiB at most). Pure.
"""

import json
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, SerializeAsAny

from ocore_crds.model import Model, Sentence, Tolerant
from ocore_crds.rules.remedy import Remedy
from ocore_crds.text.sentences import shortened_bytes

TERMINATION_MESSAGE_BYTES = 4096
#: Most bytes of each message in a termination message that is too long: the first one with which all fit.
_MESSAGE_LIMITS = (3000, 2000, 1500, 1000, 700, 500, 300, 200, 100, 50)
#: Where the kubelet reads the termination message.
TERMINATION_MESSAGE_PATH = "/dev/termination-log"


class Step(StrEnum):
    """Steps of a snapshot and of a rollback."""

    PREPARE = "Prepare"
    DUMP_DATABASE = "DumpDatabase"
    COPY_FILESTORE = "CopyFilestore"
    CAPTURE_CONFIG = "CaptureConfig"
    PUBLISH = "Publish"
    VERIFY = "Verify"
    PREFLIGHT = "Preflight"
    SAFETY_SNAPSHOT = "SafetySnapshot"
    RESTORE_DATABASE = "RestoreDatabase"
    RESTORE_FILESTORE = "RestoreFilestore"
    CHECK = "Check"
    NEUTRALIZE = "Neutralize"
    QUIESCE = "Quiesce"
    SWITCH = "Switch"
    RESTORE_IMAGE = "RestoreImage"
    RESUME = "Resume"
    HEALTH_CHECK = "HealthCheck"
    SWITCH_BACK = "SwitchBack"
    CLEANUP = "Cleanup"
    COPY_REMOTE = "CopyRemote"
    EXTRACT = "Extract"


SNAPSHOT_STEPS = (
    Step.PREPARE,
    Step.DUMP_DATABASE,
    Step.COPY_FILESTORE,
    Step.CAPTURE_CONFIG,
    Step.PUBLISH,
    Step.VERIFY,
)
ROLLBACK_STEPS = (
    Step.PREFLIGHT,
    Step.RESTORE_DATABASE,
    Step.RESTORE_FILESTORE,
    Step.CHECK,
    Step.NEUTRALIZE,
    Step.QUIESCE,
    Step.SWITCH,
    Step.RESUME,
    Step.HEALTH_CHECK,
    Step.CLEANUP,
)
EXTRACT_STEPS = (Step.EXTRACT,)
#: Steps that a Rollback has only where its spec asks for them, each with the step that it comes after.
ASKED_STEPS = {Step.SAFETY_SNAPSHOT: Step.PREFLIGHT, Step.RESTORE_IMAGE: Step.SWITCH}


class Line(Tolerant):
    """A line of JSON, or a part of one."""


class StepReport(Line):
    """A step began or ended."""

    type: Literal["step"] = "step"
    step: Step
    state: Literal["Running", "Done", "Skipped", "Failed"]
    message: str = ""
    time: str


class ProgressReport(Line):
    """Progress of a step. Totals are estimates, 0 where they are not known; done never exceeds a known total."""

    type: Literal["progress"] = "progress"
    step: Step
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    time: str


class ReadyReport(Line):
    """The Job is connected, has checked everything and waits for its signal to switch."""

    type: Literal["ready"] = "ready"
    time: str


class Finding(Line):
    """Something that blocks an operation. `remedies`: rights that an administrator can give."""

    reason: str
    message: Sentence
    remedies: Annotated[tuple[Remedy, ...], Field(max_length=4)] = ()
    object_key: str | None = Field(default=None, description="Key of the stored object that is damaged or missing.")

    @classmethod
    def of(cls, reason: str, message: str) -> Self:
        """The finding without remedies."""
        return cls(reason=reason, message=message)


class Failure(Line):
    """Why a command failed: a reason of conditions.py, and a message with the cause and the remedy."""

    reason: str
    message: Sentence
    retryable: bool = Field(default=False, description="A new attempt may succeed without any change.")
    object_key: str | None = Field(default=None, description="As that of a finding.")


class Outcome(Line):
    """The last line of every command, and its termination message."""

    type: Literal["result"] = "result"
    ok: bool
    payload: SerializeAsAny[Model] | None = None
    failure: Failure | None = None
    then: "Outcome | None" = Field(default=None, description="Of the command that followed in the same Job.")
    time: str

    def termination_message(self, limit: int = TERMINATION_MESSAGE_BYTES) -> str:
        """The result as JSON of at most 4 KiB. Warnings, paths, evidence, tables and the ends of long messages are
        dropped first. What followed has the room that is left, or is left out."""
        if self.then is not None:
            first = self.model_copy(update={"then": None}).termination_message(limit)
            both = f'{first[:-1]},"then":{self.then.termination_message(limit - len(first.encode()) - 8)}}}'
            return both if len(both.encode()) <= limit else first
        data = self.wire()
        payload = data.get("payload") or {}
        for victim in (
            "",
            "warnings",
            "checked",
            "notChecked",
            "paths",
            "replicationEnded",
            "setAside",
            "evidence",
            "tables",
        ):
            payload.pop(victim, None)
            text = json.dumps(data, separators=(",", ":"))
            if len(text.encode()) <= limit:
                return text
        replication = (payload.get("database") or {}).get("replication") or {}
        for key in replication:
            replication[key] = replication[key][:3]
        # Long messages: each as long as all of them together allow.
        findings = [
            f
            for key in ("blocking", "creatable", "rollback", "ownStore", "findings", "refusals")
            for f in payload.get(key, ())
        ]
        messages = [f for f in (data.get("failure"), payload.get("failure"), *findings) if f]
        whole = [f["message"] for f in messages]
        for limit in _MESSAGE_LIMITS:
            for holder, message in zip(messages, whole, strict=True):
                holder["message"] = shortened_bytes(message, limit)
            text = json.dumps(data, separators=(",", ":"))
            if len(text.encode()) <= limit:
                break
        return text
