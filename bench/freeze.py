"""How long a snapshot pauses garbage collection, and how long a writer of attachments waits behind both.

    python bench/freeze.py [--count 1000000] [--runs 1] [--rate 20] [--json FILE]

A database and a filestore of so many attachments (empty files), an application that writes `rate` more each second, and
garbage collection that asks for its lock all the time. Each run exports a snapshot and freezes the filestore twice: as
it is done, and with every file linked while garbage collection is paused.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / name) for name in ("crds", "mover", "tests", "bench")]

from figures import Figure, report
from names import sorted_names
from structlog.testing import capture_logs

from ocore_mover.database.dump import export
from ocore_mover.deadline import Token
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.layout import CaptureOptions
from ocore_mover.filestore.odoo.capture import OdooCapture
from ocore_mover.filestore.odoo.freeze import Freezing
from support.mover.postgres_majors import running
from support.mover.site import Site, make_site

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
PATH = "filestore/live"
#: As in Odoo, with the columns that make a row long.
TABLE = (
    "CREATE TABLE ir_attachment (id serial PRIMARY KEY, name text, store_fname text, checksum text, mimetype text,"
    " index_content text)"
)


@dataclass
class Measured:
    """One freeze: seconds that garbage collection was paused, that the longest INSERT took, and of the whole
    preparation."""

    paused: float
    waited: float
    whole: float
    new: int


def fill(site: Site, filestore: Path, count: int) -> None:
    """Rows, and an empty file for each."""
    site.sql(TABLE)
    copy = b"COPY ir_attachment (name, store_fname, checksum, mimetype, index_content) FROM STDIN"
    filler = "some indexed words of a document " * 6
    with (
        site.server.connect(site.live, site.role.name, site.role.password) as connection,
        connection.cursor() as cursor,
        cursor.copy(copy) as rows,
    ):
        for number, name in enumerate(sorted_names(count)):
            rows.write_row((f"document {number}.pdf", name, name[3:], "application/pdf", filler))
    site.sql("VACUUM ANALYZE ir_attachment")
    for folder in range(256):
        (filestore / f"{folder:02x}").mkdir(parents=True)
    for name in sorted_names(count):
        (filestore / name).touch()


class Beside:
    """The application and its garbage collection, for the block."""

    def __init__(self, site: Site, filestore: Path, rate: float) -> None:
        self._site = site
        self._filestore = filestore
        self._rate = rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write), threading.Thread(target=self._collect)]
        self.longest = 0.0
        self.written = 0

    def __enter__(self) -> Beside:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        site = self._site
        with site.server.connect(site.live, site.role.name, site.role.password) as connection:
            while not self._stop.wait(1 / self._rate):
                digest = (uuid.uuid4().hex * 2)[:40]
                (self._filestore / digest[:2] / digest).touch()
                began = time.monotonic()
                connection.execute(
                    "INSERT INTO ir_attachment (name, store_fname) VALUES ('new', %s)", [f"{digest[:2]}/{digest}"]
                )
                self.longest = max(self.longest, time.monotonic() - began)
                self.written += 1

    def _collect(self) -> None:
        site = self._site
        with site.server.connect(site.live, site.role.name, site.role.password) as connection:
            while not self._stop.wait(0.1):
                with connection.transaction():
                    connection.execute("LOCK ir_attachment IN SHARE MODE")


def measure(site: Site, claim: Path, scratch: Path, *, passes: int, rate: float) -> Measured:
    """One export with its freeze; nothing is dumped or copied."""
    folders = ClaimFolders(claim, PATH, ENVIRONMENT)
    export.PASSES = passes
    export.HOLD_LIMIT = 60 if passes else 3600
    began = time.monotonic()
    with (
        capture_logs() as logs,
        Beside(site, folders.filestore, rate) as beside,
        contextlib.ExitStack() as stack,
    ):
        capture = OdooCapture(stack.enter_context(Freezing(folders, "1")), stack, CaptureOptions(scratch))
        exported = stack.enter_context(export.export(site.target, Token(3600), freezer=capture))
        whole = time.monotonic() - began
        exported.end()
        longest = beside.longest
    assert capture.protected
    (paused,) = [entry["seconds"] for entry in logs if entry["event"] == "garbage collection was paused"]
    return Measured(paused, longest, whole, beside.written)


def all_runs(arguments: argparse.Namespace, base: Path) -> Iterator[tuple[Measured, Measured]]:
    """The freeze as it is done, and with every file linked under the lock."""
    claim, scratch = base / "claim", base / "scratch"
    scratch.mkdir()
    with running(15) as server:
        site = make_site(server, base)
        print(f"making {arguments.count} attachments …", flush=True)
        fill(site, claim / PATH, arguments.count)
        for _ in range(arguments.runs):
            ours = measure(site, claim, scratch, passes=2, rate=arguments.rate)
            print(ours, flush=True)
            everything = measure(site, claim, scratch, passes=0, rate=arguments.rate)
            print(everything, flush=True)
            yield ours, everything


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="ocore-freeze-", dir=arguments.folder))
    try:
        pairs = list(all_runs(arguments, base))
    finally:
        shutil.rmtree(base)
    peer = "all files linked under the lock"
    figures = [
        Figure(f"garbage collection paused, {arguments.count:,} files", "s", [a.paused for a, _ in pairs],
               "at most 5 s", 5.0, [b.paused for _, b in pairs], peer),
        Figure("… longest wait of a writer behind it", "s", [a.waited for a, _ in pairs], "at most 5 s", 5.0,
               [b.waited for _, b in pairs], peer),
    ]  # fmt: skip
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
