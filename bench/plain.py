"""A freeze of layout Plain, alone and beside an application that deletes its newest files first.

    python bench/plain.py [--files 28000] [--runs 20] [--rate 400] [--json FILE]

Each run freezes the folder, exports the database between the passes and stores the frozen files, as a snapshot does.
What the exported database names and the snapshot lacks is lost; a run that lost something must have reported it. The
application is a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
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
from support.mover.deleting import DeletingApplication
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
    """A freeze with the export in it, then the copy."""
    begin, cpu = time.monotonic(), time.process_time()
    with freeze(folders, name) as frozen, ExitStack() as stack:
        capture = PlainCapture(frozen, CaptureOptions(folders.claim, consistency="BestEffort"))
        exported = export_beside(capture, site.target, Token(3600), stack)
        capture.complete()
        seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
        named = {str(row[0]) for row in exported.connection.execute("SELECT path FROM file").fetchall()}
        counter = Reporter(Path(os.devnull)).counter(Step.COPY_FILESTORE)
        copied = capture.copy(store, f"e/{name}/", counter, jobs=2)
        reported = bool(copied.incomplete)
    stored = {index.parse(line).name for line in index.lines(store.read(copied.artifact.index))}
    return Frozen(seconds, cpu, len(named - stored), reported)


def work(application: DeletingApplication, rate: Any, stop: Any) -> None:
    """The application's process."""
    with application:
        begin, before = time.monotonic(), application.deleted
        while not stop.wait(0.1):
            rate.value = (application.deleted - before) / (time.monotonic() - begin)


@contextmanager
def beside(application: DeletingApplication) -> Iterator[Any]:
    """The application works in the block. Yields its deletions a second so far."""
    context = multiprocessing.get_context("fork")
    rate, stop = context.Value("d", 0.0), context.Event()
    process = context.Process(target=work, args=(application, rate, stop))
    process.start()
    try:
        yield rate
    finally:
        stop.set()
        process.join()


def times(what: str, runs: list[Frozen]) -> Iterator[Figure]:
    """How long the freezes took."""
    yield Figure(what, "s", [run.seconds for run in runs], "", None)
    yield Figure("… processor time", "s", [run.cpu for run in runs], "", None)


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=28_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--alone", type=int, default=5, help="freezes without the application")
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
            alone = [one(site, folders, store, f"alone-{n}") for n in range(arguments.alone)]
            print(alone, f"load {os.getloadavg()[0]:.1f}", flush=True)
            runs: list[Frozen] = []
            with beside(application) as rate:
                for number in range(arguments.runs):
                    runs.append(one(site, folders, store, f"beside-{number}"))
                    print(runs[-1], f"{rate.value:.0f} deletions/s, load {os.getloadavg()[0]:.1f}", flush=True)
                reached = rate.value
    finally:
        shutil.rmtree(base)
    what = f"{arguments.files:,} files, layout Plain"
    figures = [*times(f"freeze of {what}, alone", alone)] if alone else []
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
