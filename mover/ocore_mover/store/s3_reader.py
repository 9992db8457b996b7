"""Downloads from S3 that resume where a connection broke."""

import contextlib
import re
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.chunks import READ_CHUNK
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.s3_body import Body
from ocore_mover.store.s3_bucket import Bucket
from ocore_mover.store.s3_client import NOT_FOUND, code_of, etag_of, pause, status_of, translated

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})", re.ASCII)
#: Attempts to resume a broken download without a new byte.
MAX_RESUMES = 5


class Absent(Exception):
    """The object does not exist."""


def read_range(
    bucket: Bucket, obj: StoredObject, start: int, length: int, version: Pinned | None = None
) -> Iterator[bytes]:
    """Some bytes of an object, not compared. Raises Corrupt where it is missing or has another size."""
    whole = (start, length) == (0, obj.size)  # then no range is asked for
    try:
        yield from download(bucket, obj.key, obj.size, start, None if whole else start + length, version)
    except Absent as error:
        raise Corrupt(f"{obj.key} is missing in {bucket.url}", obj.key) from error


def download(
    bucket: Bucket,
    key: str,
    size: int | None,
    start: int = 0,
    end: int | None = None,
    version: Pinned | None = None,
) -> Iterator[bytes]:
    """Chunks of an object from `start` up to `end`; resumes where the connection broke.

    Raises Absent, and Corrupt if the object's size is not `size` or it was replaced since another download with the
    same `version`.
    """
    position, failures = start, 0
    signed = version is not None  # another range of the object follows
    version = version or Pinned()
    while end is None or position < end:
        try:
            with translated(f"read {key}", bucket.url):
                found = _open_signed(bucket, key, position, end, size, version) if signed else None
                signed = False
                body, total = found or _open(bucket, key, position, end, version)
            if size is not None and total != size:
                raise Corrupt(f"{key} in {bucket.url} has {total} bytes instead of {size}", key)
            if end is None:
                end = total
            with contextlib.closing(body):
                while position < end and (chunk := body.read(min(READ_CHUNK, end - position))):
                    position, failures = position + len(chunk), 0
                    yield chunk
            if position < end:
                raise ConnectionError(f"{end - position} bytes are missing")
        except (BotoCoreError, HTTPError, OSError) as error:
            failures += 1
            if failures > MAX_RESUMES:
                raise StoreError(
                    conditions.STORE_UNREACHABLE,
                    f"reading {key} from {bucket.url} failed {failures} times at byte {position}:"
                    f" {str(error).rstrip('.')}. Check the store and the network.",
                    retryable=True,
                ) from error
            pause(failures)


def _open_signed(
    bucket: Bucket, key: str, position: int, end: int | None, size: int | None, version: Pinned
) -> tuple[Body, int] | None:
    """As :func:`_open`; None for a whole object, an older version, and where that is to be asked."""
    if end is None or size is None or bucket.read_version(key, version.id):
        return None
    body = bucket.ranges.open(bucket.client, bucket.bucket, bucket.full_key(key), position, end, size, version)
    return (body, size) if body is not None else None


def _open(bucket: Bucket, key: str, position: int, end: int | None, version: Pinned) -> tuple[Body, int]:
    """Returns the body from `position`, and the size of the whole object. Raises Corrupt if the object changed."""
    asked = bucket.read_version(key, version.id)
    if position or end is not None:
        asked["Range"] = f"bytes={position}-" + ("" if end is None else str(end - 1))
    if version.tag:
        asked["IfMatch"] = version.tag
    try:
        answer = bucket.client.get_object(Bucket=bucket.bucket, Key=bucket.full_key(key), **asked)
    except ClientError as error:
        if code_of(error) in NOT_FOUND:
            raise Absent(key) from error
        if status_of(error) == 412:
            raise _replaced(bucket, key) from error
        if status_of(error) == 416:
            raise Corrupt(f"{key} in {bucket.url} is shorter than the manifest says", key) from error
        raise
    body = Body(answer["Body"])
    tag = etag_of(answer, bucket.url)
    if not version.is_same(tag):  # by a request at the same time, or the server ignores If-Match
        body.close()
        raise _replaced(bucket, key)
    if "ContentRange" in answer:
        found = _CONTENT_RANGE.fullmatch(answer["ContentRange"])
        if found is None or int(found[1]) != position:
            body.close()
            raise Corrupt(
                f"{bucket.url} answers the request for {key} from byte {position} with other bytes:"
                f" {answer['ContentRange'][:100]!r}. Check the store and the proxies."
            )
        return body, int(found[2])
    _skip(body, position)  # the server ignored Range
    return body, answer["ContentLength"]


def _replaced(bucket: Bucket, key: str) -> Corrupt:
    return Corrupt(f"{key} in {bucket.url} was replaced while it was read", key)


def _skip(body: Body, count: int) -> None:
    """Reads and discards `count` bytes."""
    while count:
        chunk = body.read(min(READ_CHUNK, count))
        if not chunk:
            raise ConnectionError("the answer is truncated")
        count -= len(chunk)
