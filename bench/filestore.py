"""Filestore copies and restores: ours against restic and rclone, in the same run, on the same data and the same S3
servers.

    bench/run python3 bench/filestore.py --runs 3

Every operation is a process of its own, from its start to its end. What it reads is read once before, so that all find
the same page cache, and the disk is flushed. A restore's time is reported twice: until the tool ended, and until all of
it is on the disk (`syncfs`): ours flushes before it ends, the others do not. Memory is the peak of RssAnon.
"""

import argparse
import contextlib
import ctypes
import hashlib
import itertools
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from figures import Figure, at_least, faster, limit, report
from link import Link
from memory import touch_free_memory

from support.mover.s3_server import BUCKET, S3Server
from support.mover.seaweed import SeaweedFS
from support.mover.versitygw import Versitygw, empty
from support.ports import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
MOVER = Path(__file__).with_name("filestore_mover.py")
PASSWORD = "bench"
#: The network of the target `link`: seconds, bytes a second.
ROUND_TRIP, RATE = 0.02, 125e6
INCOMPRESSIBLE = 0.5
#: Of what a tool makes. Never the same twice: benches of several sizes share the S3 servers.
NUMBERS = itertools.count(1)


# --- data ----------------------------------------------------------------------------------------------------


def make_filestore(root: Path, files: int, size: int) -> None:
    """An Odoo filestore: sizes spread as attachments are (log-normal); half of the bytes are incompressible (photos,
    PDFs), the others are markup, which zstd:1 shrinks to about a quarter. No two files share more than a few words."""
    done = root / ".done"
    wanted = f"{files} {size} 6"
    if done.exists() and done.read_text() == wanted:
        return
    shutil.rmtree(root, ignore_errors=True)
    print(f"making {files} files of {size / 1e9:.2f} GB in {root} …", flush=True)
    source = random.Random(7)
    words = ["".join(source.choices("etaoinshrdlucmfwypvbgk", k=source.randint(2, 10))).encode() for _ in range(8000)]
    spread = [source.lognormvariate(0, 1.6) for _ in range(files)]
    scale = size / sum(spread)
    for part in spread:
        length = max(16, int(part * scale))
        data = source.randbytes(length) if source.random() < INCOMPRESSIBLE else _markup(source, words, length)
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        (root / digest[:2]).mkdir(parents=True, exist_ok=True)  # a restore makes no empty folder
        (root / digest[:2] / digest).write_bytes(data)
    done.write_text(wanted)


def _markup(source: random.Random, words: list[bytes], length: int) -> bytes:
    """Rows of a table: as fast to compress, and nearly as well, as the HTML, XML and JSON files of a Debian system
    are."""
    count = length // 60 + 1
    chosen = iter(source.choices(words, [1 / (rank + 3) for rank in range(len(words))], k=3 * count))
    numbers = struct.unpack(f"{count}I", source.randbytes(4 * count))
    rows = (
        b'<tr class="o_line"><td>%b</td><td>%b %b</td><td class="text-right">%d.%02d</td></tr>\n'
        % (next(chosen), next(chosen), next(chosen), number % 100_000, number % 97)
        for number in numbers
    )
    return b"".join(rows)[:length]


def warm(root: Path) -> None:
    """Into the page cache."""
    buffer = bytearray(1 << 20)
    for path in root.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


# --- measuring -----------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """One run of one operation."""

    seconds: float
    on_disk: float
    cpu: float
    memory: int  # bytes, anonymous
    stored: int = 0  # bytes that went over the network, of ours
    moved: float = 0.0  # bytes that a restore read over the network, as a share of those that were missing, as stored


@dataclass
class Row:
    """All runs of one operation of one tool."""

    runs: list[Measured] = field(default_factory=list)

    def values(self, what: Callable[[Measured], float]) -> list[float]:
        """Of every run."""
        return [what(run) for run in self.runs]


