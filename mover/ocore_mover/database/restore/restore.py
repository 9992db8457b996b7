"""Restores the dump into a database of its own beside the live one, which does not change."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from ocore_crds import conditions, failpoints
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.database import copy_access, position, programs, toc, volume
from ocore_mover.database.artifact import read_settings
from ocore_mover.database.connect import (
    Connection,
    Server,
    connect,
    connect_maintenance,
    is_superuser,
    set_timeouts,
    translating,
    value,
)
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.database.position import Names, Position
from ocore_mover.database.programs import Program, Running, ended, failure, find, passfile
from ocore_mover.database.restore import (
    absent_roles,
    create,
    extensions,
    grants,
    lent_rights,
    matviews,
    missing,
    other_owner,
    owners,
    publications,
    search_path,
)
from ocore_mover.database.restore.analyze import analyze
from ocore_mover.database.restore.fetch import fetched
from ocore_mover.database.rights import Rights, read_rights
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store

APPLICATION = "ocore-restore"
#: For the restore's own sessions only. Commits need not be flushed one by one: our last ones, which are synchronous,
#: flush them all.
_OPTIONS = (
    f"{programs.SAME_VALUES} -c synchronous_commit=off -c default_transaction_read_only=off -c statement_timeout=0"
    " -c lock_timeout=0"
)
_PROGRESS_EVERY = 1.0
#: Notices of the server in the evidence, at most.
_NOTICES = 20


@dataclass(frozen=True)
class RestoredDatabase:
    """The copy beside the live database."""

    name: str
    owner: str  # of its objects, and of the database after the switch
    size_bytes: int
    tables: int
    warnings: tuple[str, ...]
    live_missing: bool  # there was no live database: the copy creates it


@dataclass(frozen=True)
class DatabaseRestore:
    """One restore: server, names, dump and limits."""

    server: Server
    names: Names
    artifact: DatabaseArtifact
    store: Store
    scratch: Path
    counter: Counter
    token: Token
    jobs: int
    neutralize: bool = False  # the copy must not become live before it is neutralised
    #: The dump is of another environment: name, owner and grants of its database are not those of this one.
    other_environment: bool = False
    #: Of the volume of the server's databases, in bytes: the load ends before it is full. None: unknown, and not
    #: watched.
    capacity: int | None = None
    #: What of the dump is in scratch already, and is restored; None: all of it is fetched.
    contents: toc.TableOfContents | None = None
    statistics: bool = True  # ANALYZE: without it the queries of an application are slow
    #: Called once the whole dump is in scratch and checked, before anything is created.
    on_fetched: Callable[[], None] = lambda: None
    #: Called once the copy exists.
    on_created: Callable[[], None] = lambda: None

    def run(self) -> RestoredDatabase:
        """Restores into the copy, which is closed before and after. A copy of an earlier attempt is dropped first.

        Raises Corrupt (before anything is created), MoverError RestoreFailed, ScratchFull, NoSpace, MissingGrants and
        others.
        """
        self.names.check_length()
        with connect_maintenance(self.server, application=APPLICATION, token=self.token) as maintenance:
            program = self._program(maintenance)
            programs.check_encrypted(program, self.server.actor, maintenance)
            now = drop_restored(maintenance, self.names)
            rights, warnings = self._rights_of_live(maintenance, now)
            self.counter.bytes_total = sum(f.size for f in self.artifact.files) + self.artifact.size_bytes
            with self._fetched() as contents:
                self.on_fetched()
                with translating(conditions.RESTORE_FAILED, "reading the owners of the dump"):
                    owners.check(maintenance, contents, rights.owner)
                create.create(
                    maintenance, self.server, self.names, now, self.artifact, rights, neutralize=self.neutralize
                )
                self.on_created()
                restored = self._load(maintenance, program, contents, rights.owner, now)
        return replace(restored, warnings=(*warnings, *restored.warnings))

    @contextmanager
    def _fetched(self) -> Iterator[toc.TableOfContents]:
        if self.contents is not None:
            yield self.contents
            return
        with fetched(self.store, self.artifact, self.scratch, self.names.restored, self.counter) as contents:
            yield contents

    def _rights_of_live(self, maintenance: Connection, now: Position) -> tuple[Rights, list[str]]:
        """Rights of the live database, or of the one to create, and warnings. Raises MoverError DatabaseNotFound."""
        with translating(conditions.RESTORE_FAILED, "reading the rights on the live database"):
            if now.live is not None:
                return read_rights(maintenance, self.names.live), []
            if self.other_environment:
                found, warnings = missing.rights_of_copy(self.server, self.artifact)
            else:
                missing.check_name(self.server, self.artifact)
                found, warnings = missing.rights(maintenance, self.server, self.artifact)
        text = (
            f"database {self.names.live} did not exist: it is created from the snapshot, and there is no previous"
            " database to go back to"
        )
        return found, [text, *warnings]

    def _program(self, connection: Connection) -> Program:
        major = connection.info.server_version // 10000
        if major < self.artifact.server_major:
            raise MoverError(
                conditions.UNSUPPORTED_SERVER,
                f"the snapshot is of PostgreSQL {self.artifact.server_major} and the server is {major}: a dump cannot"
                " be restored into an older server; upgrade the server",
            )
        program = find("pg_restore", major)
        if self.artifact.compression == "pg_dump" and not programs.knows_zstd(program):
            raise MoverError(
                conditions.UNSUPPORTED_SERVER,
                f"pg_restore {program.version} was built without zstd and cannot read this snapshot, whose dump is"
                f" compressed with it; use a mover image whose client programs of PostgreSQL {major} have zstd, such as"
                " those of Debian and PGDG",
            )
        return program

    def _load(
        self, maintenance: Connection, program: Program, contents: toc.TableOfContents, owner: str, now: Position
    ) -> RestoredDatabase:
        warnings: list[str] = []
        if self.server.admin is None:
            warnings.append(copy_access.HIDDEN_ONLY)
        with translating(conditions.RESTORE_FAILED, "copying the live database's settings"):
            # Before the load: constraints and indexes may read them.
            if now.live is not None:
                settings = list(read_settings(maintenance, self.names.live))
            else:
                source = missing.settings_of_copy(self.artifact, owner) if self.other_environment else self.artifact
                settings, left_out = missing.settings(maintenance, self.names, source, owner)
                warnings += left_out
            warnings += create.copy_settings(maintenance, self.names, settings)
            renamed = other_owner.Owners(contents.owner, owner) if self.other_environment else None
            reduced = absent_roles.find(maintenance, contents, renamed)
        with copy_access.opened(self.server, self.names, owner, self.token, jobs=self.jobs) as access:
            with self._as_actor(warnings) as copy:
                apart = frozenset(item.entry.dump_id for item in reduced)
                warnings += self._extensions_and_load(maintenance, program, contents, access, copy, apart)
            failpoints.hit("restore-database-loaded")
            tables = analyze(access, self.token, jobs=self.jobs) if self.statistics else 0
            warnings += self._apply_rights(contents, access, reduced, renamed, live_exists=now.live is not None)
        with translating(conditions.RESTORE_FAILED, "reading the live database's subscriptions"):
            warnings += _subscriptions(maintenance, self.names.live)
            size = int(value(maintenance, "SELECT pg_database_size(%s)", [self.names.restored]))
        return RestoredDatabase(self.names.restored, owner, size, tables, tuple(warnings), now.live is None)

    @contextmanager
    def _as_actor(self, warnings: list[str]) -> Iterator[Connection]:
        """A session of the actor in the copy, which finds names in pg_catalog only. The server's notices go into
        `warnings`."""
        with connect(
            self.server.actor.at(self.names.restored), application=APPLICATION, token=self.token, trusted=True
        ) as copy:
            copy.add_notice_handler(
                lambda diag: (
                    warnings.append(f"{diag.severity}: {diag.message_primary}") if len(warnings) < _NOTICES else None
                )
            )
            yield copy

    def _extensions_and_load(
        self,
        maintenance: Connection,
        program: Program,
        contents: toc.TableOfContents,
        access: CopyAccess,
        copy: Connection,
        left_out: frozenset[int],
    ) -> list[str]:
        """Creates the extensions as the actor, then loads everything else with the application's rights."""
        with (
            translating(conditions.RESTORE_FAILED, "preparing the schema public"),
            _creating_in_public(copy, access.owner, enabled=self.server.admin is not None),
        ):
            made, warnings = extensions.create(copy, access.owner, extensions.read(contents), self.artifact)
            first = lent_rights.find(copy, contents, access.owner)
            if first.dump_ids:
                chosen = (entry for entry in contents if entry.dump_id in first.dump_ids)
                with lent_rights.lent(copy, access.owner, first.rights):
                    warnings += self._pg_restore(maintenance, program, contents.folder, chosen, access)
            apart = left_out | first.dump_ids

            def main() -> Iterator[toc.Entry]:
                return (entry for entry in contents if entry.dump_id not in apart and not _apart(entry, made))

            warnings += self._pg_restore(maintenance, program, contents.folder, main(), access, "pre-data")
            with search_path.given(self.server, access, self.token):
                warnings += self._pg_restore(maintenance, program, contents.folder, main(), access, "data", "post-data")
                views = (entry for entry in contents if matviews.is_data(entry))
                warnings += matviews.refresh(access, views, contents.encoding, self.token)
        return warnings

    def _pg_restore(
        self,
        maintenance: Connection,
        program: Program,
        folder: Path,
        entries: Iterable[toc.Entry],
        access: CopyAccess,
        *sections: str,
    ) -> list[str]:
        """Loads those of the entries that are in one of the sections (of all where none is given). Returns the notices
        of the server."""
        use_list = self.scratch / f"ocore-restore-{self.names.restored}.list"
        arguments = [
            program.path,
            "--format=directory",
            f"--jobs={self.jobs}",
            "--exit-on-error",
            "--no-owner",
            "--no-acl",
            "--no-subscriptions",
            "--verbose",  # else it drops the server's warnings
            f"--role={access.owner}",
            f"--use-list={use_list}",
            *(f"--section={section}" for section in sections),
            "--no-password",
            f"--dbname={programs.conninfo(program, access.credentials, application_name=APPLICATION)}",
            str(folder),
        ]
        progress = _Progress(self.counter, maintenance, self.names.restored, self.artifact.size_bytes)
        watch = volume.Watch(self.capacity, self.names.restored) if self.capacity is not None else None

        def tick() -> None:
            progress()
            if watch is not None:
                watch(maintenance)

        try:
            toc.write_list(use_list, entries)
            with passfile(access.credentials) as environment:
                running = Running(arguments, environment=environment | {"PGOPTIONS": _OPTIONS})
                try:
                    code = running.wait(self.token, tick)
                finally:
                    running.close()
        finally:
            use_list.unlink(missing_ok=True)
        self.token.check()
        if code != 0:
            raise _failure(program, running, code)
        if "post-data" in sections:
            progress.finish()
        return running.notices()

    def _apply_rights(
        self,
        contents: toc.TableOfContents,
        access: CopyAccess,
        reduced: Sequence[absent_roles.Reduced],
        renamed: other_owner.Owners | None,
        *,
        live_exists: bool,
    ) -> list[str]:
        """What pg_restore leaves out: policies, publications, owners, grants and the comments that only an owner of the
        database may set."""
        encoding = contents.encoding
        warnings: list[str] = []

        def granted() -> Iterator[toc.Entry]:
            found = grants.entries(contents)
            return other_owner.in_grants(found, renamed, encoding) if renamed is not None else found

        with (
            translating(conditions.RESTORE_FAILED, "applying owners and grants"),
            self._as_actor(warnings) as copy,
            self._live_as_superuser(copy, exists=live_exists) as live,
        ):
            with access.connect(application=APPLICATION, token=self.token) as session:
                warnings += absent_roles.create(session, reduced, encoding)
            published = (entry for entry in contents if publications.is_superusers(entry))
            warnings += publications.create(copy, published, encoding)
            # A grant is the owner's: owners first.
            warnings += owners.give(copy, live, contents, access.owner)
            others = grants.Targets(copy, contents.owner or access.owner, access.owner)
            closed = self.server.admin is not None
            own = (entry for entry in granted() if others.find(entry) is None or (entry.is_lenient and not closed))
            with access.connect(application=APPLICATION, token=self.token) as session:
                warnings += grants.apply_as_application(session, access.owner, own, encoding)
            theirs = ((entry, target) for entry in granted() if (target := others.find(entry)) is not None)
            warnings += grants.apply_as_administrator(copy, theirs, encoding)
            if closed:
                lenient = (entry for entry in contents if entry.is_lenient)
                warnings += grants.comment_as_administrator(copy, lenient, encoding)
        return warnings

    @contextmanager
    def _live_as_superuser(self, copy: Connection, *, exists: bool) -> Iterator[Connection | None]:
        """A session in the live database, to compare what would go to a superuser; None where the actor cannot give to
        one, or it does not exist."""
        if self.server.admin is None or not exists or not is_superuser(copy):
            yield None
            return
        with connect(
            self.server.admin.at(self.server.live), application=APPLICATION, token=self.token, trusted=True
        ) as live:
            yield live


