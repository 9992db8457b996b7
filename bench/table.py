"""One table of 1 % of a database out of a snapshot in S3, behind a network of 20 ms and 1 Gbit/s: an Extract against
the download of the whole dump with rclone and `pg_restore -t`, in the same run.

    bench/run python3 bench/table.py [--megabytes 600 3000 10000] [--runs 3] [--json FILE]

Both end with a file: ours with the CSV in the store, theirs with the script of pg_restore. The PostgreSQL server is on
this side of the network.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from dump import fill
from figures import Figure, faster, limit, report
from filestore import Linked

from ocore_crds.commands import request_transport
from ocore_crds.commands.extract import ExtractRequest, TableRequest
from ocore_crds.commands.parts import DatabaseAccess, S3Access, StoreAccess
from ocore_crds.stored.manifest import Manifest
from support.mover.postgres_majors import running
from support.mover.s3_server import BUCKET, S3Server
from support.mover.site import Site, make_site

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
SNAPSHOT = "22222222-2222-4222-8222-222222222222"
PEER = "rclone copy, pg_restore -t"
#: How many times faster (issue 28); and bytes read, of toc.dat and the table's rows: manifest, headers, answers.
TIMES, READ = 3.0, 1.1


class Bench:
    """A snapshot of a database of so many megabytes behind the link, and the two ways to one of its tables."""

    def __init__(self, site: Site, server: Linked, folder: Path, megabytes: int) -> None:
        self.site = site
        self.server = server
        self.folder = folder
        self.megabytes = megabytes
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.prefix = f"table-{megabytes}"
        s3 = S3Access(endpoint=server.endpoint, credentials=str(server.credentials()))
        self.access = StoreAccess(url=f"s3://{BUCKET}/{self.prefix}", s3=s3)
        keys = ["--s3-endpoint", server.endpoint, "--s3-credentials", str(server.credentials())]
        self.store = ["--store", self.access.url, *keys]
        self.dump = ""  # the key of its folder
        self.seconds: list[float] = []
        self.peer: list[float] = []
        self.read: list[float] = []

    def prepare(self) -> None:
        """Fills the database and takes the snapshot."""
        fill(self.site, self.megabytes)
        rows = "SELECT (0.01 * pg_database_size(current_database()) * count(*) / pg_table_size('orders_0'))::bigint"
        self.site.sql(f"CREATE TABLE partner AS SELECT * FROM orders_0 LIMIT ({rows} FROM orders_0)")
        found = self.snapshot().database
        if found is None or found.table_rows is None:
            raise RuntimeError("the snapshot has no database")
        self.dump = found.files[0].key.rpartition("/")[0]
        stored = sum(file.size for file in found.files) / 1e6
        print(f"{self.megabytes} MB: {stored:.0f} MB stored, {found.table_rows['public.partner']} rows", flush=True)

    def measure(self) -> None:
        """Both in turn."""
        received, began, busy = self.server.received, time.monotonic(), _busy()
        self.ours()
        self.seconds.append(time.monotonic() - began)
        cpu = _busy() - busy
        self.read.append((self.server.received - received) / self._needed())
        began, busy = time.monotonic(), _busy()
        self.theirs()
        self.peer.append(time.monotonic() - began)
        print(
            f"  {self.megabytes} MB: ours {self.seconds[-1]:.1f} s, processor {cpu:.1f} s;"
            f" {PEER} {self.peer[-1]:.1f} s, processor {_busy() - busy:.1f} s; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )

    def figures(self) -> Iterator[Figure]:
        """Of all runs."""
        name = f"One table of 1 % of {self.megabytes} MB, over 20 ms and 1 Gbit/s"
        yield faster(name, self.seconds, self.peer, PEER, TIMES)
        yield limit(f"{name}: bytes read, of toc.dat and its rows", self.read, READ, "times")

    def mover(self, *arguments: str) -> dict[str, object]:
        """Runs a command. Returns its payload."""
        done = subprocess.run(
            [sys.executable, "-m", "ocore_mover", *arguments], stdout=subprocess.PIPE, check=True, text=True
        )
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])["payload"]
        return found

    def snapshot(self) -> Manifest:
        """Takes it. Returns its manifest."""
        ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT]
        self.mover("probe-store", *self.store)
        database = ["--database", str(self.site.secret)]
        self.mover("snapshot", *self.store, *database, *ids, "--scratch", str(self.scratch), "--jobs", "2")
        (path,) = self._stored().rglob("manifest.json")
        return Manifest.model_validate_json(path.read_text())

    def ours(self) -> None:
        """The table as CSV in the store. The mover starts as in a Job, which passes its request in the environment."""
        request = ExtractRequest(
            store=self.access,
            environment_id=ENVIRONMENT,
            snapshot_id=SNAPSHOT,
            extract_id=str(uuid.uuid4()),
            tables=(TableRequest(schema="public", name="partner"),),
            database=DatabaseAccess(secret=str(self.site.secret)),
            scratch=str(self.scratch),
            capacity=10**12,
        )
        env = os.environ | request_transport.variables(request) | {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
        program = [sys.executable, "-m", "ocore_mover", "extract"]
        subprocess.run(program, env=env, stdout=subprocess.DEVNULL, check=True)

    def theirs(self) -> None:
        """The whole dump, and a script of the table."""
        target = self.folder / "dump"
        shutil.rmtree(target, ignore_errors=True)
        keys = {"AWS_ACCESS_KEY_ID": S3Server.key, "AWS_SECRET_ACCESS_KEY": S3Server.secret}
        options = ["-q", "--transfers=16", "--checkers=16", "--config=", "--s3-provider=Other", "--s3-env-auth",
                   f"--s3-endpoint={self.server.endpoint}", "--s3-no-check-bucket"]  # fmt: skip
        source = f":s3:{BUCKET}/{self.prefix}/{self.dump}"
        subprocess.run(["rclone", "copy", source, str(target), *options], env=os.environ | keys, check=True)
        script = str(self.folder / "script.sql")
        program = str(self.site.server.bin / "pg_restore")
        subprocess.run([program, "-t", "partner", "-f", script, str(target)], check=True)

    def _needed(self) -> int:
        """Bytes of toc.dat and of the table's file as stored."""
        folder = self._stored() / self.dump
        program = [str(self.site.server.bin / "pg_restore"), "-l", str(folder)]
        listed = subprocess.run(program, stdout=subprocess.PIPE, check=True, text=True).stdout
        (number,) = (line.split(";")[0] for line in listed.splitlines() if "TABLE DATA public partner " in line)
        wanted = (f"{number}.dat", "toc.dat")
        return sum(path.stat().st_size for path in folder.iterdir() if path.name.startswith(wanted))

    def _stored(self) -> Path:
        return self.server.folder / "data" / BUCKET / self.prefix


def _busy() -> float:
    """Processor time of all programs so far, without the servers."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--megabytes",
        type=int,
        nargs="+",
        default=[600, 3000, 10_000],
        help="of each database with its indexes",
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all runs here")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ocore-bench-"))
    try:
        with running(17) as server:
            os.environ["OCORE_PG_BIN"] = str(server.bin)
            linked = Linked(folder / "s3")
            try:
                benches = []
                for megabytes in options.megabytes:
                    place = folder / str(megabytes)
                    place.mkdir()
                    benches.append(Bench(make_site(server, place), linked, place, megabytes))
                    benches[-1].prepare()
                for bench in benches * options.runs:
                    bench.measure()
            finally:
                linked.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report([figure for bench in benches for figure in bench.figures()], options.json)


if __name__ == "__main__":
    main()
