"""The mover's command line: parses options, calls a command of :mod:`ocore_mover.commands`, returns its exit code.

Each command imports its own module when it is called: a Job runs one command, and most of a short Job's time is its
start.
"""

import gc

# The garbage collector would visit what the imports make again and again, a fifth of the start, and find nothing: all
# of it stays. commands.runtime.run enables it again.
if __name__ == "__main__":
    gc.disable()

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from pydantic import ValidationError

from ocore_crds.protocol import CleanupPart, Payload, StateResult, SwitchResult
from ocore_mover.commands.options import (
    AllowReplicationLoss,
    BaseOptions,
    Capacity,
    CommonOptions,
    EnvironmentId,
    Jobs,
    OptionalStoreOptions,
    RollbackId,
    Scratch,
    SnapshotId,
    SourceStoreOptions,
    StoreOptions,
    TargetOptions,
    expand,
    folder_store,
    uuid,
)
from ocore_mover.commands.runtime import GRACE, Runtime, run

if TYPE_CHECKING:
    from ocore_crds.manifest import Identity
    from ocore_crds.rollback_record import RollbackRun
    from ocore_crds.snapshot_state import StoredState
    from ocore_mover.commands.config_archive import Source
    from ocore_mover.commands.switcher import RollbackTarget
    from ocore_mover.filestore.folders import ClaimFolders
    from ocore_mover.rollback_records import RollbackRecords
    from ocore_mover.store.base import Store

Record = Annotated[
    str,
    typer.Option(
        metavar="JSON",
        help=(
            "The Rollback for the record in the store (rollback_record.RollbackRun), so that it runs once. Default: no"
            " record."
        ),
    ),
]

State = Annotated[
    str,
    typer.Option(
        metavar="JSON", help="Pin, retention and deletionPolicy for the state object (snapshot_state.StoredState)."
    ),
]

ConfigFile = Annotated[
    str, typer.Option(metavar="PATH", help="File with the configuration, below the claim's root, in place of --config.")
]

log = logging.getLogger(__name__)

