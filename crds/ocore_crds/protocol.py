"""The protocol between a Job's program (ocore_mover) and the operator, all of it.

Mover to operator: JSON lines on stdout (:data:`Report`), the last one a :class:`Result`. The termination message (4 KiB
at most) holds the same result. Operator to mover: the annotation ``ocore.dev/signal`` of a pod that waits
(:class:`Signal`), read through a downward-API volume.

The results are with their commands (``commands``). The mover imports only what the command at hand needs, and never
this module: the models of all commands took a fifth of its start.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from ocore_crds.commands.check_copy import CopyChecked as CopyChecked
from ocore_crds.commands.cleanup import CleanupResult as CleanupResult
from ocore_crds.commands.copy_remote import CopyResult as CopyResult
from ocore_crds.commands.delete import DeleteResult as DeleteResult
from ocore_crds.commands.extract import ExtractResult as ExtractResult
from ocore_crds.commands.measure import SizesResult as SizesResult
from ocore_crds.commands.neutralize import NeutralizeResult as NeutralizeResult
from ocore_crds.commands.parts import CleanupPart as CleanupPart
from ocore_crds.commands.parts import Signal as Signal
from ocore_crds.commands.preview import PreviewResult as PreviewResult
from ocore_crds.commands.preview import TableRows as TableRows
from ocore_crds.commands.probe import ProbedReport as ProbedReport
from ocore_crds.commands.probe import ProbeResult as ProbeResult
from ocore_crds.commands.probe_store import StoreProbeResult as StoreProbeResult
from ocore_crds.commands.prove import ProofResult as ProofResult
from ocore_crds.commands.remove_extract import ExtractRemoved as ExtractRemoved
from ocore_crds.commands.restore import RestoredReport as RestoredReport
from ocore_crds.commands.restore import RestoreResult as RestoreResult
from ocore_crds.commands.snapshot import SnapshotResult as SnapshotResult
from ocore_crds.commands.switch import SwitchResult as SwitchResult
from ocore_crds.commands.test_restore import RestoreTestResult as RestoreTestResult
from ocore_crds.commands.verify import VerifyResult as VerifyResult
from ocore_crds.commands.write_state import StateResult as StateResult
from ocore_crds.reports.base import ASKED_STEPS as ASKED_STEPS
from ocore_crds.reports.base import EXTRACT_STEPS as EXTRACT_STEPS
from ocore_crds.reports.base import ROLLBACK_STEPS as ROLLBACK_STEPS
from ocore_crds.reports.base import SNAPSHOT_STEPS as SNAPSHOT_STEPS
from ocore_crds.reports.base import TERMINATION_MESSAGE_BYTES as TERMINATION_MESSAGE_BYTES
from ocore_crds.reports.base import TERMINATION_MESSAGE_PATH as TERMINATION_MESSAGE_PATH
from ocore_crds.reports.base import Failure as Failure
from ocore_crds.reports.base import Finding as Finding
from ocore_crds.reports.base import Outcome
from ocore_crds.reports.base import ProgressReport as ProgressReport
from ocore_crds.reports.base import ReadyReport as ReadyReport
from ocore_crds.reports.base import Step as Step
from ocore_crds.reports.base import StepReport as StepReport
from ocore_crds.reports.facts import DatabaseFacts as DatabaseFacts
from ocore_crds.reports.facts import FilestoreFacts as FilestoreFacts
from ocore_crds.reports.kept_versions import KeptVersions as KeptVersions
from ocore_crds.reports.stored_contents import ManifestsResult, OrphansResult, RemovedOrphans

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
