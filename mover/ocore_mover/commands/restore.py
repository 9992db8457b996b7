"""``restore``: restores a snapshot beside the live environment and checks it. With a signal it also switches."""

import gc
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TypeVar

from ocore_crds import conditions, failpoints
from ocore_crds.commands.probe import ProbeRequest, ProbeResult
from ocore_crds.commands.restore import Preflight, RestoreRequest, RestoreResult
from ocore_crds.commands.switch import SwitchResult
from ocore_crds.reports.base import Step
from ocore_crds.stored.manifest import FilestoreArtifact, Manifest
from ocore_mover import encryption, manifests
from ocore_mover.commands import evidence, opening, preflight, probe
from ocore_mover.commands.new_filestore import may_be_made
from ocore_mover.commands.runtime import Runtime, best_effort
from ocore_mover.database import copy_access, position, replication
from ocore_mover.database.connect import (
    Connection,
    Server,
    connect,
    connect_maintenance,
    maintenance,
    translating,
)
from ocore_mover.database.dump.export import copy_names, live_names
from ocore_mover.database.facts import is_empty
from ocore_mover.database.position import Names
from ocore_mover.database.restore import check, create, scratch
from ocore_mover.database.restore import restore as database_restore
from ocore_mover.database.restore.restore import DatabaseRestore, RestoredDatabase
from ocore_mover.encryption import Opened
from ocore_mover.errors import MoverError
from ocore_mover.filestore import layouts
from ocore_mover.filestore.facts import is_missing
from ocore_mover.filestore.layout import Kept
from ocore_mover.filestore.names import spooled
from ocore_mover.filestore.unpack import Restored
from ocore_mover.rollback_records import RollbackRecords
from ocore_mover.store.interface import Store

T = TypeVar("T")


