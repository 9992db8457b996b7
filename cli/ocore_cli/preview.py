"""``kubectl ocore preview``: what a rollback would do, from a Rollback with dryRun, which is removed again."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocore_crds.kinds import ROLLBACK
from ocore_crds.naming import ANNOTATION_TEMPORARY
from ocore_crds.resources import preview as model
from ocore_crds.resources.preview import Preview
from ocore_crds.resources.rollback import PreflightWarning, RollbackStatus
from ocore_crds.text.quantity import counted, human, span

from .display import Display
from .errors import CliError, TimedOut
from .follow import follow
from .objects import Object, Objects
from .options import Output
from .runs import Run, run_of

#: Seconds for the operator to end the preview: a slow start of its Job, or a wait for an operation that is switching.
TIMEOUT = 300
#: Seconds for the answer beyond that.
MARGIN = 15.0
#: Seconds before the wait says what it waits for.
QUIET = 3.0


@dataclass(frozen=True)
class Report:
    """A preview with what surrounds it."""

    environment: str
    snapshot: str
    preview: Preview
    warnings: tuple[PreflightWarning, ...]


def make(objects: Objects, notes: Console, spec: dict[str, Any], *, timeout: float | None = None) -> Report:
    """Creates the Rollback with dryRun, waits for its report and removes it. `notes`: for what the wait has to say.

    Raises CliError where there is no report in time, or the API server does not know dryRun.
    """
    snapshot = spec["snapshotRef"]["name"]
    seconds = int(max(60, min(timeout or TIMEOUT, 604800)))
    body = ROLLBACK.new(
        objects.namespace,
        {**spec, "dryRun": True, "timeoutSeconds": seconds, "notAfter": model.NEVER},
        generateName=f"preview-{snapshot[:150]}-",
        annotations={ANNOTATION_TEMPORARY: "true"},  # where this process is killed, the operator removes it
    )
    created = objects.create(ROLLBACK, body)
    name = created["metadata"]["name"]
    try:
        # An older CRD drops the field, and this would be a rollback.
        if created["spec"].get("dryRun") is not True:
            raise CliError(
                "the cluster's CRD of Rollback has no dryRun: upgrade the chart. The Rollback was"
                " deleted; its notAfter has passed, so no operator runs it"
            )
        status = _wait(objects, notes, name, timeout or TIMEOUT + MARGIN)
    finally:
        _remove(objects, notes, name)
    if status.preview is None:
        why = status.failure_reason or "no reason"
        raise CliError(
            f"the operator made no preview (phase {status.phase}, {why}), and nothing was changed: is it older than"
            " this program? Upgrade the chart"
        )
    return Report(status.environment_name or "", snapshot, status.preview, status.warnings)


def _wait(objects: Objects, notes: Console, name: str, timeout: float) -> RollbackStatus:
    def read() -> Run | None:
        obj = objects.get(ROLLBACK, name)
        return run_of(ROLLBACK, obj) if obj is not None else None

    display = Quiet(notes)
    try:
        status = follow(read, display, timeout).status
    except CliError as error:
        waits = f": {display.waits.rstrip('.')}" if display.waits else ""
        text = (
            f"there was no preview within {timeout:.0f} s{waits}. It was removed, and nothing was changed. See kubectl"
            " ocore status and the operator's log"
        )
        raise TimedOut(text) from error
    if not isinstance(status, RollbackStatus):  # pragma: no cover - it was read as a Rollback
        raise TypeError(status)
    return status


def _remove(objects: Objects, notes: Console, name: str) -> None:
    try:
        objects.delete(ROLLBACK, name)
    except CliError as error:
        text = (
            f"rollback/{name}, a preview, could not be deleted: {error}. It changes nothing; the operator removes it."
        )
        notes.print(Text(text, style="yellow"), soft_wrap=True)


class Quiet(Display):
    """Shows what a wait is for once it has lasted longer than usual."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began = clock()
        self._shown = ""
        #: What it waits for; empty: unknown.
        self.waits = ""

    def show(self, run: Run) -> None:
        self.waits = waiting = run.waits_for()
        if run.outcome is None and waiting != self._shown and self._clock() - self._began > QUIET:
            self._shown = waiting
            self.note(waiting)

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="dim"), soft_wrap=True)


# --- printing


def show_tables(console: Console, report: Report) -> None:
    """Prints the rows of the largest tables, now and in the snapshot; nothing where they are not known."""
    database = report.preview.database
    if database is not None and database.tables:
        console.print("", _tables(database), "")


