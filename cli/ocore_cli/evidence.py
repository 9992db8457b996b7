"""``kubectl ocore evidence``: whether a Snapshot or Rollback is a clean success, and why."""

import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocore_crds.kinds import ROLLBACK, Kind
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.rules import evidence

from .display import COLOURS, MARKS
from .errors import CliError
from .objects import Object, Objects, needed
from .options import Output
from .tables import plain


def show(objects: Objects, console: Console, kind: Kind, name: str, output: Output) -> bool:
    """Prints the evidence. Returns whether it is a clean success. Raises CliError where the object does not exist."""
    obj = needed(objects, kind, name)
    found = evidence_of(kind, obj)
    if output == "json":
        console.print_json(json.dumps(found.wire()))
    else:
        _print(console, kind, name, found)
        _print_source(console, kind, obj)
    return found.can_write_clean_success


def evidence_of(kind: Kind, obj: Object) -> RecoveryEvidence:
    """As the operator recorded it; where it has not, by the same function from the rest of the status."""
    status = kind.status.model_validate(obj.get("status") or {})
    recorded: RecoveryEvidence | None = getattr(status, "recovery_evidence", None)
    found = recorded or evidence.of(kind.spec.model_validate(obj["spec"], extra="ignore"), status)
    if found is None:
        raise CliError(f"a {kind.kind} with dryRun has no evidence: it is a preview and did nothing")
    return found


def _print(console: Console, kind: Kind, name: str, found: RecoveryEvidence) -> None:
    verdict = ("clean success", "bold green") if found.can_write_clean_success else ("no clean success", "bold yellow")
    reason = f" ({found.status}, {found.reason})" if found.reason else f" ({found.status})"
    console.print(Text.assemble((f"{kind.kind} {name}: ", "bold"), verdict, reason))
    for line in found.why_green or found.why_not_green:
        console.print(Text(f"  {line}"), soft_wrap=True)
    console.print("", _steps(found))
    console.print("")
    for artifact in dict.fromkeys((*found.artifact_paths, *found.artifact_checksums)):
        _print_artifact(console, artifact, found)
    if found.optional_failed_steps:
        failed = ", ".join(found.optional_failed_steps)
        console.print(Text(f"\nSteps that failed and are not required: {failed}"), soft_wrap=True)


def _print_source(console: Console, kind: Kind, obj: Object) -> None:
    """Which copy of the snapshot a rollback has read."""
    recorded = RollbackStatus.model_validate(obj.get("status") or {}).evidence if kind is ROLLBACK else None
    for line in recorded.proven if recorded is not None else ():
        if line.startswith("source: "):
            console.print(Text.assemble(("source: ", "bold"), line.removeprefix("source: ")), soft_wrap=True)


def _steps(found: RecoveryEvidence) -> Table:
    table = plain("Step", "State", "Required")
    for step, state in found.progress.steps.items():
        mark = Text(f"{MARKS.get(state, '…')} {state}", style=COLOURS.get(state, ""))
        table.add_row(Text(step), mark, Text("yes" if step in found.required_steps else "no"))
    return table


def _print_artifact(console: Console, artifact: str, found: RecoveryEvidence) -> None:
    """Whole lines: a path or a digest that a table has folded cannot be copied."""
    where, digest = found.artifact_paths.get(artifact), found.artifact_checksums.get(artifact)
    for what in filter(None, (where, f"SHA-256 {digest}" if digest is not None else None)):
        console.print(Text.assemble((f"{artifact}: ", "bold"), what), soft_wrap=True)
