"""One table of 1 % of a database out of a snapshot in S3, behind a network of 20 ms and 1 Gbit/s: an Extract against
the download of the whole dump with rclone and `pg_restore -t`, in the same run.

    bench/run python3 bench/table.py [--megabytes 600] [--runs 3] [--json FILE]

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
from pathlib import Path

from dump import fill
from figures import Figure, faster, limit, report
from filestore import Linked

from ocore_crds.manifest import Manifest
from support.mover.postgres_majors import running
from support.mover.s3_server import BUCKET, S3Server
from support.mover.site import Site, make_site

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
SNAPSHOT = "22222222-2222-4222-8222-222222222222"
PEER = "rclone copy, pg_restore -t"
#: How many times faster (issue 28); and bytes read, of toc.dat and the table's rows: manifest, headers, answers.
TIMES, READ = 3.0, 1.1


class Bench:
    """A snapshot behind the link, and the two ways to one of its tables."""

    def __init__(self, site: Site, server: Linked, folder: Path) -> None:
        self.site = site
        self.server = server
        self.folder = folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        keys = ["--s3-endpoint", server.endpoint, "--s3-credentials", str(server.credentials())]
        self.store = ["--store", f"s3://{BUCKET}/table", *keys]

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
        (path,) = self.server.folder.rglob("manifest.json")
        return Manifest.model_validate_json(path.read_text())

    def ours(self) -> None:
        """The table as CSV in the store."""
        self.mover(
            "extract", *self.store, "--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT, "--extract-id",
            str(uuid.uuid4()), "--table", "public.partner", "--database", str(self.site.secret), "--scratch",
            str(self.scratch), "--capacity", str(10**12),
        )  # fmt: skip

    def theirs(self, key: str) -> None:
        """The whole dump, and a script of the table."""
        target = self.folder / "dump"
        shutil.rmtree(target, ignore_errors=True)
        keys = {"AWS_ACCESS_KEY_ID": S3Server.key, "AWS_SECRET_ACCESS_KEY": S3Server.secret}
        options = ["-q", "--transfers=16", "--checkers=16", "--config=", "--s3-provider=Other", "--s3-env-auth",
                   f"--s3-endpoint={self.server.endpoint}", "--s3-no-check-bucket"]  # fmt: skip
        source = f":s3:{BUCKET}/table/{key.rpartition('/')[0]}"
        subprocess.run(["rclone", "copy", source, str(target), *options], env=os.environ | keys, check=True)
        script = str(self.folder / "script.sql")
        program = str(self.site.server.bin / "pg_restore")
        subprocess.run([program, "-t", "partner", "-f", script, str(target)], check=True)


def run(site: Site, server: Linked, folder: Path, options: argparse.Namespace) -> list[Figure]:
    """Both in turn."""
    fill(site, options.megabytes)
    rows = "SELECT (0.01 * pg_database_size(current_database()) * count(*) / pg_table_size('orders_0'))::bigint"
    site.sql(f"CREATE TABLE partner AS SELECT * FROM orders_0 LIMIT ({rows} FROM orders_0)")
    bench = Bench(site, server, folder)
    manifest = bench.snapshot()
    dump = manifest.database
    if dump is None or dump.table_rows is None:
        raise RuntimeError("the snapshot has no database")
    print(
        f"{sum(o.size for o in dump.files) / 1e6:.0f} MB stored, {dump.table_rows['public.partner']} rows", flush=True
    )
    ours: list[float] = []
    theirs: list[float] = []
    read: list[float] = []
    for _ in range(options.runs):
        received, began, busy = server.received, time.monotonic(), _busy()
        bench.ours()
        ours.append(time.monotonic() - began)
        cpu = _busy() - busy
        read.append((server.received - received) / _needed(bench, server, dump.files[0].key))
        began, busy = time.monotonic(), _busy()
        bench.theirs(dump.files[0].key)
        theirs.append(time.monotonic() - began)
        print(
            f"  ours {ours[-1]:.1f} s, processor {cpu:.1f} s; {PEER} {theirs[-1]:.1f} s, processor"
            f" {_busy() - busy:.1f} s; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    name = f"One table of 1 % of {options.megabytes} MB, over 20 ms and 1 Gbit/s"
    return [
        faster(name, ours, theirs, PEER, TIMES),
        limit(f"{name}: bytes read, of toc.dat and its rows", read, READ, "times"),
    ]


def _busy() -> float:
    """Processor time of all programs so far, without the servers."""
    times = os.times()
    return times.children_user + times.children_system


def _needed(bench: Bench, server: Linked, key: str) -> int:
    """Bytes of toc.dat and of the table's file as stored."""
    folder = server.folder / "data" / BUCKET / "table" / key.rpartition("/")[0]
    listed = subprocess.run(
        [str(bench.site.server.bin / "pg_restore"), "-l", str(folder)], stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    (number,) = (line.split(";")[0] for line in listed.splitlines() if "TABLE DATA public partner " in line)
    return sum(path.stat().st_size for path in folder.iterdir() if path.name.startswith((f"{number}.dat", "toc.dat")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=600, help="size of the database with its indexes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all runs here")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ocore-bench-"))
    try:
        with running(17) as server:
            os.environ["OCORE_PG_BIN"] = str(server.bin)
            site, linked = make_site(server, folder), Linked(folder / "s3")
            try:
                figures = run(site, linked, folder, options)
            finally:
                linked.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(figures, options.json)


if __name__ == "__main__":
    main()
