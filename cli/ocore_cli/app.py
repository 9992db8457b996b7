"""The commands. Exit code 0: done, and it went well; 1: it failed, or could not be done; 2: wrong usage."""

import getpass
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ocore_crds.base import API_VERSION
from ocore_crds.kinds import ENVIRONMENT, ROLLBACK, SNAPSHOT, SNAPSHOT_STORE, Kind

from . import tables
from .display import display_for
from .errors import CliError
from .follow import follow
from .objects import KubernetesObjects, Objects
from .runs import Run, patience, run_of

app = typer.Typer(
    name="kubectl ocore",
    help="Snapshots and rollbacks of applications (ocore.dev).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace; default is the context's.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
Kubeconfig = Annotated[str | None, typer.Option("--kubeconfig", help="Path of the kubeconfig; default $KUBECONFIG.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end, with progress; exit code 1 where it fails.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=1, help="Seconds to wait at most; default is the operation's own deadline."),
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the new object; default is made from the time.")]


class WatchedKind(StrEnum):
    """What can be watched."""

    SNAPSHOT = "snapshot"
    ROLLBACK = "rollback"


@app.command()
def status(
    namespace: Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Environments, stores and what runs at the moment, with the words that mend what is not ready."""
    show_status(KubernetesObjects(kubeconfig, context, namespace), Console(), everywhere=all_namespaces)


@app.command()
def snapshot(
    environment: Annotated[str, typer.Argument(help="Environment to take a snapshot of.")],
    name: Name = None,
    wait: Wait = False,
    timeout: Timeout = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte again before it is Verified.")] = False,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Delete the stored data together with the Snapshot object.")
    ] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Take a snapshot of an environment."""
    objects = KubernetesObjects(kubeconfig, context, namespace)
    if objects.get(ENVIRONMENT, environment) is None:
        raise CliError(
            f"there is no environment {environment} in namespace {objects.namespace}: kubectl ocore status -A"
        )
    spec: dict[str, Any] = {"environmentRef": {"name": environment}, "requestedBy": _requester()}
    if verify:
        spec["verify"] = "Full"
    if delete_data:
        spec["deletionPolicy"] = "Delete"
    create_and_wait(objects, SNAPSHOT, name or _timed(environment), spec, wait=wait, timeout=timeout)


@app.command()
def rollback(
    snapshot: Annotated[str, typer.Argument(help="Complete snapshot to go back to.")],
    name: Name = None,
    wait: Wait = False,
    timeout: Timeout = None,
    undo_window: Annotated[
        int | None, typer.Option("--undo-window", min=0, help="Seconds that the previous database is kept.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Bring an environment back to a snapshot, or leave it as it is."""
    objects = KubernetesObjects(kubeconfig, context, namespace)
    found = objects.get(SNAPSHOT, snapshot)
    if found is None:
        raise CliError(f"there is no snapshot {snapshot} in namespace {objects.namespace}: kubectl get osnap -A")
    source = run_of(SNAPSHOT, found)
    if source.outcome != "Complete":
        raise CliError(f"snapshot {snapshot} is {source.phase}, not Complete: nothing can be restored from it")
    spec: dict[str, Any] = {"snapshotRef": {"name": snapshot}, "requestedBy": _requester()}
    if undo_window is not None:
        spec["undoWindowSeconds"] = undo_window
    create_and_wait(objects, ROLLBACK, name or _timed(f"back-to-{snapshot}"), spec, wait=wait, timeout=timeout)


@app.command()
def watch(
    kind: Annotated[WatchedKind, typer.Argument(help="snapshot or rollback.")],
    name: Annotated[str, typer.Argument(help="Name of the object.")],
    timeout: Timeout = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Follow a snapshot or a rollback to its end, with progress; exit code 1 where it fails."""
    objects = KubernetesObjects(kubeconfig, context, namespace)
    wait_for_end(objects, SNAPSHOT if kind is WatchedKind.SNAPSHOT else ROLLBACK, name, timeout, Console())


def show_status(objects: Objects, console: Console, *, everywhere: bool = False) -> None:
    """Prints the tables."""
    now = datetime.now(UTC)
    found_environments = objects.list(ENVIRONMENT, everywhere=everywhere)
    found_stores = objects.list(SNAPSHOT_STORE, everywhere=everywhere)
    runs = [run_of(kind, o) for kind in (SNAPSHOT, ROLLBACK) for o in objects.list(kind, everywhere=everywhere)]
    where = "any namespace" if everywhere else f"namespace {objects.namespace}"
    if not found_environments and not found_stores:
        console.print(Text(f"no environments and no stores in {where}"))
    else:
        console.print(tables.environments(found_environments, runs, everywhere, now), "")
        console.print(tables.stores(found_stores, everywhere), "")
    active = [r for r in runs if r.outcome is None]
    console.print(tables.running(active, now) if active else Text("Nothing runs."))
    for kind, found in ((ENVIRONMENT, found_environments), (SNAPSHOT_STORE, found_stores)):
        for obj in found:
            tables.print_troubles(console, *tables.object_troubles(kind, obj))
    for run in active:
        tables.print_troubles(console, f"{run.kind.singular} {run.name}", run.troubles())


def create_and_wait(
    objects: Objects, kind: Kind, name: str, spec: dict[str, Any], *, wait: bool, timeout: float | None
) -> None:
    """Creates the object, says how to follow it, or follows it."""
    console = Console()
    body = {
        "apiVersion": API_VERSION,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": objects.namespace},
        "spec": spec,
    }
    objects.create(kind, body)
    console.print(Text(f"{kind.singular}.ocore.dev/{name} created"))
    if wait:
        wait_for_end(objects, kind, name, timeout, console)
    else:
        console.print(Text(f"follow it: kubectl ocore watch {kind.singular} {name} -n {objects.namespace}"))


def wait_for_end(objects: Objects, kind: Kind, name: str, timeout: float | None, console: Console) -> None:
    """Follows to the end; exits with 1 where it failed."""
    first = objects.get(kind, name)
    if first is None:
        raise CliError(f"there is no {kind.singular} {name} in namespace {objects.namespace}")

    def read() -> Run | None:
        obj = objects.get(kind, name)
        return run_of(kind, obj) if obj is not None else None

    limit = timeout if timeout is not None else patience(kind, first.get("spec", {}))
    run = follow(read, display_for(console), limit)
    took = f" after {_seconds(run)}"
    if run.outcome == "Complete":
        console.print(Text.assemble((f"{kind.kind} {name} is Complete", "bold green"), took))
        if run.result():
            console.print(Text(f"  {run.result()}"), soft_wrap=True)
        return
    console.print(Text.assemble((f"{kind.kind} {name} has Failed", "bold red"), took))
    tables.print_troubles(console, f"{kind.singular} {name}", run.troubles())
    if run.result():
        console.print(Text(f"  {run.result()}"), soft_wrap=True)
    raise typer.Exit(1)


def _seconds(run: Run) -> str:
    return f"{run.elapsed(datetime.now(UTC)):.1f} s"


def _timed(prefix: str) -> str:
    # 200 is the longest name; the time takes 16.
    return f"{prefix[:184]}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def _requester() -> str:
    try:
        return f"kubectl-ocore {getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name
        return "kubectl-ocore"


def main() -> None:
    """The console script."""
    try:
        app(prog_name="kubectl ocore")
    except CliError as error:
        print(f"kubectl ocore: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("kubectl ocore: stopped watching; the operation goes on by itself", file=sys.stderr)
        sys.exit(130)
