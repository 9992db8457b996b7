"""The commands. Exit code 0: succeeded; others: errors.py, and 2: wrong usage.

What a command does is imported by its function. A start loads the options of all commands, and the models of the kinds
take longer than that (tests/unit/cli/test_start_loads.py)."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from ocore_crds.kinds import ENVIRONMENT, ROLLBACK, SNAPSHOT, SNAPSHOT_POLICY, SNAPSHOT_STORE, Kind
from ocore_crds.text.sentences import escaped

from . import manage, selection
from .errors import FAILED, FINDINGS, CliError, Refused, TimedOut
from .objects import Objects, missing, needed
from .options import (
    AsOutput,
    Cluster,
    Commands,
    EnvironmentName,
    Operation,
    Seconds,
    SnapshotName,
    Tried,
    named,
    reference,
)
from .proposal import Given
from .terminal import Console

if TYPE_CHECKING:
    from .runs import Run

app = Commands(
    name="kubectl ocore",
    help="Snapshots and rollbacks of applications (ocore.dev).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until it is terminal, with progress; exit code 1 if it fails.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=1,
        help="Most seconds to wait; the default is the operation's own deadline (status.deadline) and 90 s.",
    ),
]
RestoreImage = Literal["Never", "Always", "WaitForGit"]
Neutralize = Literal["Auto", "Always", "Never"]


@dataclass(frozen=True)
class Restore:
    """Options of what is restored into which environment."""

    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="ENVIRONMENT",
            help=(
                "Environment in this namespace that becomes a copy of the snapshot's; the default is the one that the"
                " snapshot was taken of."
            ),
        ),
    ] = None
    snapshot_namespace: Annotated[
        str | None, typer.Option("--snapshot-namespace", help="Namespace of the snapshot, where that is another one.")
    ] = None
    source_store: Annotated[
        str | None,
        typer.Option(
            "--source-store", help="SnapshotStore in this namespace that the snapshot is read from, for a copy."
        ),
    ] = None
    identity_secret: selection.IdentitySecret = None
    neutralize: Annotated[
        Neutralize | None,
        typer.Option("--neutralize", help="Whether the restored copy is neutralised: Auto (default), Always or Never."),
    ] = None

    def spec(self, snapshot: str) -> dict[str, Any]:
        """The spec of a Rollback to the snapshot. Raises a usage error where a snapshot of another namespace has no
        target."""
        if self.snapshot_namespace is not None and self.into is None:
            raise typer.BadParameter("--snapshot-namespace needs --into: the environment in this namespace to replace")
        spec: dict[str, Any] = {"snapshotRef": {"name": snapshot}}
        if self.snapshot_namespace is not None:
            spec["snapshotRef"]["namespace"] = self.snapshot_namespace
        if self.into is not None:
            spec["targetEnvironmentRef"] = {"name": named(self.into, ENVIRONMENT)}
        if self.source_store is not None:
            spec["sourceStoreRef"] = {"name": named(self.source_store, SNAPSHOT_STORE)}
        if self.identity_secret is not None:
            spec["identitySecretRef"] = {"name": self.identity_secret}
        if self.neutralize is not None:
            spec["neutralize"] = self.neutralize
        return spec


@dataclass(frozen=True)
class Taken:
    """Options of how a snapshot is taken and kept."""

    verify: Annotated[
        bool, typer.Option("--verify", help="Also read every byte again; the Snapshot is then Verified.")
    ] = False
    by_policy: Annotated[
        bool,
        typer.Option(
            "--by-policy",
            help=(
                "Keep it as long as the SnapshotPolicy's rules say, then delete it with its data: as a snapshot of the"
                " REST API."
            ),
        ),
    ] = False
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Delete the stored data together with the Snapshot object.")
    ] = False
    quiesce: Annotated[
        bool,
        typer.Option("--quiesce", help="Stop the environment's workloads for the freeze, then start them again."),
    ] = False

    def spec(self) -> dict[str, Any]:
        """Fields of a Snapshot."""
        spec: dict[str, Any] = {"verify": "Full"} if self.verify else {}
        if self.delete_data or self.by_policy:
            spec["deletionPolicy"] = "Delete"
        if self.by_policy:
            spec["retention"] = "Policy"
        return spec | ({"quiesce": True} if self.quiesce else {})


Name = Annotated[str | None, typer.Option("--name", help="Name of the new object; the default contains the time.")]


@app.command()
def status(
    cluster: Cluster,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")] = False,
) -> None:
    """Show environments, stores and running operations, with the remedy for what is not ready."""
    from . import tables

    tables.show_status(cluster.objects(), Console(), everywhere=all_namespaces)


@app.command()
def snapshot(
    taken: Taken,
    cluster: Cluster,
    environment: Annotated[str, typer.Argument(help="Environment to take a snapshot of: NAME or oenv/NAME.")],
    name: Name = None,
    wait: Wait = False,
    timeout: Timeout = None,
    deployment: Annotated[
        str | None,
        typer.Option(
            "--before-deployment",
            metavar="ID",
            help=(
                "Before a deployment: wait, and obey the SnapshotPolicy (autoEnabled, failurePolicy). ID: a UUID, or"
                " any text."
            ),
        ),
    ] = None,
) -> None:
    """Take a snapshot of an environment."""
    environment = named(environment, ENVIRONMENT)
    if deployment is not None and (name is not None or taken.delete_data):
        raise typer.BadParameter("--before-deployment goes without --name and --delete-data: the policy decides")
    objects = cluster.objects()
    if deployment is not None:
        from . import before_deployment

        before_deployment.run(
            objects, Console(), environment, deployment, objects.user(), verify=taken.verify, timeout=timeout
        )
        return
    needed(objects, ENVIRONMENT, environment)
    spec = {"environmentRef": {"name": environment}, "requestedBy": objects.user(), **taken.spec()}
    note = "it is kept until it is deleted: the rules of the SnapshotPolicy do not apply to it (--by-policy: they do)"
    create_and_wait(
        objects,
        SNAPSHOT,
        name or _timed(environment),
        spec,
        wait=wait,
        timeout=timeout,
        note="" if taken.by_policy else note,
    )


@app.command()
def rollback(
    restore: Restore,
    cluster: Cluster,
    snapshot: Annotated[str, typer.Argument(help="Complete snapshot to return to: NAME or osnap/NAME.")],
    name: Name = None,
    wait: Wait = False,
    timeout: Timeout = None,
    undo_window: Annotated[
        int | None, typer.Option("--undo-window", min=0, help="Seconds that the previous database is kept.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Show no preview and ask no question: for scripts.")] = False,
    safety_snapshot: Annotated[
        bool, typer.Option("--safety-snapshot", help="Also take a snapshot of the environment before it is switched.")
    ] = False,
    restore_image: Annotated[
        RestoreImage | None,
        typer.Option(
            "--restore-image",
            help="Whether the workloads get the snapshot's image: Never (default), Always, or WaitForGit.",
        ),
    ] = None,
) -> None:
    """Return an environment to a snapshot, or leave it unchanged. Shows a preview first and asks for the environment's
    name."""
    snapshot = named(snapshot, SNAPSHOT)
    spec = restore.spec(snapshot)
    objects = cluster.objects()
    spec["requestedBy"] = objects.user()
    # The rights of a person often end with the namespace. There the operator decides, by the preview or by the
    # Rollback.
    here = restore.snapshot_namespace in (None, objects.namespace)
    environment = _restorable(objects, snapshot).environment if here else ""
    _need_target(objects, spec)
    if safety_snapshot:
        spec["createSafetySnapshot"] = True
    if restore_image is not None:
        spec["restoreImage"] = restore_image
    if undo_window is not None:
        spec["undoWindowSeconds"] = undo_window
    if not yes:
        from . import confirm

        confirm.ask(objects, Console(), spec.get("targetEnvironmentRef", {}).get("name") or environment, spec)
    create_and_wait(objects, ROLLBACK, name or _timed(f"back-to-{snapshot}"), spec, wait=wait, timeout=timeout)


@app.command(name="preview")
def show_preview(
    restore: Restore,
    cluster: Cluster,
    snapshot: Annotated[str, typer.Argument(help="Complete snapshot to return to: NAME or osnap/NAME.")],
    output: AsOutput = "text",
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit code 1 if the rollback would be refused, or not everything could be read."),
    ] = False,
    timeout: Seconds = None,
) -> None:
    """Show what a rollback to a snapshot would do and what would refuse it. Changes nothing."""
    spec = restore.spec(named(snapshot, SNAPSHOT))
    objects = cluster.objects()
    spec["requestedBy"] = objects.user()
    _need_target(objects, spec)
    from . import preview

    report = preview.make(objects, Console(stderr=True), spec, timeout=timeout)
    preview.show(Console(), report, output)
    if check and not report.preview.would_run:
        raise typer.Exit(1)


def _need_target(objects: Objects, spec: dict[str, Any]) -> None:
    """Raises CliError where an object of this namespace that the Rollback names does not exist."""
    for field, kind in (("targetEnvironmentRef", ENVIRONMENT), ("sourceStoreRef", SNAPSHOT_STORE)):
        name = spec.get(field, {}).get("name")
        if name is not None:
            needed(objects, kind, name)


def _restorable(objects: Objects, snapshot: str) -> "Run":
    """The Snapshot. Raises CliError where it cannot be restored."""
    from .runs import run_of

    source = run_of(SNAPSHOT, needed(objects, SNAPSHOT, snapshot))
    if source.outcome == "Complete" and not source.restorable:
        why = source.problems()[0].message
        raise Refused(f"snapshot {snapshot} is Corrupt: {why}")
    if source.outcome != "Complete":
        raise Refused(f"snapshot {snapshot} is {source.phase}, not Complete: it cannot be restored")
    return source


@app.command()
def undo(
    cluster: Cluster,
    rollback: Annotated[
        str,
        typer.Argument(help="Finished rollback inside its undo window: NAME or orb/NAME. It may be an undo itself."),
    ],
    name: Name = None,
    wait: Wait = False,
    timeout: Timeout = None,
    undo_window: Annotated[
        int | None, typer.Option("--undo-window", min=0, help="Seconds that what is live now is kept.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask no question: for scripts.")] = False,
) -> None:
    """Undo a rollback in seconds: what was live before it becomes live again. What is live now is kept for the undo's
    own window. Shows what is set aside and asks for the environment's name."""
    from . import confirm
    from .runs import run_of

    rollback = named(rollback, ROLLBACK)
    objects = cluster.objects()
    found = needed(objects, ROLLBACK, rollback)
    source, now = run_of(ROLLBACK, found), datetime.now(UTC)
    refusal = source.not_undoable(now)
    if refusal:
        raise Refused(f"rollback {rollback} {refusal}")
    if not yes:
        confirm.ask_undo(objects, Console(), found, source, undo_window, now)
    spec: dict[str, Any] = {"undo": {"rollbackRef": {"name": rollback}}, "requestedBy": objects.user()}
    if undo_window is not None:
        spec["undoWindowSeconds"] = undo_window
    create_and_wait(objects, ROLLBACK, name or _timed(f"undo-{rollback}"), spec, wait=wait, timeout=timeout)