app = typer.Typer(
    name="ocore_mover",
    help=(
        "Takes, verifies, restores and switches snapshots. Reports are JSON lines on stdout, logs are on stderr."
        " docs/mover.md shows every command in a shell."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # they print local variables, passwords among them
    add_completion=False,
)
_EXAMPLE = "    python -m ocore_mover "
_IDS = "--environment-id 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01"
_SNAPSHOT = f"{_IDS} --snapshot-id 0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"
_ROLLBACK = f"{_IDS} --rollback-id 9c7d1f0a-1111-4222-8333-444455556666"
_SITE = "--database ~/secret --claim /srv --filestore odoo/filestore/live"
#: Seconds for the switch to end after cancellation: it waits up to a minute for a server that restarts.
_SWITCH_GRACE = 90.0


def _example(text: str) -> str:
    return f"**Example**\n\n{_EXAMPLE}{text}"


def _attempt(attempt: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", attempt):
        raise typer.BadParameter(f"{attempt!r} is not valid; use at most 63 letters, digits and hyphens")
    return attempt


@app.command("probe", epilog=_example(f"probe {_SITE}"))
@expand
def probe(
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId = "00000000-0000-0000-0000-000000000000",
    rollback: Annotated[bool, typer.Option(help="Also check what a rollback needs.")] = True,
    jobs: Jobs = 2,
    propose_user: Annotated[
        bool,
        typer.Option("--propose-user", help="This user is not the application's: only report the owner of the files."),
    ] = False,
    store: Annotated[
        str, typer.Option(metavar="URL", help="file:///folder: also check that this user can store snapshots there.")
    ] = "",
    store_name: Annotated[str, typer.Option(help="What messages call the store. Default: its URL.")] = "",
    config_file: ConfigFile = "",
) -> None:
    """Report rights, sizes, extensions and filestore of an environment. Missing rights are a result, not a failure."""
    from ocore_mover.commands import probe as command

    target.check()
    folder = folder_store(store, store_name) if store else None
    _exit(
        lambda r: command.probe(
            r,
            target,
            environment_id,
            rollback=rollback,
            jobs=jobs,
            propose_user=propose_user,
            store=folder,
            config_file=config_file,
        ),
        common,
    )


@app.command("measure", epilog=_example(f"measure {_SITE}"))
@expand
def measure(
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId = "00000000-0000-0000-0000-000000000000",
) -> None:
    """Report the sizes of the live database and filestore, and nothing else."""
    from ocore_mover.commands import measure as command

    target.check()
    _exit(lambda r: command.measure(r, target, environment_id), common)


@app.command("prove", epilog=_example(f"prove --database ~/secret {_IDS} --scratch /tmp"))
@expand
def prove(
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    scratch: Scratch = Path("/tmp"),  # noqa: S108 - only the proof's own folder below it is used
    jobs: Jobs = 2,
) -> None:
    """Restore the schema of the live database into a scratch database and drop it. A restore that fails is a result."""
    from ocore_mover.commands.prove import ProofRun, ProveOptions

    server = target.server() if target.database is not None else None
    if server is None:
        raise typer.BadParameter("give --database", param_hint="--database")
    _exit(lambda r: ProofRun(r, ProveOptions(environment_id, server, scratch, jobs)).run(), common)


@app.command("probe-store", epilog=_example("probe-store --store file:///var/snapshots"))
@expand
def probe_store(where: StoreOptions, common: CommonOptions) -> None:
    """Check a store and write its id where it has none. Run this first for a new store. With --store-read-only it
    writes nothing."""
    from ocore_mover.commands import probe_store as command

    store = where.open()
    probe = command.read_store if where.store_read_only else command.probe_store
    _exit(lambda r: probe(r, store), common)


@app.command("snapshot", epilog=_example(f"snapshot --store file:///var/snapshots {_SITE} {_SNAPSHOT} --scratch /tmp"))
@expand
def snapshot(
    where: StoreOptions,
    target: TargetOptions,
    base: BaseOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    scratch: Scratch = Path("/tmp"),  # noqa: S108 - only the dump's own folder below it is used
    attempt: Annotated[str, typer.Option(callback=_attempt, help="Separates two writers of one snapshot.")] = "1",
    identity: Annotated[
        str,
        typer.Option(
            metavar="JSON", help="Identity for the manifest (manifest.Identity). Default: a development environment."
        ),
    ] = "",
    config: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The mounted ConfigMap to store.")] = None,
    config_file: ConfigFile = "",
    verify: Annotated[
        Literal["Checksums", "Full"], typer.Option(help="Full: read every byte again at the end.")
    ] = "Checksums",
    jobs: Jobs = 2,
    signal_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Quiesce: freeze when the signal appears in this file (downward API)."),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Quiesce: file to create when the command waits for its signal.")
    ] = None,
    wait: Annotated[float, typer.Option(min=1, help="Quiesce: seconds to wait for the signal.")] = 600.0,
    state: State = "",
) -> None:
    """Take a snapshot of database, filestore and configuration. The application keeps running."""
    from ocore_mover.commands.snapshot import Quiesce, SnapshotOptions, SnapshotRun

    target.check()
    if config_file and (config is not None or target.claim is None):
        raise typer.BadParameter("give it with --claim and without --config", param_hint="--config-file")
    chosen = base.choice()
    store = where.open()
    who = _identity(identity, environment_id, snapshot_id)
    _exit(
        lambda r: SnapshotRun(
            r,
            store,
            SnapshotOptions(
                identity=who,
                attempt=attempt,
                server=target.server(),
                folders=target.folders(environment_id),
                layout=target.layout,
                missing_files=target.missing_files,
                consistency=target.consistency,
                config=_config_source(config, target.folders(environment_id), config_file),
                scratch=scratch,
                jobs=jobs,
                verify=verify,
                quiesce=Quiesce(signal_file, ready_file, wait) if signal_file is not None else None,
                base=chosen,
                state=_state(state) if state else None,
            ),
        ).run(),
        common,
    )


def _config_source(folder: Path | None, folders: "ClaimFolders | None", path: str) -> "Source | None":
    from ocore_mover.commands.config_archive import ClaimFile, Keys

    if folders is not None and path:
        return ClaimFile(folders, path)
    return Keys(folder) if folder is not None else None


@app.command("verify", epilog=_example(f"verify --store file:///var/snapshots {_SNAPSHOT}"))
@expand
def verify(
    where: StoreOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    manifest_sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of the manifest.")] = None,
    jobs: Jobs = 2,
) -> None:
    """Read every byte of a snapshot and compare it with the manifest."""
    from ocore_mover.commands import verify as command

    store = where.open()
    _exit(
        lambda r: command.verify(r, store, environment_id, snapshot_id, sha256=manifest_sha256, jobs=jobs),
        common,
    )


