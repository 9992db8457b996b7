"""Waits for an operation and prints how it ended."""

from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.text import Text

from ocore_crds.kinds import ROLLBACK, Kind
from ocore_crds.resources.rollback import RollbackStatus

from . import preview, tables
from .display import display_for
from .errors import FAILED, REFUSED, Interrupted
from .follow import follow
from .objects import Objects, needed
from .runs import Run, run_of


def wait_for_end(objects: Objects, kind: Kind, name: str, timeout: float | None, console: Console) -> None:
    """Follows to the terminal state. Raises typer.Exit if it failed (code 1) or was refused before it changed anything
    (3), CliError if it does not exist or the time is over."""
    needed(objects, kind, name)

    def read() -> Run | None:
        obj = objects.get(kind, name)
        return run_of(kind, obj) if obj is not None else None

    try:
        run = follow(read, display_for(console), timeout)
    except KeyboardInterrupt as error:
        raise Interrupted(_continues(kind, name, objects.namespace)) from error
    if isinstance(run.status, RollbackStatus) and run.status.preview is not None:
        report = preview.Report(
            run.environment, run.status.snapshot_name or "", run.status.preview, run.status.warnings
        )
        preview.show(console, report, "text")
        return
    took = f" after {_seconds(run)}"
    if run.outcome == "Complete":
        console.print(Text.assemble((f"{kind.kind} {name} is Complete", "bold green"), took))
        if run.result():
            console.print(Text(f"  {run.result()}"), soft_wrap=True)
        found = run.status.recovery_evidence
        if found is not None and not found.can_write_clean_success:
            text = (
                f"  It is no clean success: kubectl ocore evidence {kind.singular}/{name} -n {objects.namespace} shows"
                " why."
            )
            console.print(Text(text, style="yellow"), soft_wrap=True)
        return
    console.print(Text.assemble((f"{kind.kind} {name} Failed", "bold red"), took))
    tables.print_problems(console, f"{kind.singular} {name}", run.problems())
    if run.result():
        console.print(Text(f"  {run.result()}"), soft_wrap=True)
    if kind is ROLLBACK:
        for reason in dict.fromkeys(problem.reason for problem in run.problems()):
            console.print(Text(f"  What to do: kubectl ocore explain {reason}"), soft_wrap=True)
    raise typer.Exit(REFUSED if run.refused else FAILED)


def _continues(kind: Kind, name: str, namespace: str) -> str:
    return (
        f"interrupted. {kind.singular} {name} continues in the cluster. Follow it: kubectl ocore watch"
        f" {kind.singular}/{name} -n {namespace}. Cancel it: kubectl delete {kind.crd_name}/{name} -n {namespace}"
    )


def _seconds(run: Run) -> str:
    return f"{run.elapsed(datetime.now(UTC)):.1f} s"