@app.command()
def watch(
    cluster: Cluster,
    operation: Operation,
    timeout: Timeout = None,
) -> None:
    """Follow a snapshot or a rollback until it is terminal, with progress; exit code 1 if it fails."""
    from .waiting import wait_for_end

    kind, name = reference(operation, (SNAPSHOT, ROLLBACK))
    objects = cluster.objects()
    wait_for_end(objects, kind, name, timeout, Console())


@app.command(name="evidence")
def show_evidence(
    cluster: Cluster,
    operation: Operation,
    output: AsOutput = "text",
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 if it is no clean success.")] = False,
) -> None:
    """Show whether a snapshot or a rollback is a clean success: what was required, what is proven, what is missing."""
    from . import evidence

    kind, name = reference(operation, (SNAPSHOT, ROLLBACK))
    objects = cluster.objects()
    if not evidence.show(objects, Console(), kind, name, output) and check:
        raise typer.Exit(1)


@app.command(name="certificate")
def show_certificate(
    cluster: Cluster,
    snapshot: SnapshotName,
    now: Annotated[
        bool, typer.Option("--now", help="First restore the snapshot as a test, and wait for the result.")
    ] = False,
    output: AsOutput = "text",
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=1, help="With --now: most seconds to wait; the default is no limit."),
    ] = None,
) -> None:
    """Print the certificate of a snapshot: when it was really restored, where, and every figure; exit code 1 if there
    is none that is valid now."""
    from . import certificate

    name = named(snapshot, SNAPSHOT)
    objects = cluster.objects()
    if now:
        certificate.wait(objects, name, certificate.request(objects, name), timeout)
    if not certificate.show(objects, Console(), name, output):
        raise typer.Exit(1)


