"""A store whose objects are encrypted, over each kind of store: what is read, and what is noticed."""

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store import Store, age
from ocore_mover.store.encrypted import EncryptedResults, EncryptedStore, plain, stored
from ocore_mover.store.interface import abort_uploads
from ocore_mover.store.pinned_version import Pinned
from support.mover.faulty_http import Faults, FaultyProxy, Request, times
from support.mover.memory_store import MemoryStore
from support.mover.stored import MIB, PART, put, random_bytes

CHUNK = age.CHUNK
#: Some chunks, and a part of one.
DATA = random_bytes(9 * CHUNK + 1000)


@pytest.fixture(params=["folder", "s3", "memory"])
def below(request: pytest.FixtureRequest) -> Store:
    """Each test with every kind of store."""
    if request.param == "memory":
        return MemoryStore("memory://test")
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def identity() -> age.Identity:
    return age.Identity.generate()


@pytest.fixture
def store(below: Store, identity: age.Identity) -> EncryptedStore:
    return EncryptedStore(below, identity)


def replace(below: Store, obj: StoredObject, data: bytes) -> None:
    """Other bytes in the place of an object of the plain view."""
    put(below, stored(obj).key, data)


def contents(below: Store, obj: StoredObject) -> bytes:
    data = below.get(stored(obj).key)
    assert data is not None
    return data


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, PART, PART + 5 * MIB + 7])
def test_what_is_written_is_read(below: Store, store: EncryptedStore, identity: age.Identity, size: int) -> None:
    data = random_bytes(size)
    obj = put(store, "a/object", data)
    found = contents(below, obj)
    assert obj == StoredObject(key="a/object", size=size, sha256=hashlib.sha256(found).hexdigest())
    assert [(info.key, info.size) for info in below.list("")] == [("a/object.age", age.stored_size(size))]
    assert plain(stored(obj)) == obj
    assert b"".join(below.read(stored(obj))) == found
    assert b"".join(store.read(obj)) == age.decrypt(found, [identity]) == data
    assert data[:64] not in found or size < 64


def test_age_opens_an_object(below: Store, store: EncryptedStore, identity: age.Identity, tmp_path: Path) -> None:
    obj = put(store, "object", DATA)
    (tmp_path / "identity.txt").write_text(identity.secret)
    (tmp_path / "object.age").write_bytes(contents(below, obj))
    arguments = ["age", "--decrypt", "-i", "identity.txt", "object.age"]
    assert subprocess.run(arguments, cwd=tmp_path, check=True, capture_output=True, timeout=60).stdout == DATA


@pytest.mark.parametrize("start", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 8 * CHUNK + 5, 9 * CHUNK, 9 * CHUNK + 999])
@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 10, len(DATA)])
def test_a_range_is_read(start: int, length: int, identity: age.Identity) -> None:
    store = EncryptedStore(MemoryStore("memory://test"), identity)
    obj = put(store, "object", DATA)
    length = min(length, len(DATA) - start)
    version = Pinned()
    for _ in range(2):
        assert b"".join(store.read_range(obj, start, length, version)) == DATA[start : start + length]
    assert b"".join(store.read_range(obj, start, length)) == DATA[start : start + length]


def test_ranges_in_several_threads(store: EncryptedStore) -> None:
    obj = put(store, "object", DATA)
    version = Pinned()
    starts = range(0, len(DATA) - 100, 12_345)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda start: b"".join(store.read_range(obj, start, 100, version)), starts))
    assert found == [DATA[start : start + 100] for start in starts]


def test_the_header_is_read_once_for_all_ranges(through_proxy: Store, faulty: FaultyProxy) -> None:
    """Each one costs a round trip."""
    store = EncryptedStore(through_proxy, age.Identity.generate())
    obj = put(store, "object", DATA)
    faulty.set(Faults())
    version = Pinned()
    for start in range(0, 8 * CHUNK, CHUNK):
        assert b"".join(store.read_range(obj, start, 10, version)) == DATA[start : start + 10]
    asked = [request.headers["range"] for request in faulty.requests if request.method == "GET"]
    assert len(asked) == 9
    assert asked.count(f"bytes=0-{age.START - 1}") == 1


def cut_get(request: Request) -> bool:
    return request.method == "GET"


