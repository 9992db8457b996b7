"""The protocol between a Job's program (ocore_mover) and the operator, all of it.

Mover to operator: JSON lines on stdout (:data:`Report`), the last one a :class:`Result`. The termination message (4 KiB
at most) holds the same result. Operator to mover: the annotation ``ocore.dev/signal`` of the switch Job's pod
(:class:`Signal`), read through a downward-API volume.

The results are with their commands (``commands``). The mover imports only what the command at hand needs, and never
this module: the models of all commands took a fifth of its start.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from .commands.check_copy import CopyChecked
from .commands.cleanup import CleanupResult
from .commands.copy_remote import CopyResult
from .commands.delete import DeleteResult
from .commands.extract import ExtractResult
from .commands.measure import SizesResult
from .commands.neutralize import NeutralizeResult
from .commands.parts import CleanupPart
from .commands.preview import PreviewResult, TableRows
from .commands.probe import ProbedReport, ProbeResult
from .commands.probe_store import StoreProbeResult
from .commands.prove import ProofResult
from .commands.remove_extract import ExtractRemoved
from .commands.restore import RestoreResult
from .commands.snapshot import FreezeSignal, SnapshotResult
from .commands.switch import Signal, SwitchResult
from .commands.test_restore import RestoreTestPhases, RestoreTestResult
from .commands.verify import VerifyResult
from .commands.write_state import StateResult
from .facts import DatabaseFacts, FilestoreFacts
from .kept_versions import KeptVersions
from .reports import (
    ASKED_STEPS,
    EXTRACT_STEPS,
    ROLLBACK_STEPS,
    SNAPSHOT_STEPS,
    TERMINATION_MESSAGE_BYTES,
    TERMINATION_MESSAGE_PATH,
    Failure,
    Finding,
    Outcome,
    ProgressReport,
    ReadyReport,
    Step,
    StepReport,
)
from .stored_contents import ManifestsResult, OrphansResult, RemovedOrphans

__all__ = [
    "ASKED_STEPS",
    "EXTRACT_STEPS",
    "ROLLBACK_STEPS",
    "SNAPSHOT_STEPS",
    "TERMINATION_MESSAGE_BYTES",
    "TERMINATION_MESSAGE_PATH",
    "CleanupPart",
    "CleanupResult",
    "CopyChecked",
    "CopyResult",
    "DatabaseFacts",
    "DeleteResult",
    "ExtractRemoved",
    "ExtractResult",
    "Failure",
    "FilestoreFacts",
    "Finding",
    "FreezeSignal",
    "KeptVersions",
    "NeutralizeResult",
    "Payload",
    "PreviewResult",
    "ProbeResult",
    "ProbedReport",
    "ProgressReport",
    "ProofResult",
    "ReadyReport",
    "Report",
    "RestoreResult",
    "RestoreTestPhases",
    "RestoreTestResult",
    "Result",
    "Signal",
    "SizesResult",
    "SnapshotResult",
    "StateResult",
    "Step",
    "StepReport",
    "StoreProbeResult",
    "SwitchResult",
    "TableRows",
    "VerifyResult",
    "parse_line",
]

Payload = Annotated[
    ProbeResult
    | SizesResult
    | ProofResult
    | StoreProbeResult
    | SnapshotResult
    | StateResult
    | ManifestsResult
    | OrphansResult
    | RemovedOrphans
    | RestoreResult
    | NeutralizeResult
    | SwitchResult
    | VerifyResult
    | RestoreTestResult
    | DeleteResult
    | CopyResult
    | CopyChecked
    | CleanupResult
    | PreviewResult
    | ExtractResult
    | ExtractRemoved,
    Field(discriminator="kind"),
]


class Result(Outcome):
    """The last line of every command, as the operator reads it: the payload is one of the known results."""

    payload: Payload | None = None
    then: "Result | None" = None


AnyReport = StepReport | ProgressReport | ReadyReport | ProbedReport | Result
Report = Annotated[AnyReport, Field(discriminator="type")]
_REPORT: TypeAdapter[Any] = TypeAdapter(Report)


def parse_line(line: str) -> AnyReport | None:
    """One line of a Job's log; None if it is not a report (a log event, a stray print, a torn line)."""
    if not line.startswith("{"):
        return None
    try:
        report: AnyReport = _REPORT.validate_json(line)
    except ValueError:
        return None
    return report