@app.command(name="ls")
def list_files(
    access: selection.Access,
    cluster: Cluster,
    snapshot: Annotated[str, typer.Argument(help="Complete snapshot: NAME or osnap/NAME.")],
    path: Annotated[str, typer.Argument(help="Folder of the filestore; the default is the filestore itself.")] = "",
    list_tables: Annotated[bool, typer.Option("--tables", help="List the tables of the database instead.")] = False,
) -> None:
    """List a folder of a snapshot's filestore, or the tables of its database. Reads an S3 store with your own
    keys, and one on a claim by a pod of yours."""
    if list_tables and path:
        raise typer.BadParameter("--tables goes without a folder")
    from . import extracts

    objects = cluster.objects()
    notes, name = Console(stderr=True), named(snapshot, SNAPSHOT)
    extracts.show(objects, notes, Console(), name, path, access, tables=list_tables)


@app.command(name="cp")
def copy_files(
    rows: selection.Rows,
    access: selection.Access,
    cluster: Cluster,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SNAPSHOT:PATH",
            help=(
                "A file or folder of a snapshot's filestore, or attachments: @MODEL/ID[/NAME]. With --table: the"
                " snapshot."
            ),
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            help=(
                "A new file or folder here; or claim:FOLDER, a new folder at the root of the filestore's claim"
                " (restored, or restored-…); or with --table database:, a new schema of the live database."
            )
        ),
    ],
    timeout: Seconds = None,
) -> None:
    """Copy a file, a folder or tables out of a snapshot, beside what is live. Reads an S3 store with your own
    keys, and one on a claim by a pod of yours."""
    from . import extracts

    tables = rows.wanted(source, target)
    name, path = selection.snapshot_and_path(source) if tables is None else (source, "")
    objects, notes = cluster.objects(), Console(stderr=True)
    name = named(name, SNAPSHOT)
    if tables is not None and target == "database:":
        done = extracts.into_database(objects, notes, name, {**tables, **access.spec()}, timeout)
    elif target.startswith("claim:"):
        folder = target.removeprefix("claim:").strip("/")
        done = extracts.into_claim(objects, notes, name, {**selection.wanted(path), **access.spec()}, folder, timeout)
    else:
        done = extracts.copy(objects, notes, name, path, Path(target), access, timeout, tables)
    Console().print(Text(done), soft_wrap=True)


