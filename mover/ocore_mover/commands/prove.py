"""``prove``: restores the schema of the live database into a scratch database, as a rollback restores a snapshot, and
drops it.

The dump, the load and the checks are those of a snapshot and of a rollback. So what the catalogs do not show, a script
of an extension that is missing or a function that does not find its names, is found before a rollback is needed. The
live database is only read.
"""

import logging
import re
import shutil

import psycopg

from ocore_crds import conditions, naming
from ocore_crds.commands.prove import ProofResult, ProveRequest
from ocore_crds.reports.base import Finding, Step
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_crds.text.sentences import shown
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime, best_effort
from ocore_mover.database import artifact, copy_access, fingerprint
from ocore_mover.database.connect import Connection, Server, set_timeouts, translating
from ocore_mover.database.dump.dump import SCHEMA_LOCK_WAIT, dump
from ocore_mover.database.dump.export import export
from ocore_mover.database.restore import check, scratch
from ocore_mover.database.restore.restore import DatabaseRestore
from ocore_mover.database.restore.scratch import ScratchNames
from ocore_mover.errors import Cancelled, MoverError
from ocore_mover.store.folder import FolderStore
from ocore_mover.store.interface import Store

log = logging.getLogger(__name__)

#: Seconds for the dump: it has ACCESS SHARE on every table, and a migration would wait for it.
DUMP_SECONDS = 120.0
#: Failures that show nothing about a restore: of the connection, of the Job, or because another operation uses the
#: database.
_NO_RESULT = frozenset(
    (
        conditions.DATABASE_UNREACHABLE,
        conditions.DATABASE_NOT_FOUND,
        conditions.AUTHENTICATION_FAILED,
        conditions.TLS_FAILED,
        conditions.SECRET_INVALID,
        conditions.UNSUPPORTED_SERVER,
        conditions.DEADLINE_EXCEEDED,
        conditions.CANCELLED,
        conditions.SCRATCH_FULL,
        conditions.NO_SPACE,
        conditions.SESSIONS_REMAIN,
        conditions.SWITCH_FAILED,
        conditions.INTERNAL_ERROR,
    )
)
#: Messages of the server of which the same is true: a lock that a migration holds, a scratch database that a rollback
#: has dropped.
_DISTURBED = re.compile(
    r'canceling statement due to|database "[^"]+" does not exist|tuple concurrently (updated|deleted)|deadlock detected'
)
_INLINED = re.compile(r'SQL function "([^"]+)" during (?:inlining|startup)')


class ProofRun:
    """One run of the command."""

    def __init__(self, runtime: Runtime, request: ProveRequest) -> None:
        self._runtime = runtime
        self._request = request
        self._folder = opening.scratch(request.scratch) / f"ocore-proof-{naming.short_id(request.environment_id)}"
        self._server = opening.server(request.database)
        self._names = ScratchNames(self._server.live, request.environment_id)
        self._fingerprint = ""

    def run(self) -> ProofResult:
        """Proves a restore of the schema. A restore that fails is a finding of the result.

        Raises MoverError where neither is known: the connection was lost, the time is over, another operation uses the
        database.
        """
        try:
            warnings = self._prove()
        except MoverError as error:
            if not is_result(error):
                raise
            return ProofResult(schema_fingerprint=self._fingerprint, findings=(_finding(self._server, error),))
        finally:
            self._clean_up()
        return ProofResult(schema_fingerprint=self._fingerprint, warnings=warnings)

    def _prove(self) -> tuple[str, ...]:
        """Dumps, restores and checks. Returns warnings."""
        token = self._runtime.token
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        store = self._runtime.guarded(FolderStore(self._folder))
        with self._runtime.step(Step.DUMP_DATABASE):
            dumped = self._dump(store)
        with self._runtime.step(Step.RESTORE_DATABASE):
            restored = DatabaseRestore(
                server=self._server,
                names=self._names,
                artifact=dumped,
                store=store,
                scratch=self._folder,
                counter=self._runtime.counter(Step.RESTORE_DATABASE),
                token=token,
                jobs=self._request.jobs,
            ).run()
        with (
            self._runtime.step(Step.CHECK),
            copy_access.opened(self._server, self._names, restored.owner, token) as access,
        ):
            checked = check.check(access, dumped, token)
        return (*restored.warnings, *checked.warnings)

    def _clean_up(self) -> None:
        """Drops the scratch database, whatever happened. What remains is dropped by the next proof or rollback."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._runtime.token.cancelled:  # the process must end within the pod's grace period
            best_effort("the scratch database", lambda: scratch.drop_named(self._server, self._names))
            return
        try:
            scratch.drop_named(self._server, self._names)
        except (MoverError, psycopg.Error) as error:
            log.warning(
                "the scratch database was not dropped", extra={"database": self._names.restored, "error": str(error)}
            )

    def _dump(self, store: Store) -> DatabaseArtifact:
        """The schema in the store. Notes its fingerprint, which is that of the same moment."""
        server, environment_id = self._server, self._request.environment_id
        with (
            self._runtime.token.within(DUMP_SECONDS) as limited,
            export(server, limited) as exported,
        ):
            # Reading the size of a table waits for its lock.
            set_timeouts(exported.connection, statement="60s", lock=f"{SCHEMA_LOCK_WAIT}ms")
            with translating(conditions.DUMP_FAILED, "reading the properties of the database"):
                self._fingerprint = _fingerprint(server, exported.connection)
                properties = artifact.read(exported.connection)
            return dump(
                server,
                exported,
                properties,
                store,
                naming.attempt_prefix(environment_id, environment_id, "proof"),
                self._folder,
                self._runtime.counter(Step.DUMP_DATABASE),
                limited,
                jobs=1,
                schema_only=True,
            )


def _fingerprint(server: Server, connection: Connection) -> str:
    try:
        return fingerprint.read(connection, fingerprint.roles_of(server))
    except psycopg.Error as error:
        log.warning("the fingerprint of the schema could not be read", extra={"error": str(error)})
        return ""


def is_result(error: MoverError) -> bool:
    """Whether the failure shows that a restore does not work. Else it may work at another time."""
    if isinstance(error, Cancelled) or error.retryable or error.reason in _NO_RESULT:
        return False
    return _DISTURBED.search(error.message) is None


def _finding(server: Server, error: MoverError) -> Finding:
    """The failure, with the functions that cause it where they are known."""
    functions = scratch.without_search_path(server, sorted(set(_INLINED.findall(error.message))))
    if not functions:
        return error.finding()
    return Finding(
        reason=error.reason,
        message=(
            f"{error.message}. A function finds its names by the search_path, which is empty in a restore. Give it a"
            f" search_path of its own with ALTER FUNCTION: {', '.join(map(shown, functions))}"
        ),
    )


def execute(runtime: Runtime, request: ProveRequest) -> ProofResult:
    """As :meth:`ProofRun.run`."""
    return ProofRun(runtime, request).run()
