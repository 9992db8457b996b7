"""Layout Plain while the application writes: what the freeze keeps, what is refused, what is named in a warning."""

import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover import inotify
from ocore_mover.errors import MoverError
from ocore_mover.filestore import links, packset
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.plain import copy, watch
from ocore_mover.filestore.plain import freeze as freeze_module
from ocore_mover.filestore.plain.freeze import Frozen, freeze
from ocore_mover.store import Store
from support.mover.filestore import ACL, ENVIRONMENT, PREFIX, counter, no_links
from support.mover.plain_tree import entries_of, stage, tree

OLD = (1_600_000_000, 1_600_000_000)


def put(path: Path, data: bytes) -> Path:
    """A file written long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, OLD)
    return path


@contextmanager
def exported(folders: ClaimFolders, *, between: Callable[[], object] = lambda: None) -> Iterator[Frozen]:
    """An export of the database, and what the application does during it."""
    with freeze(folders, "a1") as frozen:
        frozen.approach()
        between()
        frozen.confirm()
        frozen.extend()
        yield frozen


def take(
    frozen: Frozen, store: Store, consistency: copy.Consistency = "Strict"
) -> tuple[FilestoreArtifact, tuple[str, ...]]:
    return copy.store_plain(store, PREFIX, frozen, counter(), consistency=consistency)


def contents(store: Store, artifact: FilestoreArtifact, folders: ClaimFolders) -> dict[str, bytes]:
    found = tree(stage(store, artifact, folders))
    return {name: value[3] for name, value in found.items() if value[0] == "file"}


def test_a_file_deleted_after_the_export_is_kept(folders: ClaimFolders, folder_store: Store) -> None:
    path = put(folders.filestore / "a" / "file", b"content")
    with exported(folders, between=path.unlink) as frozen:
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert contents(folder_store, artifact, folders) == {"a/file": b"content"}


def test_a_folder_deleted_after_the_export_is_kept(folders: ClaimFolders, folder_store: Store) -> None:
    put(folders.filestore / "a" / "b" / "file", b"content")
    with exported(folders) as frozen:
        for path in (folders.filestore / "a/b/file", folders.filestore / "a/b", folders.filestore / "a"):
            path.unlink() if path.is_file() else path.rmdir()
        artifact, _ = take(frozen, folder_store)
    assert contents(folder_store, artifact, folders) == {"a/b/file": b"content"}


def test_a_file_created_after_the_listing_is_kept(folders: ClaimFolders, folder_store: Store) -> None:
    put(folders.filestore / "old", b"old")
    with freeze(folders, "a1") as frozen:
        put(folders.filestore / "new" / "file", b"new")
        frozen.extend()  # no database is exported
        (folders.filestore / "new" / "file").unlink()
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert contents(folder_store, artifact, folders) == {"old": b"old", "new/file": b"new"}
    assert [e.name for e in entries_of(folder_store, artifact) if e.kind == "folder"] == ["new"]


def test_a_moved_file_is_in_one_of_the_folders(folders: ClaimFolders, folder_store: Store) -> None:
    put(folders.filestore / "a" / "file", b"moved")
    (folders.filestore / "b").mkdir()

    def move() -> None:
        (folders.filestore / "a/file").rename(folders.filestore / "b/file")

    with exported(folders, between=move) as frozen:
        artifact, _ = take(frozen, folder_store)
    assert b"moved" in contents(folder_store, artifact, folders).values()


def replace(path: Path, data: bytes) -> None:
    """As applications replace a file in one step."""
    temporary = path.with_name("temporary")
    temporary.write_bytes(data)
    time.sleep(0.02)  # another tick of the file system's clock
    temporary.rename(path)


@pytest.mark.parametrize("events", [True, False])
def test_a_file_replaced_after_the_export_is_the_old_one(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, events: bool
) -> None:
    if not events:
        monkeypatch.setattr(inotify, "sees_all", lambda _: False)
    path = put(folders.filestore / "file", b"old")
    with freeze(folders, "a1") as frozen:
        frozen.approach()
        assert frozen.confirm()
        monkeypatch.setattr(freeze_module, "filesystem_time", lambda _: frozen.since_ns)  # the export is over
        replace(path, b"new")
        os.utime(path, OLD)  # its own time does not matter
        assert path.stat().st_ctime_ns > frozen.since_ns
        frozen.extend()
        artifact, _ = take(frozen, folder_store)
    assert contents(folder_store, artifact, folders) == {"file": b"old"}


@pytest.mark.parametrize("events", [True, False])
def test_row_89_a_file_that_was_replaced_before_the_export_and_linked_after_it(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, events: bool
) -> None:
    """`cp -al` gives the file a change time after the export."""
    if not events:
        monkeypatch.setattr(inotify, "sees_all", lambda _: False)
    path = put(folders.filestore / "file", b"old")
    with freeze(folders, "a1") as frozen:
        replace(path, b"new")
        frozen.approach()
        assert frozen.confirm()
        time.sleep(0.02)
        (folders.filestore / "copy").hardlink_to(path)
        frozen.extend()
        artifact, _ = take(frozen, folder_store)
    assert contents(folder_store, artifact, folders)["file"] == b"new"


def test_row_89_without_events_a_replaced_file_that_was_linked_is_in_doubt(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was born before the export was over: its change time says nothing."""
    monkeypatch.setattr(inotify, "sees_all", lambda _: False)
    path = put(folders.filestore / "file", b"old")
    with freeze(folders, "a1") as frozen:
        frozen.approach()
        replace(path, b"new")
        until_ns = path.stat().st_ctime_ns
        assert frozen.confirm()
        time.sleep(0.02)
        (folders.filestore / "copy").hardlink_to(path)
        monkeypatch.setattr(freeze_module, "filesystem_time", lambda _: until_ns)
        frozen.extend()
        assert frozen.doubts.replaced == ["file"]
        with pytest.raises(MoverError, match="was replaced while the database was exported"):
            take(frozen, folder_store)