@app.command(name="keys")
def keys_of_snapshots(
    access: selection.Access,
    cluster: Cluster,
    action: Annotated[
        Literal["list", "add"],
        typer.Argument(help="list: who can open the snapshots. add: let one more recipient open them."),
    ],
    snapshots: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SNAPSHOT]...", help="The default is every encrypted snapshot of the namespace."),
    ] = None,
    recipient: Annotated[str, typer.Option("--recipient", help="With add: the new age recipient (age1…).")] = "",
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="STORE",
            help="The SnapshotStore, for example that of remote copies; the default is that of each snapshot.",
        ),
    ] = "",
) -> None:
    """List who can open encrypted snapshots, or add a recipient: one small object for each, and no data is read. Uses
    the store with your own keys, and for add your identity (--identity), which stays on this computer."""
    if (action == "add") != bool(recipient):
        raise typer.BadParameter("--recipient goes with add")
    from . import keys

    objects, notes = cluster.objects(), Console(stderr=True)
    names, store = [named(each, SNAPSHOT) for each in snapshots or ()], named(store, SNAPSHOT_STORE) if store else ""
    if action == "list":
        keys.show(objects, Console(), notes, names, access, store)
    else:
        Console().print(Text(keys.add(objects, notes, names, access, recipient, store)), soft_wrap=True)


@app.command(name="unhide")
def unhide_objects(
    access: selection.Access,
    cluster: Cluster,
    store: Annotated[str, typer.Argument(metavar="STORE", help="A SnapshotStore in S3.")],
    snapshots: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SNAPSHOT]...", help="The default is every snapshot that has data in the store."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write what is shown; the default only shows it.")] = False,
) -> None:
    """Make deleted and overwritten objects of snapshots the newest ones again, in a bucket with versioning. Uses the
    store with your own keys; writes new versions of what was stored, by its SHA-256, and deletes nothing."""
    from . import unhide

    objects = cluster.objects()
    names = [named(each, SNAPSHOT) for each in snapshots or ()]
    store = named(store, SNAPSHOT_STORE)
    if not unhide.run(objects, Console(), Console(stderr=True), store, names, access, apply=apply):
        raise typer.Exit(FAILED)


