"""The protocol between a Job's program (ocore_mover) and the operator, all of it.

Mover to operator: JSON lines on stdout (:data:`Report`), the last one a :class:`Result`. The termination message (4 KiB
at most) holds the same result. Operator to mover: the annotation ``ocore.dev/signal`` of the pod that switches
(:class:`Signal`), read through a downward-API volume.

The results are with their commands (``commands``). The mover imports only what the command at hand needs, and never
this module: the models of all commands took a fifth of its start.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from .commands.check_copy import CopyChecked as CopyChecked
from .commands.cleanup import CleanupResult as CleanupResult
from .commands.copy_remote import CopyResult as CopyResult
from .commands.delete import DeleteResult as DeleteResult
from .commands.extract import ExtractResult as ExtractResult
from .commands.measure import SizesResult as SizesResult
from .commands.neutralize import NeutralizeResult as NeutralizeResult
from .commands.parts import CleanupPart as CleanupPart
from .commands.preview import PreviewResult as PreviewResult
from .commands.preview import TableRows as TableRows
from .commands.probe import ProbedReport as ProbedReport
from .commands.probe import ProbeResult as ProbeResult
from .commands.probe_store import StoreProbeResult as StoreProbeResult
from .commands.prove import ProofResult as ProofResult
from .commands.remove_extract import ExtractRemoved as ExtractRemoved
from .commands.restore import RestoredReport as RestoredReport
from .commands.restore import RestoreResult as RestoreResult
from .commands.snapshot import FreezeSignal as FreezeSignal
from .commands.snapshot import SnapshotResult as SnapshotResult
from .commands.switch import Signal as Signal
from .commands.switch import SwitchResult as SwitchResult
from .commands.test_restore import RestoreTestResult as RestoreTestResult
from .commands.verify import VerifyResult as VerifyResult
from .commands.write_state import StateResult as StateResult
from .facts import DatabaseFacts as DatabaseFacts
from .facts import FilestoreFacts as FilestoreFacts
from .kept_versions import KeptVersions as KeptVersions
from .reports import ASKED_STEPS as ASKED_STEPS
from .reports import EXTRACT_STEPS as EXTRACT_STEPS
from .reports import ROLLBACK_STEPS as ROLLBACK_STEPS
from .reports import SNAPSHOT_STEPS as SNAPSHOT_STEPS
from .reports import TERMINATION_MESSAGE_BYTES as TERMINATION_MESSAGE_BYTES
from .reports import TERMINATION_MESSAGE_PATH as TERMINATION_MESSAGE_PATH
from .reports import Failure as Failure
from .reports import Finding as Finding
from .reports import Outcome
from .reports import ProgressReport as ProgressReport
from .reports import ReadyReport as ReadyReport
from .reports import Step as Step
from .reports import StepReport as StepReport
from .stored_contents import ManifestsResult, OrphansResult, RemovedOrphans

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


AnyReport = StepReport | ProgressReport | ReadyReport | ProbedReport | RestoredReport | Result
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
