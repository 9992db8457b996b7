"""A tree of files of layout Plain: made, taken into a store, brought back and compared."""

import os
import stat
from pathlib import Path
from typing import Any

from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.filestore import index
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.plain import copy, freeze, restore
from ocore_mover.store import Store
from support.mover.filestore import PREFIX, ROLLBACK, counter, some_bytes


def take(
    store: Store, folders: ClaimFolders, jobs: int = 2, consistency: copy.Consistency = "Strict"
) -> tuple[FilestoreArtifact, tuple[str, ...]]:
    with freeze.freeze(folders, "a1") as frozen:
        frozen.extend()
        return copy.store_plain(store, PREFIX, frozen, counter(), consistency=consistency, jobs=jobs)


def stage(store: Store, artifact: FilestoreArtifact, folders: ClaimFolders) -> Path:
    restore.stage_plain(store, artifact, folders, ROLLBACK, counter())
    return folders.stage(ROLLBACK)


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder: kind, mode, time, content. Names of any bytes, as os.fsdecode has them."""
    found: dict[str, tuple[Any, ...]] = {}
    for folder, folders, files in os.walk(root):
        for path in (Path(folder) / name for name in (*folders, *files)):
            status = path.lstat()
            key = path.relative_to(root).as_posix()
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link", path.readlink(), status.st_mtime_ns)
            elif stat.S_ISDIR(status.st_mode):
                found[key] = ("folder", stat.S_IMODE(status.st_mode), status.st_mtime_ns)
            elif stat.S_ISREG(status.st_mode):
                found[key] = ("file", stat.S_IMODE(status.st_mode), status.st_mtime_ns, path.read_bytes())
    return found


def make_tree(root: Path) -> None:
    """What a folder of files can hold."""
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "deep" / "er" / "report.txt").write_bytes(b"text " * 5000)
    (root / "photo").write_bytes(some_bytes(1, 40_000))
    (root / "empty file").touch()
    (root / "script").write_text("#!/bin/sh\n")
    (root / "script").chmod(0o755)
    (root / ("long" * 60)).write_bytes(b"a long name")
    (root / ("folder" * 30)).mkdir()
    (root / ("folder" * 30) / ("name" * 50)).write_bytes(b"a long path")
    (root / os.fsdecode(b"caf\xe9 \xff\n'\"\\")).write_bytes(b"a name in no encoding")
    (root / "umlaut äöü €").write_bytes(b"utf-8")
    os.link(root / "photo", root / "same photo")
    (root / "link").symlink_to("deep/er/report.txt")
    (root / "dangling").symlink_to("/nonexistent/" + "x" * 150)
    (root / "outside").symlink_to("/etc")
    (root / "sealed").mkdir()
    (root / "sealed" / "file").write_bytes(b"in a folder without write permission")
    (root / "sealed").chmod(0o555)
    (root / "old").write_bytes(b"old")
    os.utime(root / "old", ns=(1, 1_234_567_890_123_456_789))


def entries_of(store: Store, artifact: FilestoreArtifact) -> list[Entry]:
    return [index.parse(line) for line in index.lines(store.read(artifact.index))]
