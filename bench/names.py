"""Peak memory for many names: does it grow with them? Files have no content, so that 10,000,000 names need no terabyte.

bench/run python3 bench/names.py [--count 10000000] [--json FILE] [OPERATION...]
python bench/names.py --child OPERATION COUNT FOLDER      # one operation; prints its peak in bytes

Each operation runs in a process of its own. Its peak is VmHWM: what was resident, the page cache excluded.

list    the names of a database: the list in scratch, read twice (what a snapshot, a restore and a switch keep)
index   the index of a snapshot: written with its packs, read back pack by pack
freeze  layout Odoo: the live files linked, the names of the copy, the links removed
hold    layout Odoo: the hold set made, extended, compared with the database's names, linked back, removed
plain   layout Plain: one folder with all files: frozen, stored, the links removed
base    the index of a differential's base: read, compared with the database's names, its lines written again
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, limit, write

if TYPE_CHECKING:
    from ocore_crds.stored.manifest import FilestoreArtifact
    from ocore_mover.filestore.folders import ClaimFolders
    from ocore_mover.store import Store

COUNT = 10_000_000
#: Issue 9, section 15.
MOST = 300_000_000
ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
ROLLBACK = "22222222-2222-4222-8222-222222222222"
PREFIX = "environments/e/snapshots/s/a1/"
#: Links of one inode; ext4 allows 65,000, and a name has up to four.
LINKS = 10_000


def sorted_names(count: int) -> Iterator[str]:
    """So many names, ascending and evenly distributed, as SHA-1 gives them."""
    step = 2**160 // max(count, 1)
    for number in range(count):
        digest = f"{number * step + number * 7919 % 1_000_003:040x}"
        yield f"{digest[:2]}/{digest}"


class Links:
    """Creates empty files, as hard links of a few."""

    def __init__(self) -> None:
        self._used = 0
        self._source = -1

    def create(self, name: str, fd: int) -> None:
        """Another name in an open folder."""
        if self._used % LINKS == 0:
            if self._source >= 0:
                os.close(self._source)
            self._source = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=fd)
        else:
            os.link(f"/proc/self/fd/{self._source}", name, dst_dir_fd=fd, follow_symlinks=True)
        self._used += 1


def fill_odoo(folder: Path, count: int) -> None:
    """An Odoo filestore of empty files."""
    links, current, fd = Links(), "", -1
    for name in sorted_names(count):
        if name[:2] != current:
            if fd >= 0:
                os.close(fd)
            current = name[:2]
            (folder / current).mkdir(parents=True)
            fd = os.open(folder / current, os.O_RDONLY)
        links.create(name[3:], fd)
    os.close(fd)


def fill_plain(folder: Path, count: int) -> None:
    """One folder of empty files."""
    folder.mkdir(parents=True)
    links, fd = Links(), os.open(folder, os.O_RDONLY)
    for number in range(count):
        links.create(f"document-{number:08d}", fd)
    os.close(fd)


def list_names(folder: Path, count: int) -> None:
    """`list`"""
    from ocore_mover.filestore.names import Without, spooled

    with spooled(sorted_names(count), folder) as names:
        missing = tuple(name for number, name in enumerate(names.files) if number < 1000)
        assert sum(1 for _ in Without(names.files, missing)) == count - len(missing)


def index_of_packs(folder: Path, count: int) -> None:
    """`index`"""
    from ocore_mover.filestore.odoo.index_lines import parse_odoo
    from ocore_mover.filestore.unpack import blocks

    store = _store(folder)
    artifact = _indexed(store, count)
    assert sum(len(entries) for _, entries in blocks(store, artifact, parse_odoo)) == count


def differential_odoo(folder: Path, count: int) -> None:
    """`base`"""
    from ocore_mover.filestore.base import BaseSnapshot
    from ocore_mover.filestore.names import name_files, spooled
    from ocore_mover.filestore.odoo.base import OdooBase
    from ocore_mover.filestore.packset import PackSet

    store = _store(folder)
    snapshot = BaseSnapshot(ROLLBACK, "manifest.json", "0" * 64, _indexed(store, count))
    with (
        OdooBase(snapshot, folder) as base,
        spooled(sorted_names(count), folder) as names,
        name_files(folder, 2) as (new, known),
        PackSet(store, PREFIX.replace("a1", "a2")) as packs,
    ):
        base.read(store)
        reused = base.split(names.files, new, known)
        assert (len(new), len(known)) == (0, count)
        assert reused.write(packs) is not None
        packs.finish()


def _indexed(store: Store, count: int) -> FilestoreArtifact:
    """Packs of empty files and their index."""
    from ocore_crds.stored.manifest import FilestoreArtifact
    from ocore_mover.filestore import tar
    from ocore_mover.filestore.odoo.index_lines import odoo_line
    from ocore_mover.filestore.packset import PackSet

    with PackSet(store, PREFIX) as packs:
        pack = packs.begin(compressed=True)
        for name in sorted_names(count):
            if not pack.has_room(tar.BLOCK):
                packs.close(pack)
                pack = packs.begin(compressed=True)
            frame = pack.begin_member(tar.BLOCK)
            pack.write(bytes(tar.BLOCK))
            pack.lines.append(odoo_line(name, 0, pack.name, pack.offset, frame))
        packs.close(pack)
        index, stored = packs.finish()
    return FilestoreArtifact(layout="Odoo", file_count=count, size_bytes=0, index=index, packs=stored)


def freeze_odoo(folder: Path, count: int) -> None:
    """`freeze`"""
    from ocore_mover.filestore.names import spooled
    from ocore_mover.filestore.odoo.freeze import Freezing

    folders = _folders(folder)
    with spooled(sorted_names(count), folder) as names, Freezing(folders, "a1") as freezing:
        freezing.link(names.files)
        frozen = freezing.finish(names.files)
        assert frozen.linked
        assert sum(1 for _ in frozen.names) == count


def hold_odoo(folder: Path, count: int) -> None:
    """`hold`"""
    from ocore_mover.filestore.odoo.hold import HoldSet

    hold = HoldSet(_folders(folder), ROLLBACK)
    assert hold.hold_all() == count
    hold.hold_all()
    with hold.spool(hold.kept(sorted_names(count))) as names:
        assert len(names) == count
        assert hold.relink(names) == 0
    assert hold.relink(hold.held()) == 0
    hold.remove()


def snapshot_plain(folder: Path, count: int) -> None:
    """`plain`"""
    from ocore_crds.protocol import Step
    from ocore_mover.filestore.plain.copy import store_plain
    from ocore_mover.filestore.plain.freeze import freeze
    from ocore_mover.report import Reporter

    with freeze(_folders(folder), "a1") as frozen:
        frozen.extend()
        counter = Reporter(Path(os.devnull)).counter(Step.COPY_FILESTORE)
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the progress
        artifact, _ = store_plain(_store(folder), PREFIX, frozen, counter)
        sys.stdout = sys.__stdout__
        assert artifact.file_count == count


OPERATIONS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path, int], None] | None]] = {
    "list": (list_names, None),
    "index": (index_of_packs, None),
    "freeze": (freeze_odoo, fill_odoo),
    "hold": (hold_odoo, fill_odoo),
    "plain": (snapshot_plain, fill_plain),
    "base": (differential_odoo, None),
}


def _folders(folder: Path) -> ClaimFolders:
    from ocore_mover.filestore.folders import ClaimFolders

    return ClaimFolders(folder / "claim", "files", ENVIRONMENT)


def _store(folder: Path) -> Store:
    from ocore_mover.store import open_store

    return open_store((folder / "store").as_uri())


def peak() -> int:
    """Most memory that this process had, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def measure(operation: str, count: int, folder: Path) -> tuple[int, float]:
    """Peak in bytes and seconds of one operation. Its files stay in `folder` for the next one."""
    fill = OPERATIONS[operation][1]
    files = folder / "claim" / "files"
    made = files.with_name(f"{fill.__name__}-{count}") if fill is not None else files
    if fill is not None and not made.exists():
        shutil.rmtree(folder / "claim", ignore_errors=True)
        fill(files, count)
        made.touch()
    since = time.monotonic()
    child = [sys.executable, __file__, "--child", operation, str(count), str(folder)]
    done = subprocess.run(child, check=True, stdout=subprocess.PIPE)
    return int(done.stdout), time.monotonic() - since


def main() -> None:
    """Prints a line for each operation. Exits with 1 if one needs more than MOST."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=3, metavar=("OPERATION", "COUNT", "FOLDER"))
    parser.add_argument("operations", nargs="*", default=list(OPERATIONS), metavar="OPERATION")
    options = parser.parse_args()
    if options.child is not None:
        operation, count, folder = options.child
        OPERATIONS[operation][0](Path(folder), int(count))
        print(peak())
        return
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ocore-names-") as folder:
        for operation in options.operations:
            used, seconds = measure(operation, options.count, Path(folder))
            print(f"{operation:8} {options.count:>12,} names {used / 1e6:8.0f} MB {seconds:8.0f} s", flush=True)
            name = f"memory, `bench/names.py {operation}`, {options.count:,} names"
            found.append(limit(name, [used / 1e6], MOST / 1e6, "MB"))
    if options.json is not None:
        write(options.json, found)
    sys.exit(not all(figure.met for figure in found))


if __name__ == "__main__":
    main()
