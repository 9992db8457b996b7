"""What every kind of store must do: each test runs with every one, and with a third one that only the tests have."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.cancellable import GuardedStore, PatientStore
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store import ObjectInfo, Store, kinds
from ocore_mover.store.interface import Guarantees, Upload, abort_uploads
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.probe import probe_store, store_id
from ocore_mover.store.read_only import ReadOnlyStore
from support.mover.memory_store import MemoryStore
from support.mover.stored import MIB, PART, put, random_bytes


@pytest.fixture
def memory() -> Store:
    return MemoryStore("memory://test")


#: The fixture that makes a store of each kind.
FIXTURES = {"file": "folder", "s3": "s3", "memory": "memory"}


@pytest.fixture(params=list(FIXTURES))
def store(request: pytest.FixtureRequest) -> Store:
    """Each test with every kind."""
    found: Store = request.getfixturevalue(FIXTURES[request.param])
    return found


def test_every_kind_is_tested() -> None:
    assert set(FIXTURES) == {*kinds.KINDS, "memory"}


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART + 4 * MIB + 7])
def test_what_is_written_is_read(store: Store, size: int) -> None:
    data = random_bytes(size)
    stored = put(store, "a/b/object", data)
    assert stored == StoredObject(key="a/b/object", size=size, sha256=hashlib.sha256(data).hexdigest())
    assert b"".join(store.read(stored)) == data
    assert store.head("a/b/object") == ObjectInfo("a/b/object", size)
    assert store.get("a/b/object") == data
    assert [found.key for found in store.list("a/b/")] == ["a/b/object"]
    assert abort_uploads(store, "a/") == 0


def test_a_range_is_read(store: Store) -> None:
    data = random_bytes(9 * MIB)
    stored = put(store, "object", data)
    version = Pinned()
    for start, length in ((0, 1), (MIB - 1, 2 * MIB + 3), (len(data) - 5, 5), (3, len(data) - 3), (7, 0)):
        assert b"".join(store.read_range(stored, start, length)) == data[start : start + length]
        assert b"".join(store.read_range(stored, start, length, version)) == data[start : start + length]


def test_nothing_is_visible_before_commit_or_after_abort(store: Store) -> None:
    with pytest.raises(RuntimeError), store.writer("given/up") as writer:  # noqa: PT012
        writer.write(os.urandom(2 * PART + MIB))
        assert store.head("given/up") is None
        raise RuntimeError
    assert store.head("given/up") is None
    assert list(store.list("")) == []
    assert abort_uploads(store, "") == 0


def test_a_key_is_replaced_at_commit(store: Store) -> None:
    put(store, "object", b"old")
    with store.writer("object") as writer:
        writer.write(b"new")
        assert store.get("object") == b"old"
        writer.commit()
    assert store.get("object") == b"new"


def test_the_first_one_wins(store: Store) -> None:
    assert store.put_if_absent("m/manifest", b"first")
    assert not store.put_if_absent("m/manifest", b"second")
    assert store.get("m/manifest") == b"first"
    assert [found.key for found in store.list("")] == ["m/manifest"]


def test_absent_objects(store: Store) -> None:
    absent = StoredObject(key="no/such", size=1, sha256="0" * 64)
    assert store.head("no/such") is None
    assert store.get("no/such") is None
    assert list(store.list("no/")) == []
    with pytest.raises(Corrupt, match="missing"):
        list(store.read(absent))
    with pytest.raises(Corrupt, match="missing"):
        list(store.read_range(absent, 0, 1))
    store.delete(["no/such"])


def test_other_bytes_than_the_manifest_says(store: Store) -> None:
    stored = put(store, "object", b"some bytes")
    with pytest.raises(Corrupt, match="SHA-256"):
        list(store.read(stored.model_copy(update={"sha256": "0" * 64})))
    with pytest.raises(Corrupt, match="10 bytes instead of 11"):
        list(store.read(stored.model_copy(update={"size": 11})))
    with pytest.raises(Corrupt):
        list(store.read(stored.model_copy(update={"size": 9})))


def test_a_large_object_is_not_read_whole(store: Store) -> None:
    put(store, "object", bytes(5000))
    with pytest.raises(StoreError, match="larger than 4999"):
        store.get("object", limit=4999)
    assert store.get("object", limit=5000) == bytes(5000)


def test_deletes_by_prefix(store: Store) -> None:
    for key in ("a/1", "a/2", "a/b/3", "ab/4", "c"):
        put(store, key, b"x")
    assert sorted(found.key for found in store.list("a")) == ["a/1", "a/2", "a/b/3", "ab/4"]
    assert store.delete([found.key for found in store.list("a/")]) == 3
    assert sorted(found.key for found in store.list("")) == ["ab/4", "c"]


def test_more_than_a_page(store: Store) -> None:
    keys = [f"many/{number:04d}" for number in range(1005)]
    for key in keys:
        put(store, key, b"")
    assert sorted(found.key for found in store.list("many/")) == keys
    assert store.delete(keys) == 1005
    assert list(store.list("many/")) == []


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".", "a\0b", "k" * 1025])
def test_keys_that_lead_elsewhere_are_refused(store: Store, key: str) -> None:
    with pytest.raises(Corrupt, match="is not a valid key"):
        store.get(key)
    with pytest.raises(Corrupt, match="is not a valid key"):
        store.writer(key)
    with pytest.raises(Corrupt, match="is not a valid key"):
        store.delete([key])


def test_probe(store: Store) -> None:
    with pytest.raises(StoreError) as error:
        store_id(store)
    assert error.value.reason == conditions.STORE_NOT_READY
    first, second = probe_store(store), probe_store(store)
    assert first.store_id == second.store_id == store_id(store)
    assert first.conditional_writes
    declared = store.guarantees("probe")
    assert declared == Guarantees("Server" if store.local_root is None else "ReadBack", conditional_writes=True)
    assert first.checksums == declared.checksums
    assert first.warnings == ()
    assert [found.key for found in store.list("")] == ["ocore-store.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": "other", "id": "x"}', b"[1]", b"\xff"])
def test_a_foreign_store_id_is_refused(store: Store, content: bytes) -> None:
    put(store, "ocore-store.json", content)
    with pytest.raises(StoreError) as error:
        probe_store(store)
    assert error.value.reason == conditions.STORE_ID_CONFLICT


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=300_000), max_size=12))
def test_pieces_make_no_difference(folder: Store, pieces: list[bytes]) -> None:
    with folder.writer("pieces") as writer:
        for piece in pieces:
            writer.write(piece)
        stored = writer.commit()
    data = b"".join(pieces)
    assert (stored.size, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert folder.get("pieces") == data


def test_a_read_only_store_is_never_written(store: Store) -> None:
    """Whatever the keys allow."""
    stored = put(store, "a/object", b"x")
    closed = ReadOnlyStore(store)
    writes: list[Callable[[], object]] = [
        lambda: closed.writer("b"),
        lambda: closed.adopt("a/object", stored),
        lambda: closed.put_if_absent("b", b"y"),
        lambda: closed.delete(["a/object"]),
        lambda: closed.purge("a/"),
        lambda: closed.discard(Upload("a/object", "id", 0.0)),
        lambda: closed.guarantees("b"),
        lambda: closed.lock(["a/object"]),
        lambda: closed.check_lock("b"),
        lambda: closed.renew(["a/object"]),
        lambda: probe_store(closed),
    ]
    for write in writes:
        with pytest.raises(StoreError) as error:
            write()
        assert error.value.reason == conditions.STORE_READ_ONLY
    assert [found.key for found in store.list("")] == ["a/object"]
    assert list(closed.read(stored)) == list(closed.read_range(stored, 0, 1)) == [b"x"]
    assert (closed.get("a/object"), closed.url) == (b"x", store.url)
    assert closed.head("a/object") == store.head("a/object")
    assert list(closed.list("a/")) == list(store.list("a/"))
    # Every other method of a store is one that writes, and is tried above.
    tried = {
        "writer",
        "adopt",
        "put_if_absent",
        "delete",
        "purge",
        "guarantees",
        "discard",
        "lock",
        "check_lock",
        "renew",
    }
    assert list(closed.folders("")) == list(closed.all_folders("")) == list(store.folders("")) == ["a"]
    assert list(closed.uploads("a/")) == list(store.uploads("a/"))
    assert closed.recover("a/", [stored]) == ()
    reads = {
        "get",
        "read",
        "read_range",
        "digest",
        "head",
        "older",
        "recover",
        "list",
        "folders",
        "all_folders",
        "uploads",
        "url",
        "local_root",
    }
    assert {name for name in vars(Store) if not name.startswith("_")} == tried | reads


@pytest.mark.parametrize("wrapper", [ReadOnlyStore, GuardedStore, PatientStore])
def test_a_wrapper_takes_nothing_from_the_interface_but_whole_reads(wrapper: type[Store]) -> None:
    """What a store does better than the interface's own methods must reach it through a wrapper."""
    passed = {name for kind in wrapper.__mro__[: wrapper.__mro__.index(Store)] for name in vars(kind)}
    assert {name for name in vars(Store) if not name.startswith("_")} - passed == {"read"}


