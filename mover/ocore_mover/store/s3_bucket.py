"""Requests for single objects of a bucket, each checked by the server where it can."""

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ocore_crds import conditions, naming
from ocore_mover.errors import StoreError
from ocore_mover.store.interface import PARALLEL_READS, ObjectInfo
from ocore_mover.store.keys import checked
from ocore_mover.store.s3_client import DIGEST_CODES, NOT_FOUND, code_of, connect, etag_of, pause, status_of, translated
from ocore_mover.store.s3_options import S3Options
from ocore_mover.store.s3_ranges import SignedRanges

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Uploads at once, and connections beside them for reads and small requests. They are opened as they are needed.
UPLOADS = 4
CONNECTIONS = UPLOADS + PARALLEL_READS + 8
#: Days for which the objects of an attempt are locked before its manifest: those of a failed one can be removed then.
ATTEMPT_DAYS = 1
_NO_UPLOAD = {"404", "NoSuchUpload", "NoSuchKey"}


class Bucket:
    """A bucket, or a prefix in it."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self.bucket = bucket
        self.options = options
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock = threading.Lock()
        self._found = False
        self._server_checks: bool | None = None
        self.ranges = SignedRanges()
        #: Of a key, the id of the version that is read in place of the newest one.
        self.versions: dict[str, str] = {}
        #: With a lock: of a full key, the id of the version that this process has written.
        self.written: dict[str, str] = {}

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self._prefix}".rstrip("/")

    @cached_property
    def client(self) -> "S3Client":
        """The client, created at first use."""
        with translated("connect", self.url):
            client = connect(self.options, CONNECTIONS)
        self.ranges.attach(client)
        return client

    def full_key(self, key: str) -> str:
        """The key in the bucket."""
        return self._prefix + checked(key)

    def read_version(self, key: str, id_: str = "") -> dict[str, Any]:
        """Arguments of a request that reads this version, or the one that :attr:`versions` has."""
        id_ = id_ or self.versions.get(key, "")
        return {"VersionId": id_} if id_ else {}

    def server_checks(self, near: str) -> bool:
        """Whether the server refuses bytes that do not match their SHA-256, in whole objects and in parts.

        Tested once in each process, before the first write of a new object, by requests with a wrong digest beside that
        full key: leftovers of a killed process are deleted together with the snapshot. Raises StoreError
        BucketNotFound.
        """
        with self._lock:
            if self._server_checks is None:
                self._find()
                with translated("access the bucket", self.url):
                    self._server_checks = self._refuses_wrong_object(near) and self._refuses_wrong_part(near)
            return self._server_checks

    def find(self) -> None:
        """Raises StoreError BucketNotFound where the bucket does not exist: some servers (SeaweedFS) create a missing
        one. Asks once in each process."""
        with self._lock:
            self._find()

    def _find(self) -> None:
        if self._found:
            return
        with translated("access the bucket", self.url):
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if status_of(error) != 404:
                    raise
                raise StoreError(
                    conditions.BUCKET_NOT_FOUND,
                    f"the bucket of {self.url} does not exist. Create it, or correct its name.",
                ) from error
        self._found = True

    def _refuses_wrong_object(self, near: str) -> bool:
        key = f"{near}.probe-{secrets.token_hex(4)}"

        def put() -> None:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=b"probe", **_wrong_digest(), **self._encryption())

        if _is_refused(put):
            return True
        self.client.delete_object(Bucket=self.bucket, Key=key)
        return False

    def _refuses_wrong_part(self, near: str) -> bool:
        key = f"{near}.probe-{secrets.token_hex(4)}"
        upload = self.create_upload(key)
        try:
            return _is_refused(
                lambda: self.client.upload_part(
                    Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"probe", **_wrong_digest()
                )
            )
        finally:
            self.abort_upload(key, upload)

    def _encryption(self) -> dict[str, Any]:
        return self.options.encryption()

    def retention(self, full_key: str) -> dict[str, Any]:
        """Arguments of PutObject and CreateMultipartUpload that lock the object, where this store locks it."""
        kind, options = naming.lock_of(full_key.removeprefix(self._prefix)), self.options
        if options.lock is None or kind is None:
            return {}
        days = options.lock_days if kind == "Snapshot" else ATTEMPT_DAYS
        return {"ObjectLockMode": options.lock, "ObjectLockRetainUntilDate": after(days)}

    def note_written(self, full_key: str, answer: Mapping[str, Any]) -> None:
        """Of the answer to a request that has written an object."""
        if self.options.lock is not None and answer.get("VersionId"):
            self.written[full_key] = answer["VersionId"]

    def put(self, full_key: str, data: Any, digest: bytes, **more: Any) -> None:
        """Writes an object with one request, checked by the server. Retries a transfer that changed bytes."""
        declared = base64.b64encode(digest).decode()
        with translated(f"write {full_key}", self.url):
            answer = repeated(
                lambda: self.client.put_object(
                    Bucket=self.bucket,
                    Key=full_key,
                    Body=data,
                    ChecksumSHA256=declared,
                    ContentType="application/octet-stream",
                    **self._encryption(),
                    **self.retention(full_key),
                    **more,
                )
            )
        self.note_written(full_key, answer)

    def create_upload(self, full_key: str) -> str:
        """Starts a multipart upload; returns its id."""
        answer = self.client.create_multipart_upload(
            Bucket=self.bucket,
            Key=full_key,
            ChecksumAlgorithm="SHA256",
            ContentType="application/octet-stream",
            **self._encryption(),
            **self.retention(full_key),
        )
        return answer["UploadId"]

    def upload_part(self, full_key: str, upload: str, number: int, body: Callable[[], Any], declared: str) -> str:
        """Uploads a part; the server checks its base64 SHA-256. Returns the ETag."""

        def send() -> str:
            answer = self.client.upload_part(
                Bucket=self.bucket,
                Key=full_key,
                UploadId=upload,
                PartNumber=number,
                Body=body(),
                ChecksumSHA256=declared,
            )
            return etag_of(answer, self.url)

        etag: str = repeated(send)
        return etag

    def abort_upload(self, full_key: str, upload: str) -> bool:
        """Aborts a multipart upload; returns False if it does not exist."""
        try:
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=full_key, UploadId=upload)
        except ClientError as error:
            if code_of(error) in _NO_UPLOAD:
                return False
            raise
        return True

    def head(self, key: str) -> ObjectInfo | None:
        """The object's size, or None if it does not exist."""
        with translated(f"find {key}", self.url):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=self.full_key(key), **self.read_version(key))
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return None
                raise
        return ObjectInfo(key, answer["ContentLength"])


def after(days: float) -> datetime:
    """The time so many days from now, in whole seconds."""
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)


def _wrong_digest() -> dict[str, Any]:
    return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()}


def _is_refused(request: Callable[[], Any]) -> bool:
    try:
        request()
    except ClientError as error:
        if code_of(error) in DIGEST_CODES or status_of(error) == 400:
            return True
        raise
    return False


def repeated(request: Callable[[], Any], attempts: int = 3) -> Any:
    """Retries a request whose bytes changed on the network. botocore retries transient errors."""
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except ClientError as error:
            if code_of(error) not in DIGEST_CODES or attempt == attempts:
                raise
            pause(attempt)
    raise AssertionError("unreachable")