@app.command(
    "write-state",
    epilog=_example(f'write-state --store file:///var/snapshots {_SNAPSHOT} --state {{"pinLabel":"audit"}}'),
)
@expand
def write_state(
    where: StoreOptions, common: CommonOptions, environment_id: EnvironmentId, snapshot_id: SnapshotId, state: State
) -> None:
    """Store pin, retention and deletionPolicy of a snapshot beside its manifest, for an import."""
    from ocore_mover import states

    store, wanted = where.open(), _state(state)
    _exit(
        lambda r: StateResult(state=states.replace(r.guarded(store), environment_id, snapshot_id, wanted)),
        common,
    )


@app.command(
    "test-restore",
    epilog=_example(
        f"test-restore --store file:///var/snapshots --database ~/secret {_SNAPSHOT} --scratch /tmp --capacity"
        " 50000000000"
    ),
)
@expand
def restore_test(
    where: StoreOptions,
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    scratch: Scratch = Path("/tmp"),  # noqa: S108 - only the test's own folders below it are used
    manifest_sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of the manifest.")] = None,
    capacity: Capacity = None,
    assertions: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Queries that must return no row in the restored database.")
    ] = None,
    separate_server: Annotated[
        bool,
        typer.Option("--separate-server", help="The server of --database is not the environment's own."),
    ] = False,
    jobs: Jobs = 1,
) -> None:
    """Restore a snapshot into a scratch database, check every row count, index and file, and drop it. What a restore
    would lack is a result."""
    from ocore_mover.commands.test_restore import RestoreTestOptions, RestoreTestRun

    store = where.open()
    _exit(
        lambda r: RestoreTestRun(
            r,
            store,
            RestoreTestOptions(
                environment_id=environment_id,
                snapshot_id=snapshot_id,
                manifest_sha256=manifest_sha256,
                server=target.server(dbname="postgres" if separate_server else ""),
                scratch=scratch,
                jobs=jobs,
                capacity=capacity,
                assertions=assertions,
                separate=separate_server,
            ),
        ).run(),
        common,
    )


@app.command("preview", epilog=_example(f"preview --store file:///var/snapshots {_SITE} {_SNAPSHOT}"))
@expand
def preview(
    where: StoreOptions,
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    manifest_sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of the manifest.")] = None,
    capacity: Capacity = None,
) -> None:
    """Report what a rollback would do: rows, files to move, space, what would refuse it. Changes nothing."""
    from ocore_mover.commands.preview import PreviewOptions, PreviewRun

    target.check()
    store = where.open()
    _exit(
        lambda r: PreviewRun(
            r,
            store,
            PreviewOptions(
                environment_id=environment_id,
                snapshot_id=snapshot_id,
                manifest_sha256=manifest_sha256,
                server=target.server(),
                folders=target.folders(environment_id),
                layout=target.layout,
                capacity=capacity,
            ),
        ).run(),
        common,
    )


@app.command(
    "restore",
    epilog=_example(
        f"restore --store file:///var/snapshots {_SITE} {_SNAPSHOT} {_ROLLBACK.removeprefix(_IDS + ' ')} --scratch /tmp"
    ),
)
@expand
def restore(
    where: StoreOptions,
    source: SourceStoreOptions,
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    rollback_id: RollbackId,
    scratch: Scratch = Path("/tmp"),  # noqa: S108 - only the dump's own folder below it is used
    manifest_sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of the manifest.")] = None,
    source_environment_id: Annotated[
        str | None,
        typer.Option(
            callback=uuid,
            help=(
                "Environment that the snapshot was taken of, where it is another one. Its database's name, owner and"
                " grants are not used."
            ),
        ),
    ] = None,
    project_id: Annotated[
        str | None, typer.Option(callback=uuid, help="Expected project of the snapshot, in its manifest.")
    ] = None,
    record: Record = "",
    allow_replication_loss: AllowReplicationLoss = False,
    neutralize: Annotated[
        bool,
        typer.Option("--neutralize", help="The copy must not become live before `neutralize` has marked it."),
    ] = False,
    capacity: Capacity = None,
    jobs: Jobs = 2,
) -> None:
    """Restore a snapshot beside the live environment and check it. The live environment does not change."""
    from ocore_mover.commands.restore import RestoreOptions, RestoreRun

    target.check()
    store = where.open()
    reading = source.open()
    rollback = _run_of(record, environment_id, rollback_id)
    _exit(
        lambda r: RestoreRun(
            r,
            store,
            RestoreOptions(
                environment_id=environment_id,
                snapshot_id=snapshot_id,
                rollback_id=rollback_id,
                manifest_sha256=manifest_sha256,
                server=target.server(),
                folders=target.folders(environment_id),
                layout=target.layout,
                scratch=scratch,
                jobs=jobs,
                run=rollback,
                allow_replication_loss=allow_replication_loss,
                source=reading,
                source_environment_id=source_environment_id,
                project_id=project_id,
                neutralize=neutralize,
                capacity=capacity,
            ),
        ).run(),
        common,
    )


