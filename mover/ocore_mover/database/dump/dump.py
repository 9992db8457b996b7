"""The dump: pg_dump's directory format at an exported snapshot, streamed into the store file by file.

There are three plans, chosen by the store and the server:

- remote store, pg_dump with zstd (PostgreSQL 16 and newer): pg_dump compresses into scratch, and files are uploaded
  while they grow;
- store in a folder, pg_dump with zstd: pg_dump writes the objects in place; they are hashed while they grow and read
  back;
- pg_dump without zstd (before 16, or built without): it writes plain files into scratch, which are compressed during
  the upload.
"""

import errno
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.database import lock_waits, programs, toc
from ocore_mover.database.artifact import DatabaseProperties
from ocore_mover.database.connect import Server, connect
from ocore_mover.database.dump.drain import Drain
from ocore_mover.database.dump.export import Exported
from ocore_mover.database.dump.follow import Adoption, CompressedUpload, Sink
from ocore_mover.database.dump.progress import DumpProgress
from ocore_mover.database.dump.rows import RowCounts
from ocore_mover.database.lock_waits import LockWaits
from ocore_mover.database.programs import Program, Running, ended, failure, find, passfile
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store

FOLDER = "database/"
#: Milliseconds that pg_dump waits for a locked table where only the schema is dumped, for a check that can wait until
#: another day. Else it waits for LOCK_TIMEOUT.
SCHEMA_LOCK_WAIT = 10_000
_PROGRESS_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class Plan:
    """How one dump is made."""

    program: Program
    folder: Path  # where pg_dump writes
    in_place: bool  # the folder is in the store
    external: bool  # we compress the files
    jobs: int
    schema_only: bool = False

    def arguments(self, conninfo: str, snapshot: str) -> list[str]:
        """pg_dump's command line. With `--no-sync`: the store flushes what must be durable."""
        return [
            self.program.path,
            "--format=directory",
            f"--jobs={self.jobs}",
            f"--compress={'0' if self.external else 'zstd:1'}",
            f"--snapshot={snapshot}",
            f"--lock-wait-timeout={SCHEMA_LOCK_WAIT if self.schema_only else lock_waits.LOCK_TIMEOUT * 1000}",
            *(["--schema-only"] if self.schema_only else []),
            "--no-sync",
            "--no-password",
            f"--file={self.folder}",
            f"--dbname={conninfo}",
        ]

    def compressed_by_us(self, name: str) -> bool:
        """Whether we compress this file: data files only, so that the table of contents stays readable."""
        return self.external and name.endswith(".dat") and name != "toc.dat"


def choose_plan(
    properties: DatabaseProperties, store: Store, prefix: str, scratch: Path, jobs: int, *, schema_only: bool = False
) -> Plan:
    """Chooses the plan. `prefix` is naming.attempt_prefix(…). Raises MoverError UnsupportedServer."""
    program = find("pg_dump", properties.artifact.server_major)
    external = not programs.knows_zstd(program)
    in_place = store.local_root is not None and not external
    if store.local_root is not None and in_place:
        folder = store.local_root / (prefix + FOLDER).rstrip("/")
    else:
        # The same for every attempt of a snapshot, so that the leftovers of a killed one are removed.
        folder = scratch / f"ocore-dump-{prefix.rstrip('/').split('/')[-2]}"
    return Plan(program, folder, in_place, external, jobs, schema_only)


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
    schema_only: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> DatabaseArtifact:
    """Dumps into the store and empties scratch. `schema_only`: without data. `say` is called with what pg_dump waits
    for. Raises MoverError DumpFailed, ScratchFull, NoSpace, StoreError.

    After a failure the caller removes the objects below the attempt's prefix.
    """
    plan = choose_plan(properties, store, prefix, scratch, jobs, schema_only=schema_only)

    rows = RowCounts(compressed=not plan.external)

    def sink(name: str) -> Sink:
        return rows.counted(name, storing(name))

    def storing(name: str) -> Sink:
        key = prefix + FOLDER + name
        if plan.in_place:
            return Adoption(store, key)
        if plan.compressed_by_us(name):
            # A large object is a file: threads for each of a million would cost more than they give.
            return CompressedUpload(store.writer(key + ".zst"), workers=0 if name.startswith("blob_") else jobs)
        return store.writer(key)

    with _folder(plan), _disk_errors(plan):
        drain = Drain(plan.folder, sink, punch=not plan.in_place)
        _run(plan, server, exported, properties, drain, counter, token, say)
        _check_whole(plan, drain)
        table_rows = None if schema_only else rows.by_table(toc.TableOfContents(plan.folder))
    return properties.artifact.model_copy(
        update={
            "client_version": plan.program.version,
            "compression": "external-zstd" if plan.external else "pg_dump",
            "table_rows": table_rows,
            "raw_bytes": drain.raw_bytes,
            "files": tuple(drain.stored[name] for name in sorted(drain.stored)),
        }
    )