@contextmanager
def _creating_in_public(copy: Connection, owner: str, *, enabled: bool) -> Iterator[None]:
    """Lets the owner create objects in the schema public, which belongs to the copy's own owner: the administrator."""
    if not enabled:
        yield
        return
    name = sql.Identifier(owner)
    copy.execute(sql.SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(name))
    yield
    copy.execute(sql.SQL("REVOKE CREATE, USAGE ON SCHEMA public FROM {}").format(name))


def drop_restored(maintenance: Connection, names: Names) -> Position:
    """Drops the copy that an earlier attempt restored. Returns the position. Raises MoverError SwitchFailed after the
    switch."""
    with translating(conditions.RESTORE_FAILED, "reading the databases' names"):
        now = position.read(maintenance, names)
    if now.position == "New":
        raise MoverError(
            conditions.SWITCH_FAILED,
            f"rollback {names.rollback_id} is already switched: {names.live} is its restored database; use a new"
            " rollback id",
        )
    if now.restored is not None:
        create.drop(maintenance, names.restored)
    copy_access.drop_roles(maintenance, names.rollback_id, owner=now.owner)
    set_timeouts(maintenance, statement="60s", lock="30s")
    return now


def _subscriptions(maintenance: Connection, live: str) -> list[str]:
    """Two subscribers of one replication slot would lose changes, so none is restored."""
    names = maintenance.execute(
        "SELECT subname::text FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s)"
        " ORDER BY 1",
        [live],
    ).fetchall()
    return [
        f"subscription {name} of logical replication is not restored and stays with the previous database; create it"
        " again after the rollback"
        for (name,) in names
    ]


