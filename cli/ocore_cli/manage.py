"""The commands of kubectl's habits: list, show, change and delete our objects. What they print can be read by
programs."""

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import typer
import yaml
from rich.text import Text

from ocore_crds.group import GROUP
from ocore_crds.kinds import ENVIRONMENT, KINDS, ROLLBACK, SNAPSHOT, SNAPSHOT_POLICY, SNAPSHOT_STORE, Kind
from ocore_crds.naming import ANNOTATION_VERIFY_REQUESTED, LABEL_UID
from ocore_crds.text.quantity import human
from ocore_crds.text.sentences import escaped
from ocore_crds.text.timestamps import exact

from .errors import FAILED, CliError, Denied, Refused, TimedOut, Unreachable
from .interrupts import pause
from .objects import Objects, items, needed, pages
from .options import Cluster, Commands, EnvironmentName, SnapshotName, named, reference
from .terminal import Console

Object = dict[str, Any]
Output = Literal["table", "wide", "json", "yaml", "name"]
#: The API server's own columns: those of `kubectl get`.
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
#: Columns with bytes.
_BYTES = ("STORED", "BYTES", "READ")
#: Seconds between two reads of --watch and --wait.
PAUSE = 1.0

commands = Commands()
Reference = Annotated[list[str], typer.Argument(metavar="KIND/NAME", help="For example osnap/NAME, or KIND NAME.")]


@commands.command(name="list", hidden=True)
@commands.command()
def get(
    cluster: Cluster,
    what: Annotated[
        list[str], typer.Argument(metavar="KIND [NAME]", help="For example osnap, osnap/NAME, osnap NAME.")
    ],
    output: Annotated[Output, typer.Option("--output", "-o", help="Format.")] = "table",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then print each change, until Ctrl-C.")] = False,
) -> None:
    """List objects, with the columns of kubectl get."""
    kind, name = _kind_and_name(what)
    if all_namespaces and name:
        raise typer.BadParameter("--all-namespaces goes without a name")
    objects = cluster.objects()
    if output in ("table", "wide"):
        _print_table(objects, kind, name, wide=output == "wide", everywhere=all_namespaces, watch=watch)
        return
    if watch:
        raise typer.BadParameter("--watch goes with -o table and -o wide")
    if output == "name":
        names = [needed(objects, kind, name)["metadata"]["name"]] if name else names_of(objects, kind, all_namespaces)
        _write(f"{kind.singular}.{GROUP}/{each}" for each in names)
        return
    found = [needed(objects, kind, name)] if name else objects.list(kind, everywhere=all_namespaces)
    data: Object = found[0] if name else {"apiVersion": "v1", "kind": "List", "items": found}
    _write([json.dumps(data, indent=2) if output == "json" else yaml.safe_dump(data, sort_keys=False).rstrip()])


@commands.command()
def describe(cluster: Cluster, what: Reference) -> None:
    """Show an object: its spec, conditions with whole messages, steps and events."""
    kind, name = reference(what, KINDS)
    objects = cluster.objects()
    _write(_described(kind, needed(objects, kind, name), _events(objects, kind, name)))


@commands.command()
def logs(
    cluster: Cluster,
    what: Reference,
    tail: Annotated[int, typer.Option(min=1, help="Lines of each pod.")] = 200,
) -> None:
    """Print the logs of an object's Jobs."""
    kind, name = reference(what, KINDS)
    objects = cluster.objects()
    uid = needed(objects, kind, name)["metadata"].get("uid", "")
    path = f"/api/v1/namespaces/{objects.namespace}/pods"
    pods = items(objects.read(path, {"labelSelector": f"{LABEL_UID}={uid}"}))
    if not pods:
        raise CliError(
            f"{kind.singular} {name} has no pod: they are removed with their Jobs. kubectl ocore describe"
            f" {kind.singular}/{name} shows how it ended"
        )
    for pod in sorted(pods, key=lambda p: str(p["metadata"].get("creationTimestamp"))):
        own = pod["metadata"]["name"]
        _write([f"# pod/{own}", objects.text(f"{path}/{own}/log", {"tailLines": str(tail)}).rstrip()])


