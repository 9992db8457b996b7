"""The tables of ``kubectl ocore status``."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocore_crds import conditions
from ocore_crds.conditions import Condition
from ocore_crds.kinds import ENVIRONMENT, ROLLBACK, SNAPSHOT, SNAPSHOT_STORE, Kind
from ocore_crds.resources.environment import EnvironmentStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.resources.snapshotstore import SnapshotStoreStatus
from ocore_crds.text.quantity import human

from .objects import Object, Objects
from .runs import Run, duration, problem_conditions, run_of


def show_status(objects: Objects, console: Console, *, everywhere: bool = False) -> None:
    """Prints the"""
    now = datetime.now(UTC)
    found_environments = objects.list(ENVIRONMENT, everywhere=everywhere)
    found_stores = objects.list(SNAPSHOT_STORE, everywhere=everywhere)
    runs = [run_of(kind, o) for kind in (SNAPSHOT, ROLLBACK) for o in objects.list(kind, everywhere=everywhere)]
    where = "any namespace" if everywhere else f"namespace {objects.namespace}"
    if not found_environments and not found_stores:
        console.print(Text(f"No environments and no stores in {where}."))
    else:
        console.print(environments(found_environments, runs, everywhere, now), "")
        console.print(stores(found_stores, everywhere), "")
    active = [r for r in runs if r.outcome is None]
    console.print(running(active, everywhere, now) if active else Text("No operation is running."))
    for kind, found in ((ENVIRONMENT, found_environments), (SNAPSHOT_STORE, found_stores)):
        for obj in found:
            print_problems(console, *object_problems(kind, obj, everywhere))
    for run in (*active, *(r for r in runs if r.kind is SNAPSHOT and r.outcome == "Complete" and not r.restorable)):
        print_problems(console, heading(run.kind, run.namespace, run.name, everywhere), run.problems())
    for run in runs:
        if run.kind is SNAPSHOT and (only := run.remote_copy_only) is not None:
            print_problems(console, heading(run.kind, run.namespace, run.name, everywhere), (only,))


def plain(*columns: str) -> Table:
    """A table without lines, whose cells are folded where they are too long."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table


def environments(objects: Sequence[Object], runs: Sequence[Run], namespaces: bool, now: datetime) -> Table:
    """Environments with their last Complete snapshot."""
    table = _table(
        "Environments", namespaces, "Name", "Type", "Ready", "Rollback", "Database", "Files", "Remote", "Last snapshot"
    )
    for obj in objects:
        status = EnvironmentStatus.model_validate(obj.get("status") or {})
        probe = status.probe
        name = obj["metadata"]["name"]
        _row(
            table,
            obj,
            namespaces,
            Text(name),
            Text(obj["spec"]["type"]),
            _mark(status.conditions, conditions.READY),
            _mark(status.conditions, conditions.ROLLBACK_READY),
            Text(f"{human(probe.database_bytes)}, PG {probe.server_major}" if probe and probe.server_major else "-"),
            Text(f"{probe.filestore_files}, {human(probe.filestore_bytes)}" if probe else "-"),
            _remote(obj, _of(obj, runs)),
            _last_snapshot(_of(obj, runs), now),
        )
    return table


def stores(objects: Sequence[Object], namespaces: bool) -> Table:
    """Stores, and what checks written data."""
    table = _table("Stores", namespaces, "Name", "URL", "Ready", "Checksums")
    for obj in objects:
        status = SnapshotStoreStatus.model_validate(obj.get("status") or {})
        _row(
            table,
            obj,
            namespaces,
            Text(obj["metadata"]["name"]),
            Text(status.url or "-", overflow="fold"),
            _mark(status.conditions, conditions.READY),
            Text(status.checksums or "-"),
        )
    return table