def _apart(entry: toc.Entry, made_schemas: set[str]) -> bool:
    """Whether pg_restore leaves it out: it is created before the load, or applied after it."""
    if (
        entry.is_extension
        or entry.is_acl
        or entry.is_lenient
        or entry.description == "SUBSCRIPTION"
        or matviews.is_data(entry)
        or publications.is_superusers(entry)
    ):
        return True
    return entry.description == "SCHEMA" and entry.tag in made_schemas


def _failure(program: Program, running: Running, code: int) -> MoverError:
    text = f"pg_restore {program.version}: {ended(code)}: {running.error_output()}"
    if running.error_matches("No space left on device"):
        return MoverError(conditions.NO_SPACE, f"{text}; the database server's volume is full; increase its size")
    return failure(running, code, conditions.RESTORE_FAILED, text)


class _Progress:
    """Progress: the size of the copy, of the size that the dumped database had."""

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
            size = value(self._connection, "SELECT pg_database_size(%s)", [self._database])
        except psycopg.Error:
            return  # pg_restore reports the cause
        self._reach(int(size))

    def finish(self) -> None:
        """Reports that everything is loaded; a copy is smaller than a bloated original."""
        self._reach(self._total)
        self._counter.report()

    def _reach(self, size: int) -> None:
        size = min(size, self._total)
        if size > self._done:
            self._counter.add(bytes_=size - self._done)
            self._done = size