def run(command: list[str], env: dict[str, str], cwd: Path, flush: Path) -> Measured:
    """Runs it; `flush` is the folder whose file system must be on the disk."""
    touch_free_memory()
    os.sync()
    started = time.monotonic()
    process = subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    peak = [0]
    watcher = threading.Thread(target=_watch_memory, args=(process.pid, peak), daemon=True)
    watcher.start()
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {said.decode(errors='replace')[-2000:]}")
    _syncfs(flush)
    return Measured(seconds, time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak[0])


def _watch_memory(pid: int, peak: list[int]) -> None:
    while True:
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        for line in text.splitlines():
            if line.startswith("RssAnon:"):
                peak[0] = max(peak[0], int(line.split()[1]) * 1024)
        time.sleep(0.05)


def _syncfs(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(fd)
    finally:
        os.close(fd)


class Linked(Versitygw):
    """The server behind a network of 20 ms and 1 Gbit/s."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        port = free_port()
        self._link = Link(port, int(self.endpoint.rpartition(":")[2]), ROUND_TRIP, RATE)
        self.endpoint = f"http://127.0.0.1:{port}"

    @property
    def received(self) -> int:
        """Bytes that the server has sent so far."""
        return self._link.received

    def stop(self) -> None:
        """Ends both processes."""
        self._link.stop()
        super().stop()


# --- tools ---------------------------------------------------------------------------------------------------


class Bench:
    """The places, the servers, the tools. A target is `folder` or a server's name."""

    def __init__(self, work: Path, servers: "dict[str, SeaweedFS | Versitygw]", jobs: int) -> None:
        self.work = work
        self.servers = servers
        self.jobs = jobs
        self.claim = work / "claim"
        self.source = self.claim / "filestore"
        self.rows: dict[tuple[str, str], Row] = {}
        self._number = 0
        self._made: list[Path] = []

    def fresh(self, name: str) -> Path:
        """A new empty folder, on the same file system as everything; its files are emptied at the end of the run."""
        path = self.work / f"{name}-{self._number}"
        path.mkdir(parents=True)
        self._made.append(path)
        return path

    def clean(self) -> None:
        """Empties what a run has made. Nothing is removed before the end: for minutes ext4 steps over each inode that
        was freed, one by one, whenever a file is created (recently_deleted), which makes the next operation two times
        slower."""
        for folder in self._made:
            empty(folder)
        self._made.clear()

    def note(self, tool: str, operation: str, measured: Measured) -> None:
        """Saves a run and prints it at once."""
        self.rows.setdefault((operation, tool), Row()).runs.append(measured)
        print(
            f"  {operation:22} {tool:8} {measured.seconds:7.2f} s, on disk {measured.on_disk:7.2f} s, "
            f"CPU {measured.cpu:6.2f} s, {measured.memory / 1e6:5.0f} MB",
            flush=True,
        )

    def environment(self) -> dict[str, str]:
        base = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("AWS_", "RESTIC_", "RCLONE_", "PYTHON"))
        }
        return base | {
            "AWS_ACCESS_KEY_ID": S3Server.key,
            "AWS_SECRET_ACCESS_KEY": S3Server.secret,
            "RESTIC_PASSWORD": PASSWORD,
        }

    def ours(self, target: str) -> None:
        """Snapshot, restore, restore over existing files."""
        self._number = next(NUMBERS)
        server = self.servers.get(target)
        url = f"s3://{BUCKET}/ours-{self._number}" if server else self.fresh("our-store").as_uri()
        flush = self.work
        child = [sys.executable, str(MOVER)]
        options = [
            url,
            server.endpoint if server else "",
            str(server.credentials()) if server else "",
            str(self.jobs),
            str(self.work / "artifact"),
        ]
        warm(self.source)
        full = run([*child, "store", *options, str(self.claim)], self._child(), self.work, flush)
        full.stored = self._stored()
        self.note("ours", f"full to {target}", full)
        self._one_file(target, [*child, "one", *options, _one(self.source)])
        claim = self.fresh("our-claim")
        (claim / "filestore").mkdir()
        self._warm_store(target, url.removeprefix("file://"))
        restore = run([*child, "restore", *options, str(claim)], self._child(), self.work, flush)
        restore.stored = full.stored
        self.note("ours", f"restore from {target}", restore)
        self._compare(claim / "filestore")
        self.note(
            "ours",
            f"again from {target}",
            run([*child, "restore", *options, str(claim)], self._child(), self.work, flush),
        )
        shutil.rmtree(claim / ".ocore")  # the claim of an environment that has 95 % of the files
        missing = self._missing_as_stored(_remove_some(claim / "filestore"), url, server)
        received = server.received if isinstance(server, Linked) else 0
        partly = run([*child, "restore", *options, str(claim)], self._child(), self.work, flush)
        partly.moved = (server.received - received) / missing if isinstance(server, Linked) else 0.0
        self.note("ours", f"5 % missing from {target}", partly)
        self._compare(claim / "filestore")
        self._forget(target, f"ours-{self._number}")

    def _one_file(self, target: str, command: list[str]) -> None:
        """One small file, as an Extract takes it; and the bytes read, of those of the index and the file's frame."""
        server = self.servers.get(target)
        received = server.received if isinstance(server, Linked) else 0
        one = run(command, self._child(), self.work, self.work)
        if isinstance(server, Linked):
            one.moved = (server.received - received) / int((self.work / "one").read_text())
        self.note("ours", f"one file from {target}", one)

    def _missing_as_stored(self, names: set[str], url: str, server: "SeaweedFS | Versitygw | None") -> float:
        """Bytes of these files in the packs of the copy that was made last. Of a frame it is their share."""
        from ocore_crds.stored.manifest import FilestoreArtifact
        from ocore_mover.filestore import ranges
        from ocore_mover.filestore.odoo.index_lines import parse_odoo
        from ocore_mover.filestore.unpack import blocks
        from ocore_mover.store import S3Options, open_store

        artifact = FilestoreArtifact.model_validate_json((self.work / "artifact").read_text())
        options = S3Options(endpoint=server.endpoint, credentials=server.credentials()) if server else S3Options()
        size = 0.0
        for pack, known in blocks(open_store(url, options), artifact, parse_odoo):
            for extent in ranges.extents(pack, known, known):
                held = sum(entry.size for entry in extent.entries)
                wanted = sum(entry.size for entry in extent.entries if entry.name in names)
                size += (extent.end - extent.start) * wanted / held if held else 0
        return size

    def _stored(self) -> int:
        """Bytes of the packs of the copy that was made last."""
        return sum(int(pack["size"]) for pack in json.loads((self.work / "artifact").read_text())["packs"])

    def _child(self) -> dict[str, str]:
        path = ":".join(str(REPOSITORY / name) for name in ("crds", "mover"))
        # As in the image: compiled once, and without a search for pydantic's plugins.
        compiled = {"PYTHONPYCACHEPREFIX": str(self.work / "pycache"), "PYDANTIC_DISABLE_PLUGINS": "__all__"}
        return self.environment() | {"PYTHONPATH": path} | compiled

    def restic(self, target: str) -> None:
        """The same by restic, whose repository is encrypted in any case."""
        self._number = next(NUMBERS)
        server = self.servers.get(target)
        place = f"s3:{server.endpoint}/{BUCKET}/restic-{self._number}" if server else str(self.fresh("restic"))
        env = self.environment() | {"RESTIC_REPOSITORY": place, "RESTIC_CACHE_DIR": str(self.fresh("restic-cache"))}
        subprocess.run(["restic", "init", "-q"], env=env, check=True, stdout=subprocess.DEVNULL)
        warm(self.source)
        self.note("restic", f"full to {target}", run(["restic", "backup", "-q", "."], env, self.source, self.work))
        # With the cache that the backup has made.
        dump = ["restic", "dump", "-q", "latest", f"/{_one(self.source)}", "--target", str(self.work / "restic-one")]
        self.note("restic", f"one file from {target}", run(dump, env, self.work, self.work))
        out = self.fresh("restic-out")
        restore = ["restic", "restore", "-q", "latest", "--target", str(out)]
        self._warm_store(target, place)
        self.note("restic", f"restore from {target}", run(restore, env, self.work, self.work))
        self.note("restic", f"again from {target}", run(restore, env, self.work, self.work))
        _remove_some(out)
        in_place = [*restore, "--overwrite", "if-changed"]
        self.note("restic", f"5 % missing from {target}", run(in_place, env, self.work, self.work))
        self._forget(target, f"restic-{self._number}")

    def rclone(self, target: str) -> None:
        """One object a file."""
        self._number = next(NUMBERS)
        server = self.servers.get(target)
        remote = f":s3:{BUCKET}/rclone-{self._number}" if server else str(self.fresh("rclone"))
        options = ["-q", "--transfers=16", "--checkers=16", "--config="]
        if server:
            options += [
                "--s3-provider=Other",
                f"--s3-endpoint={server.endpoint}",
                "--s3-env-auth",
                "--s3-no-check-bucket",
            ]
        env = self.environment()
        warm(self.source)
        self.note(
            "rclone",
            f"full to {target}",
            run(["rclone", "copy", str(self.source), remote, *options], env, self.work, self.work),
        )
        out = self.fresh("rclone-out")
        self._warm_store(target, remote)
        self.note(
            "rclone",
            f"restore from {target}",
            run(["rclone", "copy", remote, str(out), *options], env, self.work, self.work),
        )
        self._forget(target, f"rclone-{self._number}")

    def _warm_store(self, target: str, folder: str) -> None:
        """What a restore reads is in the page cache: ours has been written past it, the others' has not."""
        warm(self.servers[target].folder if target in self.servers else Path(folder))

    def _compare(self, restored: Path) -> None:
        done = subprocess.run(
            ["diff", "-rq", "-x", ".done", str(self.source), str(restored)], check=False, capture_output=True
        )
        if done.returncode:
            raise RuntimeError(f"the restored filestore differs: {done.stdout.decode()[:1000]}")

    def _forget(self, target: str, prefix: str) -> None:
        """Drops what a run left in an S3 server: the next one finds it as this one did."""
        if target in self.servers:
            self.servers[target].forget(prefix)


