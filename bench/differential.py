"""The second snapshot of a filestore with 1 % new files: our differential against restic's second run, on the same data and servers.

    bench/run python3 bench/differential.py --runs 3

restic in its best case: nothing has touched the files since its first run, so it reads none of the old ones again (our hard links would change
their times; both its runs end before ours begin). What both read is in the page cache. Ours is all that the mover does besides the database:
the base is found and read, the names are compared twice, new files are frozen and stored, the manifest is written, with the start of the process.
"""

import argparse
import contextlib
import random
import statistics
import subprocess
import sys
from pathlib import Path

from figures import Figure, faster, limit, report
from filestore import ENVIRONMENT, MEMORY_LIMIT_MB, Bench, Measured, details, make_filestore, prepared, run, warm

from support.mover.s3_server import BUCKET

FULL = "33333333-3333-4333-8333-333333333333"
NEXT = "44444444-4444-4444-8444-444444444444"
TIME = "2026-01-02T03:04:05Z"
#: New files, as a fraction of all.
NEW = 0.01
#: Issue 13.
TIMES_RESTIC = 4.0
MOST_SECONDS = 1.5
#: For each further file, in microseconds: its name is listed, read from the database's list and from the base's index, and compared.
MOST_FOR_A_FILE = 25.0


class DifferentialBench(Bench):
    """Runs both tools on one filestore."""

    def add_new(self, count: int, size: int) -> list[Path]:
        """New files; the same ones each time."""
        import hashlib

        source, made = random.Random(11), []
        for _ in range(count):
            data = source.randbytes(size)
            digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
            path = self.source / digest[:2] / digest
            path.write_bytes(data)
            made.append(path)
        return made

    def restic_again(self, target: str, count: int, size: int) -> None:
        """Both runs of restic; the second is measured."""
        self._number += 1
        server = self.servers.get(target)
        place = f"s3:{server.endpoint}/{BUCKET}/restic-{self._number}" if server else str(self.fresh("restic"))
        env = self.environment() | {"RESTIC_REPOSITORY": place, "RESTIC_CACHE_DIR": str(self.fresh("restic-cache"))}
        subprocess.run(["restic", "init", "-q"], env=env, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["restic", "backup", "-q", "."], env=env, check=True, cwd=self.source)
        self._measured(
            "restic", target, count, size, lambda: run(["restic", "backup", "-q", "."], env, self.source, self.work)
        )
        self._forget(target, f"restic-{self._number}")

    def ours_again(self, target: str, count: int, size: int) -> None:
        """A full snapshot and a differential, which is measured, restored and compared."""
        self._number += 1
        server = self.servers.get(target)
        url = f"s3://{BUCKET}/ours-{self._number}" if server else self.fresh("our-store").as_uri()
        scratch = self.fresh("scratch")
        options = [
            url,
            server.endpoint if server else "",
            str(server.credentials()) if server else "",
            str(self.jobs),
            str(scratch),
        ]
        child = [sys.executable, __file__, "--child"]
        run([*child, "full", *options, str(self.claim)], self._child(), self.work, self.work)

        def measure() -> Measured:
            measured = run([*child, "differential", *options, str(self.claim)], self._child(), self.work, self.work)
            claim = self.fresh("our-claim")
            (claim / "filestore").mkdir()
            run([*child, "restore", *options, str(claim)], self._child(), self.work, self.work)
            self._compare(claim / "filestore")
            return measured

        self._measured("ours", target, count, size, measure)
        self._forget(target, f"ours-{self._number}")

    def _measured(self, tool: str, target: str, count: int, size: int, measure: "object") -> None:
        made = self.add_new(count, size)
        try:
            warm(self.source)
            self.note(tool, f"1 % new to {target}", measure())  # type: ignore[operator]
        finally:
            for path in made:
                path.unlink()