def show(console: Console, report: Report, output: Output) -> None:
    """Prints the report. As JSON: every field of status.preview."""
    if output == "json":
        data: Object = {"environment": report.environment, "snapshot": report.snapshot, **report.preview.wire()}
        data["warnings"] = [w.wire() for w in report.warnings]
        console.print_json(json.dumps(data))
        return
    preview = report.preview
    console.print(
        Text.assemble(
            ("Preview", "bold"),
            f" of a rollback of {report.environment or 'an unknown environment'} to snapshot {report.snapshot}. Nothing"
            " was changed.",
        ),
        soft_wrap=True,
    )
    console.print("", _facts(preview), "")
    if preview.database is not None and preview.database.tables:
        console.print(_tables(preview.database), "")
    for line, style in _verdict(report):
        console.print(Text(line, style=style), soft_wrap=True)


def _facts(preview: Preview) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (*_known_facts(preview), *_prediction(preview)):
        table.add_row(name, Text(value))
    return table


def _known_facts(preview: Preview) -> Iterator[tuple[str, str]]:
    """Labels and values of what was read."""
    yield "Point in time", preview.point_in_time or "unknown"
    if preview.point_in_time is not None:
        lost = span(preview.lost_minutes * 60) if preview.lost_minutes is not None else "unknown"
        yield "Work lost", f"{lost} (from the point in time until now)"
    if (database := preview.database) is not None:
        size = _bytes(database.bytes_now) if database.exists_now else "does not exist; the rollback creates it"
        yield "Database", f"{size} now, {_bytes(database.bytes_in_snapshot)} in the snapshot"
        yield "PostgreSQL", _now_and_then(database.server_version_now, database.server_version_in_snapshot)
    if (files := preview.files) is not None:
        yield (
            "Files to move",
            f"{counted(files.files_to_move, 'file')}, {human(files.bytes_to_move)}, of"
            f" {counted(files.files_in_snapshot, 'file')}, {human(files.bytes_in_snapshot)}",
        )
    if (version := preview.version) is not None:
        for name, now, then in (
            ("Image", version.image_now, version.image_in_snapshot),
            ("Commit", version.commit_now, version.commit_in_snapshot),
        ):
            if now or then:
                yield name, f"{now}, the same in the snapshot" if now == then else _now_and_then(now, then)
    if preview.neutralizes:
        yield "Neutralised", "yes, before the switchover"
    for space in preview.space:
        short = space.free_bytes is not None and space.free_bytes < space.needed_bytes
        text = f"{human(space.needed_bytes)} needed, {_bytes(space.free_bytes)} free{' (TOO LITTLE)' if short else ''}"
        yield f"Space: {space.volume.lower()}", text


def _now_and_then(now: str, then: str) -> str:
    return f"{now or 'unknown'} now, {then or 'unknown'} in the snapshot"


def _prediction(preview: Preview) -> Iterator[tuple[str, str]]:
    found = preview.prediction
    if found is not None:
        yield "Duration", f"{_seconds(found.duration_seconds)} ({_source(found.duration_source, found.rollbacks)})"
        yield "Downtime", f"{_seconds(found.downtime_seconds)} ({_source(found.downtime_source, found.rollbacks)})"
        if found.explanation:
            yield "Figures", found.explanation


def _source(source: model.RateSource, rollbacks: int) -> str:
    if source == "Rollbacks":
        return f"predicted from {rollbacks} earlier rollback{'s' if rollbacks != 1 else ''}"
    if source == "TestRestore":
        return "measured by the environment's newest test restore"
    return "estimated from the snapshot's own times" if source == "Snapshot" else "no earlier rollback is recorded"


def _tables(database: model.PreviewDatabase) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("Largest tables", header_style="dim", overflow="fold")
    table.add_column("Rows now (estimated)", header_style="dim", justify="right")
    table.add_column("Rows in snapshot (counted)", header_style="dim", justify="right")
    for found in database.tables:
        now = "no such table" if not found.exists_now else _rows(found.rows_now_estimated, "unknown")
        missing = (
            "not counted" if database.rows_counted is False else "not in it" if database.rows_counted else "unknown"
        )
        table.add_row(Text(found.name), now, _rows(found.rows_in_snapshot_counted, missing))
    return table


def _verdict(report: Report) -> list[tuple[str, str]]:
    preview = report.preview
    lines = [(f"Warning: {w.message}", "yellow") for w in report.warnings]
    lines += [(f"Not read: {text}", "yellow") for text in preview.unread]
    if preview.waits_for:
        lines.append((preview.waits_for, "yellow"))
    lines += [(f"Would be refused, {r.reason}: {r.message}", "bold red") for r in preview.refusals]
    if preview.would_run:
        lines.append(("Nothing was found that would refuse the rollback.", "green"))
    return lines


def _rows(count: int | None, otherwise: str) -> str:
    return f"{count:,}" if count is not None else otherwise


def _bytes(count: int | None) -> str:
    return human(count) if count is not None else "unknown"


def _seconds(seconds: float | None) -> str:
    return span(seconds) if seconds is not None else "unknown"
