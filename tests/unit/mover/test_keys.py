"""Key objects: whom they open a snapshot for, and what is passed over."""

import subprocess
from pathlib import Path

import pytest

from ocore_crds import conditions, naming
from ocore_mover import keys, manifests
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store import Store, age
from support.mover.memory_store import MemoryStore
from support.mover.stored import put

ENVIRONMENT, SNAPSHOT = "6f1c0000-0000-4000-8000-000000000001", "0b9f0000-0000-4000-8000-000000000002"
PREFIX = naming.keys_prefix(ENVIRONMENT, SNAPSHOT)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("memory://test")


@pytest.fixture(scope="module")
def own() -> age.Identity:
    """Of the snapshot."""
    return age.Identity.generate()


@pytest.fixture(scope="module")
def people() -> list[age.Identity]:
    return [age.Identity.generate() for _ in range(3)]


def write(store: Store, own: age.Identity, people: list[age.Identity], attempt: str = "a1") -> str:
    return keys.write(store, ENVIRONMENT, SNAPSHOT, attempt, own, [person.recipient for person in people])


def find(store: Store, own: age.Identity, *people: age.Identity) -> age.Identity:
    return keys.find(store, ENVIRONMENT, SNAPSHOT, own.recipient, people, ["age1recipient"])


def test_each_recipient_finds_the_identity(store: MemoryStore, own: age.Identity, people: list[age.Identity]) -> None:
    assert write(store, own, people) == f"{PREFIX}a1-0.age"
    for person in people:
        assert find(store, own, age.Identity.generate(), person).secret == own.secret


def test_age_opens_a_key_object_and_age_opens_with_it(
    store: MemoryStore, own: age.Identity, people: list[age.Identity], tmp_path: Path
) -> None:
    """What it contains is an identity file as it is, and says for whom it is."""
    key = write(store, own, people)
    (tmp_path / "person.txt").write_text(people[1].secret)
    (tmp_path / "key.age").write_bytes(store.get(key) or b"")
    decrypt = ["age", "--decrypt", "-i"]
    found = subprocess.run(
        [*decrypt, "person.txt", "key.age"], cwd=tmp_path, check=True, capture_output=True, timeout=60
    ).stdout
    (tmp_path / "identity.txt").write_bytes(found)
    (tmp_path / "object.age").write_bytes(age.encrypt(b"contents", [own.recipient]))
    opened = subprocess.run(
        [*decrypt, "identity.txt", "object.age"], cwd=tmp_path, check=True, capture_output=True, timeout=60
    ).stdout
    assert opened == b"contents"
    comments = [line for line in found.decode().splitlines() if line.startswith("#")]
    assert SNAPSHOT in comments[0]
    assert comments[1:] == [f"# for {person.recipient}" for person in people]


def test_an_existing_key_object_is_never_replaced(
    store: MemoryStore, own: age.Identity, people: list[age.Identity]
) -> None:
    """Of a container that was killed and started again in the same attempt."""
    earlier = age.Identity.generate()
    assert write(store, earlier, people) == f"{PREFIX}a1-0.age"
    assert write(store, own, people) == f"{PREFIX}a1-1.age"
    assert find(store, earlier, people[0]).secret == earlier.secret
    assert find(store, own, people[0]).secret == own.secret


def test_what_does_not_fit_is_passed_over(store: MemoryStore, own: age.Identity, people: list[age.Identity]) -> None:
    """Key objects of dead attempts, damaged and forged ones: before and after the right one in a listing."""
    recipients = [person.recipient for person in people]
    for attempt in ("a0", "a2"):
        write(store, age.Identity.generate(), people, attempt)
    write(store, own, people)
    whole = store.get(f"{PREFIX}a1-0.age") or b""
    for place in ("0", "z"):
        put(store, f"{PREFIX}{place}1.age", whole[:-20])
        put(store, f"{PREFIX}{place}2.age", b"")
        put(store, f"{PREFIX}{place}3.age", b"no file of age")
        put(store, f"{PREFIX}{place}4.age", age.encrypt(b"\xff\xfe no text", recipients))
        put(store, f"{PREFIX}{place}5.age", age.encrypt(b"no identity", recipients))
        put(store, f"{PREFIX}{place}6.age", age.encrypt(b"", recipients))
        put(store, f"{PREFIX}{place}7.age", age.encrypt(bytes(manifests.KEY_BYTES), recipients))
        put(store, f"{PREFIX}{place}8.age.sig", b"a signature")
    for person in people:
        assert find(store, own, person).secret == own.secret


def test_a_later_object_opens_for_an_added_recipient(
    store: MemoryStore, own: age.Identity, people: list[age.Identity]
) -> None:
    write(store, own, people[:1])
    with pytest.raises(MoverError):
        find(store, own, people[1])
    put(store, f"{PREFIX}a1-1.age", age.encrypt(own.secret.encode(), [people[1].recipient]))
    assert find(store, own, people[1]).secret == own.secret


def test_the_wrong_identity_is_named(store: MemoryStore, own: age.Identity, people: list[age.Identity]) -> None:
    write(store, own, people[:2])
    with pytest.raises(MoverError) as error:
        find(store, own, people[2])
    assert error.value.reason == conditions.IDENTITY_WRONG
    assert not error.value.retryable
    for named in (SNAPSHOT, people[2].recipient, "(1)", "age1recipient"):
        assert named in error.value.message
    assert people[2].secret not in error.value.message


def test_a_snapshot_without_a_key_object(store: MemoryStore, own: age.Identity, people: list[age.Identity]) -> None:
    with pytest.raises(MoverError, match=f"has no key object.*{PREFIX}") as error:
        find(store, own, *people)
    assert error.value.reason == conditions.IDENTITY_WRONG


def test_a_key_object_that_is_stored_wrong_is_noticed(own: age.Identity, people: list[age.Identity]) -> None:
    """Without it the whole snapshot is lost."""

    class Forgetful(MemoryStore):
        def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
            data = super().get(key, limit=limit)
            return data[:-1] if data is not None else None

    with pytest.raises(Corrupt, match="reads back other bytes"):
        write(Forgetful("memory://test"), own, people)


def test_no_key_object_for_a_recipient_that_is_none(store: MemoryStore, own: age.Identity) -> None:
    with pytest.raises(MoverError) as error:
        keys.write(store, ENVIRONMENT, SNAPSHOT, "a1", own, ["age1wrong"])
    assert error.value.reason == conditions.RECIPIENT_INVALID
    assert list(store.list("")) == []