def _one(filestore: Path) -> str:
    """Name of a small file, always the same one."""
    return (
        min((path for path in filestore.glob("??/*")), key=lambda path: (path.stat().st_size, path.name))
        .relative_to(filestore)
        .as_posix()
    )


def _remove_some(filestore: Path) -> set[str]:
    """Removes 5 % of the files; returns their names."""
    removed = sorted(filestore.glob("??/*"))[::20]
    for path in removed:
        path.unlink()
    return {f"{path.parent.name}/{path.name}" for path in removed}


#: How many times faster than whom (issue 13; for a claim issue 4; with missing files issue 28).
WANTED = {
    ("full to", "folder"): {"restic": 2.5},
    ("full to", "S3"): {"restic": 2.0, "rclone": 3.0},
    ("restore from", "folder"): {"restic": 1.1},
    ("restore from", "S3"): {"restic": 1.5},
    ("full to", "link"): {"restic": 1.0, "rclone": 1.0},
    ("restore from", "link"): {"restic": 1.0, "rclone": 1.0},
    ("5 % missing from", "folder"): {"restic": 1.2},
    ("5 % missing from", "S3"): {"restic": 1.2},
    ("5 % missing from", "link"): {"restic": 2.0},
    ("one file from", "S3"): {"restic": 3.0},
    ("one file from", "link"): {"restic": 3.0},
}
SERVERS = {"seaweedfs": SeaweedFS, "versitygw": Versitygw, "link": Linked}
PLACES = {"folder": ["folder"], "S3": ["seaweedfs", "versitygw"], "link": ["link"]}
#: Share of the link that a full copy and a restore use.
OF_LINK = 0.85
#: Bytes that a restore reads for missing files, as a share of what they take in the store.
MOVED = 1.3
#: Bytes that are read for one file, as a share of the index and the frame: headers of the answers, in all.
ONE_FILE = 1.1
MEMORY_LIMIT_MB = 300