def test_a_file_replaced_before_the_export_is_the_new_one(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = put(folders.filestore / "file", b"old")
    link = folders.filestore / "link"
    link.symlink_to("old")
    real = freeze_module._next_filesystem_time

    def late(folder: int) -> int:
        replace(path, b"new")
        link.unlink()
        link.symlink_to("new")
        return real(folder)

    monkeypatch.setattr(freeze_module, "_next_filesystem_time", late)
    with exported(folders) as frozen:
        assert frozen.doubts.replaced == []
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert contents(folder_store, artifact, folders) == {"file": b"new"}
    assert (folders.stage("22222222-2222-4222-8222-222222222222") / "link").readlink() == Path("new")


def test_a_file_replaced_at_the_time_of_the_export(folders: ClaimFolders, folder_store: Store) -> None:
    """Nothing says which one the database belongs to."""
    path = put(folders.filestore / "file", b"old")
    with exported(folders, between=lambda: replace(path, b"new")) as frozen:
        assert frozen.doubts.replaced == ["file"]
        with pytest.raises(MoverError) as error:
            take(frozen, folder_store)
        assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)
        assert list(folder_store.list("")) == []
        _, warnings = take(frozen, folder_store, "BestEffort")
        assert frozen.unkept.lost == list(warnings)
    assert "1 files were replaced while the database was exported" in warnings[0]
    assert warnings[0].endswith("for example file")


def test_a_folder_that_took_a_files_place(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folders.filestore / "name", b"file")

    def change() -> None:
        path.unlink()
        put(path / "file", b"x")

    with exported_beside(folders, change, lambda: None) as frozen:  # the second export is clean
        artifact, _ = take(frozen, folder_store)
    assert contents(folder_store, artifact, folders) == {"name/file": b"x"}

    monkeypatch.setattr(inotify, "sees_all", lambda _: False)
    other = put(folders.filestore / "other", b"file")

    def change_other() -> None:
        other.unlink()
        other.mkdir()

    with pytest.raises(MoverError) as error, exported(folders, between=change_other):
        pass
    assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)
    assert not list(folders.own.glob("freeze-*"))


@pytest.mark.parametrize("when", ["before the export", "during the export"])
def test_row_89_the_filestore_itself_was_replaced(folders: ClaimFolders, when: str) -> None:
    """Its links are those of another folder, and no event says so: its parent is not watched."""
    put(folders.filestore / "file", b"file")

    def change() -> None:
        folders.filestore.rename(folders.filestore.with_name("other"))
        put(folders.filestore / "file", b"another")

    with freeze(folders, "a1") as frozen:
        if when == "during the export":
            frozen.approach()
        change()
        with pytest.raises(MoverError) as error:
            frozen.approach() if when == "before the export" else frozen.confirm()
    assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)


