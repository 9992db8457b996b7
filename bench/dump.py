"""Dump and restore of a database: ours against the plain tools, both in the same run on the same server.

    bench/run python3 bench/dump.py [--megabytes 1500] [--runs 3] [--major 17] [--json FILE] [--skip-restore]

Starts a PostgreSQL server of its own, fills it with wide text and JSON tables, and prints medians and ratios. Loopback
only. The server does not flush to disk (fsync=off), for both sides.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
for part in ("crds", "mover", "tests"):
    sys.path.insert(0, str(REPOSITORY / part))

from figures import Figure, at_most, faster, limit, report
from memory import touch_free_memory

from ocore_crds.protocol import Step
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.cancellable import GuardedStore
from ocore_mover.database import artifact
from ocore_mover.database.dump import dump, export
from ocore_mover.database.restore.restore import DatabaseRestore
from ocore_mover.deadline import Token
from ocore_mover.report import Counter, Reporter
from ocore_mover.store import Store, open_store
from support.mover.disk import Peak
from support.mover.postgres_majors import Server, running
from support.mover.site import Site, make_site

JOBS = 2
PREFIX = "environments/e/snapshots/s/1/"
PLAIN_DUMP = "pg_dump -Fd -j2 --compress=zstd:1"
CUSTOM_DUMP = "pg_dump -Fc"
PLAIN_RESTORE = "pg_restore -j2, ANALYZE"
SCRATCH_LIMIT_MB = 512
_WIDE = """
CREATE TABLE {name} AS SELECT i AS id, now() - i * interval '1 minute' AS created, i % 97 AS state,
  'Order ' || i || ' of customer ' || (i::bigint * 7919 % 100003) AS name,
  repeat('The goods were delivered in part. ', 3 + i % 9) || md5(i::text) || md5((i * 3)::text) AS note,
  jsonb_build_object('id', i, 'lines', jsonb_build_array(md5((i * 5)::text), i % 13, md5((i * 11)::text)),
    'address', jsonb_build_object('street', md5((i * 13)::text), 'city', 'City ' || i % 1000),
   'total', i * 1.19) AS data
  FROM generate_series(1, {rows}) i;
ALTER TABLE {name} ADD PRIMARY KEY (id);
CREATE INDEX ON {name} (state, created);
CREATE INDEX ON {name} (name);
"""
_ROW_BYTES = 760  # of a row with its part of the indexes


class FarStore(GuardedStore):
    """A folder that pretends to be somewhere else, to take the way that S3 takes."""

    @property
    def local_root(self) -> None:
        return None


@dataclass
class Runs:
    """Seconds of every run, by name; scratch peaks in MB."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    scratch: list[float] = field(default_factory=list)

    def measure(self, name: str, work: Callable[[], object]) -> None:
        touch_free_memory()
        os.sync()
        since = time.monotonic()
        work()
        taken = time.monotonic() - since
        self.seconds.setdefault(name, []).append(taken)
        print(f"  {name}: {taken:.1f} s", flush=True)

    def figures(self, megabytes: int) -> list[Figure]:
        """What issue 4 asks for."""
        near, far = self.seconds["ours, folder store"], self.seconds["ours, through scratch"]
        plain = self.seconds[PLAIN_DUMP]
        found = [
            at_most(f"Dump of {megabytes} MB to a claim store", near, plain, PLAIN_DUMP, 1.15),
            faster(f"Dump of {megabytes} MB to a claim store", near, self.seconds[CUSTOM_DUMP], CUSTOM_DUMP, 5),
            at_most(f"Dump of {megabytes} MB through scratch, as to S3", far, plain, PLAIN_DUMP, 1.15),
            limit("Scratch peak of that dump", self.scratch, SCRATCH_LIMIT_MB, "MB"),
        ]
        if PLAIN_RESTORE in self.seconds:
            ours, theirs = self.seconds["ours, restore"], self.seconds[PLAIN_RESTORE]
            found.append(at_most(f"Restore of {megabytes} MB with checks", ours, theirs, PLAIN_RESTORE, 1.15))
        return found


def fill(site: Site, megabytes: int) -> None:
    """Six tables of different sizes: two workers have to share the work."""
    shares = (0.3, 0.25, 0.15, 0.15, 0.1, 0.05)
    for number, share in enumerate(shares):
        rows = int(megabytes * 1024 * 1024 * share / _ROW_BYTES)
        site.sql(_WIDE.format(name=f"orders_{number}", rows=rows))
    site.sql("CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname text)")
    site.sql("VACUUM ANALYZE")