def test_a_broken_connection_is_resumed(through_proxy: Store, faulty: FaultyProxy) -> None:
    """Within a chunk, again and again."""
    store = EncryptedStore(through_proxy, age.Identity.generate())
    obj = put(store, "object", DATA)
    for decide in (times(3, cut_get), times(1, cut_get)):
        faulty.set(Faults(cut=lambda request, decide=decide: 70_001 if decide(request) else None))  # type: ignore[misc]
        assert b"".join(store.read(obj)) == DATA
    decide = times(3, cut_get)
    faulty.set(Faults(cut=lambda request: 101 if decide(request) else None))
    assert b"".join(store.read_range(obj, CHUNK + 7, 4 * CHUNK)) == DATA[CHUNK + 7 : 5 * CHUNK + 7]


def test_a_bit_that_turns_over_on_its_way_is_noticed(through_proxy: Store, faulty: FaultyProxy) -> None:
    store = EncryptedStore(through_proxy, age.Identity.generate())
    decide = times(1, lambda request: request.method == "PUT")
    faulty.set(Faults(flip=decide))
    obj = put(store, "object", DATA)
    assert b"".join(store.read(obj)) == DATA


def test_nothing_is_visible_before_commit_or_after_abort(below: Store, store: EncryptedStore) -> None:
    with pytest.raises(RuntimeError), store.writer("given/up") as writer:  # noqa: PT012
        writer.write(random_bytes(2 * PART + MIB))
        assert below.head("given/up.age") is None
        raise RuntimeError
    assert list(below.list("")) == []
    assert abort_uploads(below, "") == 0


# --- what is in the bucket is not what was written ---------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 25, 100, 170, age.START, age.START + 3 * CHUNK, -1])
def test_a_changed_byte_is_noticed(below: Store, store: EncryptedStore, position: int) -> None:
    obj = put(store, "object", DATA)
    spoiled = bytearray(contents(below, obj))
    spoiled[position] ^= 1
    replace(below, obj, bytes(spoiled))
    with pytest.raises(Corrupt) as error:
        list(store.read(obj))
    assert error.value.object_key == "object.age"
    with pytest.raises(Corrupt) as error:
        list(store.read_range(obj, 0, obj.size))
    assert error.value.object_key == "object.age"


@pytest.mark.parametrize("size", [0, 100, age.START, age.START + CHUNK + age.TAG, age.START + 3 * (CHUNK + age.TAG)])
def test_a_truncated_object_is_noticed(below: Store, store: EncryptedStore, size: int) -> None:
    """At the end of a chunk, too, and where a forged manifest has the size that is left."""
    obj = put(store, "object", DATA)
    cut = contents(below, obj)[:size]
    replace(below, obj, cut)
    with pytest.raises(Corrupt, match=f"has {size} bytes instead of"):
        list(store.read(obj))
    with pytest.raises(Corrupt, match=rf"has {size} bytes instead of|is shorter than"):
        list(store.read_range(obj, 0, 10))
    try:
        forged = plain(StoredObject(key="object.age", size=size, sha256=hashlib.sha256(cut).hexdigest()))
    except Corrupt:
        return
    with pytest.raises(Corrupt, match=r"cannot be decrypted.*cut there"):
        list(store.read(forged))
    with pytest.raises(Corrupt, match=r"cannot be decrypted.*cut there"):
        list(store.read_range(forged, forged.size - 1, 1))


def test_another_object_of_the_same_length_is_noticed(below: Store, store: EncryptedStore) -> None:
    """Also one that the same identity opens: its recipient is public. Its ranges are compared by their reader."""
    obj = put(store, "object", DATA)
    other = put(store, "other", DATA[::-1])
    replace(below, obj, contents(below, other))
    with pytest.raises(Corrupt, match="SHA-256"):
        list(store.read(obj))
    assert b"".join(store.read_range(obj, 0, 10)) == DATA[::-1][:10]


def test_an_object_of_another_identity_is_named(below: Store, store: EncryptedStore) -> None:
    obj = put(store, "object", DATA)
    other = EncryptedStore(below, age.Identity.generate())
    foreign = put(other, "foreign", DATA)
    for read in (lambda: store.read(foreign), lambda: store.read_range(foreign, 0, 10)):
        with pytest.raises(Corrupt, match="another identity than this snapshot's"):
            list(read())
    assert b"".join(store.read(obj)) == DATA