@contextmanager
def _folder(plan: Plan) -> Iterator[None]:
    """The empty folder for pg_dump. It is removed from scratch at the end; in the store the objects stay."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    with _disk_errors(plan):
        plan.folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(plan.folder, ignore_errors=True)
        raise
    if not plan.in_place:
        shutil.rmtree(plan.folder, ignore_errors=True)


def _run(
    plan: Plan,
    server: Server,
    exported: Exported,
    properties: DatabaseProperties,
    drain: Drain,
    counter: Counter,
    token: Token,
    say: Callable[[str], None],
) -> None:
    application = f"ocore-dump-{secrets.token_hex(4)}"
    conninfo = programs.conninfo(plan.program, server.app, application_name=application)
    with (
        connect(server.app, application="ocore-progress", token=token) as observer,
        passfile(server.app) as environment,
    ):
        programs.check_encrypted(plan.program, server.app, observer)
        progress = DumpProgress(counter, properties.table_bytes, application)
        waits = LockWaits(application, say)
        next_poll = 0.0

        def tick() -> None:
            nonlocal next_poll
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + _PROGRESS_EVERY
                progress.update(observer)
                waits.ask(observer)

        running = Running(
            plan.arguments(conninfo, exported.snapshot), environment=environment | {"PGOPTIONS": programs.SAME_VALUES}
        )
        try:
            with token.on_cancel(running.kill):
                code = drain.run(running, token, tick, ended=exported.end)
        finally:
            running.close()
        token.check()
        if code != 0:
            raise _failure(plan, running, code, waits)
        progress.finish()


def _failure(plan: Plan, running: Running, code: int, waits: LockWaits) -> MoverError:
    detail = running.error_output()
    if running.error_matches("No space left on device|Disk quota exceeded"):
        return _full(plan, detail)
    text = f"pg_dump {plan.program.version}: {ended(code)}: {detail}"
    # Its --lock-wait-timeout is a timeout of the statement; it turns off what a role has set.
    if running.error_matches("canceling statement due to statement timeout"):
        return waits.ended_by(text)
    return failure(running, code, conditions.DUMP_FAILED, text)


def _full(plan: Plan, detail: str) -> MoverError:
    if plan.in_place:
        return MoverError(
            conditions.NO_SPACE, f"the store's volume is full: {detail}; increase its size or delete snapshots"
        )
    return MoverError(
        conditions.SCRATCH_FULL,
        f"the scratch volume at {plan.folder.parent} is full: {detail}; increase spec.scratch.size of the Environment"
        " (512Mi is enough for a dump where the file system can punch holes)",
    )


@contextmanager
def _disk_errors(plan: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(plan, str(error)) from error
        raise MoverError(conditions.DUMP_FAILED, f"cannot write the dump to {plan.folder}: {error}") from error


def _check_whole(plan: Plan, drain: Drain) -> None:
    """Raises MoverError DumpFailed unless every table of the table of contents has its data file."""
    if "toc.dat" not in drain.stored:
        raise MoverError(conditions.DUMP_FAILED, "pg_dump wrote no table of contents", retryable=True)
    toc.check_readable(find("pg_restore", plan.program.major), plan.folder)
    missing = toc.missing_data(toc.TableOfContents(plan.folder), drain.stored)
    if missing:
        names = ", ".join(entry.name for entry in missing[:5])
        raise MoverError(
            conditions.DUMP_FAILED, f"{len(missing)} data files are missing in the dump: {names}", retryable=True
        )