@commands.command()
def pin(
    cluster: Cluster,
    snapshot: SnapshotName,
    label: Annotated[str, typer.Option(help="Why it is kept.")] = "",
) -> None:
    """Pin a snapshot: it cannot be deleted until it is unpinned."""
    _patch(cluster.objects(), SNAPSHOT, snapshot, {"pin": {"label": label}}, "pinned")


@commands.command()
def unpin(cluster: Cluster, snapshot: SnapshotName) -> None:
    """Unpin a snapshot: the rules of its policy apply again."""
    _patch(cluster.objects(), SNAPSHOT, snapshot, {"pin": None}, "unpinned")


@commands.command()
def suspend(cluster: Cluster, environment: EnvironmentName) -> None:
    """Suspend an environment's SnapshotPolicy: no snapshots are scheduled, and retention continues."""
    name = named(environment, ENVIRONMENT)
    _patch(cluster.objects(), SNAPSHOT_POLICY, name, {"suspend": True}, "suspended")


@commands.command()
def resume(cluster: Cluster, environment: EnvironmentName) -> None:
    """Resume an environment's SnapshotPolicy."""
    name = named(environment, ENVIRONMENT)
    _patch(cluster.objects(), SNAPSHOT_POLICY, name, {"suspend": False}, "resumed")


@commands.command()
def verify(
    cluster: Cluster,
    snapshot: SnapshotName,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result; exit code 1 if bytes differ.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Most seconds to wait.")] = 3600,
) -> None:
    """Have every byte of a snapshot read again, in its own store: also of a Corrupt one whose objects were put back."""
    name = named(snapshot, SNAPSHOT)
    objects = cluster.objects()
    if needed(objects, SNAPSHOT, name).get("status", {}).get("phase") == "Failed":
        raise CliError(f"snapshot {name} has failed: it has no data to read. Use another one")
    objects.patch(
        SNAPSHOT, name, {"metadata": {"annotations": {ANNOTATION_VERIFY_REQUESTED: exact(datetime.now(UTC))}}}
    )
    _write([f"{SNAPSHOT.singular}.{GROUP}/{name} is read again"])
    if wait and not _verified(objects, name, timeout):
        raise typer.Exit(FAILED)


@commands.command()
def delete(
    cluster: Cluster,
    what: Reference,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask no question: for scripts.")] = False,
) -> None:
    """Delete a snapshot, or cancel or delete a rollback. Says what becomes of the data, and asks for the name."""
    from . import confirm

    kind, name = reference(what, (SNAPSHOT, ROLLBACK))
    objects, console = cluster.objects(), Console()
    obj = needed(objects, kind, name)
    if not yes:
        if not confirm.is_interactive():
            raise CliError(
                "no question can be asked, because the standard input is no terminal: add --yes to delete without a"
                " question"
            )
        console.print(Text(_becomes(objects, kind, obj)), soft_wrap=True)
        if confirm.answer(console, f"Type the {kind.singular}'s name to delete it: ") != name:
            raise Refused(f"not deleted: that is not {name!r}")
    objects.delete(kind, name)
    _write([f"{kind.singular}.{GROUP}/{name} deleted"])


@commands.command()
def version(cluster: Cluster) -> None:
    """Print the version of this program, and of the operators where they can be read."""
    from .doctor import operators_of

    try:
        own = importlib.metadata.version("ocore-snapshots")
    except importlib.metadata.PackageNotFoundError:
        own = "unknown (a checkout)"
    _write([f"kubectl ocore {own}"])
    try:
        objects = cluster.objects()
        found, _ = operators_of(objects)
    except (CliError, Denied, Unreachable) as error:
        _write([f"operator unknown: {error}"])
        return
    for obj in found:
        meta = obj["metadata"]
        _write(
            [
                f"operator {meta['namespace']}/{meta['name']}"
                f" {(meta.get('labels') or {}).get('app.kubernetes.io/version', 'unknown')}"
            ]
        )


