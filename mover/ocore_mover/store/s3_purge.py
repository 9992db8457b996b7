"""Versions of deleted objects in a bucket with versioning: removed where the store allows it, else counted, with the
time when it will.

A deletion in such a bucket writes a delete marker and keeps every byte. A marker is removed after the versions that it
hides: a deleted manifest must not come back because its data is locked.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.text import timestamps
from ocore_mover.store import s3_locks
from ocore_mover.store.s3_bucket import Bucket
from ocore_mover.store.s3_client import NOT_FOUND, status_of, translated
from ocore_mover.store.s3_versions import ObjectVersion, listed, unsupported

BATCH = 1000
#: Versions whose lock is read. All objects of a snapshot are written with the bucket's default retention, so the newest
#: ones are locked longest. A longer lock of an older one is found by the next deletion.
LOCKS_READ = 20


def purge(store: Bucket, full_prefix: str, *, marked: bool) -> KeptVersions | None:
    """Removes the versions, then the markers, of every key below the prefix whose newest version is a delete marker.
    Returns what stays.

    `marked`: a deletion of this process has left markers, so the bucket has versioning. Raises StoreError where the
    store does not answer.
    """
    with translated(f"list the versions of {full_prefix}", store.url):
        try:
            found = list(listed(store, full_prefix))
        except ClientError as error:
            if not unsupported(error):
                raise
            return KeptVersions() if marked or _has_versioning(store) else None
    hidden = {v.key for v in found if v.marker and v.newest}
    data = [v for v in found if v.key in hidden and not v.marker]
    with translated(f"delete the versions of {full_prefix}", store.url):
        refused = _delete(store, data)
        locked_keys = {v.key for v in refused}
        stuck = _delete(store, [v for v in found if v.marker and v.key in hidden - locked_keys])
        return _kept(store, refused) if refused else KeptVersions(versions=len(stuck)) if stuck else None


def _has_versioning(store: Bucket) -> bool:
    """False also where the credentials may not read that: then nothing speaks for versioning."""
    try:
        return "Status" in store.client.get_bucket_versioning(Bucket=store.bucket)
    except ClientError as error:
        if unsupported(error):
            return False
        raise


def _delete(store: Bucket, versions: Sequence[ObjectVersion]) -> list[ObjectVersion]:
    """Returns those that the store refuses to delete."""
    refused: list[ObjectVersion] = []
    for start in range(0, len(versions), BATCH):
        batch = {(v.key, v.id): v for v in versions[start : start + BATCH]}
        objects: list[Any] = [{"Key": key, "VersionId": id_} for key, id_ in batch]
        try:
            answer = store.client.delete_objects(Bucket=store.bucket, Delete={"Objects": objects, "Quiet": True})
        except ClientError as error:
            if not unsupported(error):
                raise
            refused.extend(batch.values())
            continue
        for failed in answer.get("Errors", ()):
            code = failed.get("Code", "")
            if code in NOT_FOUND or code == "NoSuchVersion":
                continue
            if code not in ("AccessDenied", "ObjectLocked", "InvalidRequest"):
                raise ClientError({"Error": dict(failed)}, "DeleteObjects")  # type: ignore[typeddict-item]
            refused.append(batch[failed["Key"], failed.get("VersionId", "null")])
    return refused


def _kept(store: Bucket, refused: Sequence[ObjectVersion]) -> KeptVersions:
    newest = sorted(refused, key=lambda v: v.modified, reverse=True)[:LOCKS_READ]
    locks = [_lock(store, v) for v in newest]
    now = datetime.now(UTC)
    ends = [until for until, _ in locks if until is not None and until > now]
    return KeptVersions(
        versions=len(refused),
        bytes=sum(v.size for v in refused),
        until=timestamps.text(max(ends)) if ends else None,
        legal_hold=any(hold for _, hold in locks),
    )


def _lock(store: Bucket, version: ObjectVersion) -> tuple[datetime | None, bool]:
    """The end of its retention, and whether it has a legal hold. Nothing where the credentials may not read that."""
    which: dict[str, Any] = {"Bucket": store.bucket, "Key": version.key, "VersionId": version.id}
    try:
        head = store.client.head_object(**which)
    except ClientError as error:
        if status_of(error) in (403, 404, 405):
            return None, False
        raise
    return s3_locks.retention(store, which, head)[1], head.get("ObjectLockLegalHoldStatus") == "ON"