@app.command(
    "neutralize", epilog=_example(f"neutralize --database ~/secret --admin ~/admin {_ROLLBACK} --sql ~/scripts")
)
@expand
def neutralize(
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    rollback_id: RollbackId,
    sql: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Scripts that neutralise the copy, in the order of their names."),
    ] = None,
    hand_over: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder through which another container of the pod gets credentials and runs its command.",
        ),
    ] = None,
    assertions: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Queries that must return no row afterwards.")
    ] = None,
    own_identity: Annotated[
        bool, typer.Option("--own-identity", help="Give the copy a new database.uuid, database.secret and URL.")
    ] = False,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="With --own-identity: its web.base.url.")] = None,
    isolation: Annotated[
        Literal["Require", "BestEffort"],
        typer.Option(help="With --hand-over. Require: the pod must not reach a test listener."),
    ] = "Require",
    listener: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="A test listener beside the API server.")
    ] = None,
    outside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A test listener outside of the cluster's networks, which someone else has just reached.",
        ),
    ] = None,
) -> None:
    """Neutralise the restored copy, check that it is, and mark it, so that `switch` accepts it. The live database does
    not change."""
    from ocore_mover.commands.neutralize import NeutralizeOptions, NeutralizeRun

    server = target.server() if target.database is not None else None
    if server is None:
        raise typer.BadParameter("give --database", param_hint="--database")
    if sql is not None and hand_over is not None:
        raise typer.BadParameter("give either --sql or --hand-over")
    options = NeutralizeOptions(
        server=server,
        rollback_id=rollback_id,
        sql=sql,
        hand_over=hand_over,
        assertions=assertions,
        own_identity=own_identity,
        base_url=base_url,
        isolation=isolation,
        listeners=tuple(listener or ()),
        outside=tuple(outside or ()),
    )
    if not options.neutralizes and not own_identity:
        raise typer.BadParameter("give --sql, --hand-over or --own-identity")
    _exit(lambda r: NeutralizeRun(r, options).run(), common)


@app.command(
    "switch",
    epilog=_example(f"switch --now {_SITE} {_ROLLBACK}")
    + f"\n\nand back again\n\n{_EXAMPLE}switch --back --now {_SITE} {_ROLLBACK}",
)
@expand
def switch(
    where: OptionalStoreOptions,
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    rollback_id: RollbackId,
    signal_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File in which the signal appears (downward API).")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to create when the command waits for its signal.")
    ] = None,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for the signal.")] = 600.0,
    now: Annotated[bool, typer.Option("--now", help="Switch at once, without a signal.")] = False,
    back: Annotated[bool, typer.Option("--back", help="With --now: switch to the previous database.")] = False,
    undo_to: Annotated[
        Literal["Old", "New"] | None,
        typer.Option(
            help="Undo the rollback (Old) or its undo (New): the position to reach. --back then reverses this."
        ),
    ] = None,
    record: Record = "",
    allow_replication_loss: AllowReplicationLoss = False,
    neutralized: Annotated[
        bool, typer.Option("--neutralized", help="Refuse a copy that is not marked as neutralised.")
    ] = False,
) -> None:
    """Replace the live environment by the restored copy. Stop the application first: its sessions are ended."""
    from ocore_mover.commands import switch as command
    from ocore_mover.commands.switch import SwitchOptions
    from ocore_mover.commands.switcher import Switcher
    from ocore_mover.rollback_records import RollbackRecords

    target.check()
    if now == (signal_file is not None):
        raise typer.BadParameter("give either --now or --signal-file")
    if back and not now:
        raise typer.BadParameter("--back needs --now: a switch that waits for its signal switches forward only")
    rollback = _run_of(record, environment_id, rollback_id, undo=undo_to is not None)
    store = where.open() if rollback is not None and not now and undo_to is None else None

    def body(runtime: Runtime) -> SwitchResult:
        records: RollbackRecords | None = None
        if rollback is not None and store is not None:
            records = RollbackRecords(store, rollback)
        elif rollback is not None and (back or undo_to is not None) and where.store:
            records = _optional_records(where, rollback)
        target_ = _rollback_target(
            target, environment_id, rollback_id, rollback, allow_replication_loss=allow_replication_loss
        )
        target_ = replace(target_, undo_to=undo_to, neutralized=neutralized)
        options = SwitchOptions(signal_file, ready_file, wait, back, records, undo_to)
        return command.switch(runtime, Switcher(target_, runtime.token), options)

    _exit(body, common, grace=_SWITCH_GRACE)