class RestoreRun:
    """One run of the command."""

    def __init__(self, runtime: Runtime, request: RestoreRequest, opened: Store) -> None:
        """`opened`: the store of the request, by :func:`.opening.opened`."""
        self._runtime = runtime
        self._request = request
        store, self._scratch = opening.store(request.store, opened), opening.scratch(request.scratch)
        self._server = server = opening.optional_server(request.database)
        self._folders = opening.folders(request.filestore, request.environment_id)
        self._store = runtime.guarded(opening.source(request.source) if request.source is not None else store)
        self._names = Names(server.live, request.rollback_id) if server is not None else None
        self._live_missing = False
        run = opening.run_of(request.record)
        self._records = RollbackRecords(runtime.guarded(store), run) if run is not None else None
        self._layout = layouts.of(request.layout)
        self._kept = self._layout.kept(self._folders, request.rollback_id) if self._folders is not None else None
        #: Whether the snapshot is of another environment: its database's name, owner and grants are not those of this
        #: one.
        self._of_another = request.source_environment_id not in (None, request.environment_id)

    def run(self) -> RestoreResult:
        """Restores and checks. The live environment does not change. On a failure everything that was restored is
        removed.

        Raises MoverError SnapshotNotFound, VerificationFailed, RestoreFailed, MissingGrants and others.
        """
        failpoints.hit("restore-start")
        with self._runtime.step(Step.PREFLIGHT), self._session() as session:
            self._check_runs_once(session)
            opened = self._preflight(session)
            announced = self._check_replication(session)
            self._remove_restored(session)
        try:
            self._make_filestore()
            self._protect_files()
            failpoints.hit("restore-hold-made")
            database, files = self._restore(opened.manifest)
            with self._runtime.step(Step.CHECK):
                result = self._check(opened, database, files, announced)
                if self._records is not None:
                    self._records.write("restored", result.evidence)
        except BaseException:
            best_effort("what was restored", self._remove_restored)
            raise
        failpoints.hit("restore-checked")
        return result

    def _session(self) -> AbstractContextManager[Connection | None]:
        """One session for the whole preflight: to open each takes longer than what most of them ask. None without a
        database."""
        if self._server is None:
            return nullcontext()
        return connect_maintenance(self._server, application=check.APPLICATION, token=self._runtime.token)

    def _check_runs_once(self, session: Connection | None) -> None:
        """Raises MoverError where a Rollback of this name and spec ran before, perhaps on a cluster that no longer
        exists. Before anything else: such a Rollback does nothing."""
        if self._records is None:
            return
        marks: tuple[position.RollbackMark, ...] = ()
        if session is not None and self._names is not None:
            with translating(conditions.DATABASE_UNREACHABLE, "reading the comment of the live database"):
                live = position.rows(session, self._names).get(self._names.live)
            marks = live.mark.rollbacks if live is not None else ()
        self._records.check(marks)

    def _check_replication(self, session: Connection | None) -> list[str]:
        """What the switch will end of the live database's logical replication. Raises MoverError ReplicationActive,
        MissingGrants before hours of work; the switch checks again."""
        if session is None or self._names is None:
            return []
        with translating(conditions.DATABASE_UNREACHABLE, "reading the slots of the live database"):
            found = replication.check(session, self._names.live, allowed=self._request.allow_replication_loss)
        return replication.announced(found)

    def _preflight(self, session: Connection | None) -> Opened:
        request = self._request
        source = request.source_environment_id or request.environment_id
        stored = manifests.read(self._store, source, request.snapshot_id, sha256=request.manifest_sha256)
        opened = encryption.opened(self._store, stored, request.identity)
        self._store, manifest = opened.store, opened.manifest
        checks = preflight.Checks(
            self._store,
            stored,
            manifest,
            self._server,
            self._folders,
            request.layout,
            project_id=request.project_id,
            capacity=request.capacity,
            session=session,
        )
        for check_ in checks.all():
            check_()
        if manifest.config is not None:
            # Nothing else in a rollback reads it, and a snapshot with any corrupt byte is refused.
            for _ in self._store.read(manifest.config.archive):
                pass
        return opened

    def _remove_restored(self, session: Connection | None = None) -> None:
        """Removes the restored database and what this rollback has on the claim.

        Checks the position first: after the switch these are the live environment.
        """
        if self._server is not None and self._names is not None:
            with maintenance(self._server, session, application=database_restore.APPLICATION) as connection:
                self._live_missing = database_restore.drop_restored(connection, self._names).live is None
                # Of a proof or a test restore that was killed, or that the operator is about to stop.
                scratch.drop_all(connection, self._server.live, self._request.environment_id)
        elif self._kept is not None and self._kept.position() == "New":
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"rollback {self._request.rollback_id} is already switched; use a new rollback id",
            )
        if self._kept is not None:
            self._kept.remove("restored")

    def _make_filestore(self) -> None:
        """On a new claim, or where the live database does not exist or has no tables, the filestore's folder may not
        exist either."""
        server, folders = self._server, self._folders
        if folders is None or not is_missing(folders):
            return
        empty = self._live_missing or (server is not None and self._live_is_empty(server))
        if may_be_made(folders, self._layout, server, without_database=empty):
            folders.make_filestore()

    def _live_is_empty(self, server: Server) -> bool:
        with (
            translating(conditions.DATABASE_UNREACHABLE, f"reading the tables of {server.live}"),
            connect(server.app, application=database_restore.APPLICATION, token=self._runtime.token) as connection,
        ):
            return is_empty(connection)

    def _protect_files(self) -> None:
        """So that the application's garbage collection loses none of the live files."""
        kept, server = self._kept, self._server
        if kept is None or server is None:
            return
        with ExitStack() as stack:

            def named() -> Iterable[str]:
                """Spooled: a transaction that stays open while files are copied would hold the xmin of the live
                database."""
                if self._live_missing:
                    return ()  # nothing but the snapshot names files
                with live_names(server, self._runtime.token) as names:
                    return stack.enter_context(spooled(names, self._scratch)).files

            kept.protect(named)

    def _restore(self, manifest: Manifest) -> tuple[RestoredDatabase | None, Restored | None]:
        load: Callable[[], RestoredDatabase] | None = None
        add: Callable[[], Restored] | None = None
        if manifest.database is not None and self._server is not None and self._names is not None:
            restore = DatabaseRestore(
                server=self._server,
                names=self._names,
                artifact=manifest.database,
                store=self._store,
                scratch=self._scratch,
                counter=self._runtime.counter(Step.RESTORE_DATABASE),
                token=self._runtime.token,
                jobs=self._request.jobs,
                other_environment=self._of_another,
                neutralize=self._request.neutralize,
                capacity=self._request.capacity,
            )
            load = self._as_step(Step.RESTORE_DATABASE, restore.run)
        if manifest.filestore is not None and self._kept is not None:
            add = self._as_step(Step.RESTORE_FILESTORE, self._adding(manifest.filestore, self._kept))
        if load is not None and add is not None:
            return self._runtime.both(load, add)
        return (load() if load is not None else None), (add() if add is not None else None)

    def _as_step(self, step: Step, work: Callable[[], T]) -> Callable[[], T]:
        def run() -> T:
            with self._runtime.step(step):
                return work()

        return run

    def _adding(self, artifact: FilestoreArtifact, kept: Kept) -> Callable[[], Restored]:
        counter = self._runtime.counter(Step.RESTORE_FILESTORE)
        counter.bytes_total, counter.files_total = artifact.size_bytes, artifact.file_count
        return lambda: kept.restore(self._store, artifact, counter, jobs=self._request.jobs)

    def _check(
        self,
        opened: Opened,
        database: RestoredDatabase | None,
        files: Restored | None,
        announced: Sequence[str],
    ) -> RestoreResult:
        checked: check.Checked | None = None
        named, manifest = 0, opened.manifest
        server, names = self._server, self._names
        if database is not None and manifest.database is not None and server is not None and names is not None:
            with copy_access.opened(server, names, database.owner, self._runtime.token) as access:
                checked = check.check(access, manifest.database, self._runtime.token)
                if self._kept is not None and manifest.filestore is not None:
                    named = self._kept.check_restored(
                        lambda: copy_names(server, access, self._runtime.token),
                        manifest.filestore,
                        self._scratch,
                    )
            with (
                translating(conditions.RESTORE_FAILED, "marking the restored database"),
                connect_maintenance(server, application=check.APPLICATION, token=self._runtime.token) as connection,
            ):
                create.mark_checked(connection, names)
        warnings = (
            *evidence.recovered(opened.stored, self._store),
            *announced,
            *(database.warnings if database is not None else ()),
        )
        proven = evidence.of_restore(manifest, checked, files, named, warnings)
        if self._of_another:
            proven = evidence.with_source(proven, manifest, self._store)
        return RestoreResult(
            restored_database=database.name if database is not None else "",
            live_missing=database is not None and database.live_missing,
            database_bytes=database.size_bytes if database is not None else 0,
            files_added=files.files_added if files is not None else 0,
            bytes_added=files.bytes_added if files is not None else 0,
            evidence=proven,
        )


