"""A store that fails for a time: an upload is repeated until the command's deadline."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from botocore.exceptions import ClientError

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.cancellable import GuardedStore, PatientStore
from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, Corrupt, StoreError
from ocore_mover.store import Store, retries, s3_client, s3_writer
from ocore_mover.store.pinned_version import Pinned
from support.mover.faulty_http import Faults, FaultyProxy, Request, times
from support.mover.stored import put

DATA = bytes(range(256)) * 4096 * 13  # two parts


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(retries, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(s3_writer, "CHECK_EVERY", 0.1)
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)  # botocore's own


def is_part(request: Request) -> bool:
    return request.method == "PUT" and "partNumber" in request.path


def failing(status: int, count: int) -> Faults:
    """Every kind of request fails so many times."""
    left: dict[str, int] = {}

    def refuse(request: Request) -> int | None:
        kind = (
            f"{request.method} {is_part(request)} {'uploads' in request.path} {'list-type' in request.path}"
            f" {'.probe-' in request.path}"
        )
        left[kind] = left.get(kind, count) - 1
        return status if left[kind] >= 0 else None

    return Faults(refuse=refuse)


@pytest.mark.parametrize("status", [503, 429])
def test_row_72_an_upload_outlives_a_store_that_fails_for_a_time(
    s3: Store, through_proxy: Store, faulty: FaultyProxy, status: int
) -> None:
    store = PatientStore(through_proxy, Token(60))
    faulty.set(failing(status, 6))
    given_up = ""
    try:
        stored = put(store, "object", DATA)
    except StoreError as error:
        given_up = error.message
    assert given_up == ""
    assert b"".join(s3.read(stored)) == DATA
    faulty.set(failing(status, 6))
    put(store, "small", b"x")
    assert store.put_if_absent("manifest", b"last")
    assert store.get("manifest") == b"last"
    assert store.head("small") is not None
    assert [found.key for found in store.list("")] == ["manifest", "object", "small"]


def test_row_72_without_patience_an_upload_is_given_up(through_proxy: Store, faulty: FaultyProxy) -> None:
    """Commands that a person waits for say soon that the store fails."""
    store = GuardedStore(through_proxy, Token(60))
    faulty.set(failing(503, 6))
    with pytest.raises(StoreError):
        put(store, "object", DATA)


def test_row_72_the_deadline_ends_it(through_proxy: Store, faulty: FaultyProxy) -> None:
    put(through_proxy, "warm-up", b"x")
    store = PatientStore(through_proxy, Token(3))
    faulty.set(Faults(refuse=lambda request: 503 if is_part(request) else None))
    started = time.monotonic()
    with pytest.raises(Cancelled) as error:
        put(store, "object", DATA)
    assert time.monotonic() - started < 20
    assert error.value.reason == conditions.DEADLINE_EXCEEDED
    assert list(through_proxy.uploads("")) == []


def test_row_72_parts_wait_for_space_as_long_as_the_store_fails(
    through_proxy: Store, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_writer, "ROOM_DEADLINE", 0.0)
    monkeypatch.setattr(s3_writer, "IN_FLIGHT_BYTES", 1)
    refusals = times(4, is_part)
    faulty.set(Faults(refuse=lambda request: 503 if refusals(request) else None))
    assert put(PatientStore(through_proxy, Token(60)), "object", DATA * 3).size == 3 * len(DATA)


def test_row_72_what_cannot_pass_is_not_repeated() -> None:
    calls = []

    def denied() -> None:
        calls.append(1)
        raise StoreError(conditions.STORE_ACCESS_DENIED, "no")

    with pytest.raises(StoreError):
        retries.Patience(Token(60)).run(denied)
    assert len(calls) == 1


def refused(retry_after: str) -> StoreError:
    error = StoreError(conditions.STORE_UNREACHABLE, "busy", retryable=True)
    answer = {"ResponseMetadata": {"HTTPHeaders": {"retry-after": retry_after}}}
    error.__cause__ = ClientError(answer, "UploadPart")  # type: ignore[arg-type]
    return error


def test_row_72_the_stores_own_hint_is_obeyed() -> None:
    assert retries.hinted(refused("7")) == 7
    assert retries.hinted(refused("99999999")) == retries.LONGEST_HINT
    assert 50 < retries.hinted(refused(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))) <= 60
    assert retries.hinted(refused(format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True))) == 0
    for text in ("", "soon", "-5", "1e9", "²", f"Wed, 01 Jan 2020 00:00:00 +{10**20}"):
        assert retries.hinted(refused(text)) == 0
    assert retries.hinted(StoreError(conditions.STORE_UNREACHABLE, "busy", retryable=True)) == 0


class Broken(GuardedStore):
    """A store whose reads fail once at each place, and which counts its requests."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, Token())
        self.asked: list[tuple[int, int]] = []

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        self.asked.append((start, length))
        assert len(self.asked) < 10, self.asked
        for chunk in self._store.read_range(obj, start, length, version):
            yield chunk[:1000]
            raise StoreError(conditions.STORE_UNREACHABLE, "the answer ended", retryable=True)