@app.command(
    "list-manifests",
    epilog=_example(
        f"list-manifests --store file:///var/snapshots {_IDS.replace('-id ', ' ')}:3f0a4c52-6f1c-4f6e-9a54-0e8e0c5f6a01"
    ),
)
@expand
def list_manifests(
    where: StoreOptions,
    common: CommonOptions,
    environment: Annotated[
        list[str] | None,
        typer.Option(metavar="ENVIRONMENT:PROJECT", help="Ids of an environment and of its project. May be repeated."),
    ] = None,
    after: Annotated[str, typer.Option(metavar="ENVIRONMENT/SNAPSHOT", help="`next` of the page before.")] = "",
) -> None:
    """List one page of the snapshots that a store has for these environments, one JSON line each. Writes nothing."""
    from ocore_mover.commands import list_manifests as command

    try:
        wanted = command.wanted(environment or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--environment") from error
    store = where.open()
    _exit(lambda r: command.ListManifests(r, store, wanted, after).run(), common)


@app.command("sweep", epilog=_example("sweep --store file:///var/snapshots"))
@expand
def sweep(
    where: StoreOptions,
    common: CommonOptions,
    older_than: Annotated[float, typer.Option(min=0, help="Seconds: younger objects are not orphans.")] = 7 * 86400.0,
    report_id: Annotated[
        str | None,
        typer.Option(callback=uuid, help="Write the list into the store under this id, for `remove-orphans`."),
    ] = None,
) -> None:
    """Find objects of snapshots that no manifest names. Deletes nothing."""
    from ocore_mover.commands import sweep as command

    store = where.open()
    _exit(lambda r: command.sweep(r, store, older_than=older_than, report_id=report_id or ""), common)


@app.command(
    "remove-orphans",
    epilog=_example(
        "remove-orphans --store file:///var/snapshots --report-id 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01 --sha256"
        f" {'0' * 64}"
    ),
)
@expand
def remove_orphans(
    where: StoreOptions,
    common: CommonOptions,
    report_id: Annotated[str, typer.Option(callback=uuid, help="Id of the report.")],
    sha256: Annotated[str, typer.Option(help="SHA-256 of the report, as `sweep` has printed it.")],
) -> None:
    """Delete what a sweep has reported, where it still is an orphan."""
    from ocore_mover.commands import sweep as command

    store = where.open()
    _exit(lambda r: command.remove(r, store, report_id=report_id, sha256=sha256), common)


@app.command("delete", epilog=_example(f"delete --store file:///var/snapshots {_SNAPSHOT}"))
@expand
def delete(
    where: StoreOptions,
    source: SourceStoreOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    attempts_only: Annotated[
        bool,
        typer.Option(
            "--attempts-only", help="Delete only objects that no manifest names (leftovers of failed attempts)."
        ),
    ] = False,
    keep_attempt: Annotated[
        str | None, typer.Option(help="With --attempts-only: keep the objects of this attempt, which is still running.")
    ] = None,
    claim: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The filestore's claim: also remove the folders that the snapshot's attempts froze."
        ),
    ] = None,
    copy_store_id: Annotated[
        str | None,
        typer.Option(
            callback=uuid,
            help=(
                "Delete only if --source-store has this id, and the whole snapshot with the manifest of"
                " --manifest-sha256."
            ),
        ),
    ] = None,
    manifest_sha256: Annotated[str | None, typer.Option(help="With --copy-store-id: SHA-256 of the manifest.")] = None,
    known_state: Annotated[
        str,
        typer.Option(
            metavar="JSON",
            help=(
                "Delete only if the store has no pin, or this one (snapshot_state.StoredState): another cluster may"
                " have set it."
            ),
        ),
    ] = "",
) -> None:
    """Delete a snapshot from the store: its manifest first, then all other objects."""
    from ocore_mover.commands import delete as command
    from ocore_mover.commands.check_copy import ExpectedCopy

    store, other, known = where.open(), source.open(), _state(known_state) if known_state else None
    copy: tuple[Store, ExpectedCopy] | None = None
    if other is not None:
        if copy_store_id is None or manifest_sha256 is None:
            raise typer.BadParameter("give --copy-store-id and --manifest-sha256", param_hint="--source-store")
        copy = other, ExpectedCopy(copy_store_id, manifest_sha256)
    _exit(
        lambda r: command.delete(
            r,
            store,
            environment_id,
            snapshot_id,
            attempts_only=attempts_only,
            keep_attempt=keep_attempt,
            claim=claim,
            copy=copy,
            known_state=known,
        ),
        common,
    )