def figures(rows: dict[tuple[str, str], Row], files: int) -> list[Figure]:
    """What issue 4 asks for. A copy's time is the tool's: restic and ours flush what they store; a restore's ends on
    the disk."""
    found = []
    for (what, place), peers in WANTED.items():
        seconds = _seconds if what.startswith("full") else _on_disk
        for target in PLACES[place]:
            ours = rows.get((f"{what} {target}", "ours"))
            for peer, times in peers.items():
                theirs = rows.get((f"{what} {target}", peer))
                if ours and theirs:
                    name = (
                        f"Filestore of {files:,} files, {what} {'a claim' if target == 'folder' else f'S3 ({target})'}"
                    )
                    found.append(faster(name, ours.values(seconds), theirs.values(seconds), peer, times))
    for what in ("full to", "restore from"):
        if row := rows.get((f"{what} link", "ours")):
            shares = [m.stored / m.seconds / RATE for m in row.runs]
            found.append(
                at_least(
                    f"Filestore of {files:,} files, {what} S3 over 20 ms and 1 Gbit/s", shares, OF_LINK, "of the link"
                )
            )
    for (operation, tool), row in sorted(rows.items()):
        if tool == "ours" and operation == "5 % missing from link":
            # A rollback into an environment that has most of the files.
            name = f"Filestore of {files:,} files, {operation}: bytes read, of those that are missing as stored"
            found.append(limit(name, [m.moved for m in row.runs], MOVED, "times"))
        if tool == "ours" and operation == "one file from link":
            name = f"Filestore of {files:,} files, {operation}: bytes read, of index and frame"
            found.append(limit(name, [m.moved for m in row.runs], ONE_FILE, "times"))
        if tool == "ours" and not operation.startswith("again"):
            peak = [max(m.memory for m in row.runs) / 1e6]
            found.append(limit(f"Anonymous memory, {files:,} files, {operation}", peak, MEMORY_LIMIT_MB, "MB"))
    return found


