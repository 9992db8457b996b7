"""``test-restore``: really restores a snapshot into a scratch database, checks every figure, and drops it.

The database is restored by the code of a rollback, closed for every other role. The filestore's packs are read
completely, and each file's digest is compared; no claim is needed. Neither the live database nor the live filestore
changes.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from ocore_crds import conditions, failpoints
from ocore_crds.commands.test_restore import RestoreTestRequest, RestoreTestResult
from ocore_crds.reports.base import Finding, Step
from ocore_crds.stored.manifest import DatabaseArtifact, FilestoreArtifact, Manifest
from ocore_crds.text.quantity import human
from ocore_mover import encryption, manifests
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime, best_effort
from ocore_mover.database import copy_access, volume
from ocore_mover.database.connect import (
    Connection,
    Server,
    connect_maintenance,
    set_timeouts,
    translating,
    value,
)
from ocore_mover.database.copy_access import CopyAccess, application_search_path
from ocore_mover.database.dump.export import copy_names
from ocore_mover.database.neutralize import scripts
from ocore_mover.database.restore import check, compare, extensions, scratch
from ocore_mover.database.restore.restore import DatabaseRestore, RestoredDatabase
from ocore_mover.database.restore.scratch import RestoreTestNames
from ocore_mover.errors import Cancelled, MoverError
from ocore_mover.filestore import digests, layouts
from ocore_mover.filestore.names import Without, spooled

log = logging.getLogger(__name__)

APPLICATION = compare.APPLICATION
#: Of the advisory lock that a test restore holds in the maintenance database.
ONE_AT_A_TIME = 0x6F636F7265746573
#: For each of the own queries.
QUERY_TIMEOUT = "900s"
#: What a restore of this snapshot would lack. Everything else is about the server, the store or the Job: the command
#: fails, and no verdict is given.
VERDICTS = frozenset(
    (
        conditions.CORRUPT,
        conditions.SNAPSHOT_NOT_FOUND,
        conditions.RESTORE_FAILED,
        conditions.VERIFICATION_FAILED,
        conditions.ATTACHMENTS_MISSING,
        conditions.ATTACHMENT_CORRUPT,
        conditions.ASSERTION_FAILED,
    )
)


#: Messages of the server when another session has ended ours, or taken the scratch database away.
_DISTURBED = re.compile(
    r'terminating connection|server closed the connection|database "[^"]+" (?:does not exist|is not currently accepting'
    r" connections)"
)


class RestoreTestRun:
    """One run of the command. It can be repeated: what a killed run left is dropped first."""

    def __init__(self, runtime: Runtime, request: RestoreTestRequest) -> None:
        self._runtime = runtime
        self._token = runtime.token
        self._store = runtime.guarded(opening.store(request.store))
        self._scratch = opening.scratch(request.scratch)
        self._request = request
        self._server = _server(request)
        self._names = (
            RestoreTestNames.of(self._server.live, request.environment_id) if self._server is not None else None
        )
        self._result: dict[str, object] = {}
        self._seconds: dict[str, float] = {}
        self._stored_bytes = 0
        self._created = False  # the scratch database
        self._findings: list[Finding] = []
        self._warnings: list[str] = []
        self._checked: list[str] = []

    def run(self) -> RestoreTestResult:
        """Restores, checks and drops. What a restore would lack is a finding of the result.

        Raises MoverError where no verdict can be given: the server does not answer, has no space or lacks rights, the
        deadline is over.
        """
        began = time.monotonic()
        try:
            with self._verdict():
                self._test()
        finally:
            self._clean_up()
        return RestoreTestResult.model_validate(
            {
                **self._result,
                **self._seconds,
                "duration_seconds": round(time.monotonic() - began, 1),
                "findings": tuple(self._findings),
                "warnings": tuple(self._warnings),
                "checked": tuple(self._checked),
            }
        )

    def _test(self) -> None:
        with ExitStack() as stack:
            with self._runtime.step(Step.PREFLIGHT):
                manifest = self._read_manifest()
                if manifest.database is not None and self._server is not None:
                    stack.enter_context(self._alone(self._server))
                    self._prepare(manifest.database)
            self._test_parts(manifest)

    def _test_parts(self, manifest: Manifest) -> None:
        key = digests.new_key()
        names: digests.NameSums | None = None
        if manifest.filestore is not None:
            with self._verdict():
                names = self._read_files(manifest.filestore, key)
        if manifest.config is not None:
            with self._verdict():
                for _ in self._store.read(manifest.config.archive):
                    pass
                self._checked.append("configuration: its archive has the SHA-256 of the manifest")
        if manifest.database is not None and self._server is not None and self._names is not None:
            with self._verdict(), self._undisturbed(self._server, self._names):
                restored = self._restore(self._server, self._names, manifest.database)
                with (
                    self._runtime.step(Step.CHECK),
                    self._timed("check_seconds"),
                    copy_access.opened(self._server, self._names, restored.owner, self._token) as access,
                ):
                    self._check(self._server, access, manifest, names, key)
        self._result["bytes"] = self._stored_bytes if not self._findings else 0
        self._result["not_checked"] = not_checked(manifest, assertions=self._request.assertions is not None)
        log.info("tested", extra={"snapshot": self._request.snapshot_id, "findings": len(self._findings)})

    # --- before ------------------------------------------------------------------------------------------------

    def _read_manifest(self) -> Manifest:
        request = self._request
        stored = manifests.read(
            self._store, request.environment_id, request.snapshot_id, sha256=request.manifest_sha256
        )
        self._result["manifest_sha256"] = stored.sha256
        opened = encryption.opened(self._store, stored, request.identity)
        self._store, manifest = opened.store, opened.manifest
        if manifest.database is not None and self._server is None:
            raise MoverError(
                conditions.DATABASE_NOT_FOUND,
                "the snapshot has a database, and no server is given to restore it; give --database",
            )
        manifests.check_objects(self._store, stored.manifest)
        self._stored_bytes = stored.manifest.needed_bytes()
        return manifest

    @contextmanager
    def _alone(self, server: Server) -> Iterator[None]:
        """One test restore at a time on a server: each is measured against the space that is left. The session holds
        the lock until it is closed, however this process ends. Raises MoverError WaitingForOperation, retryable."""
        with (
            translating(conditions.DATABASE_UNREACHABLE, "waiting for other test restores"),
            connect_maintenance(server, application=APPLICATION, token=self._token) as session,
        ):
            if not value(session, "SELECT pg_catalog.pg_try_advisory_lock(%s)", [ONE_AT_A_TIME]):
                raise MoverError(
                    conditions.WAITING_FOR_OPERATION,
                    f"another test restore runs on the server {server.actor.place}; this one begins after it",
                    retryable=True,
                )
            yield

    def _prepare(self, artifact: DatabaseArtifact) -> None:
        """Drops what a killed run left, then checks rights and space: the server must not run full."""
        server, names = self._server, self._names
        if server is None or names is None:
            return
        names.check_length()
        scratch.drop_named(server, names, self._token)
        with (
            translating(conditions.DATABASE_UNREACHABLE, "reading the server's properties"),
            connect_maintenance(server, application=APPLICATION, token=self._token) as maintenance,
        ):
            version = value(maintenance, "SELECT pg_catalog.current_setting('server_version')")
            self._result |= {
                "server": server.actor.place,
                "server_version": str(version).split()[0],
                "separate_server": self._request.separate_server,
            }
            if self._request.separate_server:
                _check_ordinary(maintenance, server)
            self._check_space(maintenance, artifact)
            extensions.check_available(maintenance, artifact)

    def _check_space(self, maintenance: Connection, artifact: DatabaseArtifact) -> None:
        capacity = self._request.capacity
        if capacity is None:
            if self._request.separate_server:
                return
            raise MoverError(
                conditions.CAPACITY_UNKNOWN,
                "the capacity of the database's volume is unknown, and a test restore that fills it would stop the live"
                " database. Set spec.database.capacity of the Environment, or test on another server"
                " (spec.verify.server of the SnapshotPolicy)",
            )
        field = "verify.server.capacity" if self._request.separate_server else "spec.database.capacity"
        try:
            self._warnings.extend(volume.check(maintenance, artifact.size_bytes, capacity, setting=field))
        except MoverError as error:
            hint = f"{error.message}, or test on another server (spec.verify.server of the SnapshotPolicy)"
            raise MoverError(error.reason, hint) from error

    # --- the filestore -----------------------------------------------------------------------------------------

    def _read_files(self, artifact: FilestoreArtifact, key: bytes) -> digests.NameSums | None:
        with self._runtime.step(Step.VERIFY), self._timed("files_seconds"):
            counter = self._runtime.counter(Step.VERIFY)
            read = digests.read_all(self._store, artifact, counter, key, jobs=self._request.jobs)
        self._result |= {"files": read.files, "file_bytes": read.size}
        self._checked.append(f"files: {read.files} files of {human(read.size)} match their digests")
        return read.names

    # --- the database ------------------------------------------------------------------------------------------

    def _restore(self, server: Server, names: RestoreTestNames, artifact: DatabaseArtifact) -> RestoredDatabase:
        began = fetched = time.monotonic()

        def note() -> None:
            nonlocal fetched
            fetched = time.monotonic()
            self._seconds["download_seconds"] = round(fetched - began, 2)

        def created() -> None:
            self._created = True

        with self._runtime.step(Step.RESTORE_DATABASE):
            restored = DatabaseRestore(
                server=server,
                names=names,
                artifact=artifact,
                store=self._store,
                scratch=self._scratch,
                counter=self._runtime.counter(Step.RESTORE_DATABASE),
                token=self._token,
                jobs=self._request.jobs,
                other_environment=self._request.separate_server,
                on_fetched=note,
                on_created=created,
                capacity=self._request.capacity,
            ).run()
        self._seconds["load_seconds"] = round(time.monotonic() - fetched, 2)
        self._result["database_bytes"] = restored.size_bytes
        self._warnings.extend(restored.warnings)
        failpoints.hit("test-restore-loaded")
        return restored

    def _check(
        self, server: Server, access: CopyAccess, manifest: Manifest, names: digests.NameSums | None, key: bytes
    ) -> None:
        """Each check gives its own finding: one that fails does not hide the next one."""
        artifact = manifest.database
        if artifact is None:
            return
        with self._verdict():
            checked = check.check(access, artifact, self._token)
            self._result["indexes"] = checked.indexes
            self._checked.append(f"database: loaded without an error, {checked.indexes} valid indexes")
            self._warnings.extend(checked.warnings)
        with self._verdict():
            compared = compare.compare(access, artifact.table_rows, self._token)
            self._result |= {"tables": compared.tables, "rows": compared.rows, "constraints": compared.constraints}
            self._warnings.extend(compared.warnings)
            if compared.problems:
                raise MoverError(
                    conditions.VERIFICATION_FAILED,
                    f"the restored database differs from the snapshot: {'; '.join(compared.problems)}",
                )
            self._checked.append(
                f"rows: {compared.tables} tables have the {compared.rows} rows that were counted in the dump,"
                f" {compared.constraints} validated constraints"
            )
        if manifest.filestore is not None and names is not None:
            with self._verdict():
                self._check_attachments(server, access, manifest.filestore, names, key)
        if self._request.assertions is not None:
            with self._verdict():
                self._assert(server, access, Path(self._request.assertions))

    def _check_attachments(
        self, server: Server, access: CopyAccess, artifact: FilestoreArtifact, stored: digests.NameSums, key: bytes
    ) -> None:
        with copy_names(server, access, self._token) as found, spooled(found, self._scratch) as named:
            known = set(artifact.missing)
            lost = tuple(name for name in named.files if name in known) if known else ()
            files = Without(named.files, lost)
            digests.check_names(files, stored, self._store, artifact, key)
            self._result["attachments"] = len(files)
            self._checked.append(f"attachments: all {len(files)} that the restored database names are in the snapshot")
        if lost:
            self._warnings.append(
                f"{len(lost)} files that the database names were already lost when the snapshot was taken"
            )

    def _assert(self, server: Server, access: CopyAccess, folder: Path) -> None:
        """Runs the own queries as the application's role, read-only, with the search path that the application has."""
        try:
            found = scripts.load(folder)
        except MoverError as error:
            raise MoverError(conditions.ASSERTION_FAILED, error.message) from error
        path = application_search_path(server, access, self._token)
        with (
            translating(conditions.ASSERTION_FAILED, "checking the assertions"),
            access.connect(application=APPLICATION, token=self._token) as connection,
            self._token.on_cancel(connection.cancel_safe),
        ):
            set_timeouts(connection, statement=QUERY_TIMEOUT, lock="10s")
            connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [path])
            try:
                seen = scripts.asserted(connection, found)
            except MoverError:
                self._token.check()  # a statement that was cancelled
                raise
        self._result["queries"] = len(seen.proven)
        corrections = seen.corrections("spec.verify.assertions of the SnapshotPolicy")
        problems = (*seen.found, *((corrections,) if corrections else ()))
        if problems:
            raise MoverError(conditions.ASSERTION_FAILED, "; ".join(problems))
        self._checked.append(
            f"the application's own checks: {len(seen.proven)} scripts of verify.assertions returned no row"
        )

    # --- after -------------------------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """Drops the scratch database, whatever happened. What remains is dropped by the next test or rollback."""
        server, names = self._server, self._names
        if server is None or names is None:
            return
        if self._token.cancelled:  # the process must end within the pod's grace period
            best_effort("the scratch database", lambda: scratch.drop_named(server, names))
            return
        try:
            scratch.drop_named(server, names)
        except (MoverError, psycopg.Error) as error:
            log.warning("the scratch database was not dropped", extra={"database": names.restored, "error": str(error)})

    @contextmanager
    def _verdict(self) -> Iterator[None]:
        """Turns a failure that is about the snapshot into a finding; all others end the command."""
        try:
            yield
        except MoverError as error:
            if isinstance(error, Cancelled) or error.retryable or error.reason not in VERDICTS:
                raise
            self._token.check()
            self._findings.append(error.finding())

    @contextmanager
    def _undisturbed(self, server: Server, names: RestoreTestNames) -> Iterator[None]:
        """A rollback of the environment goes first and drops the scratch database: what fails then says nothing about
        the snapshot."""
        before = len(self._findings)
        try:
            yield
        except MoverError as error:
            if isinstance(error, Cancelled) or error.retryable:
                raise
            self._check_undisturbed(server, names, error.message)
            raise
        for finding in self._findings[before:]:
            self._check_undisturbed(server, names, finding.message)

    def _check_undisturbed(self, server: Server, names: RestoreTestNames, message: str) -> None:
        if not self._created:
            return
        with (
            translating(conditions.DATABASE_UNREACHABLE, "looking for the scratch database"),
            connect_maintenance(server, application=APPLICATION, token=self._token) as maintenance,
        ):
            found = maintenance.execute("SELECT FROM pg_catalog.pg_database WHERE datname = %s", [names.restored])
            exists = found.rowcount > 0
        if not exists or _DISTURBED.search(message):
            raise MoverError(
                conditions.CANCELLED,
                f"the scratch database {names.restored} was dropped or its sessions were ended, for example by a"
                f" rollback: {message}",
                retryable=True,
            )

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = round(time.monotonic() - began, 2)