@app.command(
    "check-copy",
    epilog=_example(
        f"check-copy --store s3://elsewhere/copies {_SNAPSHOT} --store-id 7d0b5a53-2222-4333-8444-555566667777"
        f" --manifest-sha256 {'0' * 64}"
    ),
)
@expand
def check_copy(
    where: StoreOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    store_id: Annotated[str, typer.Option(callback=uuid, help="Id of the store that the copy was written to.")],
    manifest_sha256: Annotated[str, typer.Option(help="SHA-256 of the manifest.")],
) -> None:
    """Check that the store has every object of a copied snapshot, by one listing. Nothing is written."""
    from ocore_mover.commands import check_copy as command

    store, expected = where.open(), command.ExpectedCopy(store_id, manifest_sha256)
    _exit(lambda r: command.check_copy(r, store, environment_id, snapshot_id, expected), common)


@app.command(
    "copy-remote",
    epilog=_example(f"copy-remote --source-store file:///var/snapshots --store s3://elsewhere/copies {_SNAPSHOT}"),
)
@expand
def copy_remote(
    where: StoreOptions,
    source: SourceStoreOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    manifest_sha256: Annotated[
        str | None, typer.Option(help="Copy only if the manifest has this SHA-256; else the snapshot is corrupt.")
    ] = None,
    jobs: Jobs = 4,
) -> None:
    """Copy a snapshot from --source-store to --store, byte for byte. What an earlier attempt has copied is not sent
    again."""
    from ocore_mover.commands import copy_remote as command

    store, origin = where.open(), source.open()
    if origin is None:
        raise typer.BadParameter("give --source-store", param_hint="--source-store")
    options = command.CopyOptions(environment_id, snapshot_id, manifest_sha256, jobs)
    _exit(lambda r: command.copy_remote(r, origin, store, options), common)


@app.command("cleanup", epilog=_example(f"cleanup --what previous {_SITE} {_ROLLBACK}"))
@expand
def cleanup(
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    rollback_id: RollbackId,
    what: Annotated[
        CleanupPart,
        typer.Option(help="previous: after the undo window. restored: the rollback ended before the switch."),
    ],
) -> None:
    """Remove what a rollback keeps beside the live environment. The live environment itself is never removed."""
    from ocore_mover.commands import cleanup as command

    target.check()
    _exit(
        lambda r: command.cleanup(r, _rollback_target(target, environment_id, rollback_id), what, environment_id),
        common,
    )