class Bench:
    """One server, one database, one folder for everything."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.runs = Runs()
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.found: DatabaseArtifact | None = None
        self.store: Store | None = None

    def tool(self, name: str, *arguments: str, database: str = "") -> None:
        environment = {**os.environ, "PGPASSWORD": self.site.role.password}
        address = ["-h", "127.0.0.1", "-p", str(self.site.server.port), "-U", self.site.role.name]
        subprocess.run(
            [str(self.site.server.bin / name), *address, "-d", database or self.site.live, *arguments],
            env=environment, check=True,
        )  # fmt: skip

    def fresh(self, name: str) -> Path:
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def dumps(self) -> None:
        directory, single = self.fresh("plain"), self.fresh("custom")
        single.mkdir()
        self.runs.measure(
            PLAIN_DUMP,
            lambda: self.tool("pg_dump", "-Fd", f"-j{JOBS}", "--compress=zstd:1", "-f", str(directory)),
        )
        root = self.fresh("store")
        root.mkdir()
        near = open_store(root.as_uri())
        self.runs.measure("ours, folder store", lambda: self.ours(near))
        far_root = self.fresh("far")
        far_root.mkdir()
        far = self.store = FarStore(open_store(far_root.as_uri()), Token())
        with Peak(self.scratch) as peak:
            self.runs.measure("ours, through scratch", lambda: self.ours(far))
        self.runs.scratch.append(peak.bytes / 1e6)

    def custom(self) -> None:
        path = self.folder / "custom" / "dump"
        self.runs.measure(CUSTOM_DUMP, lambda: self.tool("pg_dump", "-Fc", "-f", str(path)))

    def ours(self, store: Store) -> None:
        token = Token(3600)
        with export.export(self.site.target, token) as exported:
            properties = artifact.read(exported.connection)
            self.found = dump.dump(
                self.site.target, exported, properties, store, PREFIX, self.scratch, self.counter(), token, jobs=JOBS
            )

    def counter(self) -> Counter:
        class Quiet(Reporter):
            def emit(self, line: object) -> None:
                """Nothing."""

        return Quiet(Path(os.devnull)).counter(Step.DUMP_DATABASE)

    def restores(self) -> None:
        other = f"{self.site.live}_plain"
        self.site.sql(f"DROP DATABASE IF EXISTS {other}", "postgres")
        self.site.sql(f"CREATE DATABASE {other} TEMPLATE template0", "postgres")

        def plain() -> None:
            self.tool(
                "pg_restore", "-Fd", f"-j{JOBS}", "--no-owner", "--no-acl", str(self.folder / "plain"), database=other
            )
            self.site.sql("ANALYZE", other)

        self.runs.measure(PLAIN_RESTORE, plain)
        self.site.sql(f"DROP DATABASE {other}", "postgres")
        self.site.rollback_id = str(uuid.uuid4())
        assert self.found is not None
        assert self.store is not None
        restore = DatabaseRestore(
            server=self.site.target, names=self.site.names, artifact=self.found, store=self.store,
            scratch=self.scratch, counter=self.counter(), token=Token(3600), jobs=JOBS,
        )  # fmt: skip
        self.runs.measure("ours, restore", restore.run)
        self.site.sql(f"DROP DATABASE {self.site.names.restored}", "postgres")


def run(server: Server, folder: Path, options: argparse.Namespace) -> Runs:
    """Everything on one server."""
    os.environ["OCORE_PG_BIN"] = str(server.bin)
    site = make_site(server, folder)
    print(f"PostgreSQL {server.major}: filling {options.megabytes} MB", flush=True)
    fill(site, options.megabytes)
    size = site.sql("SELECT pg_database_size(current_database())")[0][0]
    print(f"the database has {int(str(size)) / 1e6:.0f} MB", flush=True)
    bench = Bench(site, folder)
    for number in range(options.runs):
        print(f"run {number + 1} of {options.runs}", flush=True)
        bench.dumps()
        bench.custom()
        if not options.skip_restore:
            bench.restores()
    return bench.runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1500, help="size of the database with its indexes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--major", type=int, default=17, choices=(15, 17))
    parser.add_argument("--json", type=Path, help="write all runs here")
    parser.add_argument("--skip-restore", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ocore-bench-"))
    try:
        with running(options.major) as server:
            figures = run(server, folder, options).figures(options.megabytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(figures, options.json)


if __name__ == "__main__":
    main()
