"""Commands of the mover with an encrypted snapshot, beside the same ones with a plain snapshot, in turns: a full
snapshot of a database and files, a differential one, a restore of that, an Extract of one file and of one table. In a
folder, in S3 (SeaweedFS), and in S3 behind a network of 20 ms and 1 Gbit/s.

    bench/run python3 bench/encryption.py [--runs 3] [--json FILE]

What a user waits for: each is a process of its own, from its start to its end. Seconds on the clock; processor seconds
and the largest memory of the process and those that it starts. Encrypted ones are of mode `Current`.
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dump import fill
from figures import Figure, at_most, report
from filestore import BUCKET, Linked, make_filestore, warm

from ocore_mover.store.age import Identity
from support.mover.postgres_majors import running
from support.mover.s3_server import S3Server
from support.mover.seaweed import SeaweedFS
from support.mover.site import Site, make_site

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
#: An encrypted operation may take so many times the plain one's.
FACTOR = 1 / 0.85
PLAIN, ENCRYPTED = "plain", "encrypted"
CLOCK, PROCESSOR, MEMORY = "s", "s of processor time", "MB"
#: New files of a differential, and bytes of each.
NEW, NEW_BYTES = 50, 100_000
ONE = "one.pdf"
#: All runs by operation, unit and kind of the snapshot.
Runs = dict[tuple[str, str, str], list[float]]


class Kind:
    """Plain or encrypted snapshots in one place."""

    def __init__(self, site: Site, work: Path, url: str, server: S3Server | None, kind: str) -> None:
        self.site, self.work, self.kind = site, work, kind
        self.claim = work / "claim"
        self.store = ["--store", f"{url}/{kind}"]
        if server is not None:
            self.store += ["--s3-endpoint", server.endpoint, "--s3-credentials", str(server.credentials())]
        self.recipients: list[str] = []
        self.identity: list[str] = []
        if kind == ENCRYPTED:
            folder, identity = work / "identity", Identity.generate()
            folder.mkdir(exist_ok=True)
            (folder / "identity").write_text(identity.secret)
            self.recipients = ["--recipient", Identity.generate().recipient, "--job-identity", str(folder)]
            self.identity = ["--identity", str(folder)]

    def once(self, runs: Runs | None) -> None:
        """Each operation once. `runs`: where the figures go; None: nowhere, it warms up."""
        self._mover("probe-store", *self.store)
        snapshots = [str(uuid.uuid4()) for _ in range(2)]
        where = [*self.store, "--environment-id", ENVIRONMENT]
        database = ["--database", str(self.site.secret)]
        scratch = ["--scratch", str(self.work / "scratch")]
        files = ["--claim", str(self.claim), "--filestore", "filestore", "--layout", "Plain"]
        take = ["snapshot", *where, *database, *scratch, *files, "--jobs", "2", *self.recipients]
        with self._measured(runs, "full snapshot"):
            full = self._mover(*take, "--snapshot-id", snapshots[0])
        self._change()
        base = ["--base-snapshot-id", snapshots[0], "--base-manifest-sha256", full["manifestSha256"]]
        base += ["--base-identity", *self.identity[1:]] if self.identity else []
        with self._measured(runs, "differential snapshot"):
            found = self._mover(*take, *base, "--snapshot-id", snapshots[1])
        if found["baseSnapshotId"] != snapshots[0]:
            raise RuntimeError(f"the {self.kind} snapshot is not a differential one: {found['evidence']}")
        which = [*where, "--snapshot-id", snapshots[1], *self.identity]
        with self._measured(runs, "one file"):
            self._mover("extract", *which, "--extract-id", str(uuid.uuid4()), "--path", ONE)
        with self._measured(runs, "one table"):
            table = ["--table", "public.orders_5", *database, *scratch]
            self._mover("extract", *which, "--extract-id", str(uuid.uuid4()), *table)
        rollback = [*database, "--environment-id", ENVIRONMENT, "--rollback-id", str(uuid.uuid4())]
        with self._measured(runs, "restore"):
            self._mover("restore", *which, *rollback, *scratch, *files, "--jobs", "2")
        self._mover("cleanup", "--what", "restored", *rollback, *files)
        shutil.rmtree(self.claim / ".ocore")
        for snapshot in reversed(snapshots):
            self._mover("delete", *where, "--snapshot-id", snapshot)

    def _change(self) -> None:
        """New files, the same for both kinds."""
        folder = self.claim / "filestore/new"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for number in range(NEW):
            (folder / str(number)).write_bytes(os.urandom(NEW_BYTES))

    @contextmanager
    def _measured(self, runs: Runs | None, what: str) -> Iterator[None]:
        os.sync()
        self.busy = self.memory = 0.0
        began = time.monotonic()
        yield
        found = {CLOCK: time.monotonic() - began, PROCESSOR: self.busy, MEMORY: self.memory}
        for unit, value in found.items():
            if runs is not None:
                runs.setdefault((what, unit, self.kind), []).append(value)

    def _mover(self, *arguments: str) -> dict[str, Any]:
        """Runs a command. Returns its payload."""
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen([sys.executable, "-m", "ocore_mover", *arguments], stdout=output)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            last = output.read().splitlines()[-1]
        if process.returncode:
            raise RuntimeError(f"{arguments[0]}: {last}")
        self.busy, self.memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1000
        found: dict[str, Any] = json.loads(last)["payload"]
        return found


def figures(place: str, runs: Runs) -> Iterator[Figure]:
    """One of each operation and unit."""
    for what, unit, kind in runs:
        if kind == PLAIN:
            ours, peer = runs[what, unit, ENCRYPTED], runs[what, unit, PLAIN]
            yield at_most(f"{what}, {place}, {unit}", ours, peer, PLAIN, FACTOR, unit.split()[0])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--megabytes", type=int, default=500, help="of the files, and of the database")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ocore-encryption-") as folder, running(17) as server:
        os.environ["OCORE_PG_BIN"] = str(server.bin)
        work = Path(folder)
        (work / "scratch").mkdir()
        make_filestore(work / "claim/filestore", options.files, options.megabytes * 1_000_000)
        (work / "claim/filestore" / ONE).write_bytes(os.urandom(200_000))
        warm(work / "claim")
        site = make_site(server, work)
        fill(site, options.megabytes)
        (work / "seaweed").mkdir()
        places = {"folder": None, "S3": SeaweedFS(work / "seaweed"), "S3 over 20 ms": Linked(work / "linked")}
        try:
            for place, s3 in places.items():
                url = (work / "store").as_uri() if s3 is None else f"s3://{BUCKET}/b"
                kinds = [Kind(site, work, url, s3, kind) for kind in (PLAIN, ENCRYPTED)]
                runs: Runs = {}
                for number in range(options.runs + 1):
                    for kind in kinds:
                        kind.once(runs if number else None)
                found += figures(place, runs)
        finally:
            for s3 in filter(None, places.values()):
                s3.stop()
    report(found, options.json)


if __name__ == "__main__":
    main()
