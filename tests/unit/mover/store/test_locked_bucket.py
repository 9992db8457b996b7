"""A stolen key against a bucket with Object Lock and a default retention, on a real server: a restore finds what was
stored, and all of it can be put back by hand, as docs/guides/s3.md describes."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ocore_crds import conditions, naming
from ocore_crds.stored import object_versions
from ocore_mover import manifests
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store import S3Options, Store, open_store, s3_versions
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.probe import probe_store, read_id, read_store
from ocore_mover.store.read_only import ReadOnlyStore
from support.mover.beside import Finished, call
from support.mover.contents import ENVIRONMENT, add, dumped, of_production, put, snapshot_id
from support.mover.plain_desk import Folder
from support.mover.seaweed import SeaweedFS
from support.mover.signing_key import Key

LOCKED = "default-retention"
SNAPSHOT = snapshot_id(1)
ROLLBACK, EXTRACT = "99999999-2222-4333-8444-555555555555", "99999999-2222-4333-8444-666666666666"
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


class Burgled:
    """A snapshot of a folder in a bucket with a default retention, and the digest that its Snapshot's status has."""

    def __init__(self, seaweed: SeaweedFS, base: Path, prefix: str, *signing: str) -> None:
        self.desk = Folder(base)
        (self.desk.claim / "files/large").write_bytes(bytes(range(256)) * 60_000)
        self.files = contents_of(self.desk.claim / "files")
        self.options = seaweed.options(LOCKED, prefix)
        self.ids = ("--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT)
        self.store_id = call("probe-store", *self.options).result["payload"]["storeId"]
        where = ("--claim", str(self.desk.claim), "--filestore", "files", "--layout", "Plain")
        done = call("snapshot", *self.options, *self.ids, *where, "--config", str(self.desk.config), *signing)
        assert done.code == 0, done.stdout
        self.digest = ("--manifest-sha256", done.result["payload"]["manifestSha256"])

    def call(self, command: str, *more: str) -> Finished:
        return call(command, *self.options, *self.ids, *self.digest, *more)

    def restored(self, claim: Path) -> Finished:
        claim.mkdir()
        where = ("--claim", str(claim), "--filestore", "files", "--layout", "Plain", "--scratch", str(self.desk.config))
        return self.call("restore", *where, "--rollback-id", ROLLBACK)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_row_149_a_restore_finds_what_a_thief_overwrote_and_hid(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path
) -> None:
    """No one puts anything back by hand. The warning goes into the evidence."""
    burgled = Burgled(seaweed, tmp_path / "desk", prefix)
    before = versions(client, prefix)
    attack(client, prefix)
    done = burgled.call("verify")
    assert done.code == 0, done.stdout
    (warning,) = done.result["payload"]["evidence"]["warnings"]
    assert "were deleted or overwritten" in warning
    end = burgled.restored(tmp_path / "claim")
    assert end.code == 0, end.stdout
    assert warning in end.result["payload"]["evidence"]["warnings"]
    staged = [path for path in (tmp_path / "claim").rglob("large") if path.is_file()]
    assert [contents_of(path.parent) for path in staged] == [burgled.files]
    one = burgled.call("extract", "--extract-id", EXTRACT, "--path", "large")
    assert one.code == 0, one.stdout
    kept = {(found["Key"], found["VersionId"]) for found in versions(client, prefix)}
    assert {(found["Key"], found["VersionId"]) for found in before} <= kept, "a restore deletes no version"


def test_row_149_a_remote_copy_is_made_of_what_a_thief_hid(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path
) -> None:
    """It needs the source's id, which the probe puts back."""
    burgled = Burgled(seaweed, tmp_path / "desk", prefix)
    attack(client, prefix)
    assert call("probe-store", *burgled.options).code == 0
    source = [option.replace("--", "--source-", 1) for option in burgled.options]
    target = ("--store", burgled.desk.store.as_uri())
    done = call("copy-remote", *target, *source, *burgled.ids, *burgled.digest)
    assert done.code == 0, done.stdout
    assert call("verify", *target, *burgled.ids, *burgled.digest).code == 0


def test_row_149_a_manifest_of_another_digest_is_not_believed(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path
) -> None:
    """The digest comes from the Snapshot's status: without it, and with another one, nothing old is read."""
    burgled = Burgled(seaweed, tmp_path / "desk", prefix)
    key = f"{prefix}/{naming.manifest_key(ENVIRONMENT, SNAPSHOT)}"
    true = client.get_object(Bucket=LOCKED, Key=key)["Body"].read()
    client.put_object(Bucket=LOCKED, Key=key, Body=true.replace(b"Plain", b"Odoo"))
    assert burgled.call("verify").code == 0
    assert call("verify", *burgled.options, *burgled.ids, "--manifest-sha256", "0" * 64).reason == conditions.CORRUPT
    client.delete_object(Bucket=LOCKED, Key=key)
    assert burgled.call("verify").code == 0
    assert call("verify", *burgled.options, *burgled.ids).reason == conditions.SNAPSHOT_NOT_FOUND


def test_row_149_a_deleted_snapshot_is_no_base_and_no_copy(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path
) -> None:
    """Its versions stay until the retention ends, and then go: what is decided by them must not last longer."""
    burgled = Burgled(seaweed, tmp_path / "desk", prefix)
    assert call("delete", *burgled.options, *burgled.ids).code == 0
    assert burgled.call("check-copy", "--store-id", burgled.store_id).reason == conditions.REMOTE_COPY_LOST
    store = opened(seaweed, prefix)
    assert manifests.find(store, ENVIRONMENT, SNAPSHOT, sha256=burgled.digest[1]) is None


def test_row_153_the_manifest_of_a_base_is_found_where_a_thief_hid_it(
    seaweed: SeaweedFS, client: Any, prefix: str
) -> None:
    """Without it no encrypted differential is restored or imported. A new one does not get it as its base."""
    store = opened(seaweed, prefix)
    full = add(store, 1, full=True)
    manifest = add(store, 2, base=full).manifest
    client.delete_object(Bucket=LOCKED, Key=f"{prefix}/{full.key}")
    found: object = None
    with suppress(Corrupt):
        found = manifests.base_of(store, manifest).manifest
    assert found == full.manifest
    with pytest.raises(MoverError) as error:
        manifests.check_base(store, manifest)
    assert error.value.reason == conditions.BASE_GONE


def test_a_manifest_of_any_size_hides_nothing(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    burgled = Burgled(seaweed, tmp_path / "desk", prefix)
    monkeypatch.setattr(manifests, "max_bytes", lambda: 20_000)
    key = f"{prefix}/{naming.manifest_key(ENVIRONMENT, SNAPSHOT)}"
    client.put_object(Bucket=LOCKED, Key=key, Body=b"[" * 20_001)
    assert burgled.call("verify").code == 0
    assert call("verify", *burgled.options, *burgled.ids).reason == conditions.MANIFEST_TOO_LARGE


def test_an_object_that_was_written_twice_is_not_called_stolen(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    """The answer to a write was lost, so it was sent again: the newest version has the right bytes."""
    store = opened(seaweed, prefix)
    twice, over = put(store, "s/twice", b"data"), put(store, "s/over", b"data")
    put(store, "s/twice", b"data")
    put(store, "s/over", b"atad")
    assert store.recover("s/", [twice, over]) == ("s/over",)
    assert b"".join(store.read(over)) == b"".join(store.read_range(over, 0, 4, Pinned())) == b"data"
    assert b"".join(store.read_range(over, 1, 2, Pinned())) == b"at"


def test_many_false_versions_hide_nothing(
    seaweed: SeaweedFS, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only some are compared: the oldest ones, because no one can write an older one than the Job did."""
    monkeypatch.setattr(object_versions, "COMPARED", 2)
    store = opened(seaweed, prefix)
    obj = put(store, "s/a", b"data")
    for _ in range(5):
        put(store, "s/a", b"atad")
    client.delete_object(Bucket=LOCKED, Key=f"{prefix}/s/a")
    assert store.older("s/a", lambda data: data == b"data", limit=100) == b"data"
    assert store.recover("s/", [obj]) == ("s/a",)
    assert b"".join(store.read(obj)) == b"data"


def test_without_the_right_to_list_versions_the_newest_is_read(
    seaweed: SeaweedFS, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "List")

    store = opened(seaweed, prefix)
    obj = put(store, "s/a", b"data")
    put(store, "s/a", b"atad")
    monkeypatch.setattr(s3_versions, "listed", refused)
    assert store.recover("s/", [obj]) == ()
    assert store.older("s/a", lambda _: True, limit=100) is None


def test_row_149_a_probe_puts_the_stores_id_back(seaweed: SeaweedFS, client: Any, prefix: str) -> None:
    """Without it everything that is bound to the store's id would stop, also restores."""
    store = opened(seaweed, prefix)
    known = probe_store(store).store_id
    client.delete_object(Bucket=LOCKED, Key=f"{prefix}/{naming.STORE_ID_KEY}")
    found = probe_store(store)
    assert found.store_id == known
    assert any("was put back" in warning for warning in found.warnings)
    assert not any("was put back" in warning for warning in probe_store(store).warnings)


@pytest.mark.parametrize("other", [b"{}", b"x" * 100_000])
def test_row_149_a_store_id_that_was_overwritten_is_put_back(
    seaweed: SeaweedFS, client: Any, prefix: str, other: bytes
) -> None:
    store = opened(seaweed, prefix)
    known = probe_store(store).store_id
    client.put_object(Bucket=LOCKED, Key=f"{prefix}/{naming.STORE_ID_KEY}", Body=other)
    assert probe_store(store).store_id == known


def test_row_153_a_store_whose_id_was_lost_is_read_without_writing(
    seaweed: SeaweedFS, client: Any, prefix: str
) -> None:
    """After a burglary the keys of a drill only read: no probe puts the id back. It is deleted, then overwritten."""
    known = probe_store(opened(seaweed, prefix)).store_id
    key = f"{prefix}/{naming.STORE_ID_KEY}"
    client.delete_object(Bucket=LOCKED, Key=key)
    for _ in range(2):
        before = versions(client, prefix)
        store = ReadOnlyStore(opened(seaweed, prefix))
        assert read_id(store) == known
        found = read_store(store)
        assert found.store_id == known
        assert any("is read from an older version" in warning for warning in found.warnings)
        assert versions(client, prefix) == before, "nothing was written"
        client.put_object(Bucket=LOCKED, Key=key, Body=b"{}")


def test_row_153_hidden_manifests_that_do_not_count_are_named(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path
) -> None:
    """A listing of what was hidden says why something is left out, and what an id belongs to."""
    burgled = Burgled(seaweed, tmp_path / "base", prefix)
    project = call("inspect", *burgled.options, *burgled.ids).result["payload"]["identity"]["projectId"]
    asked = ("list-manifests", *burgled.options, "--environment", f"{ENVIRONMENT}:{project}")
    for key in {version["Key"] for version in versions(client, prefix)}:
        client.delete_object(Bucket=LOCKED, Key=key)
    assert call(*asked).result["payload"]["listed"] == 0
    assert call(*asked, "--hidden").result["payload"]["listed"] == 1
    found = call(*asked, "--hidden", *Key(tmp_path, "other").signer).result["payload"]
    assert (found["listed"], found["skipped"]) == (0, 1)
    assert "not signed" in found["skippedExamples"][0]["reason"]
    assert call(*asked[:-2]).result["payload"]["foreign"] == []
    (foreign,) = call(*asked[:-2], "--hidden").result["payload"]["foreign"]
    assert (foreign["environmentId"], foreign["projectId"], foreign["snapshots"]) == (ENVIRONMENT, project, 1)


def test_row_152_a_stolen_signing_key_replaces_nothing(
    seaweed: SeaweedFS, client: Any, prefix: str, tmp_path: Path
) -> None:
    """Without a digest from a status the oldest signed manifest counts, whatever is signed and written over it."""
    key = Key(tmp_path, "jobs")
    burgled = Burgled(seaweed, tmp_path / "base", prefix, *key.signing)
    asked = ("inspect", *burgled.options, *burgled.ids, *key.signer)
    true = call(*asked).result["payload"]
    name = f"{prefix}/{naming.manifest_key(ENVIRONMENT, SNAPSHOT)}"
    signature = f"{prefix}/{naming.signature_key(ENVIRONMENT, SNAPSHOT, true['attempt'])}"
    forged, signed = tmp_path / "forged.json", tmp_path / "forged.sig"
    document = client.get_object(Bucket=LOCKED, Key=name)["Body"].read()
    forged.write_bytes(document.replace(b'"trigger": "Manual"', b'"trigger": "Forged"'))
    key.sign(forged, signed)
    client.put_object(Bucket=LOCKED, Key=name, Body=forged.read_bytes())
    client.put_object(Bucket=LOCKED, Key=signature, Body=signed.read_bytes())
    assert call("inspect", *burgled.options, *burgled.ids).result["payload"]["identity"]["trigger"] == "Forged"
    assert call(*asked).result["payload"] == true

    # Hidden, and without a signature that can be listed.
    client.delete_object(Bucket=LOCKED, Key=signature)
    client.delete_object(Bucket=LOCKED, Key=name)
    assert call("inspect", *burgled.options, *burgled.ids).reason == conditions.SNAPSHOT_NOT_FOUND
    assert call(*asked).result["payload"] == true
