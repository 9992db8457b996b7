"""Power loss at any moment after a promise: what was promised is on the disk (tests/support/mover/power_loss.py)."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocore_crds import failpoints
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.plain import switch
from ocore_mover.store import Store, open_store
from ocore_mover.store.folder import TEMPORARY
from support.mover.filestore import ENVIRONMENT, ROLLBACK, Site, no_links, some_bytes
from support.mover.plain_tree import stage, take
from support.mover.power_loss import PowerLoss

#: In folders that the store has to make.
KEY = "environments/e/snapshots/s/a1/object"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A store's folder."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def folders(tmp_path: Path) -> ClaimFolders:
    (tmp_path / "claim/data/files").mkdir(parents=True)
    return ClaimFolders(tmp_path / "claim", "data/files", ENVIRONMENT)


def write(store: Store) -> None:
    with store.writer(KEY) as writer:
        writer.write(b"stored")
        writer.commit()


def put(store: Store) -> None:
    assert store.put_if_absent(KEY, b"stored")


def adopt(store: Store) -> None:
    """What pg_dump writes in place, in a folder that it or we made without a flush."""
    assert store.local_root is not None
    path = store.local_root / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(b"stored")
    store.adopt(KEY, StoredObject(key=KEY, size=6, sha256=hashlib.sha256(b"stored").hexdigest()))


def listed(power: PowerLoss) -> dict[str, bytes]:
    """What a listing of the store shows after the loss: a temporary name that came back is a leftover."""
    return {key: data for key, data in power.left().items() if not Path(key).name.startswith(TEMPORARY)}


@pytest.mark.parametrize("store_one", [write, put, adopt])
def test_an_object_of_a_folder_is_on_the_disk(disk: Path, store_one: Callable[[Store], None]) -> None:
    with PowerLoss(disk) as power:
        store_one(open_store(disk.as_uri()))
        assert power.torn == []
        assert listed(power) == {KEY: b"stored"}


def test_a_manifest_without_hard_links_is_on_the_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_links(monkeypatch)
    with PowerLoss(disk) as power:
        put(open_store(disk.as_uri()))
        assert power.torn == []
        assert listed(power) == {KEY: b"stored"}


def test_restored_files_are_on_the_disk_before_they_are_seen(site: Site, folder_store: Store) -> None:
    site.fill(30)
    artifact = site.store(folder_store)
    hold = site.hold
    hold.hold_all()
    for name in site.names[:20]:
        site.unlink(name)
    with PowerLoss(site.claim) as power:
        assert site.add_missing(folder_store, artifact, hold).files_added == 20
        assert power.torn == []
        left = power.left(site.path)
    assert left == site.contents


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_files_that_are_linked_back_are_on_the_disk(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """Folders that the application removed included."""
    site.fill(30)
    if not links:
        no_links(monkeypatch)
    site.hold.hold_all()
    for name in site.names[::2]:
        site.unlink(name)
        if not any((site.filestore / name).parent.iterdir()):
            (site.filestore / name).parent.rmdir()
    with PowerLoss(site.claim) as power:
        assert site.hold.relink(site.names) == 15
        assert power.torn == []
        left = power.left(site.path)
    assert left == site.contents


def test_copies_that_are_held_are_on_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(10)
    no_links(monkeypatch)
    with PowerLoss(site.claim) as power:
        assert site.hold.hold_all() == 10
        held = power.left(site.folders.hold(ROLLBACK).relative_to(site.claim).as_posix())
    assert {name: held.get(name) for name in site.contents} == site.contents


def test_a_staged_folder_is_on_the_disk(folders: ClaimFolders, folder_store: Store) -> None:
    for number in range(20):
        path = folders.filestore / f"{number % 3}" / f"{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(some_bytes(number, 1000))
    before = {p.relative_to(folders.filestore).as_posix(): p.read_bytes() for p in folders.filestore.glob("*/*")}
    artifact, _ = take(folder_store, folders)
    with PowerLoss(folders.claim) as power:
        staged = stage(folder_store, artifact, folders)
        assert power.left(staged.relative_to(folders.claim).as_posix()) == before


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_a_switch_of_folders_loses_neither_of_them(
    folders: ClaimFolders, folder_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    """Without an exchange of names. Between the two renames and after them the position is found again, with both
    folders whole."""
    monkeypatch.setattr(switch.disk, "exchange", lambda *_: False)
    (folders.filestore / "which").write_bytes(b"snapshot")
    artifact, _ = take(folder_store, folders)
    (folders.filestore / "which").write_bytes(b"later")
    stage(folder_store, artifact, folders)
    if back:
        switch.switch(folders, ROLLBACK)
    change = switch.switch_back if back else switch.switch
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "switch-filestore-moved=error")
    monkeypatch.setattr(failpoints, "_fired", set())
    with PowerLoss(folders.claim) as power:
        with pytest.raises(failpoints.FailpointError):
            change(folders, ROLLBACK)
        power.write_to(tmp_path / "between")
        change(folders, ROLLBACK)
        power.write_to(tmp_path / "after")
    for claim, expected in (("between", "Between"), ("after", "Old" if back else "New")):
        found = ClaimFolders(tmp_path / claim, folders.path, ENVIRONMENT)
        assert switch.position(found, ROLLBACK) == expected
        contents = sorted(path.read_bytes() for path in found.claim.rglob("which"))
        assert contents == [b"later", b"snapshot"]


def test_an_exchange_of_folders_is_on_the_disk_with_its_journal(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders.filestore / "which").write_bytes(b"snapshot")
    artifact, _ = take(folder_store, folders)
    (folders.filestore / "which").write_bytes(b"later")
    staged = stage(folder_store, artifact, folders)
    inodes = [folder.stat().st_ino for folder in (folders.filestore, staged)]
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "switch-filestore-moved=error")
    monkeypatch.setattr(failpoints, "_fired", set())
    with PowerLoss(folders.claim) as power:
        with pytest.raises(failpoints.FailpointError):
            switch.switch(folders, ROLLBACK)
        left = power.left()
        switch.switch(folders, ROLLBACK)
        after = power.left()
    own = folders.own.relative_to(folders.claim).as_posix()
    short = ROLLBACK[:8]
    assert left == {
        f"{folders.path}/which": b"snapshot",
        f"{own}/stage-{short}/which": b"later",
        f"{own}/swap-{short}": "{} {}".format(*inodes).encode(),
    }
    assert after == {f"{folders.path}/which": b"snapshot", f"{own}/prev-{short}/which": b"later"}


def test_the_test_itself_drops_what_is_not_flushed(tmp_path: Path) -> None:
    """The model can fail: unflushed bytes and names do not survive."""
    with PowerLoss(tmp_path) as power:
        (tmp_path / "a").write_bytes(b"x")
        assert power.left() == {}
        fd = os.open(tmp_path, os.O_RDONLY)
        os.fsync(fd)
        assert power.left() == {"a": b""}
        (tmp_path / "a").rename(tmp_path / "b")
        assert power.torn == ["b"]
        os.fsync(fd)
        os.close(fd)
        fd = os.open(tmp_path / "b", os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        assert power.left() == {"b": b"x"}
