"""A store that was made again, or a SnapshotStore that names another one: what was decided for the one is not done in
the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions, naming
from ocore_crds.commands import table
from ocore_crds.commands.parts import StoreAccess
from ocore_mover import manifests
from ocore_mover.commands import opening
from ocore_mover.errors import StoreError
from ocore_mover.store import Store, open_store
from ocore_mover.store.identity import BoundStore
from ocore_mover.store.probe import probe_store
from support.mover.beside import Finished, call
from support.mover.contents import ENVIRONMENT, PROJECT, add, snapshot_id

OTHER_ID = "7d0b5a53-2222-4333-8444-555566667777"
SNAPSHOT = snapshot_id(1)
IDS = ("--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT)
DIGEST = "0" * 64
EXTRACT = "9c7d1f0a-1111-4222-8333-444455556666"

#: Every command that deletes, writes beside stored data, or says what a store has or lacks. Not: `probe-store`, which
#: finds the id; those of a rollback's switch, which must not depend on a store.
BOUND: dict[str, tuple[str, ...]] = {
    "delete": IDS,
    "check-copy": (*IDS, "--manifest-sha256", DIGEST),
    "verify": IDS,
    "inspect": IDS,
    "write-state": (*IDS, "--state", "{}"),
    "sweep": ("--report-id", EXTRACT),
    "remove-orphans": ("--report-id", EXTRACT, "--sha256", DIGEST),
    "list-manifests": ("--environment", f"{ENVIRONMENT}:{PROJECT}"),
    "remove-extract": ("--environment-id", ENVIRONMENT, "--extract-id", EXTRACT),
    "extract": (*IDS, "--extract-id", EXTRACT, "--path", "a"),
    "test-restore": IDS,
}


@pytest.fixture
def place(tmp_path: Path) -> tuple[Store, str]:
    """A store with a snapshot, and its URL."""
    url = (tmp_path / "store").as_uri()
    store = open_store(url)
    probe_store(store)
    add(store, 1)
    return store, url


def everything(store: Store) -> dict[str, bytes]:
    return {found.key: store.get(found.key) or b"" for found in store.list("")}


@pytest.mark.parametrize("command", BOUND)
def test_row_121_nothing_is_done_or_said_in_another_store(place: tuple[Store, str], command: str) -> None:
    store, url = place
    before = everything(store)
    end = call(command, "--store", url, "--store-id", OTHER_ID, *BOUND[command])
    assert end.reason == conditions.STORE_ID_CONFLICT
    assert OTHER_ID in end.message
    assert everything(store) == before


def test_row_121_every_command_with_a_store_can_be_bound() -> None:
    """A new command has its row above, or is in the list of those that need none."""
    named = {name for name, row in table.COMMANDS.items() if "store" in row.request.model_fields}
    free = {"probe", "probe-store", "switch", "snapshot", "restore", "preview", "copy-remote"}
    assert named - free == set(BOUND)


def test_row_121_what_is_copied_is_bound_on_both_sides(place: tuple[Store, str], tmp_path: Path) -> None:
    url = (tmp_path / "far").as_uri()
    probe_store(open_store(url))
    for more in (("--store-id", OTHER_ID), ("--source-store-id", OTHER_ID)):
        end = call("copy-remote", "--store", url, "--source-store", place[1], *IDS, *more)
        assert end.reason == conditions.STORE_ID_CONFLICT
    assert [key for key in everything(open_store(url)) if "environments/" in key] == []


def test_row_121_the_right_store_is_used(place: tuple[Store, str]) -> None:
    store, url = place
    id_ = probe_store(store).store_id
    assert call("verify", "--store", url, "--store-id", id_, *IDS).code == 0
    assert call("delete", "--store", url, "--store-id", id_, *IDS).code == 0
    assert [key for key in everything(store) if SNAPSHOT in key] == []


def test_a_store_that_is_open_already_is_asked_for_its_id_again(place: tuple[Store, str]) -> None:
    """As a restore does for its switch, hours later."""
    inner, url = place
    access = StoreAccess(url=url, id=probe_store(inner).store_id)
    again = opening.opened(access)
    assert opening.store(access, again).get(naming.STORE_ID_KEY)
    made_again(inner)
    with pytest.raises(StoreError, match="decided for the store"):
        opening.store(access, again).get(naming.STORE_ID_KEY)


def made_again(store: Store, *, keep: bool = False) -> None:
    """By someone else: the store has another id, and without `keep` nothing else."""
    store.delete([found.key for found in store.list("") if not keep or found.key == naming.STORE_ID_KEY])
    probe_store(store)


class Turning(BoundStore):
    """A store that another one replaces once it was asked for its id so often."""

    def __init__(self, store: Store, store_id: str, turn: Callable[[Store], None]) -> None:
        super().__init__(store, store_id)
        self._turn, self.asked = turn, 0

    def ask(self) -> None:
        super().ask()
        self.asked += 1
        if self.asked == 2:
            self._turn(self._store)


def test_row_121_it_is_asked_right_before_each_deletion(place: tuple[Store, str]) -> None:
    """The manifest is deleted in the right store; then another store has the URL, with a snapshot of the same id."""
    store, _ = place
    bound = Turning(store, probe_store(store).store_id, lambda found: made_again(found, keep=True))
    objects = {key for key in everything(store) if "manifest" not in key and SNAPSHOT in key}
    with pytest.raises(StoreError) as caught:
        manifests.delete_snapshot(bound, ENVIRONMENT, SNAPSHOT)
    assert caught.value.reason == conditions.STORE_ID_CONFLICT
    assert objects <= everything(store).keys()


@pytest.mark.parametrize("command", ["verify", "inspect", "check-copy"])
def test_row_121_a_verdict_counts_only_for_the_store_that_still_is_there(
    place: tuple[Store, str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is emptied and made again after the command has asked for its id: what is missing now is no verdict."""
    store, url = place
    id_ = probe_store(store).store_id
    found, read = manifests.find(store, ENVIRONMENT, SNAPSHOT), BoundStore.get

    def get(self: BoundStore, key: str, **more: Any) -> bytes | None:
        self._before_read()
        if key.endswith("manifest.json"):
            made_again(store)
        return read(self, key, **more)

    monkeypatch.setattr(BoundStore, "get", get)
    digest = ("--manifest-sha256", found.sha256 if found is not None else "")
    end: Finished = call(command, "--store", url, "--store-id", id_, *IDS, *(digest if command != "inspect" else ()))
    assert end.reason == conditions.STORE_ID_CONFLICT