@app.command(name="retention")
def show_retention(
    tried: Tried,
    cluster: Cluster,
    environment: EnvironmentName,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of a GB and month in the store: shows what a month costs.")
    ] = None,
    remote_price: Annotated[
        float | None, typer.Option(min=0, help="The same of the remote store; the default is --price.")
    ] = None,
) -> None:
    """Show why each snapshot is kept and until when, what the next run deletes, and what is stored now and in a year.
    Changes nothing, also with other values."""
    from . import retention

    environment = named(environment, ENVIRONMENT)
    objects = cluster.objects()
    if objects.get(ENVIRONMENT, environment) is None and objects.get(SNAPSHOT_POLICY, environment) is None:
        raise missing(objects, ENVIRONMENT, environment)
    prices = retention.Prices(price, remote_price)
    retention.show(objects, Console(), environment, tried.rules(), datetime.now(UTC), prices)


@app.command(name="init")
def run_init(
    given: Given,
    cluster: Cluster,
    workload: Annotated[str, typer.Argument(metavar="WORKLOAD", help="deployment/NAME or statefulset/NAME.")],
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply what is shown, and wait until the Environment is Ready.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="With --apply: most seconds to wait.")] = 300,
) -> None:
    """Propose SnapshotStore, Environment and SnapshotPolicy for a workload: prints YAML with a comment for each choice.
    Changes nothing without --apply."""
    from . import init

    objects, notes = cluster.objects(), Console(stderr=True)
    proposed = init.documents(objects, notes, workload, given)
    init.show(proposed, objects.namespace)
    if apply and not init.apply(objects, notes, proposed, timeout):
        raise typer.Exit(1)


@app.command(name="doctor")
def run_doctor(
    cluster: Cluster,
    environment: Annotated[
        str | None, typer.Argument(help="Environment: NAME or oenv/NAME; without one all of the namespace are checked.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Have the operator probe first, and wait for what it finds.")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="With --probe: most seconds to wait.")] = 120,
) -> None:
    """Show what works, and what does not with the line that fixes it; exit code 5 if there is a problem. Changes
    nothing, but for the request of --probe: an annotation of the Environment."""
    from . import doctor, probing

    name = named(environment, ENVIRONMENT) if environment is not None else None
    objects = cluster.objects()
    late: TimedOut | None = None
    if probe:
        names = [name] if name is not None else [each["metadata"]["name"] for each in objects.list(ENVIRONMENT)]
        try:
            probing.probe(objects, Console(stderr=True), names, timeout, datetime.now(UTC))
        except TimedOut as error:
            late = error
    well = doctor.run(objects, Console(), name, datetime.now(UTC))
    if late is not None:
        raise late
    if not well:
        raise typer.Exit(FINDINGS)


@app.command(name="explain")
def show_explanation(
    reason: Annotated[
        str | None, typer.Argument(help="Reason of a condition, for example MissingGrants; without one all are listed.")
    ] = None,
) -> None:
    """Explain a reason: what happened, and what to do. Needs no cluster."""
    from . import explain

    explain.show(Console(), reason)


def create_and_wait(
    objects: Objects, kind: Kind, name: str, spec: dict[str, Any], *, wait: bool, timeout: float | None, note: str = ""
) -> None:
    """Creates the object and prints the note, then follows it or prints the command to follow it."""
    console = Console()
    objects.create(kind, kind.new(objects.namespace, spec, name=name))
    console.print(Text(f"{kind.singular}.ocore.dev/{name} created"), soft_wrap=True)
    if note:
        console.print(Text(note, style="dim"), soft_wrap=True)
    if wait:
        from .waiting import wait_for_end

        wait_for_end(objects, kind, name, timeout, console)
    else:
        console.print(
            Text(f"follow it: kubectl ocore watch {kind.singular}/{name} -n {objects.namespace}"), soft_wrap=True
        )


def _timed(prefix: str) -> str:
    # 200 is the longest name; the time takes 16.
    return f"{prefix[:184]}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


app.add_typer(manage.commands)


def main() -> None:
    """The console script."""
    try:
        app(prog_name="kubectl ocore")
    except CliError as error:
        print(f"kubectl ocore: {escaped(str(error))}", file=sys.stderr)
        sys.exit(error.code)