@pytest.mark.parametrize("consistency", ["Strict", "BestEffort"])
def test_a_file_changed_in_place_after_the_export(
    folders: ClaimFolders,
    folder_store: Store,
    consistency: copy.Consistency,
) -> None:
    path = put(folders.filestore / "settings.json", b"old")
    with exported(folders) as frozen:
        path.write_bytes(b"new content")
        if consistency == "Strict":
            with pytest.raises(MoverError) as error:
                take(frozen, folder_store)
            assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)
            assert "settings.json" in error.value.message
            assert "BestEffort" in error.value.message
            return
        artifact, warnings = take(frozen, folder_store, "BestEffort")
    assert "settings.json" in warnings[0]
    assert contents(folder_store, artifact, folders) == {"settings.json": b"new content"}


@pytest.mark.parametrize("linked", [True, False])
def test_row_74_a_time_in_the_future_fails_no_snapshot(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    linked: bool,
) -> None:
    """A program has set it: a write sets the present time."""
    future = time.time() + 10 * 365 * 86400
    path = put(folders.filestore / "a" / "file", b"content")
    for each in (path, path.parent, folders.filestore):
        os.utime(each, (future, future))
    if not linked:
        no_links(monkeypatch)
    with exported(folders) as frozen:
        artifact, _ = take(frozen, folder_store)
    assert tree(stage(folder_store, artifact, folders)) == tree(folders.filestore)
    with exported(folders) as frozen:
        path.write_bytes(b"changed")
        with pytest.raises(MoverError):
            take(frozen, folder_store)


def test_a_file_that_grows_while_it_is_read(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copy, "ATTEMPT_PAUSE", 0)
    path = put(folders.filestore / "busy.log", b"line\n" * 1000)
    real = packset.copy_content

    def shrink(fd: int, *more: Any) -> bool:
        os.truncate(path, path.stat().st_size - 100)
        return real(fd, *more)

    monkeypatch.setattr(copy, "copy_content", shrink)
    with exported(folders) as frozen:
        artifact, warnings = take(frozen, folder_store, "BestEffort")
    assert "busy.log" in warnings[0]
    assert contents(folder_store, artifact, folders).keys() == {"busy.log"}


