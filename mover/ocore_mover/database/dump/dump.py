"""The dump: pg_dump's directory format at an exported snapshot, streamed into the store file by file.

Three ways, by what the store and the server are:

- store elsewhere, PostgreSQL 16 and newer: pg_dump compresses into scratch, files are uploaded while they grow;
- a folder as the store, PostgreSQL 16 and newer: pg_dump writes at the objects' places, files are hashed while they grow
  and read back;
- PostgreSQL before 16, whose pg_dump knows no zstd: it writes plain files into scratch, compressed on the way to the store.
"""

import errno
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.manifest import DatabaseArtifact, StoredObject
from ocore_mover.database import programs, toc
from ocore_mover.database.artifact import DatabaseProperties
from ocore_mover.database.connect import Server, connect
from ocore_mover.database.dump.drain import Drain
from ocore_mover.database.dump.export import Exported
from ocore_mover.database.dump.follow import Adoption, CompressedUpload, Sink, Upload
from ocore_mover.database.dump.progress import DumpProgress
from ocore_mover.database.programs import Program, Running, ended, find, interrupted, passfile
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from ocore_mover.store.base import Store

FOLDER = "database/"
#: How long pg_dump waits for a table that a migration has locked (milliseconds).
LOCK_WAIT = 120_000
_FIRST_WITH_ZSTD = 16
_PROGRESS_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class Plan:
    """How a dump is made."""

    program: Program
    folder: Path  # that pg_dump writes into
    in_place: bool  # it is the store's own
    external: bool  # compressed by us
    jobs: int

    def arguments(self, conninfo: str, snapshot: str) -> list[str]:
        """pg_dump's command line. Flushing to disk is ours (`--no-sync`): the store does it, or nobody needs it."""
        return [
            self.program.path,
            "--format=directory",
            f"--jobs={self.jobs}",
            f"--compress={'0' if self.external else 'zstd:1'}",
            f"--snapshot={snapshot}",
            f"--lock-wait-timeout={LOCK_WAIT}",
            "--no-sync",
            "--no-password",
            f"--file={self.folder}",
            f"--dbname={conninfo}",
        ]

    def compressed_by_us(self, name: str) -> bool:
        """Data files are; the tables of contents stay readable."""
        return self.external and name.endswith(".dat") and name != "toc.dat"


def plan(properties: DatabaseProperties, store: Store, prefix: str, scratch: Path, jobs: int) -> Plan:
    """Chooses the way. `prefix` is naming.attempt_prefix(…). Raises MoverError UnsupportedServer."""
    program = find("pg_dump", properties.server_major)
    external = program.major < _FIRST_WITH_ZSTD
    in_place = store.local_root is not None and not external
    if store.local_root is not None and in_place:
        folder = store.local_root / (prefix + FOLDER).rstrip("/")
    else:
        # The same for every attempt of a snapshot: what a killed one left is found and removed.
        folder = scratch / f"ocore-dump-{prefix.rstrip('/').split('/')[-2]}"
    return Plan(program, folder, in_place, external, jobs)


def dump(
    server: Server,
    exported: Exported,
    properties: DatabaseProperties,
    store: Store,
    prefix: str,
    scratch: Path,
    counter: Counter,
    token: Token,
    *,
    jobs: int = 2,
) -> DatabaseArtifact:
    """Dumps into the store; nothing is left in scratch. Raises MoverError DumpFailed, ScratchFull, NoSpace, StoreError.

    What was stored before a failure stays there: the caller removes the attempt's prefix.
    """
    way = plan(properties, store, prefix, scratch, jobs)

    def sink(name: str) -> Sink:
        key = prefix + FOLDER + name
        if way.in_place:
            return Adoption(store, key)
        if way.compressed_by_us(name):
            return CompressedUpload(store.writer(key + ".zst"), workers=jobs)
        return Upload(store.writer(key))

    with _folder(way), _disk_errors(way):
        drain = Drain(way.folder, sink, punch=not way.in_place)
        _run(way, server, exported, properties, drain, counter, token)
        _check_whole(way, drain)
    return _artifact(way, properties, drain)


