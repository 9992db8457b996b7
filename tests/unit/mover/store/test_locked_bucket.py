"""A stolen key against a bucket with Object Lock and a default retention, on a real server: all of it is recovered by
hand, as docs/guides/s3.md describes."""

from collections.abc import Sequence
from typing import Any

import pytest

from ocore_crds import conditions, naming
from ocore_mover import manifests
from ocore_mover.store import S3Options, Store, open_store
from ocore_mover.store.probe import probe_store
from support.mover.beside import Finished, call
from support.mover.contents import ENVIRONMENT, dumped, of_production, put, snapshot_id
from support.mover.seaweed import SeaweedFS

LOCKED = "default-retention"
SNAPSHOT = snapshot_id(1)
#: More than one part of an upload, one part, and next to nothing.
SIZES = (13 * 1024 * 1024, 100_000, 7)


@pytest.fixture(scope="module")
def client(seaweed: SeaweedFS) -> Any:
    """A plain client with the key of the Jobs; the bucket exists."""
    found = seaweed.client()
    found.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    found.put_object_lock_configuration(Bucket=LOCKED, ObjectLockConfiguration=configuration)
    return found


def opened(seaweed: SeaweedFS, prefix: str) -> Store:
    options = S3Options(endpoint=seaweed.endpoint, credentials=seaweed.credentials())
    return open_store(f"s3://{LOCKED}/{prefix}", options)


def stored(store: Store) -> None:
    """A snapshot with its manifest, in a store that was probed."""
    identifier = probe_store(store).store_id
    prefix = naming.attempt_prefix(ENVIRONMENT, SNAPSHOT, "a1")
    files = [put(store, f"{prefix}database/{size}.dat", bytes(range(256)) * (size // 256 + 1)) for size in SIZES]
    database = dumped(*files, raw_bytes=sum(SIZES))
    time = "2026-01-02T03:04:05Z"
    manifests.write(store, of_production(ENVIRONMENT, SNAPSHOT, time=time, store_id=identifier, database=database))


def verified(seaweed: SeaweedFS, prefix: str) -> Finished:
    return call(
        "verify",
        *seaweed.options(LOCKED, prefix),
        "--environment-id",
        ENVIRONMENT,
        "--snapshot-id",
        SNAPSHOT,
    )


def versions(client: Any, prefix: str) -> list[dict[str, Any]]:
    """Each version below the prefix, as the server lists it."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=LOCKED, Prefix=f"{prefix}/")
    return [version for page in pages for version in page.get("Versions", ())]


def attack(client: Any, prefix: str) -> None:
    """Deletes every version, with each right that the key has. Then overwrites, truncates and hides the objects."""
    for number, found in enumerate(versions(client, prefix)):
        key, id_ = found["Key"], found["VersionId"]
        objects = {"Objects": [{"Key": key, "VersionId": id_}]}
        client.delete_objects(Bucket=LOCKED, Delete=objects, BypassGovernanceRetention=True)
        if number % 3 == 0:
            client.put_object(Bucket=LOCKED, Key=key, Body=b"?" * found["Size"])
        if number % 3 == 1:
            client.put_object(Bucket=LOCKED, Key=key, Body=b"")
        if number % 3 == 2 or key.endswith("manifest.json"):
            client.delete_object(Bucket=LOCKED, Key=key)


def put_back(client: Any, before: Sequence[dict[str, Any]]) -> None:
    """What the two commands with rclone do: the old versions become the newest ones."""
    for found in before:
        got = client.get_object(Bucket=LOCKED, Key=found["Key"], VersionId=found["VersionId"])
        client.put_object(Bucket=LOCKED, Key=found["Key"], Body=got["Body"].read())


def test_row_148_a_stolen_key_destroys_nothing_under_a_default_retention(
    seaweed: SeaweedFS, client: Any, prefix: str
) -> None:
    stored(opened(seaweed, prefix))
    assert verified(seaweed, prefix).code == 0
    before = [found for found in versions(client, prefix) if found["IsLatest"]]
    attack(client, prefix)
    assert verified(seaweed, prefix).code != 0
    put_back(client, [found for found in before if found["Key"].endswith("manifest.json")])
    assert verified(seaweed, prefix).reason == conditions.CORRUPT
    put_back(client, before)
    done = verified(seaweed, prefix)
    assert done.code == 0, done.stdout + done.stderr
    assert done.result["payload"]["bytesRead"] > sum(SIZES)


def test_a_probe_and_a_deletion_work_under_a_default_retention(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    store = opened(seaweed, prefix)
    stored(store)
    assert probe_store(store).store_id == probe_store(store).store_id
    below = naming.snapshot_prefix(ENVIRONMENT, SNAPSHOT)
    store.delete([found.key for found in store.list(below)])
    kept = store.purge(below)
    assert kept is not None
    assert kept.locked
    assert kept.until is not None
    assert not list(store.list(below))