def test_row_72_what_was_read_is_not_read_again(folder: Store) -> None:
    stored = put(folder, "object", bytes(range(256)) * 16)
    broken = Broken(folder)
    store = PatientStore(broken, Token(60))
    assert b"".join(store.read_range(stored, 96, 4000)) == (bytes(range(256)) * 16)[96:]
    assert broken.asked == [(96, 4000), (1096, 3000), (2096, 2000), (3096, 1000), (4096, 0)]


def test_row_72_an_object_that_is_replaced_during_an_outage_is_corrupt(s3: Store) -> None:
    stored = put(s3, "object", b"a" * 3000)
    reading = PatientStore(Broken(s3), Token(60)).read_range(stored, 0, 3000)
    assert next(reading) == b"a" * 1000
    put(s3, "object", b"b" * 3000)
    with pytest.raises(Corrupt, match="was replaced while it was read"):
        list(reading)


def test_row_72_a_listing_continues_where_it_failed(
    through_proxy: Store, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the keys is not the same on every server: in the third page it asks for the third one again."""
    keys = {"a/1", "a-b/1", "a/2", "b/1", "c/1"}
    for key in keys:
        put(through_proxy, key, b"x")
    client = through_proxy.client  # type: ignore[attr-defined]
    real = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **more: real(**more, MaxKeys=1))
    asked: dict[str, int] = {}

    def twice(request: Request) -> int | None:
        asked[request.path] = asked.get(request.path, 0) + 1
        return 503 if asked[request.path] == 1 else None

    faulty.set(Faults(refuse=twice))
    store = PatientStore(through_proxy, Token(60))
    listed = [found.key for found in store.list("")]
    assert (set(listed), len(listed)) == (keys, len(keys))
    assert list(asked.values()) == [2] * len(keys)
    asked.clear()
    assert sorted(store.folders("")) == ["a", "a-b", "b", "c"]


def test_a_listing_that_names_no_next_page_is_an_error(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(s3, "a", b"x")
    client = s3.client  # type: ignore[attr-defined]
    real = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **more: {**real(**more), "IsTruncated": True})
    with pytest.raises(StoreError, match="without an end"):
        list(s3.list(""))


def test_row_72_after_the_limit_the_store_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    waits: list[float] = []
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 2.0)
    monkeypatch.setattr(retries, "LONGEST_PAUSE", 60.0)

    class Waiting(Token):
        def sleep(self, seconds: float) -> None:
            waits.append(seconds)
            clock.now += seconds
            assert sum(waits) < 1000

    def fails() -> None:
        raise StoreError(conditions.STORE_UNREACHABLE, "503", retryable=True)

    with pytest.raises(StoreError):
        retries.Patience(Waiting(), limit=100, report=said.append).run(fails)
    assert sum(waits) == pytest.approx(100)
    assert set(said) == {"The store fails; trying again. Last error: 503"}


class Clock:
    """What `time` is for the module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