def running(runs: Sequence[Run], namespaces: bool, now: datetime) -> Table:
    """Operations that are not terminal."""
    table = _table("Running", namespaces, "Operation", "Environment", "Phase", "Step", "Done", "Elapsed")
    for run in runs:
        table.add_row(
            *((Text(run.namespace),) if namespaces else ()),
            Text(f"{run.kind.singular} {run.name}"),
            Text(run.environment or "-"),
            Text(run.phase),
            Text(run.progress.step if run.progress else run.waits_for() or "-"),
            Text(f"{run.progress.percent} %" if run.progress else "-", justify="right"),
            Text(duration(run.elapsed(now)), justify="right"),
        )
    return table


def print_problems(console: Console, what: str, found: Iterable[Condition]) -> None:
    """Prints the conditions with their whole messages: cause and remedy. A line that several conditions have is printed
    once."""
    shown: set[str] = set()
    for condition in found:
        lines = [line for line in condition.message.splitlines() if _without_reason(line) not in shown]
        if condition.message and not lines:
            continue
        shown |= {_without_reason(line) for line in lines}
        console.print(Text.assemble((f"{what}: ", "bold"), (f"{condition.type} {condition.reason}", "red")))
        for line in lines:
            console.print(Text(f"  {line}"), soft_wrap=True)


def _without_reason(line: str) -> str:
    """A finding without its reason, which precedes it only where a condition has several."""
    return re.sub(r"^[A-Z][A-Za-z]+: ", "", line)


def heading(kind: Kind, namespace: str, name: str, namespaces: bool) -> str:
    """The object, for people: with its namespace where several are shown."""
    return f"{kind.singular} {namespace}/{name}" if namespaces else f"{kind.singular} {name}"


def object_problems(kind: Kind, obj: Object, namespaces: bool) -> tuple[str, tuple[Condition, ...]]:
    """Heading and problem conditions of an Environment or SnapshotStore."""
    model = EnvironmentStatus if kind.kind == "Environment" else SnapshotStoreStatus
    status = model.model_validate(obj.get("status") or {})
    meta = obj["metadata"]
    return heading(kind, meta["namespace"], meta["name"], namespaces), problem_conditions(status.conditions)


def _table(title: str, namespaces: bool, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in (*(("Namespace",) if namespaces else ()), *columns):
        table.add_column(column, header_style="dim")
    return table


def _row(table: Table, obj: Object, namespaces: bool, *cells: Text) -> None:
    table.add_row(*((Text(obj["metadata"]["namespace"]),) if namespaces else ()), *cells)


def _mark(found: Iterable[Condition], type_: str) -> Text:
    condition = conditions.find(found, type_)
    if condition is None or condition.status == "Unknown":
        return Text("unknown", style="dim")
    return Text("yes", style="green") if condition.status == "True" else Text(condition.reason, style="red")


def _of(environment: Object, runs: Sequence[Run]) -> list[Run]:
    """The Snapshots of the environment. Environments of several namespaces may have one name."""
    place = environment["metadata"]["namespace"], environment["metadata"]["name"]
    return [run for run in runs if run.kind.kind == "Snapshot" and (run.namespace, run.environment) == place]


def _last_snapshot(runs: Sequence[Run], now: datetime) -> Text:
    ends = [ended for run in runs if run.good and (ended := run.ended()) is not None]
    return Text(f"{duration((now - max(ends)).total_seconds())} ago") if ends else Text("none", style="yellow")


def _remote(environment: Object, runs: Sequence[Run]) -> Text:
    """How many of the snapshots have a copy in the remote store."""
    every = [run.status.remote for run in runs if isinstance(run.status, SnapshotStatus)]
    copies = [remote for remote in every if remote is not None]
    if not copies and "remoteStoreRef" not in environment["spec"]:
        return Text("-")
    done, failed = (sum(r.state == state for r in copies) for state in ("Completed", "Failed"))
    text = f"{done} copied" + (f", {len(copies) - done - failed} pending" if len(copies) > done + failed else "")
    return Text(f"{text}, {failed} failed" if failed else text, style="red" if failed else "")
