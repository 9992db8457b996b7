"""Differentials by the command line: on which base, when it is a full after all, and what becomes of one whose base
goes."""

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions, naming
from ocore_crds.stored.manifest import Manifest, StoredObject
from ocore_mover import manifests
from ocore_mover.commands import config_archive
from ocore_mover.commands import snapshot as snapshot_command
from ocore_mover.errors import StoreError
from ocore_mover.store import Store, open_store, retries
from ocore_mover.store.folder import FolderStore
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.desk import Desk
from support.mover.filestore import some_bytes
from support.mover.plain_desk import Folder, damage_first
from support.mover.site import Site


def based_on(full: Finished) -> list[str]:
    payload = full.result["payload"]
    return [
        "--base-snapshot-id",
        payload["identity"]["snapshotId"],
        "--base-manifest-sha256",
        payload["manifestSha256"],
    ]


class Based(Folder):
    """A folder with a full snapshot of it, and the next snapshot."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        for number in range(30):
            (self.claim / "files" / f"file {number}").write_bytes(some_bytes(number, 5000))
        self.full = self.snapshot()
        assert self.full.code == 0, self.full.stdout
        self.full_id = self.snapshot_id
        self.snapshot_id = str(uuid.uuid4())
        (self.claim / "files/new").write_bytes(b"new")

    def differential(self, *more: str) -> Finished:
        return self.snapshot(*based_on(self.full), *more)

    def manifest(self, snapshot_id: str) -> Path:
        return self.store / naming.manifest_key(ENVIRONMENT, snapshot_id)

    def found(self) -> Manifest:
        return Manifest.model_validate_json(self.manifest(self.snapshot_id).read_text())

    def packs_of_full(self) -> list[Path]:
        return sorted(self.manifest(self.full_id).parent.rglob("pack-*"))

    def full_again(self) -> str:
        """Its manifest was changed: the arguments name it as it is now."""
        return hashlib.sha256(self.manifest(self.full_id).read_bytes()).hexdigest()

    def opened(self) -> Store:
        return open_store(self.store.as_uri())


@pytest.fixture
def folder(tmp_path: Path) -> Based:
    return Based(tmp_path)


def test_a_differential_stores_what_is_new(folder: Based) -> None:
    done = folder.differential("--verify", "Full")
    assert done.code == 0, done.stdout
    payload, full = done.result["payload"], folder.full.result["payload"]
    assert payload["baseSnapshotId"] == folder.full_id
    assert payload["filestoreFiles"] == full["filestoreFiles"] + 1
    assert payload["filestoreStoredBytes"] < full["filestoreStoredBytes"]
    assert not [w for w in payload["evidence"].get("warnings", ()) if "base" in w]
    assert any(folder.full_id in line and full["manifestSha256"] in line for line in payload["evidence"]["proven"])
    inspected = call("inspect", *folder.which).result["payload"]
    assert inspected == {**payload, "readBack": False}
    verified = call("verify", *folder.which).result["payload"]
    assert verified["objects"] == len(folder.found().needed())
    assert any(f"the base, snapshot {folder.full_id}" in line for line in verified["evidence"]["proven"])
    assert full["baseSnapshotId"] == ""


def a_full(folder: Based, done: Finished, why: str) -> None:
    """Complete, with everything in itself, and the reason."""
    assert done.code == 0, done.stdout
    payload = done.result["payload"]
    assert payload["baseSnapshotId"] == ""
    assert folder.found().base is None
    (warning,) = [w for w in payload["evidence"]["warnings"] if "a full snapshot was taken instead" in w]
    assert why in warning
    shutil.rmtree(folder.manifest(folder.full_id).parent, ignore_errors=True)
    assert call("verify", *folder.which).code == 0


def rewrite(folder: Based, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder.manifest(folder.full_id)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data, indent=1) + "\n")
    folder.full.result["payload"]["manifestSha256"] = folder.full_again()


def no_freeze(data: dict[str, Any]) -> None:
    del data["filestore"]["frozenNs"]


def no_filestore(data: dict[str, Any]) -> None:
    del data["filestore"]


def other_layout(data: dict[str, Any]) -> None:
    data["filestore"]["layout"] = "Odoo"


def other_environment(data: dict[str, Any]) -> None:
    data["identity"]["environmentId"] = str(uuid.uuid4())


UNUSABLE: dict[str, tuple[Callable[[Based], object], str]] = {
    "deleted": (lambda f: shutil.rmtree(f.manifest(f.full_id).parent), "has no snapshot"),
    "manifest changed": (lambda f: f.manifest(f.full_id).write_text("{}"), "was changed after the snapshot"),
    "pack lost": (lambda f: f.packs_of_full()[0].unlink(), "is missing in"),
    "pack shorter": (lambda f: f.packs_of_full()[-1].write_bytes(b"x"), "has 1 bytes instead of"),
    "index lost": (lambda f: next(f.manifest(f.full_id).parent.rglob("index*")).unlink(), "is missing in"),
    "index damaged": (lambda f: flip(next(f.manifest(f.full_id).parent.rglob("index*"))), ""),
    "no filestore": (lambda f: rewrite(f, no_filestore), "has no filestore"),
    "other layout": (lambda f: rewrite(f, other_layout), "has layout Odoo"),
    "other environment": (lambda f: rewrite(f, other_environment), "another snapshot"),
    "older version": (lambda f: rewrite(f, no_freeze), "did not store when its files were frozen"),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_base_that_cannot_be_used_gives_a_full(folder: Based, what: str) -> None:
    damage, why = UNUSABLE[what]
    damage(folder)
    a_full(folder, folder.differential(), why)


class Failing:
    """Reads of the base fail: `reason`, and whether the store may recover; after `recovers` of them they work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Based, reason: str, *, recovers: int = 1000) -> None:
        self.count = 0
        read, get = FolderStore.read_range, FolderStore.get
        self._error = StoreError(reason, "cannot read it", retryable=reason == conditions.STORE_UNREACHABLE)
        self._recovers, self._base = recovers, naming.snapshot_prefix(ENVIRONMENT, folder.full_id)

        def failing_read(store: FolderStore, obj: StoredObject, *more: Any) -> Iterator[bytes]:
            self._fail(obj.key)
            yield from read(store, obj, *more)

        def failing_get(store: FolderStore, key: str, **more: Any) -> bytes | None:
            self._fail(key)
            return get(store, key, **more)

        monkeypatch.setattr(FolderStore, "read_range", failing_read)
        monkeypatch.setattr(FolderStore, "get", failing_get)

    def _fail(self, key: str) -> None:
        if key.startswith(self._base):
            self.count += 1
            if self.count <= self._recovers:
                raise self._error


