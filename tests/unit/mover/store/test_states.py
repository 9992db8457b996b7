"""State objects: pin, retention and deletionPolicy beside the manifest, in both kinds of store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocore_crds import conditions, failpoints, naming
from ocore_crds.stored.snapshot_state import MAX_BYTES, StateObject, StoredState
from ocore_mover import states
from ocore_mover.errors import Corrupt, MoverError, StoreError
from ocore_mover.store import Store
from ocore_mover.store.folder import FolderStore
from ocore_mover.store.read_only import ReadOnlyStore
from support.mover.contents import put

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
SNAPSHOT = "22222222-2222-4222-8222-222222222222"
KEY = naming.state_key(ENVIRONMENT, SNAPSHOT)
PINNED = StoredState(pin_label="audit", retention="Policy", deletion_policy="Delete")


def test_a_state_is_replaced_as_a_whole(store: Store) -> None:
    assert states.read(store, ENVIRONMENT, SNAPSHOT) is None
    assert states.write(store, ENVIRONMENT, SNAPSHOT, PINNED) == PINNED
    assert states.read(store, ENVIRONMENT, SNAPSHOT) == PINNED
    states.write(store, ENVIRONMENT, SNAPSHOT, StoredState(pin_label=""))
    assert states.read(store, ENVIRONMENT, SNAPSHOT) == StoredState(pin_label="")
    assert [found.key for found in store.list("")] == [KEY]


def test_a_state_without_a_manifest_is_not_written(store: Store) -> None:
    with pytest.raises(MoverError, match="no snapshot") as caught:
        states.replace(store, ENVIRONMENT, SNAPSHOT, PINNED)
    assert caught.value.reason == conditions.SNAPSHOT_NOT_FOUND
    assert list(store.list("")) == []
    put(store, naming.manifest_key(ENVIRONMENT, SNAPSHOT), b"{}")
    states.replace(store, ENVIRONMENT, SNAPSHOT, PINNED)
    assert states.read(store, ENVIRONMENT, SNAPSHOT) == PINNED


def test_a_read_only_store_gets_no_state(store: Store) -> None:
    put(store, naming.manifest_key(ENVIRONMENT, SNAPSHOT), b"{}")
    with pytest.raises(StoreError) as caught:
        states.replace(ReadOnlyStore(store), ENVIRONMENT, SNAPSHOT, PINNED)
    assert caught.value.reason == conditions.STORE_READ_ONLY
    assert store.head(KEY) is None


OTHER = StateObject(environment_id=ENVIRONMENT, snapshot_id=ENVIRONMENT, written_at="2026-01-02T03:04:05Z")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{" * 10_000, b" " * (MAX_BYTES + 1), OTHER.data(), OTHER.data().replace(b"Keep", b"Burn")],
    ids=["empty", "list", "nested", "large", "of another snapshot", "unknown value"],
)
def test_a_damaged_state_counts_as_the_defaults(store: Store, data: bytes) -> None:
    put(store, KEY, data)
    with pytest.raises(Corrupt):
        states.read(store, ENVIRONMENT, SNAPSHOT)
    assert states.readable(store, ENVIRONMENT, SNAPSHOT) is None


def test_a_kill_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    states.write(store, ENVIRONMENT, SNAPSHOT, StoredState())
    code = (
        "import sys; from pathlib import Path; from ocore_mover import states; from ocore_mover.store.folder import"
        " FolderStore; from ocore_crds.stored.snapshot_state import StoredState;"
        f" states.write(FolderStore(Path({str(tmp_path)!r})), {ENVIRONMENT!r}, {SNAPSHOT!r},"
        " StoredState(pin_label='x'))"
    )
    environment = {**os.environ, failpoints.ENVIRONMENT_VARIABLE: "state-written=kill"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9
    assert states.read(store, ENVIRONMENT, SNAPSHOT) == StoredState(pin_label="x")