@app.command(
    "inspect",
    epilog=_example(f"inspect --store file:///var/snapshots {_SNAPSHOT}")
    + f"\n\nor after a switch that was killed\n\n{_EXAMPLE}inspect --repair {_SITE} {_ROLLBACK}",
)
@expand
def inspect(
    where: OptionalStoreOptions,
    target: TargetOptions,
    common: CommonOptions,
    environment_id: EnvironmentId,
    snapshot_id: Annotated[str | None, typer.Option(callback=uuid, help="Report this snapshot's manifest.")] = None,
    rollback_id: Annotated[str | None, typer.Option(callback=uuid, help="Report this rollback's position.")] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="With --rollback-id: allow connections, and complete or undo an interrupted switch."
        ),
    ] = False,
    workloads_stopped: Annotated[
        bool,
        typer.Option(
            "--workloads-stopped",
            help="With --repair, layout Plain: move the folder to the database's position. Stop every workload first.",
        ),
    ] = False,
    allow_replication_loss: AllowReplicationLoss = False,
) -> None:
    """Report a snapshot in the store, or the position of a rollback."""
    from ocore_mover.commands import inspect as command
    from ocore_mover.commands.switcher import Switcher

    if (snapshot_id is None) == (rollback_id is None):
        raise typer.BadParameter("give either --snapshot-id or --rollback-id")
    if snapshot_id is not None:
        store = where.open()
        wanted = snapshot_id
        _exit(lambda r: command.inspect_snapshot(r, store, environment_id, wanted), common)
    target.check()
    rollback = rollback_id or ""
    where_to = _rollback_target(target, environment_id, rollback, allow_replication_loss=allow_replication_loss)
    _exit(
        lambda r: command.inspect_rollback(
            Switcher(where_to, r.token), repair=repair, workloads_stopped=workloads_stopped
        ),
        common,
    )


def _exit(body: Callable[[Runtime], Payload], common: CommonOptions, *, grace: float = GRACE) -> NoReturn:
    raise typer.Exit(run(body, deadline=common.deadline, verbose=common.verbose, grace=grace))


def _rollback_target(
    target: TargetOptions,
    environment_id: str,
    rollback_id: str,
    run: "RollbackRun | None" = None,
    *,
    allow_replication_loss: bool = False,
) -> "RollbackTarget":
    from ocore_mover.commands.switcher import RollbackTarget

    folders = target.folders(environment_id)
    return RollbackTarget(target.server(), folders, target.layout, rollback_id, run, allow_replication_loss)


def _optional_records(where: OptionalStoreOptions, rollback: "RollbackRun") -> "RollbackRecords | None":
    """None where the store cannot be opened: it must not prevent a switch back, and the database's comment has the
    outcome, too."""
    from ocore_mover.rollback_records import RollbackRecords

    try:
        return RollbackRecords(where.open(), rollback)
    except Exception as error:
        log.warning("store not opened; the outcome is only in the database's comment", extra={"error": str(error)})
        return None


def _run_of(text: str, environment_id: str, rollback_id: str, *, undo: bool = False) -> "RollbackRun | None":
    """Parses the option, whose ids must match; None without it. An undo names the rollback whose databases it switches
    in ``undoes``."""
    from ocore_crds.rollback_record import RollbackRun

    if not text:
        return None
    try:
        found = RollbackRun.model_validate_json(text)
    except ValidationError as error:
        raise typer.BadParameter(f"not a valid record: {error}", param_hint="--record") from error
    if (found.environment_id, found.undoes if undo else found.rollback_id) != (environment_id, rollback_id):
        raise typer.BadParameter("its ids differ from --environment-id and --rollback-id", param_hint="--record")
    return found


def _identity(text: str, environment_id: str, snapshot_id: str) -> "Identity":
    """Parses the option, whose ids must match; without it, the identity of a development environment."""
    from ocore_crds.manifest import Identity

    if not text:
        return Identity(
            environment_id=environment_id,
            environment_name=environment_id,
            environment_type="development",
            project_id=environment_id,
            snapshot_id=snapshot_id,
        )
    try:
        identity = Identity.model_validate_json(text)
    except ValidationError as error:
        raise typer.BadParameter(f"not a valid identity: {error}", param_hint="--identity") from error
    if (identity.environment_id, identity.snapshot_id) != (environment_id, snapshot_id):
        raise typer.BadParameter("its ids differ from --environment-id and --snapshot-id", param_hint="--identity")
    return identity


def _state(text: str) -> "StoredState":
    from ocore_crds.snapshot_state import StoredState

    try:
        return StoredState.model_validate_json(text)
    except ValidationError as error:
        raise typer.BadParameter(f"not a valid state: {error}", param_hint="--state") from error


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
