"""The dump restored into a database of its own beside the live one, which is not touched."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ocore_crds import conditions, failpoints
from ocore_crds.manifest import DatabaseArtifact
from ocore_mover.database import position, programs, toc
from ocore_mover.database.connect import Connection, Server, connect, connect_maintenance, set_timeouts, translating
from ocore_mover.database.position import Names, Position
from ocore_mover.database.programs import Program, Running, ended, find, interrupted, passfile
from ocore_mover.database.restore import create, extensions, grants
from ocore_mover.database.restore.analyze import analyze
from ocore_mover.database.restore.fetch import fetched
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from ocore_mover.store.base import Store

APPLICATION = "ocore-restore"
#: For the restore's own sessions only: the last commits of a restore, which are ours and synchronous, flush what was
#: committed before them.
_OPTIONS = "-c synchronous_commit=off -c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0"
_PROGRESS_EVERY = 1.0


@dataclass(frozen=True)
class RestoredDatabase:
    """What stands beside the live database now."""

    name: str
    owner: str
    size_bytes: int
    tables: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class DatabaseRestore:
    """One restore: who, from where, with what."""

    server: Server
    names: Names
    artifact: DatabaseArtifact
    store: Store
    scratch: Path
    counter: Counter
    token: Token
    jobs: int

    def run(self) -> RestoredDatabase:
        """Restores; leftovers of an earlier attempt are dropped first.

        Raises Corrupt (before anything is created), MoverError RestoreFailed, ScratchFull, NoSpace, MissingGrants and others.
        """
        self.names.check_length()
        with connect_maintenance(self.server, application=APPLICATION, token=self.token) as maintenance:
            program = self._program(maintenance)
            programs.check_encrypted(program, self.server.actor, maintenance)
            now = drop_restored(maintenance, self.names)
            self.counter.bytes_total = sum(f.size for f in self.artifact.files) + self.artifact.size_bytes
            with fetched(self.store, self.artifact, self.scratch, self.names.restored, self.counter) as folder:
                create.create(maintenance, self.names, now, self.artifact)
                return self._load(maintenance, program, folder, now.live.owner)

    def _program(self, connection: Connection) -> Program:
        major = connection.info.server_version // 10000
        if major < self.artifact.server_major:
            raise MoverError(
                conditions.UNSUPPORTED_SERVER,
                f"the snapshot is of PostgreSQL {self.artifact.server_major} and the server is {major}: a dump cannot be restored into an "
                "older server; upgrade the server",
            )
        return find("pg_restore", major)

    def _load(self, maintenance: Connection, program: Program, folder: Path, owner: str) -> RestoredDatabase:
        entries = toc.read(program, folder)
        work = self.scratch / f"ocore-restore-{self.names.restored}.list"
        credentials = self.server.actor.at(self.names.restored)
        warnings: list[str] = []
        try:
            with connect(credentials, application=APPLICATION, token=self.token) as connection:
                found = grants.statements(program, folder, [e for e in entries if e.is_extension], work)
                made, more = extensions.create(connection, owner, extensions.parse(found), self.artifact)
                warnings += more
            toc.write_list(work, [e for e in entries if not _apart(e, made)])
            self._pg_restore(maintenance, program, folder, work, owner)
            failpoints.hit("restore-database-loaded")
            tables = analyze(credentials, owner, self.token, jobs=self.jobs)
            warnings += self._apply_rights(program, folder, entries, owner, work)
        finally:
            work.unlink(missing_ok=True)
        with translating(conditions.RESTORE_FAILED, "copying the live database's settings"):
            warnings += create.copy_settings(maintenance, self.names)
            warnings += _subscriptions(maintenance, self.names.live)
            row = maintenance.execute("SELECT pg_database_size(%s)", [self.names.restored]).fetchone()
        return RestoredDatabase(self.names.restored, owner, int(row[0]) if row else 0, tables, tuple(warnings))

    def _pg_restore(self, maintenance: Connection, program: Program, folder: Path, use_list: Path, owner: str) -> None:
        credentials = self.server.actor.at(self.names.restored)
        arguments = [
            program.path,
            "--format=directory",
            f"--jobs={self.jobs}",
            "--exit-on-error",
            "--no-owner",
            "--no-acl",
            "--no-subscriptions",
            f"--role={owner}",
            f"--use-list={use_list}",
            "--no-password",
            f"--dbname={programs.conninfo(program, credentials, application_name=APPLICATION)}",
            str(folder),
        ]
        tick = _Progress(self.counter, maintenance, self.names.restored, self.artifact.size_bytes)
        with passfile(credentials) as environment:
            running = Running(arguments, environment=environment | {"PGOPTIONS": _OPTIONS})
            try:
                code = running.wait(self.token, tick)
            finally:
                running.close()
        self.token.check()
        if code != 0:
            raise _failure(program, running, code)
        tick.finish()

    def _apply_rights(
        self, program: Program, folder: Path, entries: Sequence[toc.Entry], owner: str, work: Path
    ) -> list[str]:
        """Grants as the dump has them, other owners as the live database has them."""
        chosen = [e for e in entries if e.is_acl or e.is_lenient]
        found = list(grants.statements(program, folder, chosen, work)) if chosen else []
        with translating(conditions.RESTORE_FAILED, "applying owners and grants"):
            with connect(self.server.app, application=APPLICATION, token=self.token) as live:
                owners = grants.owners(live)
            with connect(
                self.server.actor.at(self.names.restored), application=APPLICATION, token=self.token
            ) as connection:
                # What the dump says runs with the owner's rights only. The owners last: whoever gives an object away cannot
                # grant on it any more.
                warnings = grants.apply(connection, found, role=owner)
                return warnings + grants.apply(connection, owners)


def drop_restored(maintenance: Connection, names: Names) -> Position:
    """Drops the copy that an earlier attempt restored. Returns the position. Raises MoverError SwitchFailed after the switch."""
    with translating(conditions.RESTORE_FAILED, "reading the databases' names"):
        now = position.read(maintenance, names)
    if now.position == "New":
        raise MoverError(
            conditions.SWITCH_FAILED,
            f"rollback {names.rollback_id} is already switched: {names.live} is its restored database; use a new rollback id",
        )
    if now.restored is not None:
        create.drop(maintenance, names.restored)
    set_timeouts(maintenance, statement="60s", lock="30s")
    return now


def _subscriptions(maintenance: Connection, live: str) -> list[str]:
    """Two subscribers of one replication slot would lose changes, so none is restored."""
    names = maintenance.execute(
        "SELECT subname::text FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s) ORDER BY 1",
        [live],
    ).fetchall()
    return [
        f"subscription {name} of logical replication is not restored and stays with the previous database; create it again after the rollback"
        for (name,) in names
    ]


def _apart(entry: toc.Entry, made_schemas: set[str]) -> bool:
    """What the main run leaves out: done before it, or one by one after it."""
    if entry.is_extension or entry.is_acl or entry.is_lenient or entry.begins("SUBSCRIPTION"):
        return True
    return any(entry.rest.startswith(f"SCHEMA - {schema} ") for schema in made_schemas)


def _failure(program: Program, running: Running, code: int) -> MoverError:
    detail = running.error_output()
    text = f"pg_restore {program.version}: {ended(code)}: {detail}"
    if running.error_matches("No space left on device"):
        return MoverError(conditions.NO_SPACE, f"{text}; the database server's volume is full; increase its size")
    return MoverError(conditions.RESTORE_FAILED, text, retryable=interrupted(running, code))


class _Progress:
    """How large the restored database is, of the size that the snapshot's had."""

    def __init__(self, counter: Counter, connection: Connection, database: str, total: int) -> None:
        self._counter = counter
        self._connection = connection
        self._database = database
        self._total = total
        self._done = 0
        self._next = 0.0

    def __call__(self) -> None:
        if time.monotonic() < self._next or self._connection.closed:
            return
        self._next = time.monotonic() + _PROGRESS_EVERY
        try:
            row = self._connection.execute("SELECT pg_database_size(%s)", [self._database]).fetchone()
        except psycopg.Error:
            return  # pg_restore will say what is wrong
        self._reach(int(row[0]) if row else 0)

    def finish(self) -> None:
        """All is there; a copy is smaller than a bloated original."""
        self._reach(self._total)
        self._counter.report()

    def _reach(self, size: int) -> None:
        size = min(size, self._total)
        if size > self._done:
            self._counter.add(bytes_=size - self._done)
            self._done = size