def _disagrees(runtime: Runtime, request: RestoreRequest, known: Preflight) -> ProbeResult | None:
    """What a probe finds, where the operator must judge it; None where the restore may go on, which is reported."""
    with runtime.step(Step.PREFLIGHT):
        found = probe.execute(
            runtime,
            ProbeRequest(
                database=request.database,
                filestore=request.filestore,
                environment_id=request.environment_id,
                store=known.store,
                store_name=known.store_name,
                config_file=known.config_file,
            ),
        )
    if not known.passes(found):
        return found
    runtime.reporter.probed(found)
    return None


def execute(runtime: Runtime, request: RestoreRequest) -> RestoreResult | ProbeResult | SwitchResult:
    """As :meth:`RestoreRun.run`. With `preflight` it probes first; what that finds ends it before anything is read.
    With `signal` it is also the first attempt at the switch."""
    if request.preflight is None:
        opened = opening.opened(request.store)
    else:
        # Most of it are imports, beside a probe that waits for the server.
        with ThreadPoolExecutor(1, thread_name_prefix="store") as pool:
            early = pool.submit(opening.opened, request.store)
            found = _disagrees(runtime, request, request.preflight)
        if found is not None:
            return found
        opened = early.result()
    result = RestoreRun(runtime, request, opened).run()
    if request.signal is None:
        return result
    gc.collect()  # it may wait for minutes, beside a live database
    runtime.reporter.restored(result)
    from ocore_mover.commands import switch  # imported late: a restore must start soon

    return switch.after_restore(runtime, request, request.signal, opened) or result
