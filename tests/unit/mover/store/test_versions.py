"""Deletion in buckets with versioning and Object Lock, on a real server: what is removed, what stays, and until
when."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ocore_crds import failpoints, naming
from ocore_crds.protocol import KeptVersions
from ocore_mover.errors import StoreError
from ocore_mover.store import S3Options, Store, open_store, s3_purge
from ocore_mover.store.probe import PROBE_PREFIX, probe_store
from support.mover.beside import Finished, call
from support.mover.faulty_http import Faults, FaultyProxy, Request
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS
from support.mover.stored import put

VERSIONED, LOCKED = "versioned", "locked"


@pytest.fixture(scope="module")
def client(seaweed: SeaweedFS) -> Any:
    """A plain client; the buckets exist."""
    found = seaweed.client()
    found.create_bucket(Bucket=VERSIONED)
    found.put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})
    found.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    return found


def opened(endpoint: str, seaweed: SeaweedFS, bucket: str, prefix: str) -> Store:
    return open_store(f"s3://{bucket}/{prefix}", S3Options(endpoint=endpoint, credentials=seaweed.credentials()))


@pytest.fixture
def versioned(seaweed: SeaweedFS, client: Any, prefix: str) -> Store:
    return opened(seaweed.endpoint, seaweed, VERSIONED, prefix)


@pytest.fixture
def locked(seaweed: SeaweedFS, client: Any, prefix: str) -> Store:
    return opened(seaweed.endpoint, seaweed, LOCKED, prefix)


def left(client: Any, bucket: str, prefix: str) -> list[tuple[str, bool]]:
    """Each version and delete marker below the prefix: its key, and whether it is a marker."""
    answer = client.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/")
    found = [(v["Key"].removeprefix(f"{prefix}/"), False) for v in answer.get("Versions", ())]
    return sorted(found + [(m["Key"].removeprefix(f"{prefix}/"), True) for m in answer.get("DeleteMarkers", ())])


def lock(client: Any, prefix: str, key: str, until: datetime, mode: str = "COMPLIANCE") -> None:
    retention = {"Mode": mode, "RetainUntilDate": until}
    client.put_object_retention(Bucket=LOCKED, Key=f"{prefix}/{key}", Retention=retention)


def soon(seconds: float) -> datetime:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_every_version_is_removed(versioned: Store, client: Any, prefix: str) -> None:
    """Also those of an object that was written, deleted and written again."""
    for number in range(3):
        put(versioned, "s/a", b"%d" % number)
    put(versioned, "s/b", b"b")
    versioned.delete(["s/a"])
    put(versioned, "s/a", b"again")
    versioned.delete(["s/a", "s/b"])
    assert len(left(client, VERSIONED, prefix)) == 8, "a deletion alone removes nothing"
    assert versioned.purge("s/") is None
    assert left(client, VERSIONED, prefix) == []
    assert versioned.purge("s/") is None


def test_what_exists_is_not_touched(versioned: Store, client: Any, prefix: str) -> None:
    """Another attempt still writes, another snapshot has a longer name, and a kept object has an older version."""
    put(versioned, "s/kept", b"old")
    put(versioned, "s/kept", b"new")
    put(versioned, "s/gone", b"x")
    put(versioned, "sx/gone", b"x")
    versioned.delete(["s/gone", "sx/gone"])
    assert versioned.purge("s/") is None
    assert left(client, VERSIONED, prefix) == [
        ("s/kept", False),
        ("s/kept", False),
        ("sx/gone", False),
        ("sx/gone", True),
    ]
    assert versioned.get("s/kept") == b"new"


def test_more_than_one_batch(versioned: Store, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_purge, "BATCH", 4)
    for number in range(9):
        put(versioned, f"s/{number}", b"x")
    versioned.delete([f"s/{number}" for number in range(9)])
    assert versioned.purge("s/") is None
    assert left(client, VERSIONED, prefix) == []


def test_suspended_versioning(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    """Versions from before stay until they are removed; a deletion writes a marker all the same."""
    client.create_bucket(Bucket="suspended")
    client.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Enabled"})
    store = opened(seaweed.endpoint, seaweed, "suspended", prefix)
    put(store, "s/a", b"old")
    client.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Suspended"})
    put(store, "s/a", b"new")
    store.delete(["s/a"])
    assert store.purge("s/") is None
    assert [
        key for key, marker in left(client, "suspended", prefix) if not marker
    ] == []  # SeaweedFS keeps a marker "null"


def test_without_versioning_there_is_nothing_to_do(s3: Store, folder: Store) -> None:
    for store in (s3, folder):
        put(store, "s/a", b"x")
        assert store.purge("s/") is None
        assert store.get("s/a") == b"x"
        store.delete(["s/a"])
        assert store.purge("s/") is None


# --- Object Lock ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_what_is_locked_stays_hidden_and_its_end_is_reported(
    locked: Store, client: Any, prefix: str, mode: str
) -> None:
    """The administrator here might bypass GOVERNANCE: that is never asked for."""
    early, late = soon(300), soon(600)
    for key, until in (("s/manifest.json", early), ("s/data", late)):
        put(locked, key, b"12345")
        lock(client, prefix, key, until, mode)
    put(locked, "s/free", b"x")
    locked.delete(["s/manifest.json", "s/data", "s/free"])
    assert locked.purge("s/") == KeptVersions(versions=2, bytes=10, until=text(late))
    assert left(client, LOCKED, prefix) == sorted(
        [("s/data", False), ("s/data", True), ("s/manifest.json", False), ("s/manifest.json", True)]
    )
    assert list(locked.list("s/")) == [], "what is deleted does not come back"
    assert locked.head("s/manifest.json") is None


def test_after_its_end_everything_goes(locked: Store, client: Any, prefix: str) -> None:
    put(locked, "s/a", b"x")
    lock(client, prefix, "s/a", soon(3))
    locked.delete(["s/a"])
    assert locked.purge("s/") is not None
    end = time.monotonic() + 20
    while locked.purge("s/") is not None:
        assert time.monotonic() < end, "still locked"
        time.sleep(0.5)
    assert left(client, LOCKED, prefix) == []


def test_a_legal_hold_has_no_end(locked: Store, client: Any, prefix: str) -> None:
    put(locked, "s/a", b"x")
    key = f"{prefix}/s/a"
    client.put_object_legal_hold(Bucket=LOCKED, Key=key, LegalHold={"Status": "ON"})
    locked.delete(["s/a"])
    kept = locked.purge("s/")
    assert kept == KeptVersions(versions=1, bytes=1, legal_hold=True)
    assert kept.locked
    (version,) = client.list_object_versions(Bucket=LOCKED, Prefix=key)["Versions"]
    client.put_object_legal_hold(Bucket=LOCKED, Key=key, VersionId=version["VersionId"], LegalHold={"Status": "OFF"})
    assert locked.purge("s/") is None


def test_the_newest_ones_tell_the_end(locked: Store, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_purge, "LOCKS_READ", 2)
    last = soon(900)
    for number in range(5):
        put(locked, f"s/{number}", b"x")
        lock(client, prefix, f"s/{number}", last - timedelta(seconds=100 * (4 - number)))
        time.sleep(1.05)  # LastModified has whole seconds
    locked.delete([f"s/{number}" for number in range(5)])
    kept = locked.purge("s/")
    assert kept is not None
    assert (kept.versions, kept.until) == (5, text(last))


# --- less rights, other servers ------------------------------------------------------------------------------------


@pytest.fixture
def refusing(seaweed: SeaweedFS, client: Any, faulty: FaultyProxy, prefix: str) -> Store:
    """A versioned bucket behind a proxy that refuses what a test names."""
    return opened(faulty.endpoint, seaweed, VERSIONED, prefix)


def asks(request: Request, method: str, what: str) -> bool:
    return request.method == method and what in parse_qs(urlsplit(request.path).query, keep_blank_values=True)


def lists_versions(request: Request) -> bool:
    return asks(request, "GET", "versions")


def deletes_versions(request: Request) -> bool:
    return asks(request, "POST", "delete") and b"<VersionId>" in request.body


def reads_versioning(request: Request) -> bool:
    return asks(request, "GET", "versioning")


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_versions_that_cannot_be_listed_are_reported(refusing: Store, faulty: FaultyProxy, status: int) -> None:
    """The deletion itself has shown that the bucket has versioning."""
    put(refusing, "s/a", b"x")
    faulty.set(Faults(refuse=lambda r: status if lists_versions(r) or reads_versioning(r) else None))
    refusing.delete(["s/a"])
    kept = refusing.purge("s/")
    assert kept == KeptVersions()
    assert not kept.locked


def test_a_second_attempt_asks_the_bucket(
    refusing: Store, seaweed: SeaweedFS, faulty: FaultyProxy, prefix: str
) -> None:
    """The first one was killed after it had hidden everything."""
    put(refusing, "s/a", b"x")
    refusing.delete(["s/a"])
    again = opened(faulty.endpoint, seaweed, VERSIONED, prefix)
    faulty.set(Faults(refuse=lambda r: 403 if lists_versions(r) else None))
    assert again.purge("s/") == KeptVersions()
    plain = opened(faulty.endpoint, seaweed, BUCKET, prefix)
    assert plain.purge("s/") is None, "this bucket has no versioning"
    faulty.set(Faults(refuse=lambda r: 403 if lists_versions(r) or reads_versioning(r) else None))
    assert again.purge("s/") is None, "nothing speaks for versioning"


def test_versions_that_may_not_be_deleted_are_reported(
    refusing: Store, faulty: FaultyProxy, client: Any, prefix: str
) -> None:
    put(refusing, "s/a", b"12345")
    refusing.delete(["s/a"])
    faulty.set(Faults(refuse=lambda r: 403 if deletes_versions(r) else None))
    assert refusing.purge("s/") == KeptVersions(versions=1, bytes=5)
    assert refusing.head("s/a") is None
    faulty.set(Faults())
    assert refusing.purge("s/") is None
    assert left(client, VERSIONED, prefix) == []


def test_a_lock_that_has_ended_is_not_the_reason(
    seaweed: SeaweedFS, client: Any, faulty: FaultyProxy, prefix: str
) -> None:
    """The credentials may not delete versions: no one may wait for a time in the past."""
    store = opened(faulty.endpoint, seaweed, LOCKED, prefix)
    put(store, "s/a", b"x")
    lock(client, prefix, "s/a", soon(1))
    store.delete(["s/a"])
    time.sleep(1.5)
    faulty.set(Faults(refuse=lambda r: 403 if deletes_versions(r) else None))
    assert store.purge("s/") == KeptVersions(versions=1, bytes=1)


def test_a_store_that_fails_is_no_store_without_versioning(refusing: Store, faulty: FaultyProxy) -> None:
    put(refusing, "s/a", b"x")
    refusing.delete(["s/a"])
    for fails in (lists_versions, deletes_versions):
        faulty.set(Faults(refuse=lambda r, fails=fails: 503 if fails(r) else None))  # type: ignore[misc]
        with pytest.raises(StoreError):
            refusing.purge("s/")


def test_a_probe_leaves_no_versions(versioned: Store, client: Any, prefix: str) -> None:
    probe_store(versioned)
    probe_store(versioned)
    assert [key for key, _ in left(client, VERSIONED, prefix) if key.startswith(PROBE_PREFIX)] == []


def test_a_probe_is_ready_although_its_versions_stay(refusing: Store, faulty: FaultyProxy) -> None:
    known = probe_store(refusing).store_id
    faulty.set(Faults(refuse=lambda r: 503 if lists_versions(r) else None))
    assert probe_store(refusing).store_id == known


def test_a_store_gets_no_second_id_while_the_first_may_be_hidden(refusing: Store, faulty: FaultyProxy) -> None:
    faulty.set(Faults(refuse=lambda r: 503 if lists_versions(r) else None))
    with pytest.raises(StoreError) as error:
        probe_store(refusing)
    assert error.value.retryable
    assert refusing.get(naming.STORE_ID_KEY) is None


def test_two_probes_at_once_do_not_disturb_each_other(versioned: Store) -> None:
    errors: list[BaseException] = []

    def probe() -> None:
        try:
            probe_store(versioned)
        except BaseException as error:
            errors.append(error)

    probe_store(versioned)
    threads = [threading.Thread(target=probe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


# --- the command ---------------------------------------------------------------------------------------------------

ENVIRONMENT, SNAPSHOT = "6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01", "33333333-3333-4333-8333-333333333333"
BELOW = naming.snapshot_prefix(ENVIRONMENT, SNAPSHOT)


def run_delete(seaweed: SeaweedFS, bucket: str, prefix: str, *more: str) -> Finished:
    return call(
        "delete",
        *seaweed.options(bucket, prefix),
        "--environment-id",
        ENVIRONMENT,
        "--snapshot-id",
        SNAPSHOT,
        *more,
    )


def fill(store: Store) -> None:
    for key in ("a1/database/toc.dat", "a1/filestore/pack", "manifest.json"):
        put(store, BELOW + key, b"12345")


def test_a_deletion_that_was_killed_leaves_no_version(
    seaweed: SeaweedFS, versioned: Store, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(versioned)
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "delete-manifest-gone=error")
    monkeypatch.setattr(failpoints, "_fired", set())
    assert run_delete(seaweed, VERSIONED, prefix).code != 0
    assert versioned.head(naming.manifest_key(ENVIRONMENT, SNAPSHOT)) is None
    monkeypatch.delenv(failpoints.ENVIRONMENT_VARIABLE)
    done = run_delete(seaweed, VERSIONED, prefix)
    assert done.code == 0
    assert done.result["payload"].get("kept") is None
    assert left(client, VERSIONED, prefix) == []


def test_leftovers_go_with_their_versions(seaweed: SeaweedFS, versioned: Store, client: Any, prefix: str) -> None:
    for attempt in ("a1", "a2"):
        put(versioned, f"{BELOW}{attempt}/x", b"12345")
    assert run_delete(seaweed, VERSIONED, prefix, "--attempts-only").code == 0
    assert left(client, VERSIONED, prefix) == []


def test_the_result_says_until_when_the_store_keeps_the_data(
    seaweed: SeaweedFS, locked: Store, client: Any, prefix: str
) -> None:
    fill(locked)
    until = soon(600)
    lock(client, prefix, BELOW + "a1/filestore/pack", until)
    done = run_delete(seaweed, LOCKED, prefix)
    assert done.code == 0
    assert done.result["payload"]["kept"] == {"versions": 1, "bytes": 5, "until": text(until), "legalHold": False}
    assert list(locked.list("")) == []
