"""The question before ``kubectl ocore rollback`` and ``undo``: what is replaced, then the environment's name."""

import sys
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.text.quantity import span

from . import preview
from .errors import CliError, Refused
from .objects import Object, Objects
from .runs import Run, parse_time

_HOW = "add --yes to roll back without a question, or run kubectl ocore preview to see what it would do"

_HOW_UNDO = "add --yes to undo without a question"

#: Seconds for the rows of the tables: who undoes a rollback is in a hurry.
_ROWS_SECONDS = 20.0
#: Fields of a Rollback that its preview needs as well.
_SAME = ("snapshotRef", "targetEnvironmentRef", "sourceStoreRef", "neutralize")


def ask(objects: Objects, console: Console, environment: str, spec: dict[str, Any]) -> None:
    """Shows the preview and asks for the environment's name. Returns where it is given.

    Raises CliError where the rollback would be refused, the answer is another one, or no person can answer.
    """
    if not is_interactive():
        raise CliError(f"no question can be asked, because the standard input is no terminal: {_HOW}")
    report = preview.make(objects, console, spec)
    preview.show(console, report, "text")
    if report.preview.refusals:
        raise Refused("the rollback was not started, because it would be refused. The environment is as it was")
    console.print(Text(f"\nThe rollback replaces what {environment} has now."), soft_wrap=True)
    given = answer(console, "Type the environment's name to roll back: ")
    if given != environment:
        raise Refused(f"not rolled back: {given!r} is not {environment!r}. The environment is as it was")


def ask_undo(
    objects: Objects, console: Console, rollback: Object, run: Run, undo_window: int | None, now: datetime
) -> None:
    """Shows what an undo of the Rollback sets aside, and asks for the environment's name. Raises CliError as
    :func:`ask`."""
    if not is_interactive():
        raise CliError(f"no question can be asked, because the standard input is no terminal: {_HOW_UNDO}")
    switched = parse_time(run.status.switched_at) if isinstance(run.status, RollbackStatus) else None
    since = (
        f"since {switched:%Y-%m-%dT%H:%M:%SZ}, for {span((now - switched).total_seconds())}" if switched else "since"
    )
    window = RollbackSpec.model_fields["undo_window_seconds"].default if undo_window is None else undo_window
    kept = f"It is kept for {span(window)}, then it is deleted" if window else "It is deleted at once"
    console.print(
        Text(
            f"The undo makes live again what {run.environment or 'the environment'} had before rollback {run.name}."
            f" Everything that was written {since}, is set aside: rows and files. {kept}."
        ),
        soft_wrap=True,
    )
    _show_rows(objects, console, rollback["spec"], run)
    # Never empty: an empty answer would do.
    what, expected = ("environment", run.environment) if run.environment else ("rollback", run.name)
    given = answer(console, f"Type the {what}'s name to undo: ")
    if given != expected:
        raise Refused(f"not undone: {given!r} is not {expected!r}. The environment is as it was")


def _show_rows(objects: Objects, console: Console, spec: dict[str, Any], run: Run) -> None:
    """Rows of the largest tables, now and in the snapshot that the Rollback has restored: a preview of the same
    rollback has both. An undo does not depend on it."""
    if "snapshotRef" not in spec or not isinstance(run.status, RollbackStatus) or run.status.position != "New":
        return  # what is live did not come from a snapshot
    try:
        report = preview.make(objects, console, {k: spec[k] for k in _SAME if k in spec}, timeout=_ROWS_SECONDS)
    except CliError as error:
        console.print(Text(f"The rows of its tables are not known: {error}", style="yellow"), soft_wrap=True)
        return
    preview.show_tables(console, report)


def is_interactive() -> bool:
    """Whether a person can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def answer(console: Console, question: str) -> str:
    """The line that is typed; empty at the end of the input."""
    try:
        return console.input(question).strip()
    except EOFError:
        return ""
