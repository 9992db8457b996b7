"""The second snapshot of a filestore with 1 % new files: our differential against restic's second run, on the same data
and servers.

    bench/run python3 bench/differential.py --runs 3

restic in its best case: nothing has touched the files since its first run, so it reads none of the old ones again (our
hard links would change their times; both its runs end before ours begin). What both read is in the page cache. Ours is
all that the mover does besides the database: the base is found and read, the names are compared twice, new files are
frozen and stored, the manifest is written, with the start of the process.
"""

import argparse
import random
import statistics
import subprocess
import sys
from pathlib import Path

from figures import Figure, faster, limit, report
from filestore import MEMORY_LIMIT_MB, NUMBERS, Bench, Measured, details, make_filestore, prepared, run, warm

from support.mover.s3_server import BUCKET

#: What is measured.
MOVER = Path(__file__).with_name("differential_mover.py")
#: New files, as a fraction of all.
NEW = 0.01
#: Issue 13.
TIMES_RESTIC = 4.0
MOST_SECONDS = 1.5
#: For each further file, in microseconds: its name is listed, read from the database's list and from the base's index,
#: and compared.
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
        self._number = next(NUMBERS)
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
        self._number = next(NUMBERS)
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
        child = [sys.executable, str(MOVER)]
        self._names(scratch)
        run([*child, "full", *options, str(self.claim)], self._child(), self.work, self.work)

        def measure() -> Measured:
            self._names(scratch)
            measured = run([*child, "differential", *options, str(self.claim)], self._child(), self.work, self.work)
            claim = self.fresh("our-claim")
            (claim / "filestore").mkdir()
            run([*child, "restore", *options, str(claim)], self._child(), self.work, self.work)
            self._compare(claim / "filestore")
            return measured

        self._measured("ours", target, count, size, measure)
        self._forget(target, f"ours-{self._number}")

    def _names(self, scratch: Path) -> None:
        """What the database would name: all files that are there."""
        found = sorted(f"{file.parent.name}/{file.name}" for file in self.source.glob("??/*"))
        (scratch / "names").write_text("\n".join(found))

    def _measured(self, tool: str, target: str, count: int, size: int, measure: "object") -> None:
        made = self.add_new(count, size)
        try:
            warm(self.source)
            self.note(tool, f"1 % new to {target}", measure())  # type: ignore[operator]
        finally:
            for path in made:
                path.unlink()


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
