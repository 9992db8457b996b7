"""`spec.s3.lock` on a real server, in a bucket with Object Lock and without a default retention: what is locked until
when, what a thief with the bucket's key can do, and what the probe says."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError

from ocore_crds import conditions, naming
from ocore_mover import contents
from ocore_mover.errors import StoreError
from ocore_mover.store import S3Options, Store, open_store, s3_locks
from ocore_mover.store.probe import PROBE_PREFIX, probe_store
from support.mover.beside import call
from support.mover.contents import ENVIRONMENT, add, put, snapshot_id
from support.mover.plain_desk import Folder
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS
from support.mover.signing_key import Key

LOCKED = "locked-by-us"
Mode = Literal["GOVERNANCE", "COMPLIANCE"]


@pytest.fixture(scope="module")
def client(seaweed: SeaweedFS) -> Any:
    """A plain client with an administrator's key; the bucket exists."""
    found = seaweed.client()
    found.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    return found


def opened(seaweed: SeaweedFS, prefix: str, days: int, mode: Mode = "COMPLIANCE", bucket: str = LOCKED) -> Store:
    options = S3Options(endpoint=seaweed.endpoint, credentials=seaweed.credentials(), lock=mode, lock_days=days)
    return open_store(f"s3://{bucket}/{prefix}", options)


def versions(client: Any, full_key: str) -> list[dict[str, Any]]:
    """Of one object, the oldest first."""
    found: list[dict[str, Any]] = client.list_object_versions(Bucket=LOCKED, Prefix=full_key)["Versions"]
    return sorted(found, key=lambda version: bool(version["IsLatest"]))


def days_of(client: Any, version: dict[str, Any]) -> int:
    """The days from when it was written until its lock ends; 0: it has none."""
    which = {"Bucket": LOCKED, "Key": version["Key"], "VersionId": version["VersionId"]}
    try:
        until = client.get_object_retention(**which)["Retention"]["RetainUntilDate"]
    except ClientError:
        return 0
    return round((until - version["LastModified"]) / timedelta(days=1))


def locks(client: Any, prefix: str) -> dict[str, int]:
    """Of the newest version of each key, as :func:`days_of`."""
    found = client.list_object_versions(Bucket=LOCKED, Prefix=f"{prefix}/").get("Versions", ())
    return {v["Key"].removeprefix(f"{prefix}/"): days_of(client, v) for v in found if v["IsLatest"]}