@pytest.mark.parametrize(
    "reason", [conditions.STORE_IO_ERROR, conditions.OBJECT_ARCHIVED, conditions.STORE_ACCESS_DENIED]
)
def test_row_71_one_unreadable_base_stops_no_snapshot(
    folder: Based, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    fails = Failing(monkeypatch, folder, reason)
    done = folder.differential()
    assert fails.count == 1, "it is unusable at once"
    monkeypatch.undo()
    a_full(folder, done, "cannot read it")


def test_row_71_a_store_that_throttles_gets_a_part_of_the_time(folder: Based, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retries, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(snapshot_command, "BASE_PATIENCE", 0.3)
    fails = Failing(monkeypatch, folder, conditions.STORE_UNREACHABLE)
    begin = time.monotonic()
    done = folder.differential("--deadline", "600")
    assert fails.count > 2
    assert time.monotonic() - begin < 60
    monkeypatch.undo()
    a_full(folder, done, "cannot read it")


def test_row_71_a_store_that_recovers_serves_as_the_base(folder: Based, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    Failing(monkeypatch, folder, conditions.STORE_UNREACHABLE, recovers=2)
    done = folder.differential("--deadline", "600")
    assert done.code == 0, done.stdout
    assert done.result["payload"]["baseSnapshotId"] == folder.full_id


def test_row_71_the_time_for_a_base_is_bounded_by_the_snapshots_own(
    folder: Based, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(snapshot_command, "BASE_SHARE", 0.001)
    fails = Failing(monkeypatch, folder, conditions.STORE_UNREACHABLE)
    begin = time.monotonic()
    done = folder.differential("--deadline", "600")
    assert fails.count > 1
    assert time.monotonic() - begin < 60, "0.6 s and not the 300 s that a base may take at most"
    monkeypatch.undo()
    a_full(folder, done, "cannot read it")


def test_a_differential_is_no_base(folder: Based) -> None:
    """Never a chain: a restore needs two snapshots at most."""
    folder.full = folder.differential()
    folder.full_id, folder.snapshot_id = folder.snapshot_id, str(uuid.uuid4())
    a_full(folder, folder.differential(), "is itself a differential")


def test_a_snapshot_is_not_its_own_base(folder: Based) -> None:
    done = folder.snapshot("--base-snapshot-id", folder.snapshot_id, "--base-manifest-sha256", "0" * 64)
    a_full(folder, done, "cannot be its own base")


def test_a_snapshot_of_another_environment_is_no_base(folder: Based) -> None:
    other = str(uuid.uuid4())
    done = call(
        "snapshot", "--store", folder.store.as_uri(), "--environment-id", other, "--snapshot-id", folder.snapshot_id,
        "--claim", str(folder.claim), "--filestore", "files", "--layout", "Plain", *based_on(folder.full),
    )  # fmt: skip
    assert done.code == 0, done.stdout
    assert done.result["payload"]["baseSnapshotId"] == ""
    assert any("has no snapshot" in warning for warning in done.result["payload"]["evidence"]["warnings"])


def test_what_outgrows_its_base_is_a_full(folder: Based) -> None:
    (folder.claim / "files/new").write_bytes(bytes(200_000))
    a_full(folder, folder.differential(), "are not in the base")


@pytest.mark.parametrize("what", ["manifest", "pack", "pack shorter", "all"])
def test_a_base_that_goes_while_it_is_used(folder: Based, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The attempt fails, and the next one takes a full."""

    def lose() -> None:
        if what == "manifest":
            folder.manifest(folder.full_id).unlink()
        elif what == "pack shorter":
            folder.packs_of_full()[0].write_bytes(b"x")
        elif what == "pack":
            for pack in folder.packs_of_full():
                pack.unlink()
        else:
            shutil.rmtree(folder.manifest(folder.full_id).parent)

    with monkeypatch.context() as patched:
        damage_first(config_archive, "capture", lose, patched)
        done = folder.differential()
    assert done.reason == "BaseGone"
    assert done.result["failure"]["retryable"] is True
    assert folder.full_id in done.message
    assert folder.is_none()
    assert not list(folder.manifest(folder.snapshot_id).parent.rglob("pack-*"))
    a_full(folder, folder.differential("--attempt", "2"), "")


def test_a_base_that_goes_at_the_last_moment(folder: Based, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its deletion began before the manifest of the differential existed, so it could not know of it."""
    with monkeypatch.context() as patched:
        damage_first(
            manifests,
            "write",
            lambda: manifests.delete_snapshot(folder.opened(), ENVIRONMENT, folder.full_id),
            patched,
        )
        done = folder.differential()
    assert done.reason == "BaseGone"
    assert folder.is_none()


def test_a_base_that_went_before_a_repeated_container(folder: Based) -> None:
    """The manifest was written and the container killed before the base was checked again."""
    assert folder.differential().code == 0
    manifests.delete_snapshot(folder.opened(), ENVIRONMENT, folder.full_id)
    done = folder.differential()
    assert done.reason == "BaseGone"
    assert folder.is_none()


def test_deleting_a_differential_keeps_its_base(folder: Based) -> None:
    def kept() -> set[Path]:
        """All but the marker of the differential, which stays as long as the base."""
        files = folder.manifest(folder.full_id).parent.rglob("*")
        return {path for path in files if path.is_file() and path.parent.name != "dependents"}

    before = kept()
    assert folder.differential().code == 0
    assert call("delete", *folder.which).code == 0
    assert kept() == before


# --- layout Odoo, with a database ------------------------------------------------------------------------------


@pytest.fixture
def desk(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


def test_an_odoo_differential_is_restored(desk: Desk) -> None:
    application = Application(desk.site, desk.claim)
    application.write_many(200)
    full = desk.ok("snapshot")
    full_id, desk.snapshot_id = desk.snapshot_id, str(uuid.uuid4())
    application.write_many(3)
    (gone, *_) = sorted(path for path in (desk.claim / desk.path).rglob("*") if path.is_file())
    gone.unlink()
    done = desk.ok("snapshot", *based_on(full))
    payload = done.result["payload"]
    assert payload["baseSnapshotId"] == full_id
    assert payload["filestoreStoredBytes"] < full.result["payload"]["filestoreStoredBytes"]
    (warning,) = [w for w in payload["evidence"]["warnings"] if "no longer in the live filestore" in w]
    assert gone.name in warning
    assert desk.own_folders() == set()
    assert list(desk.scratch.iterdir()) == []
    shutil.rmtree(desk.claim / desk.path)
    (desk.claim / desk.path).mkdir()
    preview = desk.ok("preview").result["payload"]
    assert preview["filesToMove"] == payload["filestoreFiles"]
    desk.ok("restore")
    desk.ok("switch", "--now")
    assert application.missing() == []


def test_an_odoo_filestore_that_outgrows_its_base(desk: Desk) -> None:
    application = Application(desk.site, desk.claim)
    application.write_many(5)
    full = desk.ok("snapshot")
    desk.snapshot_id = str(uuid.uuid4())
    application.write_many(50)
    payload = desk.ok("snapshot", *based_on(full)).result["payload"]
    assert payload["baseSnapshotId"] == ""
    (warning,) = [w for w in payload["evidence"]["warnings"] if "are not in the base" in w]
    assert "50%" in warning


def test_names_without_a_filestore_are_no_differential(desk: Desk) -> None:
    """The base has every file, but the folder is gone: a claim that is not the right one must not go unnoticed."""
    application = Application(desk.site, desk.claim)
    application.write_many(5)
    full = desk.ok("snapshot")
    desk.snapshot_id = str(uuid.uuid4())
    shutil.rmtree(desk.claim / desk.path)
    assert desk.run("snapshot", *based_on(full)).reason == "FilestoreNotFound"