@contextmanager
def _folder(way: Plan) -> Iterator[None]:
    """The empty folder for pg_dump; in scratch it is removed again, in the store the objects stay."""
    shutil.rmtree(way.folder, ignore_errors=True)
    with _disk_errors(way):
        way.folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(way.folder, ignore_errors=True)
        raise
    if not way.in_place:
        shutil.rmtree(way.folder, ignore_errors=True)


def _run(
    way: Plan,
    server: Server,
    exported: Exported,
    properties: DatabaseProperties,
    drain: Drain,
    counter: Counter,
    token: Token,
) -> None:
    application = f"ocore-dump-{secrets.token_hex(4)}"
    conninfo = programs.conninfo(way.program, server.app, application_name=application)
    with (
        connect(server.app, application="ocore-progress", token=token) as observer,
        passfile(server.app) as environment,
    ):
        programs.check_encrypted(way.program, server.app, observer)
        progress = DumpProgress(counter, properties.table_bytes, application)
        next_look = 0.0

        def tick() -> None:
            nonlocal next_look
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + _PROGRESS_EVERY
                progress.ask(observer)

        running = Running(way.arguments(conninfo, exported.snapshot), environment=environment)
        try:
            with token.on_cancel(running.kill):
                code = drain.run(running, token, tick)
        finally:
            running.close()
        token.check()
        if code != 0:
            raise _failure(way, running, code)
        progress.finish()


def _failure(way: Plan, running: Running, code: int) -> MoverError:
    words = running.words() or "it said nothing"
    if running.said("No space left on device|Disk quota exceeded"):
        return _full(way, words)
    return MoverError(
        conditions.DUMP_FAILED,
        f"pg_dump {way.program.version}: {ended(code)}: {words}",
        retryable=interrupted(running, code),
    )


def _full(way: Plan, words: str) -> MoverError:
    if way.in_place:
        return MoverError(conditions.NO_SPACE, f"the store's volume is full: {words}; enlarge it or delete snapshots")
    return MoverError(
        conditions.SCRATCH_FULL,
        f"the scratch volume at {way.folder.parent} is full: {words}; raise spec.scratch.size of the Environment (512Mi is enough for "
        "a dump where the file system can punch holes)",
    )


@contextmanager
def _disk_errors(way: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(way, str(error)) from error
        raise MoverError(conditions.DUMP_FAILED, f"cannot write the dump to {way.folder}: {error}") from error


def _check_whole(way: Plan, drain: Drain) -> None:
    """Every table of the table of contents has its data file: exit code 0 says so, and this proves it."""
    if "toc.dat" not in drain.stored:
        raise MoverError(conditions.DUMP_FAILED, "pg_dump wrote no table of contents", retryable=True)
    entries = toc.read(find("pg_restore", way.program.major), way.folder)
    missing = toc.missing_data(entries, drain.stored)
    if missing:
        names = ", ".join(entry.rest for entry in missing[:5])
        raise MoverError(
            conditions.DUMP_FAILED, f"{len(missing)} data files are missing in the dump: {names}", retryable=True
        )


def _artifact(way: Plan, properties: DatabaseProperties, drain: Drain) -> DatabaseArtifact:
    files: list[StoredObject] = [drain.stored[name] for name in sorted(drain.stored)]
    return DatabaseArtifact(
        name=properties.name,
        size_bytes=properties.size_bytes,
        server_version=properties.server_version,
        server_major=properties.server_major,
        client_version=way.program.version,
        encoding=properties.encoding,
        collate=properties.collate,
        ctype=properties.ctype,
        locale_provider=properties.locale_provider,
        icu_locale=properties.icu_locale,
        extensions=properties.extensions,
        immutable_functions=properties.immutable_functions,
        compression="external-zstd" if way.external else "pg_dump",
        raw_bytes=drain.raw_bytes,
        files=tuple(files),
    )