def test_an_object_with_another_header_is_refused(below: Store, store: EncryptedStore, identity: age.Identity) -> None:
    """All offsets would be wrong. It is a whole file of age for the identity, of the size that the manifest says."""
    obj = put(store, "object", DATA)
    data = age.encrypt(DATA, [identity.recipient, age.Identity.generate().recipient])
    assert age.decrypt(data, [identity]) == DATA
    replace(below, obj, data)
    forged = obj.model_copy(update={"size": age.plain_size(len(data)), "sha256": hashlib.sha256(data).hexdigest()})
    for read in (lambda: store.read(forged), lambda: store.read_range(forged, 0, 10)):
        with pytest.raises(Corrupt, match="no whole file of age"):
            list(read())


def test_chunks_in_another_order_are_noticed(below: Store, store: EncryptedStore) -> None:
    obj = put(store, "object", DATA)
    found = contents(below, obj)
    first, second, third = (age.START + number * (CHUNK + age.TAG) for number in range(3))
    replace(below, obj, found[:first] + found[second:third] + found[first:second] + found[third:])
    with pytest.raises(Corrupt, match="chunk 0 of 10"):
        list(store.read_range(obj, 0, 10))
    with pytest.raises(Corrupt, match="chunk 1 of 10"):
        list(store.read_range(obj, CHUNK, 10))
    assert b"".join(store.read_range(obj, 2 * CHUNK, 10)) == DATA[2 * CHUNK : 2 * CHUNK + 10]


def test_an_object_that_is_replaced_while_it_is_read(below: Store, store: EncryptedStore) -> None:
    obj = put(store, "object", DATA)
    version = Pinned()
    assert b"".join(store.read_range(obj, 0, 10, version)) == DATA[:10]
    replace(below, obj, contents(below, put(store, "other", DATA[::-1])))
    with pytest.raises(Corrupt):
        list(store.read_range(obj, CHUNK, 10, version))


def test_a_plain_object_is_none_of_an_encrypted_snapshot(below: Store) -> None:
    obj = put(below, "object", DATA)
    with pytest.raises(Corrupt, match="is not encrypted"):
        plain(obj)
    with pytest.raises(Corrupt, match="has 100 bytes"):
        plain(StoredObject(key="object.age", size=100, sha256="0" * 64))


# --- what is not encrypted here ----------------------------------------------------------------------------------


def test_manifests_and_states_are_those_of_the_store_below(below: Store, store: EncryptedStore) -> None:
    assert store.put_if_absent("m/manifest.json", b"{}")
    assert below.get("m/manifest.json") == store.get("m/manifest.json") == b"{}"
    assert store.url == below.url
    assert list(store.list("m/")) == list(below.list("m/"))
    assert store.delete(["m/manifest.json"]) == 1


def test_no_program_reads_or_writes_in_place(folder: Store, identity: age.Identity) -> None:
    for store in (EncryptedStore(folder, identity), EncryptedResults(folder, [identity.recipient])):
        assert store.local_root is None
        assert not store.writer("object").commit().key.startswith("/")
    with pytest.raises(NotImplementedError):
        EncryptedStore(folder, identity).adopt("object", StoredObject(key="object", size=1, sha256="0" * 64))


# --- results -----------------------------------------------------------------------------------------------------


def test_each_recipient_opens_a_result(below: Store) -> None:
    people = [age.Identity.generate(), age.Identity.generate()]
    results = EncryptedResults(below, [person.recipient for person in people])
    obj = put(results, "extracts/files.tar", DATA)
    assert obj.key == "extracts/files.tar.age"
    data = below.get(obj.key)
    assert data is not None
    assert (obj.size, obj.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert [age.decrypt(data, [person]) for person in people] == [DATA, DATA]
    with pytest.raises(age.NoMatch):
        age.decrypt(data, [age.Identity.generate()])


def test_a_result_for_no_valid_recipient_leaves_nothing(below: Store) -> None:
    with pytest.raises(MoverError, match="not a recipient of age"):
        EncryptedResults(below, ["age1wrong"]).writer("extracts/files.tar")
    assert list(below.list("")) == []
    assert abort_uploads(below, "") == 0