def test_all_that_a_restore_needs_is_locked_and_nothing_else(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    """What is replaced or deleted while the snapshot exists has no lock, and what no manifest names a short one."""
    store = opened(seaweed, prefix, 5)
    probe_store(store)
    full = add(store, 1, full=True)
    attempt = naming.attempt_prefix(ENVIRONMENT, snapshot_id(1), "a2")
    large = put(store, f"{attempt}large", bytes(13 * 1024 * 1024))
    put(store, naming.state_key(ENVIRONMENT, snapshot_id(1)))
    found = locks(client, prefix)
    needed = {full.key, *(obj.key for obj in full.manifest.objects())}
    assert {key: days for key, days in found.items() if key in needed} == dict.fromkeys(needed, 5)
    others = {large.key: 1, naming.state_key(ENVIRONMENT, snapshot_id(1)): 0, naming.STORE_ID_KEY: 5}
    assert {key: days for key, days in found.items() if key not in needed} == others


def test_a_differential_extends_the_lock_of_its_base(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    full = add(opened(seaweed, prefix, 2), 1, full=True)
    found = add(opened(seaweed, prefix, 9), 2, base=full)
    after, base = locks(client, prefix), found.manifest.base
    assert base is not None
    assert {after[key] for key in (full.key, *(pack.key for pack in base.packs), found.key)} == {9}


def test_a_copy_is_locked_as_its_own_store_says(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    origin = open_store(
        f"s3://{LOCKED}/{prefix}-origin", S3Options(endpoint=seaweed.endpoint, credentials=seaweed.credentials())
    )
    for store in (origin, opened(seaweed, prefix, 5)):
        probe_store(store)
    found = add(origin, 1, full=True)
    source = [option.replace("--", "--source-", 1) for option in seaweed.options(LOCKED, f"{prefix}-origin")]
    which = ["--environment-id", ENVIRONMENT, "--snapshot-id", snapshot_id(1), "--manifest-sha256", found.sha256]
    lock = ["--s3-lock", "Compliance", "--s3-lock-days", "5"]
    done = call("copy-remote", *seaweed.options(LOCKED, prefix), *source, *which, *lock)
    assert done.code == 0, done.stdout + done.stderr
    after = locks(client, prefix)
    assert {after[key] for key in (found.key, *(obj.key for obj in found.manifest.objects()))} == {5}
    assert set(locks(client, f"{prefix}-origin").values()) == {0}


def test_a_longer_lock_stays(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    full = add(opened(seaweed, prefix, 9), 1, full=True)
    add(opened(seaweed, prefix, 2), 2, base=full)
    assert locks(client, prefix)[full.key] == 9


def test_the_version_that_was_written_is_locked_not_that_of_a_thief(
    seaweed: SeaweedFS, client: Any, prefix: str
) -> None:
    """Between the write and the manifest someone overwrites the object."""
    store, key = opened(seaweed, prefix, 5), naming.attempt_prefix(ENVIRONMENT, snapshot_id(1), "a1")
    for name, size in (("one-part", 4), ("parts", 13 * 1024 * 1024)):
        put(store, key + name, bytes(size))
        client.put_object(Bucket=LOCKED, Key=f"{prefix}/{key}{name}", Body=b"?")
        store.lock([key + name])
        own, other = versions(client, f"{prefix}/{key}{name}")
        assert (days_of(client, own), days_of(client, other)) == (5, 0)


def test_an_object_that_cannot_be_locked_is_no_success(
    seaweed: SeaweedFS, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key may not lock, and the object has no longer lock already."""

    def refused(*_: object) -> None:
        answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "PutObjectRetention")

    store, key = opened(seaweed, prefix, 5), naming.attempt_prefix(ENVIRONMENT, snapshot_id(1), "a1") + "x"
    put(store, key)
    monkeypatch.setattr(s3_locks, "_retain", refused)
    with pytest.raises(StoreError) as error:
        store.lock([key])
    assert error.value.reason == conditions.STORE_ACCESS_DENIED


def test_without_its_lock_no_snapshot_exists(
    seaweed: SeaweedFS, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise StoreError(conditions.STORE_ACCESS_DENIED, "cannot lock")

    monkeypatch.setattr(s3_locks, "lock", refused)
    store = opened(seaweed, prefix, 5)
    with pytest.raises(StoreError):
        add(store, 1)
    assert store.get(naming.manifest_key(ENVIRONMENT, snapshot_id(1))) is None


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_row_150_a_stolen_key_deletes_nothing_of_a_locked_snapshot(
    seaweed: SeaweedFS, client: Any, prefix: str, mode: Mode
) -> None:
    """Nor can it shorten the retention, and all bytes are read."""
    store = opened(seaweed, prefix, 5, mode)
    known = probe_store(store).store_id
    full = add(store, 1, full=True)
    found = add(store, 2, base=full)
    for each in client.list_object_versions(Bucket=LOCKED, Prefix=f"{prefix}/")["Versions"]:
        which = {"Bucket": LOCKED, "Key": each["Key"]}
        soon = datetime.now(UTC) + timedelta(hours=1)
        if "/dependents/" not in each["Key"] and PROBE_PREFIX not in each["Key"]:
            with pytest.raises(client.exceptions.ClientError):
                client.put_object_retention(
                    **which, VersionId=each["VersionId"], Retention={"Mode": mode, "RetainUntilDate": soon}
                )
        client.delete_objects(Bucket=LOCKED, Delete={"Objects": [{"Key": each["Key"], "VersionId": each["VersionId"]}]})
        if not each["Key"].endswith(naming.STORE_ID_KEY):
            client.put_object(**which, Body=b"?" * each["Size"])
        client.delete_object(**which)
    which = ["--environment-id", ENVIRONMENT, "--snapshot-id", snapshot_id(2), "--manifest-sha256", found.sha256]
    done = call("verify", *seaweed.options(LOCKED, prefix), *which)
    assert done.code == 0, done.stdout
    assert len(done.result["payload"]["evidence"]["warnings"]) == 1
    assert probe_store(store).store_id == known


def renewed(seaweed: SeaweedFS, prefix: str, days: int, mode: str = "Compliance") -> int:
    """Objects that a sweep has locked."""
    lock = ["--s3-lock", mode, "--s3-lock-days", str(days), "--renew-locks"]
    done = call("sweep", *seaweed.options(LOCKED, prefix), *lock)
    assert done.code == 0, done.stdout + done.stderr
    count: int = done.result["payload"].get("locksRenewed", 0)
    return count


def test_row_155_a_lock_is_renewed_for_as_long_as_a_snapshot_exists(
    seaweed: SeaweedFS, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before half of its days has passed, and never of one that is deleted: it would never go."""
    monkeypatch.setattr(contents, "READERS", 1)  # two at a time may both renew the base of one of them
    store = opened(seaweed, prefix, 2)
    full = add(store, 1, full=True)
    kept, gone = add(store, 2, base=full), add(store, 3)
    store.delete([gone.key])
    put(store, naming.attempt_prefix(ENVIRONMENT, snapshot_id(3), "a2") + "written-late")
    before = locks(client, prefix)
    assert renewed(seaweed, prefix, 3) == 0, "half of its days is left"
    needed = {full.key, kept.key, *(obj.key for each in (full, kept) for obj in each.manifest.objects())}
    assert renewed(seaweed, prefix, 9) == len(needed)
    assert locks(client, prefix) == {**before, **dict.fromkeys(needed, 9)}
    assert renewed(seaweed, prefix, 9) == 0
    assert renewed(seaweed, prefix, 30, "Governance") == 0, "no one has asked for Compliance any more"
    assert call("sweep", *seaweed.options(LOCKED, prefix)).result["payload"].get("locksRenewed", 0) == 0


@pytest.mark.parametrize("head_shows_it", [True, False])
def test_row_155_a_thief_does_not_stop_the_renewal(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path, head_shows_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He writes over everything, gives the manifest a longer lock, and adds a manifest that no one can read. What was
    stored is locked, not what he has written."""
    if not head_shows_it:
        monkeypatch.setattr(s3_locks, "LOCK_HEADER", "none")
    key, lock = Key(tmp_path, "jobs"), ("--s3-lock", "Compliance", "--s3-lock-days", "2")
    folder = Folder(tmp_path / "base")
    ids = ("--environment-id", ENVIRONMENT, "--snapshot-id", snapshot_id(1))
    where = ("--claim", str(folder.claim), "--filestore", "files", "--layout", "Plain", "--config", str(folder.config))
    options = seaweed.options(LOCKED, prefix)
    made = subprocess.run(["age-keygen", "-o", tmp_path / "identity"], check=True, capture_output=True, text=True)
    recipient = ("--recipient", made.stderr.split()[-1])
    assert call("probe-store", *options, *lock).code == 0
    done = call("snapshot", *options, *lock, *ids, *where, *key.signing, *recipient)
    assert done.code == 0, done.stdout + done.stderr
    (manifest,) = (each for each in locks(client, prefix) if each.endswith("manifest.json"))
    stored = {each for each, days in locks(client, prefix).items() if days and each.startswith("environments/")}
    assert len(stored) >= 4
    far = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=100)}
    client.put_object_retention(Bucket=LOCKED, Key=f"{prefix}/{manifest}", Retention=far)
    for each in stored:
        client.put_object(Bucket=LOCKED, Key=f"{prefix}/{each}", Body=b"?")
    client.put_object(Bucket=LOCKED, Key=f"{prefix}/{naming.manifest_key(ENVIRONMENT, snapshot_id(2))}", Body=b"?")
    assert renewed(seaweed, prefix, 9) == len(stored) - 1, "the thief has locked the manifest"
    for each in stored:
        own, other = versions(client, f"{prefix}/{each}")
        assert (days_of(client, own), days_of(client, other)) == (100 if each == manifest else 9, 0), each


def test_a_lock_that_cannot_be_renewed_keeps_no_other_from_it(
    seaweed: SeaweedFS, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, retain = opened(seaweed, prefix, 2), s3_locks._retain
    monkeypatch.setattr(contents, "READERS", 1)
    bad, good = (add(store, number) for number in sorted((1, 2), key=snapshot_id))

    def refused(bucket: Any, which: dict[str, Any], *more: Any) -> None:
        if bad.manifest.identity.snapshot_id in which["Key"]:
            answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(answer, "PutObjectRetention")
        retain(bucket, which, *more)

    monkeypatch.setattr(s3_locks, "_retain", refused)
    lock = ["--s3-lock", "Compliance", "--s3-lock-days", "9", "--renew-locks"]
    assert call("sweep", *seaweed.options(LOCKED, prefix), *lock).reason == conditions.STORE_ACCESS_DENIED
    after = locks(client, prefix)
    assert (after[bad.key], after[good.key]) == (2, 9)


@pytest.mark.parametrize("head_shows_it", [True, False])
def test_a_deletion_reports_until_when_the_store_keeps_a_locked_snapshot(
    seaweed: SeaweedFS, client: Any, prefix: str, head_shows_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """versitygw does not show the lock of an older version in the answer to HEAD."""
    if not head_shows_it:
        monkeypatch.setattr(s3_locks, "LOCK_HEADER", "none")
    add(opened(seaweed, prefix, 5), 1)
    ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", snapshot_id(1)]
    done = call("delete", *seaweed.options(LOCKED, prefix), *ids)
    kept = done.result["payload"]["kept"]
    left = datetime.fromisoformat(kept["until"]) - datetime.now(UTC)
    assert round(left / timedelta(days=1)) == 5
    assert kept["versions"] >= 2


def test_a_probe_tests_the_lock_and_says_what_the_key_can_do(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    """The server's administrator may bypass Governance; no one may bypass Compliance."""
    (warning,) = probe_store(opened(seaweed, prefix, 5, "GOVERNANCE")).warnings
    assert "s3:BypassGovernanceRetention" in warning
    assert locks(client, prefix) == {naming.STORE_ID_KEY: 5}
    assert probe_store(opened(seaweed, f"{prefix}-strict", 5)).warnings == ()


@pytest.mark.parametrize(("first", "then", "days"), [("GOVERNANCE", "COMPLIANCE", 6), ("COMPLIANCE", "GOVERNANCE", 5)])
def test_a_store_whose_mode_is_changed_stays_ready(
    seaweed: SeaweedFS, client: Any, prefix: str, first: Mode, then: Mode, days: int
) -> None:
    """No one may change the mode of a version that is locked. One of Governance keeps that mode and is locked longer;
    one of Compliance is left as it is, because no one has asked for Compliance any more."""
    probe_store(opened(seaweed, prefix, 5, first))
    probe_store(opened(seaweed, prefix, 6, then))
    assert locks(client, prefix) == {naming.STORE_ID_KEY: days}
    add(opened(seaweed, prefix, 2, first), 1)
    needed = [key for key, found in locks(client, prefix).items() if found == 2]
    assert needed
    expected = len(needed) if first == "GOVERNANCE" else 0
    assert renewed(seaweed, prefix, 9, then.capitalize()) == expected
    assert {locks(client, prefix)[key] for key in needed} == {9 if expected else 2}


@pytest.mark.parametrize("versioned", [False, True])
def test_a_bucket_without_object_lock_is_not_ready(seaweed: SeaweedFS, prefix: str, versioned: bool) -> None:
    bucket = "only-versions" if versioned else BUCKET
    if versioned:
        seaweed.client().create_bucket(Bucket=bucket)
        enabled: Any = {"Status": "Enabled"}
        seaweed.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    with pytest.raises(StoreError, match="created with Object Lock") as error:
        probe_store(opened(seaweed, prefix, 5, bucket=bucket))
    assert error.value.reason == conditions.STORE_NOT_WRITABLE


def test_a_store_that_deletes_what_is_locked_is_not_ready(
    seaweed: SeaweedFS, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test object of it is of a mode that the administrator bypasses: the server then deletes it."""
    store = opened(seaweed, prefix, 5, "GOVERNANCE")
    delete = s3_locks._deletes
    monkeypatch.setattr(
        s3_locks, "_deletes", lambda bucket, which: delete(bucket, {**which, "BypassGovernanceRetention": True})
    )
    with pytest.raises(StoreError, match="protects nothing"):
        store.check_lock(f"{PROBE_PREFIX}x")


def test_the_options_of_a_command_lock(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    options = [*seaweed.options(LOCKED, prefix), "--s3-lock", "Compliance"]
    assert call("probe-store", *options).code == 2, "a mode without days"
    assert call("probe-store", *options, "--s3-lock-days", "3").code == 0