def test_a_new_file_that_is_still_written_is_left_out(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No committed row can name its content. It does not fail a snapshot while users upload."""
    monkeypatch.setattr(copy, "ATTEMPT_PAUSE", 0)
    put(folders.filestore / "old", b"old")
    upload = folders.filestore / "upload"
    real = packset.copy_content

    def grow(fd: int, size: int, *more: Any) -> bool:
        if size != 3:
            with upload.open("ab") as file:
                file.write(b"more")
        return real(fd, size, *more)

    monkeypatch.setattr(copy, "copy_content", grow)
    with exported(folders, between=lambda: upload.write_bytes(b"first part")) as frozen:
        artifact, warnings = take(frozen, folder_store)
    assert contents(folder_store, artifact, folders) == {"old": b"old"}
    assert "1 files that the application created during the snapshot and still wrote" in warnings[0]
    assert "upload" in warnings[0]


# --- what comes and goes while the database is exported ------------------------------------------------------


@contextmanager
def exported_beside(folders: ClaimFolders, *between: Callable[[], object]) -> Iterator[Frozen]:
    """One export after the other, and what the application does during each of them."""
    with freeze(folders, "a1") as frozen:
        for step in between:
            frozen.approach()
            step()
            confirmed = frozen.confirm()
            assert confirmed == (not frozen.doubts)
        frozen.extend()
        yield frozen


def test_row_89_a_file_that_came_and_went_during_the_export(folders: ClaimFolders, folder_store: Store) -> None:
    put(folders.filestore / "a" / "old", b"old")

    def come_and_go() -> None:
        put(folders.filestore / "a" / "short", b"short").unlink()

    with exported_beside(folders, come_and_go) as frozen:
        assert frozen.doubts.gone == ["a/short"]
        with pytest.raises(MoverError) as error:
            take(frozen, folder_store)
        assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)
        assert "a/short" in error.value.message
        take(frozen, folder_store, "BestEffort")
        assert frozen.unkept.lost == [
            "1 names came and went while the database was exported: files that it names may not be in the snapshot, for"
            " example a/short"
        ]


def test_row_89_the_next_export_is_clean(folders: ClaimFolders, folder_store: Store) -> None:
    put(folders.filestore / "a" / "old", b"old")
    kept = folders.filestore / "a" / "kept"

    def come_and_go() -> None:
        put(kept, b"kept")
        put(folders.filestore / "a" / "short", b"short").unlink()

    with exported_beside(folders, come_and_go, kept.unlink) as frozen:
        assert frozen.doubts.gone == []
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert contents(folder_store, artifact, folders) == {"a/old": b"old", "a/kept": b"kept"}


def test_row_89_a_file_created_during_the_export_and_deleted_at_once_after_it(
    folders: ClaimFolders,
    folder_store: Store,
) -> None:
    """It has a link before the second pass lists its folder."""
    put(folders.filestore / "a" / "old", b"old")
    new = folders.filestore / "a" / "new"
    before = folders.filestore / "before"
    with freeze(folders, "a1") as frozen:
        put(before, b"before")
        frozen.approach()
        before.unlink()
        put(new, b"new")
        (folders.filestore / "link").symlink_to("a")
        assert frozen.confirm()
        new.unlink()
        frozen.extend()
        artifact, _ = take(frozen, folder_store)
    assert contents(folder_store, artifact, folders) == {"a/old": b"old", "a/new": b"new", "before": b"before"}
    assert [e.name for e in entries_of(folder_store, artifact) if e.kind == "symlink"] == ["link"]


def test_row_89_a_folder_that_is_new_during_the_export(folders: ClaimFolders, folder_store: Store) -> None:
    """Nothing says what came and went in it before it was watched. In the next export it is watched. It was not
    deleted, and nothing says that it was."""
    put(folders.filestore / "old", b"old")
    new = folders.filestore / "new" / "below"

    def short_lived() -> None:
        put(new / "short", b"short").unlink()

    with exported_beside(folders, lambda: put(new / "file", b"x")) as frozen:
        assert (frozen.doubts.gone, frozen.doubts.unseen) == ([], ["new"])
        with pytest.raises(MoverError) as error:
            take(frozen, folder_store)
        assert "new in the filestore was created or moved" in error.value.message
        assert "deleted" not in error.value.message
    with exported_beside(folders, lambda: put(folders.filestore / "other" / "file", b"x"), short_lived) as frozen:
        assert frozen.doubts.gone == ["new/below/short"]
    with exported_beside(folders, lambda: put(folders.filestore / "third" / "file", b"x"), lambda: None) as frozen:
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert {"old", "new/below/file", "other/file", "third/file"} == contents(folder_store, artifact, folders).keys()


def test_row_89_a_renamed_file_did_not_go(folders: ClaimFolders, folder_store: Store) -> None:
    """As applications write: under a temporary name first."""

    def write() -> None:
        put(folders.filestore / ".temporary", b"new").rename(folders.filestore / "new")

    with exported_beside(folders, write) as frozen:
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert contents(folder_store, artifact, folders) == {"new": b"new"}


def test_row_89_a_folder_that_was_moved_is_watched_where_it_is(folders: ClaimFolders, folder_store: Store) -> None:
    put(folders.filestore / "a" / "old", b"old")
    moved = folders.filestore / "b"

    def move() -> None:
        (folders.filestore / "a").rename(moved)

    def short_lived() -> None:
        put(moved / "short", b"short").unlink()

    with exported_beside(folders, move) as frozen:
        assert frozen.doubts.unseen == ["b"]
    moved.rename(folders.filestore / "a")
    with exported_beside(folders, move, short_lived) as frozen:
        assert frozen.doubts.gone == ["b/short"]
    with exported_beside(folders, short_lived, lambda: None) as frozen:
        artifact, _ = take(frozen, folder_store)
    assert "b/old" in contents(folder_store, artifact, folders)


@pytest.mark.parametrize(
    "again",
    [
        (inotify.CREATE, inotify.DELETE),
        (inotify.CREATE, inotify.MOVED_FROM),  # to where nothing is watched
        (inotify.CREATE, inotify.CREATE),  # the removal was not seen
    ],
)
def test_row_43_memory_does_not_grow_with_what_one_name_does(folders: ClaimFolders, again: tuple[int, ...]) -> None:
    class Events:
        cookies = 0

        def add(self, folder: Path, mask: int) -> int:
            return 1

        def read(self) -> list[inotify.Event]:
            self.cookies += 1
            return [inotify.Event(1, mask, self.cookies * (mask == inotify.MOVED_FROM), "a") for mask in again]

        def close(self) -> None:
            """Nothing is open."""

    found = watch.FolderWatch(Events())
    with folders.opened(folders.filestore) as fd:
        found.add(fd, "")
    for _ in range(watch.MOST_NAMES + 1):
        found.collect()
    changes = found.take()
    assert changes.overflowed
    assert changes.names <= watch.MOST_NAMES


@pytest.mark.parametrize("when", ["before the export", "during the export"])
def test_row_89_events_that_the_kernel_dropped(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """All folders are listed again, and watched on."""
    put(folders.filestore / "a" / "old", b"old")
    monkeypatch.setattr(watch, "MOST_NAMES", 2)

    def many() -> None:
        for number in range(4):
            put(folders.filestore / "a" / f"{number}", b"x")
        (folders.filestore / "a" / "0").unlink()

    with freeze(folders, "a1") as frozen:
        if when == "before the export":
            many()
        frozen.approach()
        if when == "during the export":
            many()
            assert not frozen.confirm()
            with pytest.raises(MoverError, match="may have come and gone while the database was exported"):
                take(frozen, folder_store)
            frozen.approach()
        short = put(folders.filestore / "a" / "short", b"x")
        short.unlink()
        assert not frozen.confirm()
        assert frozen.doubts.gone == ["a/short"]
        frozen.approach()
        assert frozen.confirm()
        frozen.extend()
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert contents(folder_store, artifact, folders).keys() >= {"a/old", "a/1", "a/2", "a/3"}


@pytest.mark.parametrize("cause", ["a network file system", "no watch is left"])
def test_row_89_without_events_what_vanished_shows_it(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    cause: str,
) -> None:
    put(folders.filestore / "a" / "old", b"old")
    put(folders.filestore / "c" / "deleted long after it was written", b"old")
    if cause == "a network file system":
        monkeypatch.setattr(inotify, "sees_all", lambda _: False)
    if cause == "no watch is left":
        monkeypatch.setattr(watch, "MOST", 1)
    young = folders.filestore / "c" / "young"
    young.write_bytes(b"young")
    with freeze(folders, "a1") as frozen:
        frozen.approach()
        young.unlink()
        (folders.filestore / "c" / "deleted long after it was written").unlink()
        assert frozen.confirm()
        frozen.extend()
        assert frozen.doubts.gone == ["c/young"]
        with pytest.raises(MoverError) as error:
            take(frozen, folder_store)
        assert error.value.reason == conditions.FILESTORE_CHANGING
        _, warnings = take(frozen, folder_store, "BestEffort")
        text = "reports no changes of this filestore"
        assert any(text in warning for warning in warnings)
        _, warnings = copy.store_plain(folder_store, PREFIX, frozen, counter(), consistency="BestEffort", quiesced=True)
        assert not any(text in warning for warning in warnings)


# --- without hard links --------------------------------------------------------------------------------------


def vanish(folders: ClaimFolders) -> None:
    (folders.filestore / "a" / "7").unlink()


def fill(folders: ClaimFolders) -> None:
    for number in range(10):
        put(folders.filestore / "a" / f"{number}", b"x")
    os.utime(folders.filestore / "a", OLD)
    os.utime(folders.filestore, OLD)


@pytest.mark.parametrize("when", ["before the listing", "after the listing"])
def test_without_hard_links_a_deleted_file_is_noticed(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    fill(folders)
    no_links(monkeypatch)
    real = copy.open_below
    for consistency in ("Strict", "BestEffort"):
        with exported(folders) as frozen:
            assert not frozen.linked
            pending = [vanish]
            if when == "before the listing":
                pending.pop()(folders)

            def late(root: int, path: str, pending: list[Any] = pending) -> int:
                if pending:
                    pending.pop()(folders)
                return real(root, path)

            monkeypatch.setattr(copy, "open_below", late)
            if consistency == "Strict":
                with pytest.raises(MoverError) as error:
                    take(frozen, folder_store)
                assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)
                fill(folders)
            else:
                artifact, warnings = take(frozen, folder_store, "BestEffort")
                assert artifact.file_count == 9
                assert any("no hard links" in warning for warning in warnings)
                assert any("a" in warning for warning in warnings)
    assert not (folders.claim / ".ocore").exists()


def test_without_hard_links_nothing_changes(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(folders)
    no_links(monkeypatch)
    with exported(folders) as frozen:
        artifact, warnings = take(frozen, folder_store)
    assert artifact.file_count == 10
    assert len(warnings) == 1
    assert tree(stage(folder_store, artifact, folders)) == tree(folders.filestore)


def test_a_link_refused_in_the_second_pass(
    folders: ClaimFolders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(folders.filestore / "old", b"old")

    def between() -> None:
        put(folders.filestore / "new", b"new")
        no_links(monkeypatch)

    with pytest.raises(MoverError) as error, exported(folders, between=between):
        pass
    assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)


# --- what a snapshot does not keep ---------------------------------------------------------------------------


@pytest.mark.parametrize("linked", [True, False])
def test_what_is_not_kept_is_named(
    folders: ClaimFolders,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    linked: bool,
) -> None:
    plain = put(folders.filestore / "plain", b"plain")
    with (folders.filestore / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    os.link(put(folders.filestore / "one name", b"hard linked"), folders.filestore / "another name")
    attributed = put(folders.filestore / "attributed", b"x")
    below = folders.filestore / "folder"
    below.mkdir()
    try:
        os.setxattr(attributed, "user.origin", b"somewhere")
        os.setxattr(below, "user.origin", b"somewhere")
        os.setxattr(plain, "system.posix_acl_access", ACL)
    except OSError as error:
        pytest.fail(f"this file system has no extended attributes: {error}")
    for path in (folders.filestore / "sparse", below, folders.filestore):
        os.utime(path, OLD)
    if not linked:
        no_links(monkeypatch)
    with exported(folders) as frozen:
        artifact, warnings = take(frozen, folder_store)
    text = "\n".join(warnings)
    assert "1 sparse files" in text
    assert "sparse" in text
    assert "2 names are hard links" in text
    assert "2 files or folders have extended attributes" in text
    assert "attributed" in text
    assert "1 files or folders have access control lists" in text
    assert "plain" in text
    assert contents(folder_store, artifact, folders)["sparse"] == bytes(10_000_000)


def test_a_sealed_folder_is_frozen_and_removed(folders: ClaimFolders, folder_store: Store) -> None:
    sealed = folders.filestore / "sealed"
    put(sealed / "file", b"x")
    sealed.chmod(0o555)
    with exported(folders) as frozen:
        artifact, warnings = take(frozen, folder_store)
    assert warnings == ()
    assert not (folders.claim / ".ocore").exists()
    assert stat.S_IMODE((stage(folder_store, artifact, folders) / "sealed").stat().st_mode) == 0o555


# --- a folder with very many names ---------------------------------------------------------------------------


@pytest.fixture
def small_ext4(tmp_path: Path) -> Iterator[ClaimFolders]:
    """A claim of ext4 with blocks of 1 KiB, whose index of a folder is full early (root only)."""
    image, claim = tmp_path / "image", tmp_path / "claim"
    with image.open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-b", "1024", "-N", "60000", "-O", "^large_dir", image], check=True)
    claim.mkdir()
    subprocess.run(["mount", "-o", "loop", image, claim], check=True)
    try:
        found = ClaimFolders(claim, "app/files", ENVIRONMENT)
        found.filestore.mkdir(parents=True)
        yield found
    finally:
        subprocess.run(["umount", claim], check=True)


def test_row_58_a_folder_that_fills_its_index(
    small_ext4: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the index, 15,627 of these names fit in one folder; in any other order 26,981 to 31,011 (24 file
    systems, each with its own hash)."""
    monkeypatch.setattr(links, "LARGE_FOLDER", 1024 * 1024)
    count = 23_000
    root = small_ext4.filestore
    (root / "first").write_bytes(b"x")
    for number in range(1, count):
        os.link(root / "first", root / f"document-{number:06d}-{'x' * 191}")

    full = None
    try:
        with exported(small_ext4) as frozen:
            artifact, _ = take(frozen, folder_store)
        staged = stage(folder_store, artifact, small_ext4)
    except MoverError as error:
        full = error.message
    assert full is None
    assert {path.name for path in staged.iterdir()} == {path.name for path in root.iterdir()}
    assert artifact.file_count == count
