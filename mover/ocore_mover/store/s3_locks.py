"""Object Lock: the retention of what a snapshot needs, and the test that the bucket enforces it.

Each object is written with a date of its own: a default retention of the bucket is no lock on every server (decision
223).
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from ocore_crds import conditions
from ocore_mover.errors import StoreError
from ocore_mover.store.s3_bucket import Bucket, after
from ocore_mover.store.s3_client import code_of, status_of, translated
from ocore_mover.workers import run_workers

#: Requests at once.
WORKERS = 8
#: Days for which the object of a test is locked. The next probe removes it.
TRIAL_DAYS = 1 / 144
#: boto3's name of the header with the end of a retention.
LOCK_HEADER = "ObjectLockRetainUntilDate"
_REFUSED = ("AccessDenied", "ObjectLocked", "InvalidRequest")


def lock(bucket: Bucket, keys: Collection[str]) -> None:
    """See :meth:`~ocore_mover.store.interface.Store.lock`. Of an object that this process has written, its own version
    is locked, of all others the newest one. A longer retention stays."""
    if bucket.options.lock is None or not keys:
        return
    until = after(bucket.options.lock_days)

    def work(some: Iterator[str]) -> None:
        for key in some:
            with translated(f"lock {key}", bucket.url):
                which: dict[str, Any] = {"Bucket": bucket.bucket, "Key": bucket.full_key(key)}
                if which["Key"] in bucket.written:
                    which["VersionId"] = bucket.written[which["Key"]]
                _extend(bucket, which, until)

    run_workers(min(WORKERS, len(keys)), keys, work)


def _extend(bucket: Bucket, which: dict[str, Any], until: datetime) -> None:
    """Locks a version at least until then. Its mode may be the one that the store had before, and only who may bypass
    Governance may change it. So a version in mode Governance keeps this mode. One in mode Compliance stays as it is: no
    one asks for Compliance any more."""
    try:
        _retain(bucket, which, until)
    except ClientError as error:
        if code_of(error) not in _REFUSED:
            raise
        mode, kept = retention(bucket, which, bucket.client.head_object(**which))
        if kept is None or (kept < until and mode == bucket.options.lock):
            raise
        if kept < until and mode == "GOVERNANCE":
            _retain(bucket, which, until, mode)


def renew(bucket: Bucket, keys: Collection[str]) -> int:
    """See :meth:`~ocore_mover.store.interface.Store.renew`. Each object is asked for its date: a thief may have given
    any of them a longer one. A version in mode Compliance stays as it is where the store's mode is Governance."""
    if bucket.options.lock is None:
        return 0
    until, half = after(bucket.options.lock_days), after(bucket.options.lock_days / 2)
    renewed = 0
    for key in keys:
        which: dict[str, Any] = {"Bucket": bucket.bucket, "Key": bucket.full_key(key)}
        if key in bucket.versions:
            which["VersionId"] = bucket.versions[key]
        with translated(f"renew the lock of {key}", bucket.url):
            if _ends_before(bucket, which, half):
                _extend(bucket, which, until)
                renewed += 1
    return renewed


def _ends_before(bucket: Bucket, which: Mapping[str, Any], moment: datetime) -> bool:
    try:
        found = bucket.client.head_object(**which)
    except ClientError as error:
        if status_of(error) not in (404, 405):  # 405: a delete marker
            raise
        return False
    mode, kept = retention(bucket, which, found)
    if mode == "COMPLIANCE" != bucket.options.lock:
        return False
    return kept is None or kept < moment


def retention(bucket: Bucket, which: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[str | None, datetime | None]:
    """Mode and end of the retention of a version; None: it has none, or the credentials may not read that. `head`: the
    answer to a HEAD of it. versitygw has the lock of an older version in another answer only."""
    if head.get(LOCK_HEADER) is not None:
        return head["ObjectLockMode"], head[LOCK_HEADER]
    try:
        found = bucket.client.get_object_retention(**which)["Retention"]
    except ClientError as error:
        if status_of(error) < 500:
            return None, None
        raise
    return found.get("Mode"), found.get("RetainUntilDate")


def _retain(bucket: Bucket, which: dict[str, Any], until: datetime, mode: str | None = None) -> None:
    """`mode`: in place of the store's."""
    retention: Any = {"Mode": mode or bucket.options.lock, "RetainUntilDate": until}
    bucket.client.put_object_retention(**which, Retention=retention)


def check(bucket: Bucket, key: str) -> tuple[str, ...]:
    """See :meth:`~ocore_mover.store.interface.Store.check_lock`."""
    if bucket.options.lock is None:
        return ()
    full_key = bucket.full_key(key)
    which: dict[str, Any] = {"Bucket": bucket.bucket, "Key": full_key, "VersionId": _locked(bucket, full_key)}
    with translated("test the lock of an object (right s3:PutObjectRetention)", bucket.url):
        _retain(bucket, which, after(2 * TRIAL_DAYS))
    with translated("test the lock of an object", bucket.url):
        bucket.client.delete_object(Bucket=bucket.bucket, Key=full_key)  # the next probe purges what is hidden
        if _deletes(bucket, which):
            raise StoreError(
                conditions.STORE_NOT_WRITABLE,
                f"{bucket.url} has deleted an object before the end of its retention, so spec.s3.lock protects nothing."
                " Use another store, or remove spec.s3.lock.",
            )
        if bucket.options.lock == "GOVERNANCE" and _deletes(bucket, {**which, "BypassGovernanceRetention": True}):
            return (
                f"the key of {bucket.url} can delete locked objects. Take the right s3:BypassGovernanceRetention from"
                " it, or use mode Compliance.",
            )
    return ()


def _locked(bucket: Bucket, full_key: str) -> str:
    """Writes a locked object. Returns the id of its version. Raises StoreError StoreNotWritable without Object Lock."""
    try:
        with translated("write a locked object", bucket.url):
            answer = bucket.client.put_object(
                Bucket=bucket.bucket,
                Key=full_key,
                Body=b"probe",
                ChecksumAlgorithm="SHA256",
                ObjectLockMode=bucket.options.lock,  # type: ignore[arg-type]
                ObjectLockRetainUntilDate=after(TRIAL_DAYS),
                **bucket.options.encryption(),
            )
    except StoreError as error:
        cause = error.__cause__
        if not isinstance(cause, ClientError) or status_of(cause) not in (400, 501):
            raise
        raise _without_lock(error.message) from error
    if not answer.get("VersionId"):
        raise _without_lock(f"{bucket.url} keeps no versions")
    return answer["VersionId"]


def _without_lock(problem: str) -> StoreError:
    return StoreError(
        conditions.STORE_NOT_WRITABLE,
        f"{problem.rstrip('.')}. spec.s3.lock needs a bucket that was created with Object Lock (aws s3api create-bucket"
        " --object-lock-enabled-for-bucket). Create one and a SnapshotStore for it, or remove spec.s3.lock.",
    )


def _deletes(bucket: Bucket, which: dict[str, Any]) -> bool:
    """Whether the version can be deleted."""
    try:
        bucket.client.delete_object(**which)
    except ClientError as error:
        if code_of(error) not in _REFUSED:
            raise
        return False
    return True
