"""Layout Odoo: the steps of a restore, each for itself, with files of some bytes. What is stored comes back in
test_odoo.py."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import conditions, failpoints
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.odoo import restore
from ocore_mover.filestore.odoo.hold import HoldSet
from ocore_mover.filestore.space import Space
from ocore_mover.filestore.unpack import PackReader
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.filestore import Site, counter, some_bytes

#: SHA-1s of which many are less and many are greater than any other one.
MANY = [b"%d" % number for number in range(12)]


def entry_of(data: bytes) -> Entry:
    digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return Entry(f"{digest[:2]}/{digest}", "pack-00000.tar", 512, size=len(data), digest=digest)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def adding(site: Site, folder_store: Store) -> Iterator[Callable[..., Any]]:
    """What the workers share, with the incoming folder."""

    def make(hold: HoldSet | None = None, **fields: Any) -> restore._Adding:
        artifact = site.store(folder_store).model_copy(update=fields)
        site.folders.make_own(site.folders.incoming)
        return restore._Adding(folder_store, reader, artifact, site.folders, hold, counter())

    with PackReader(folder_store, "sha1") as reader:
        yield make


# --- what exists -------------------------------------------------------------------------------------------------


def examined(site: Site, entry: Entry) -> str:
    with opened(site.filestore) as fd:
        return restore._examine(entry, fd, bytearray(4))


def test_a_live_file_is_right_only_with_the_same_bytes(site: Site, tmp_path: Path) -> None:
    entry = entry_of(b"a file")
    assert examined(site, entry) == "missing"
    path = site.filestore / site.add(b"a file")
    assert examined(site, entry) == "right"
    for data in (*(b"%06d" % number for number in range(12)), b"a fil", b"a file.", b""):
        path.write_bytes(data)
        assert examined(site, entry) == "wrong"
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"a file")
    path.symlink_to(tmp_path / "elsewhere")
    assert examined(site, entry) == "wrong"
    path.unlink()
    path.mkdir()
    assert examined(site, entry._replace(size=path.stat().st_size)) == "wrong"


def test_what_is_missing_is_counted_without_reading_it(site: Site, folder_store: Store) -> None:
    for data in (b"1", b"22", b"333", b"4444"):
        site.add(data)
    artifact = site.store(folder_store)

    def missing() -> tuple[int, int]:
        found = restore.missing(folder_store, artifact, site.folders)
        return found.files, found.size

    assert missing() == (0, 0)
    names = {len(data): site.filestore / name for name, data in site.contents.items()}
    names[1].unlink()
    names[2].write_bytes(b"2")
    names[3].write_bytes(b"3333")
    assert missing() == (3, 6)
    names[4].unlink()
    names[4].symlink_to("4444")  # a link has the length of what it names
    assert missing() == (3, 6)


def test_without_a_folder_of_attachments_everything_is_missing(site: Site) -> None:
    """Without a read of the index."""
    (site.filestore / "checklist").mkdir()
    artifact = cast(FilestoreArtifact, SimpleNamespace(file_count=7, size_bytes=70))
    with opened(site.filestore) as fd:
        assert restore._missing(cast(Store, None), artifact, fd) == (7, 70)


@pytest.mark.parametrize(("size", "free", "refused"), [
    (0, 0, False), (1, 10, True), (1, 11, False), (10, 19, True), (10, 20, False),
])  # fmt: skip
def test_the_space_that_is_needed(size: int, free: int, *, refused: bool) -> None:
    found = Space(files=1, size=size, free=free, kept=10)
    assert found.needed == (size + 10 if size else 0)
    refusal = found.refusal
    assert (refusal is not None) == refused
    assert refusal is None or refusal.reason == conditions.NO_SPACE


@pytest.mark.parametrize(("blocks", "reserve"), [(1000, 50 * 1024), (2**40, 1024**3)])
def test_a_part_of_the_volume_stays_free(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch, blocks: int, reserve: int
) -> None:
    volume = SimpleNamespace(f_frsize=1024, f_blocks=blocks, f_bavail=7)
    artifact = site.store(folder_store)
    monkeypatch.setattr(restore.os, "fstatvfs", lambda _: volume)
    found = restore.missing(folder_store, artifact, site.folders)
    assert (found.kept, found.free) == (reserve, 7 * 1024)


# --- neighbours --------------------------------------------------------------------------------------------------


def neighbours(site: Site) -> restore._Neighbours:
    with opened(site.filestore) as fd:
        return restore._Neighbours(fd)


def modes(like: restore._Neighbours) -> tuple[int, int]:
    return like._folder_mode, like._file_mode


def test_new_files_are_like_the_first_attachment(site: Site) -> None:
    """Not like what else is in the filestore."""
    site.filestore.chmod(0o751)
    assert modes(neighbours(site)) == (0o751, 0o644)
    for folder, file in (("0", "x"), ("000", "x"), ("ab", "x"), ("ac", "x")):
        (site.filestore / folder).mkdir()
        (site.filestore / folder / file).touch()
        (site.filestore / folder / file).chmod(0o600)
        (site.filestore / folder).chmod(0o700)
    (site.filestore / "00").touch()
    (site.filestore / "01").mkdir()
    (site.filestore / "01/link").symlink_to("nowhere")
    (site.filestore / "01/folder").mkdir()
    (site.filestore / "02").symlink_to("ac")
    (site.filestore / "ab").chmod(0o2750)
    (site.filestore / "ab/x").chmod(0o640)
    assert modes(neighbours(site)) == (0o2750, 0o640)


def test_a_neighbour_that_vanishes_is_none(site: Site) -> None:
    with opened(site.filestore) as fd:
        like = restore._Neighbours(fd)
        assert not like._learn_from("ab", fd)


@pytest.mark.parametrize(("uid", "gid", "given"), [
    (0, 0, False), (1, 0, True), (-1, 0, False), (0, 1, True), (0, -1, True), (-1, 1, True), (-1, -1, True),
])  # fmt: skip
def test_a_file_gets_owner_and_group_where_it_lacks_them(
    site: Site, monkeypatch: pytest.MonkeyPatch, uid: int, gid: int, *, given: bool
) -> None:
    """Numbers relative to our own; uid -1 is another user than root, who cannot give anything away."""
    own = site.filestore.stat()
    like = neighbours(site)
    like._uid, like._gid = (own.st_uid + uid if uid >= 0 else -1), own.st_gid + gid
    called: list[tuple[int, int]] = []
    monkeypatch.setattr(restore.os, "fchown", lambda _, *args: called.append(args))
    for name in ("first", "second"):
        with opened(site.filestore) as folder:
            fd = like.create_file(name, folder)
        like.apply_to_file(fd)
        os.close(fd)
    assert called == [(like._uid, like._gid)] * 2 * given


@pytest.mark.parametrize("euid", [0, 1000])
def test_only_root_gives_the_owner(site: Site, monkeypatch: pytest.MonkeyPatch, euid: int) -> None:
    monkeypatch.setattr(restore.os, "geteuid", lambda: euid)
    like = neighbours(site)
    own = site.filestore.stat()
    assert (like._uid, like._gid) == (own.st_uid if euid == 0 else -1, own.st_gid)


def test_a_group_that_may_not_be_given_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(restore.os, "fchown", refuse)
    like = neighbours(site)
    like._folder_mode = 0o711
    with opened(site.filestore) as fd:
        like.apply_to_folder(fd)
    assert stat.S_IMODE(site.filestore.stat().st_mode) == 0o711


@pytest.mark.parametrize("umask", [0, 0o077])
def test_the_mode_is_changed_only_where_the_umask_limits_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    like = neighbours(site)
    changed: list[int] = []
    chmod = os.fchmod
    monkeypatch.setattr(restore.os, "fchmod", lambda fd, mode: (changed.append(mode), chmod(fd, mode)))
    before = os.umask(umask)
    try:
        for name in ("first", "second"):
            with opened(site.filestore) as folder:
                fd = like.create_file(name, folder)
            like.apply_to_file(fd)
            os.close(fd)
            assert stat.S_IMODE((site.filestore / name).stat().st_mode) == 0o644
    finally:
        os.umask(before)
    assert changed == ([0o644, 0o644] if umask else [])


# --- new files ---------------------------------------------------------------------------------------------------


def test_a_new_file_is_written_once(site: Site, adding: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run = adding()
    for data in MANY:
        entry = entry_of(data)
        with opened(site.folders.incoming) as incoming:
            run._write(entry, [data], incoming)
            assert (site.folders.incoming / entry.name).read_bytes() == data
            with pytest.raises(Corrupt, match=f"the index names {entry.name} twice"):
                run._write(entry, [data], incoming)
    written: list[int] = []
    monkeypatch.setattr(restore, "WRITEBACK", 6)
    monkeypatch.setattr(restore, "start_writeback", lambda fd, start, size: written.extend((start, size)))
    for data in (b"large.", b"small", b"larger one"):
        with opened(site.folders.incoming) as incoming:
            run._write(entry_of(data), [data], incoming)
    assert written == [0, 6, 0, 10]


@pytest.mark.parametrize("more", [0, 1])
def test_the_index_has_as_many_files_as_the_manifest(site: Site, adding: Callable[..., Any], more: int) -> None:
    for data in MANY:
        site.add(data)
    run = adding(file_count=len(MANY) + more)
    assert sum(len(known) for _, known in run.blocks()) == len(MANY)
    if more:
        with pytest.raises(Corrupt, match=f"names {len(MANY)} files and the manifest {len(MANY) + more}"):
            run.check_whole()
    else:
        run.check_whole()


def test_the_progress_of_small_files_is_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(restore, "REPORT_BYTES", 10)
    progress = restore._Progress(
        cast(Counter, SimpleNamespace(add=lambda *, bytes_, files: calls.append((bytes_, files))))
    )
    for size in (4, 5, 1, 11, 3):
        progress.add(size)
    progress.report()
    assert calls == [(10, 3), (11, 1), (3, 1)]


class Unheld:
    """As a hold set that cannot hold some files."""

    def __init__(self, *unheld: str) -> None:
        self._unheld = unheld

    @contextmanager
    def keeping(self) -> Iterator[Callable[[str, int], bool]]:
        yield lambda name, size: name not in self._unheld and size > 0


def test_a_right_file_that_cannot_be_held_is_restored(site: Site, adding: Callable[..., Any]) -> None:
    """And one that is wrong is replaced; each is counted once."""
    sizes = {name: len(site.contents[name]) for name in (site.add(data) for data in MANY)}
    run = adding()
    kept, unheld, wrong, gone = site.names[:4]
    (site.filestore / wrong).write_bytes(b"?" * sizes[wrong])
    site.unlink(gone)
    run._hold = cast(HoldSet, Unheld(unheld))
    reported: list[tuple[int, int]] = []
    run._counter = SimpleNamespace(add=lambda *, bytes_, files: reported.append((bytes_, files)))
    run.work(run.blocks())
    assert {p.relative_to(site.folders.incoming).as_posix() for p in site.folders.incoming.glob("*/*")} == {
        unheld,
        wrong,
        gone,
    }
    done = run.result()
    assert (done.files_added, done.files_replaced, done.files_checked) == (3, 1, len(MANY) - 3)
    assert done.bytes_added == sizes[unheld] + sizes[wrong] + sizes[gone]
    assert (sum(b for b, _ in reported), sum(f for _, f in reported)) == (sum(sizes.values()), len(MANY))
    assert kept not in (unheld, wrong, gone)


def test_a_folder_that_comes_while_the_restore_runs_is_not_read(site: Site, adding: Callable[..., Any]) -> None:
    """What is in it is replaced by the same file."""
    name = site.add(b"1")
    run = adding()
    run._existing = frozenset()
    run.work(run.blocks())
    assert (run.files_added, run.files_checked) == (1, 0)
    assert (site.folders.incoming / name).exists()


def test_without_a_hold_set_nothing_has_to_be_held(site: Site, adding: Callable[..., Any]) -> None:
    site.add(b"1")
    run = adding()
    run.work(run.blocks())
    assert (run.files_added, run.files_checked) == (0, 1)


# --- they become visible -----------------------------------------------------------------------------------------


def test_a_file_is_held_before_it_is_seen(site: Site) -> None:
    for folder in ("ab", "cd"):
        (site.folders.incoming / folder).mkdir(parents=True)
        (site.folders.incoming / folder / "x").write_bytes(b"new")
    (site.filestore / "ab").mkdir()
    (site.filestore / "ab").chmod(0o701)
    (site.filestore / "ab/first").touch()
    held: list[tuple[str, list[str], bool]] = []

    class Set:
        def add_verified(self, source: int, folder: str, files: list[str]) -> None:
            assert [file.name for file in os.scandir(source)] == files
            held.append((folder, files, (site.filestore / folder / "x").exists()))

    with opened(site.filestore) as filestore, opened(site.folders.incoming) as incoming:
        restore._publish(filestore, incoming, cast(HoldSet, Set()), 1)
    assert held == [("ab", ["x"], False), ("cd", ["x"], False)]
    for folder in ("ab", "cd"):
        assert (site.filestore / folder / "x").read_bytes() == b"new"
        assert stat.S_IMODE((site.filestore / folder).stat().st_mode) == 0o701
    (site.filestore / "ab").chmod(0o711)  # as it is: it has files
    with opened(site.filestore) as filestore:
        restore._ensure_like("ab", filestore, neighbours(site))
    assert stat.S_IMODE((site.filestore / "ab").stat().st_mode) == 0o711


def test_a_restore_leaves_nothing_of_its_own(
    site: Site, other: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (*MANY, some_bytes(1, 100_000)):
        site.add(data)
    artifact = site.store(folder_store)
    left = other.folders.incoming / "ab"
    left.mkdir(parents=True)
    (left / "half").touch()
    done = other.add_missing(folder_store, artifact, jobs=1)
    assert (done.files_added, done.bytes_added) == (artifact.file_count, artifact.size_bytes)
    assert (other.on_disk(), other.own_folders()) == (site.contents, [])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    other.unlink(other.names[0] if other.names else site.names[0])
    for call, says in (("rename", "add files to the filestore"), ("readv", "write to the filestore's claim")):
        with monkeypatch.context() as patch:
            patch.setattr(restore.os, call, full)
            with pytest.raises(MoverError, match=says) as error:
                other.add_missing(folder_store, artifact)
        assert error.value.reason == conditions.NO_SPACE
        assert other.own_folders() == []
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "restore-files-added=error")
    monkeypatch.setattr(failpoints, "_fired", set())
    with pytest.raises(failpoints.FailpointError):
        other.add_missing(folder_store, artifact)
    assert other.on_disk() == site.contents


def test_an_own_folder_that_cannot_be_removed_is_no_failure(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt or a cleanup removes it."""
    name = site.add(b"1")
    site.add(b"2")
    artifact = site.store(folder_store)
    site.unlink(name)
    folders = site.folders
    remove, calls = ClaimFolders.remove, []

    def refuse(own: ClaimFolders, path: Path) -> bool:
        calls.append(path)
        if len(calls) > 1:
            raise MoverError(conditions.FILESTORE_NOT_READABLE, "no")
        return remove(own, path)

    monkeypatch.setattr(ClaimFolders, "remove", refuse)
    assert restore.add_missing(folder_store, artifact, folders, None, counter()).files_added == 1
    assert calls == [folders.incoming] * 2