def details(rows: dict[tuple[str, str], Row]) -> str:
    """Medians of all that was measured."""
    lines = ["| operation | tool | s | s until on disk | CPU s | MB |", "|---|---|---|---|---|---|"]
    for (operation, tool), row in sorted(rows.items()):
        values = " | ".join(f"{statistics.median(row.values(what)):.1f}" for what in (_seconds, _on_disk, _cpu))
        memory = statistics.median(row.values(lambda m: m.memory)) / 1e6
        lines.append(f"| {operation} | {tool} | {values} | {memory:.0f} |")
    return "\n".join(lines)


def _seconds(measured: Measured) -> float:
    return measured.seconds


def _on_disk(measured: Measured) -> float:
    return measured.on_disk


def _cpu(measured: Measured) -> float:
    return measured.cpu


@contextlib.contextmanager
def prepared(work: Path | None, targets: Iterable[str]) -> "Iterator[tuple[Path, dict[str, SeaweedFS | Versitygw]]]":
    """A folder for data and stores, which is removed at the end unless it was given, and the servers of the targets,
    which are stopped then."""
    folder = work or Path(tempfile.mkdtemp(prefix="ocore-bench-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if work is None:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        servers: dict[str, SeaweedFS | Versitygw] = {}
        for name in SERVERS.keys() & set(targets):
            shutil.rmtree(folder / name, ignore_errors=True)
            servers[name] = SERVERS[name](folder / name)
            stack.callback(servers[name].stop)
        yield folder, servers


def main() -> None:
    """Runs the tools in turn, so that a noisy minute hits all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--bytes", type=float, default=3.04e9)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for data and stores; is kept (default: temporary)")
    parser.add_argument("--tools", default="ours,restic,rclone")
    parser.add_argument("--targets", default="folder,seaweedfs,versitygw,link")
    parser.add_argument("--json", type=Path, help="write all runs there")
    options = parser.parse_args()
    targets = options.targets.split(",")
    with prepared(options.work, targets) as (work, servers):
        bench = Bench(work, servers, options.jobs)
        make_filestore(bench.source, options.files, int(options.bytes))
        for number in range(options.runs):
            print(f"run {number + 1} of {options.runs}, load {os.getloadavg()[0]:.1f}", flush=True)
            for target in targets:
                for tool in options.tools.split(","):
                    getattr(bench, tool)(target)
            bench.clean()
        print(details(bench.rows))
        report(figures(bench.rows, options.files), options.json)


if __name__ == "__main__":
    main()