def test_what_conditional_writes_promise(store: Store) -> None:
    """Of writers at the same time one wins, and its bytes stay."""
    assert store.guarantees("probe").conditional_writes
    assert store.head("probe") is None
    datas = [b"writer %d" % number for number in range(8)]
    with ThreadPoolExecutor(len(datas)) as threads:
        won = list(threads.map(lambda data: store.put_if_absent("m/manifest", data), datas))
    assert won.count(True) == 1
    assert store.get("m/manifest") == datas[won.index(True)]


def test_a_digest_is_that_of_the_contents(store: Store) -> None:
    """A store that knows none says so."""
    stored = put(store, "object", b"some bytes")
    assert store.digest("object") in (None, stored.sha256)
    assert store.put_if_absent("small", b"other bytes")
    assert store.digest("small") in (None, hashlib.sha256(b"other bytes").hexdigest())
    assert store.digest("absent") is None


def test_what_a_killed_process_began_is_found_and_discarded(store: Store) -> None:
    """Objects are not."""
    put(store, "s/new/object", b"x")
    began = [store.writer(key) for key in ("s/old/1", "s/new/2")]
    for writer in began:
        writer.write(os.urandom(2 * PART + MIB))
    assert len(list(store.uploads("s/"))) == len(list(store.uploads(""))) == 2
    assert list(store.uploads("t/")) == []
    assert abort_uploads(store, "s/old/") == 1
    (left,) = store.uploads("s/")
    assert left.key.startswith("s/new/")
    assert left.modified > 0
    assert store.discard(left)
    assert list(store.uploads("s/")) == []
    store.discard(left)  # S3 servers differ in what they say about one that is gone; it is no error
    assert [found.key for found in store.list("")] == ["s/new/object"]
    for writer in began:
        writer.abort()


def test_folders_are_the_first_parts_of_keys(store: Store) -> None:
    for key in ("e/b/1", "e/a/x/2", "e/a/y/3", "e/file", "f/c/4"):
        put(store, key, b"x")
    assert list(store.folders("e/")) == ["a", "b"]
    assert list(store.folders("e/a/")) == ["x", "y"]
    assert list(store.folders("none/")) == []


def test_a_listing_says_when_an_object_was_written(store: Store) -> None:
    put(store, "object", b"x")
    (found,) = store.list("")
    assert (found.key, found.size) == ("object", 1)
    assert found.modified > 1_700_000_000


def test_writers_in_several_threads(store: Store) -> None:
    datas = {f"p/{number}": os.urandom(200_000 + number) for number in range(6)}
    with ThreadPoolExecutor(3) as threads:
        stored = list(threads.map(lambda key: put(store, key, datas[key]), datas))
    assert [b"".join(store.read(obj)) for obj in stored] == list(datas.values())


def test_after_a_purge_everything_is_as_before(store: Store) -> None:
    put(store, "a/1", b"x")
    put(store, "a/2", b"y")
    store.delete(["a/1"])
    assert store.purge("a/") is None
    assert [found.key for found in store.list("")] == ["a/2"]