def not_checked(manifest: Manifest, *, assertions: bool) -> tuple[str, ...]:
    """What a test restore of this snapshot cannot know."""
    found = list(manifest.evidence.incomplete)
    filestore = manifest.filestore
    if filestore is not None and manifest.database is not None:
        found.extend(layouts.of(filestore.layout).not_checked)
    if filestore is not None and filestore.missing:
        found.append(f"{len(filestore.missing)} files that were lost or damaged when the snapshot was taken")
    if manifest.database is not None and not assertions:
        found.append("the application's own rules: the SnapshotPolicy has no verify.assertions")
    return (*found, "whether the application starts with the restored data")


def _server(request: RestoreTestRequest) -> Server | None:
    """On a server that is not the environment's, the name of the live database stands for none: nothing there is read
    or compared with."""
    server = opening.optional_server(request.database, dbname="postgres" if request.separate_server else "")
    if server is None or not request.separate_server:
        return server
    return Server(server.app.at(f"ocore_{request.environment_id.replace('-', '')[:8]}"), server.admin)


def _check_ordinary(maintenance: Connection, server: Server) -> None:
    """Raises MoverError SecretInvalid for a superuser: code inside a dump would run with its rights."""
    if value(maintenance, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = %s", [server.app.user]):
        raise MoverError(
            conditions.SECRET_INVALID,
            f"role {server.app.user} of verify.server.secretRef is a superuser, and code inside the dump would run with"
            " its rights. Name an ordinary role with CREATEDB there, and the superuser in verify.server.adminSecretRef"
            " where an extension needs one",
        )


def execute(runtime: Runtime, request: RestoreTestRequest) -> RestoreTestResult:
    """As :meth:`RestoreTestRun.run`."""
    return RestoreTestRun(runtime, request).run()