def child(operation: str, url: str, endpoint: str, credentials: str, jobs: str, scratch: str, claim: str) -> None:
    """What the mover does, without a database."""
    import os

    from ocore_crds import naming
    from ocore_crds.manifest import Identity, Manifest, format_version
    from ocore_crds.protocol import Step
    from ocore_mover import manifests
    from ocore_mover.commands import base as base_command
    from ocore_mover.filestore.folders import ClaimFolders
    from ocore_mover.filestore.names import name_files, spooled
    from ocore_mover.filestore.odoo import restore
    from ocore_mover.filestore.odoo.base import OdooBase
    from ocore_mover.filestore.odoo.copy import store_odoo
    from ocore_mover.filestore.odoo.freeze import Freezing
    from ocore_mover.report import Reporter
    from ocore_mover.store import S3Options, open_store

    store = open_store(
        url, S3Options(endpoint=endpoint or None, credentials=Path(credentials) if credentials else None)
    )
    folders = ClaimFolders(Path(claim), "filestore", ENVIRONMENT)
    counter = Reporter().counter(Step.COPY_FILESTORE)
    place = Path(scratch)
    if operation == "restore":
        stored = manifests.read(store, ENVIRONMENT, NEXT)
        assert stored.manifest.filestore is not None
        restore.add_missing(store, stored.manifest.filestore, folders, None, counter, jobs=int(jobs))
        return
    snapshot_id = FULL if operation == "full" else NEXT
    prefix = naming.attempt_prefix(ENVIRONMENT, snapshot_id, "1")
    with contextlib.ExitStack() as stack:
        base = None
        if operation == "differential":
            full = (place / "full").read_text()
            choice = base_command.BaseChoice(FULL, full)
            found = base_command.find(store, ENVIRONMENT, snapshot_id, "Odoo", choice)
            base = stack.enter_context(base_command.read(store, found, place))
            assert isinstance(base, OdooBase)
        freezing = stack.enter_context(Freezing(folders, "1"))
        names = sorted(
            f"{folder.name}/{file.name}"
            for folder in os.scandir(folders.filestore)
            if len(folder.name) == 2
            for file in os.scandir(folder)
        )
        for _ in range(2):  # before the lock, and the names of the exported snapshot
            listed = stack.enter_context(spooled(names, place)).files
            new, reused = listed, None
            if base is not None:
                new, known = stack.enter_context(name_files(place, 2))
                reused = base.split(listed, new, known)
                freezing.size(new)
            freezing.link(new)
        if base is not None:
            assert freezing.lost(known).count == 0
        frozen = stack.enter_context(freezing.finish(new, named=len(listed)))
        artifact = store_odoo(store, prefix, frozen, counter, jobs=int(jobs), reused=reused)
    identity = Identity(
        environment_id=ENVIRONMENT, environment_name="bench", environment_type="development", project_id=ENVIRONMENT, snapshot_id=snapshot_id
    )  # fmt: skip
    manifest = Manifest(
        format_version=format_version(artifact),
        store_id="bench",
        attempt="1",
        identity=identity,
        started_at=TIME,
        consistent_at=TIME,
        completed_at=TIME,
        filestore=artifact,
    )
    manifests.check_base(store, manifest)
    manifests.check_objects(store, manifest)
    written = manifests.write(store, manifest)
    manifests.check_base(store, manifest)
    if operation == "full":
        (place / "full").write_text(written.sha256)
    else:
        assert manifest.base is not None


def figures(benches: dict[int, DifferentialBench]) -> list[Figure]:
    """What issue 13 asks for."""
    found = []
    for files, bench in benches.items():
        for (operation, tool), row in sorted(bench.rows.items()):
            if tool != "ours":
                continue
            target = operation.rpartition(" ")[2]
            where = "a claim" if target == "folder" else f"S3 ({target})"
            name = f"Differential, {files:,} files, 1 % new, to {where}"
            ours = row.values(lambda m: m.seconds)
            theirs = bench.rows.get((operation, "restic"))
            if theirs is not None:
                found.append(faster(name, ours, theirs.values(lambda m: m.seconds), "restic", TIMES_RESTIC))
            if files == min(benches):
                found.append(limit(f"{name}: mover besides the dump", ours, MOST_SECONDS, "s"))
            peak = [max(m.memory for m in row.runs) / 1e6]
            found.append(limit(f"{name}: anonymous memory", peak, MEMORY_LIMIT_MB, "MB"))
            if files == max(benches) and len(benches) > 1:
                found.append(growth(benches, operation, where))
    return found


def growth(benches: dict[int, DifferentialBench], operation: str, where: str) -> Figure:
    """Seconds for each further file, the new ones among them."""
    few, many = min(benches), max(benches)
    first = statistics.median(benches[few].rows[operation, "ours"].values(lambda m: m.seconds))
    second = benches[many].rows[operation, "ours"].values(lambda m: m.seconds)
    each = [(seconds - first) / (many - few) * 1e6 for seconds in second]
    return limit(f"Differential to {where}: each further file, {few:,} to {many:,}", each, MOST_FOR_A_FILE, "µs")


def main() -> None:
    """Runs both tools in turn, so that a noisy minute hits both."""
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", default="30000,300000", help="sizes of the filestore")
    parser.add_argument("--bytes-per-file", type=float, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for data and stores; is kept (default: temporary)")
    parser.add_argument("--tools", default="restic,ours")
    parser.add_argument("--targets", default="folder,seaweedfs,versitygw")
    parser.add_argument("--json", type=Path, help="write all runs there")
    options = parser.parse_args()
    targets = options.targets.split(",")
    benches: dict[int, DifferentialBench] = {}
    with prepared(options.work, targets) as (work, servers):
        for files in sorted(int(number) for number in options.files.split(",")):
            bench = benches[files] = DifferentialBench(work / str(files), servers, options.jobs)
            size = int(options.bytes_per_file)
            make_filestore(bench.source, files, files * size)
            for number in range(options.runs):
                print(f"{files:,} files, run {number + 1} of {options.runs}", flush=True)
                for target in targets:
                    for tool in options.tools.split(","):
                        getattr(bench, f"{tool}_again")(target, max(1, int(files * NEW)), size)
                bench.clean()
            print(details(bench.rows))
        report(figures(benches), options.json)


if __name__ == "__main__":
    main()