# --- what they are made of


def _write(lines: Iterator[str] | list[str]) -> None:
    """Whole lines, whatever the terminal's width. Not by rich: it needs seconds for 20,000 lines."""
    sys.stdout.writelines(f"{escaped(line)}\n" for line in lines)
    sys.stdout.flush()


def _kind_and_name(words: list[str]) -> tuple[Kind, str]:
    if len(words) == 1 and "/" not in words[0]:
        prefix = words[0].lower().removesuffix(f".{GROUP}")
        for kind in KINDS:
            if prefix in (kind.singular, kind.plural, kind.short):
                return kind, ""
    return reference(words, KINDS)


def _patch(objects: Objects, kind: Kind, name: str, spec: Object, done: str) -> None:
    name = named(name, kind)
    objects.patch(kind, name, {"spec": spec})
    _write([f"{kind.singular}.{GROUP}/{name} {done}"])


def _verified(objects: Objects, name: str, timeout: float) -> bool:
    from ocore_crds.resources import read_back
    from ocore_crds.resources.snapshot import SnapshotStatus

    why = ""
    for _ in range(int(timeout / PAUSE) + 1):
        obj = needed(objects, SNAPSHOT, name)
        status = SnapshotStatus.model_validate(obj.get("status") or {})
        found = status.read_back
        if found is not None and not read_back.is_open(obj):
            text = f"every byte of snapshot {name} was read and matches"
            _write([text if found.result == "Matched" else f"{found.result}: {found.message}"])
            return found.result == "Matched"
        if status.phase == "Failed":
            raise CliError(f"snapshot {name} has failed: it has no data to read")
        why = f": {found.message}" if found is not None and found.result is None else ""
        pause(PAUSE)
    raise TimedOut(
        f"snapshot {name} is not verified after {timeout:.0f} s{why}. It continues; see:"
        f" kubectl ocore describe osnap/{name}"
    )


def _becomes(objects: Objects, kind: Kind, obj: Object) -> str:
    """What a deletion does, for people."""
    if kind is ROLLBACK:
        return (
            "A rollback that has not switched is cancelled, and the environment is as it was. One that has switched"
            " loses the database that an undo needs."
        )
    status = obj.get("status") or {}
    if obj["spec"].get("deletionPolicy") != "Delete":
        return "Its data stays in the store (deletionPolicy Retain), and can be adopted by its id."
    if "imported" in status and not status["imported"].get("takenOver"):
        return "Its data stays in the store: it was imported, and its SnapshotStore has not taken over (takeOver)."
    stores = (status.get("storeName"), (status.get("remote") or {}).get("storeName"))
    locks = [_locked(objects, name) for name in dict.fromkeys(filter(None, stores))]
    return " ".join(("Its data in the store is deleted with it (deletionPolicy Delete).", *filter(None, locks)))


def _locked(objects: Objects, store: str) -> str:
    """Until when a store keeps what is deleted; empty: it has no lock, as far as its SnapshotStore says."""
    try:
        found = objects.get(SNAPSHOT_STORE, store)
    except Denied:
        return f"SnapshotStore {store} cannot be read: what it locks stays until the lock ends."
    lock = ((found or {}).get("spec", {}).get("s3") or {}).get("lock")
    if lock is None:
        return ""
    latest = datetime.now(UTC) + timedelta(days=lock["days"])
    return (
        f"But SnapshotStore {store} locks objects for {lock['days']} days: what is locked stays, by this setting until"
        f" {latest:%Y-%m-%d} at the latest. The Snapshot stays as long, with the reason RetainedByStore and the date."
    )


def _tables(objects: Objects, kind: Kind, name: str, *, everywhere: bool, of_each: str) -> Iterator[Object]:
    """The table that the API server prints of the object, or of all of them, in pages. `of_each`: what it sends of each
    object beside its row, None or Metadata."""
    return pages(objects, kind, name, {"includeObject": of_each}, TABLE, everywhere=everywhere)


