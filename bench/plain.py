"""A freeze of layout Plain: alone, beside busy loops, and beside an application that deletes its newest files first.

    python bench/plain.py [--files 28000] [--runs 20] [--rate 400] [--busy 2] [--json FILE]

Each run freezes the folder, exports the database between the passes and stores the frozen files, as a snapshot does.
What the exported database names and the snapshot lacks is lost; a run that lost something must have reported it. The
application is a process of its own. Alone and beside busy loops, each freeze alternates with the tools that make hard
links of a folder (`cp -al`, and `rsync --link-dest` where it is installed), and with `find`, which only lists it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / name) for name in ("crds", "mover", "tests", "bench")]

from figures import Figure, limit, report

from ocore_crds.protocol import Step
from ocore_mover import inotify
from ocore_mover.commands.snapshot import export_beside
from ocore_mover.deadline import Token
from ocore_mover.filestore import index
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.layout import CaptureOptions
from ocore_mover.filestore.plain.capture import PlainCapture
from ocore_mover.filestore.plain.freeze import freeze
from ocore_mover.report import Reporter
from ocore_mover.store.folder import FolderStore
from support.mover.deleting import DeletingApplication, beside
from support.mover.postgres_majors import running
from support.mover.site import Site, make_site

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
PATH = "data/files"


@dataclass
class Frozen:
    """One run: seconds and processor seconds of the freeze, files that are lost, and whether the snapshot says that it
    may lack some."""

    seconds: float
    cpu: float
    lost: int
    reported: bool


def one(site: Site, folders: ClaimFolders, store: Any, name: str) -> Frozen:
    """A freeze with the export in it, then the copy; without a store only the freeze."""
    begin, cpu = time.monotonic(), time.process_time()
    with freeze(folders, name) as frozen, ExitStack() as stack:
        capture = PlainCapture(frozen, CaptureOptions(folders.claim, consistency="BestEffort"))
        exported = export_beside(capture, site.target, Token(3600), stack)
        capture.complete()
        seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
        if store is None:
            return Frozen(seconds, cpu, 0, reported=False)
        named = {str(row[0]) for row in exported.connection.execute("SELECT path FROM file").fetchall()}
        counter = Reporter(Path(os.devnull)).counter(Step.COPY_FILESTORE)
        copied = capture.copy(store, f"e/{name}/", counter, jobs=2)
        reported = bool(copied.incomplete)
    stored = {index.parse(line).name for line in index.lines(store.read(copied.artifact.index))}
    return Frozen(seconds, cpu, len(named - stored), reported)


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that use a processor each run in the block, at most an hour."""
    loops = [subprocess.Popen(["timeout", "3600", sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in loops:
            each.terminate()  # timeout ends its command
            each.wait()


def tools(live: Path, copy: Path) -> dict[str, list[str]]:
    """Name → the command of each installed tool. It links the live folder into `copy`, or lists it."""
    commands = {
        "cp -al": ["cp", "-al", f"{live}", f"{copy}"],
        "rsync --link-dest": ["rsync", "-a", f"--link-dest={live}", f"{live}/", f"{copy}/"],
        "find": ["find", f"{live}", "-type", "f", "-printf", "%i %p\\n"],
    }
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


def tool(command: list[str], copy: Path) -> Frozen:
    """One run of a tool. Removes its copy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    seconds = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(copy, ignore_errors=True)
    return Frozen(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 0, reported=False)


def compared(site: Site, folders: ClaimFolders, count: int, name: str) -> dict[str, list[Frozen]]:
    """Name of the tool, "" for ours → its runs. All of them alternate."""
    copy = folders.claim / "copy"
    commands = tools(folders.filestore, copy)
    found: dict[str, list[Frozen]] = {each: [] for each in ("", *commands)}
    for number in range(count):
        found[""].append(one(site, folders, None, f"{name}-{number}"))
        for each, command in commands.items():
            found[each].append(tool(command, copy))
        last = ", ".join(
            f"{each or 'freeze'} {runs[-1].seconds:.2f} s ({runs[-1].cpu:.2f})" for each, runs in found.items()
        )
        print(f"{name} (processor time): {last}; load {os.getloadavg()[0]:.1f}", flush=True)
    return found


def times(what: str, runs: list[Frozen], peers: dict[str, list[Frozen]] | None = None) -> Iterator[Figure]:
    """How long the freezes took."""
    for name, others in (peers or {"": []}).items():
        yield Figure(what, "s", [r.seconds for r in runs], "", None, [r.seconds for r in others], name)
        yield Figure("… processor time", "s", [r.cpu for r in runs], "", None, [r.cpu for r in others], name)


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=28_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--alone", type=int, default=5, help="freezes without the application, and beside busy loops")
    parser.add_argument("--busy", type=int, default=2, help="busy loops beside as many freezes; 0: none")
    parser.add_argument("--rate", type=float, default=400.0)
    parser.add_argument("--no-events", action="store_true", help="as on a network file system")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.no_events:
        inotify.sees_all = lambda _: False
    base = Path(tempfile.mkdtemp(prefix="ocore-plain-", dir=arguments.folder))
    try:
        folders = ClaimFolders(base / "claim", PATH, ENVIRONMENT)
        folders.filestore.mkdir(parents=True)
        store = FolderStore(base / "store")
        with running(15) as server:
            site = make_site(server, base)
            application = DeletingApplication(
                site, folders.filestore, "newest", files=arguments.files, rate=arguments.rate, writers=8
            )
            alone = compared(site, folders, arguments.alone, "alone")
            with busy_loops(arguments.busy):
                busy = compared(site, folders, arguments.alone if arguments.busy else 0, "busy")
            runs: list[Frozen] = []
            with beside(application) as rate:
                for number in range(arguments.runs):
                    runs.append(one(site, folders, store, f"beside-{number}"))
                    print(runs[-1], f"{rate.value:.0f} deletions/s, load {os.getloadavg()[0]:.1f}", flush=True)
                reached = rate.value
    finally:
        shutil.rmtree(base)
    what = f"{arguments.files:,} files, layout Plain"
    figures = []
    for where, found in (("alone", alone), (f"beside {arguments.busy} busy loops", busy)):
        if ours := found.pop(""):
            figures += times(f"freeze of {what}, {where}", ours, found)
    if runs:
        silent = sum(run.lost for run in runs if not run.reported)
        reported = sum(run.reported for run in runs)
        figures += [
            *times(f"freeze of {what}, beside {reached:.0f} deletions a second, newest first", runs),
            Figure("… of these runs, report that files came and went", "runs", [reported], "", None),
            Figure("… lost and reported", "files", [sum(run.lost for run in runs) - silent], "", None),
            limit("… lost and not reported", [silent], 0, "files"),
        ]
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