def names_of(objects: Objects, kind: Kind, everywhere: bool = False) -> list[str]:
    """Of all objects. Their metadata would be ten times the bytes."""
    found: list[str] = []
    for answer in _tables(objects, kind, "", everywhere=everywhere, of_each="None"):
        (place,) = [n for n, column in enumerate(answer["columnDefinitions"]) if column.get("format") == "name"]
        found += (row["cells"][place] for row in answer.get("rows") or ())
    return found


def _rows(
    objects: Objects, kind: Kind, name: str, *, wide: bool, everywhere: bool
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Header and rows, as the API server prints them."""
    header: list[str] = []
    rows: list[tuple[str, ...]] = []
    of_each = "Metadata" if everywhere else "None"  # a row does not have the namespace
    for answer in _tables(objects, kind, name, everywhere=everywhere, of_each=of_each):
        shown = [n for n, column in enumerate(answer["columnDefinitions"]) if wide or not column.get("priority")]
        header = [answer["columnDefinitions"][n]["name"].upper() for n in shown]
        for row in answer.get("rows") or ():
            cells = tuple(_cell(row["cells"][n], header[at]) for at, n in enumerate(shown))
            rows.append((row["object"]["metadata"]["namespace"], *cells) if everywhere else cells)
    return (["NAMESPACE", *header] if everywhere else header), rows


def _cell(value: Any, column: str) -> str:
    if value is None:
        return ""
    return human(value) if column in _BYTES and isinstance(value, int) else str(value)


def _print_table(objects: Objects, kind: Kind, name: str, *, wide: bool, everywhere: bool, watch: bool) -> None:
    header, rows = _rows(objects, kind, name, wide=wide, everywhere=everywhere)
    if not rows and not watch:
        where = "any namespace" if everywhere else f"namespace {objects.namespace}"
        print(f"No {kind.plural} in {where}.", file=sys.stderr)
        return
    _write(_aligned([tuple(header), *rows]))
    key = 2 if everywhere else 1
    while watch:
        pause(PAUSE)
        known = {row[:key]: row for row in rows}
        _, rows = _rows(objects, kind, name, wide=wide, everywhere=everywhere)
        # The age of an object is no change.
        changed = [row for row in rows if known.get(row[:key], ())[:-1] != row[:-1]]
        _write(_aligned([tuple(header), *rows], changed))


def _aligned(rows: list[tuple[str, ...]], only: list[tuple[str, ...]] | None = None) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if only is None else only:
        yield "   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _events(objects: Objects, kind: Kind, name: str) -> list[Object]:
    query = {"fieldSelector": f"involvedObject.kind={kind.kind},involvedObject.name={name}"}
    try:
        found = items(objects.read(f"/api/v1/namespaces/{objects.namespace}/events", query))
    except Denied:
        return []
    return sorted(found, key=lambda e: str(e.get("lastTimestamp")))


def _described(kind: Kind, obj: Object, events: list[Object]) -> Iterator[str]:
    meta, status = obj["metadata"], obj.get("status") or {}
    yield f"{kind.kind} {meta.get('namespace', '')}/{meta['name']}: {status.get('phase') or 'Pending'}"
    yield "Spec:"
    yield from (f"  {line}" for line in yaml.safe_dump(obj.get("spec") or {}, sort_keys=False).splitlines())
    yield "Conditions:"
    for condition in status.get("conditions") or ():
        yield (
            f"  {condition['type']}={condition['status']} {condition['reason']}, since"
            f" {condition.get('lastTransitionTime')}"
        )
        yield from (f"    {line}" for line in str(condition.get("message", "")).splitlines())
    if status.get("steps"):
        yield "Steps:"
        yield from (f"  {s['name']}: {s['state']} {s.get('message', '')}".rstrip() for s in status["steps"])
    if events:
        yield "Events:"
        yield from (f"  {e.get('lastTimestamp')} {e.get('type')} {e.get('reason')}: {e.get('message')}" for e in events)
