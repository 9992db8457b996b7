"""Objects in an S3-compatible store."""

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ocore_crds import conditions
from ocore_crds.manifest import StoredObject
from ocore_crds.protocol import KeptVersions
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store.base import Guarantees, ObjectInfo, Upload
from ocore_mover.store.keys import checked
from ocore_mover.store.patience import Patience
from ocore_mover.store.s3_client import DIGEST_CODES, code_of, connect, status_of, translated
from ocore_mover.store.s3_options import S3Options
from ocore_mover.store.s3_reader import NOT_FOUND, Absent, download, pause
from ocore_mover.store.s3_versions import purge
from ocore_mover.store.s3_writer import PartPool, S3Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Uploads at once, and connections beside them for reads and small requests.
UPLOADS = 4
CONNECTIONS = UPLOADS + 8
DELETE_BATCH = 1000
_NO_UPLOAD = {"404", "NoSuchUpload", "NoSuchKey"}
_NOT_IMPLEMENTED = {"501", "NotImplemented", "MethodNotAllowed", "405"}


class S3Store:
    """A bucket, or a prefix in it."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self.bucket = bucket
        self.options = options
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock = threading.Lock()
        self._server_checks: bool | None = None
        self._marked = False  # a deletion has left a delete marker

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self._prefix}".rstrip("/")

    @property
    def local_root(self) -> Path | None:
        """None: not a folder."""
        return None

    @property
    def encrypted(self) -> bool:
        """Whether the options name an algorithm."""
        return self.options.sse is not None

    @cached_property
    def client(self) -> "S3Client":
        """The client, created at first use."""
        with translated("connect", self.url):
            return connect(self.options, CONNECTIONS)

    @cached_property
    def parts(self) -> PartPool:
        """The threads that upload parts, for all writers of this store."""
        return PartPool(UPLOADS)

    def full_key(self, key: str) -> str:
        """The key in the bucket."""
        return self._prefix + checked(key)

    # --- writing ---------------------------------------------------------------------------------------------

    def writer(self, key: str, *, patience: Patience | None = None) -> S3Writer:
        """Streams a new object."""
        return S3Writer(self, key, patience)

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        """Not possible in S3."""
        raise NotImplementedError("an S3 store cannot adopt files")

    def server_checks(self, near: str) -> bool:
        """Whether the server refuses bytes that do not match their SHA-256, in whole objects and in parts.

        Tested once in each process, before the first write, by requests with a wrong digest beside that full key: leftovers
        of a killed process are deleted together with the snapshot. Raises StoreError BucketNotFound first, because some
        servers (SeaweedFS) create a missing bucket.
        """
        with self._lock:
            if self._server_checks is None:
                with translated("access the bucket", self.url):
                    self._find_bucket()
                    self._server_checks = self._refuses_wrong_object(near) and self._refuses_wrong_part(near)
            return self._server_checks

    def _find_bucket(self) -> None:
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if status_of(error) != 404:
                raise
            raise StoreError(
                conditions.BUCKET_NOT_FOUND,
                f"the bucket of {self.url} does not exist. Create it, or correct its name.",
            ) from error

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

    def put(self, full_key: str, data: Any, digest: bytes, **more: Any) -> None:
        """Writes an object with one request, checked by the server. Retries a transfer that changed bytes."""
        declared = base64.b64encode(digest).decode()
        with translated(f"write {full_key}", self.url):
            repeated(
                lambda: self.client.put_object(
                    Bucket=self.bucket,
                    Key=full_key,
                    Body=data,
                    ChecksumSHA256=declared,
                    ContentType="application/octet-stream",
                    **self._encryption(),
                    **more,
                )
            )

    def create_upload(self, full_key: str) -> str:
        """Starts a multipart upload; returns its id."""
        answer = self.client.create_multipart_upload(
            Bucket=self.bucket,
            Key=full_key,
            ChecksumAlgorithm="SHA256",
            ContentType="application/octet-stream",
            **self._encryption(),
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
            return answer["ETag"]

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

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Also checks first whether the key exists, for servers that ignore If-None-Match."""
        full_key = self.full_key(key)
        self.server_checks(full_key)
        if self.head(key) is not None:
            return False
        digest = hashlib.sha256(data).digest()
        for condition in ({"IfNoneMatch": "*"}, {}):
            try:
                self.put(full_key, data, digest, **condition)
            except StoreError as error:
                cause = error.__cause__
                if not isinstance(cause, ClientError):
                    raise
                if status_of(cause) in (409, 412):
                    return False
                if not condition or code_of(cause) not in _NOT_IMPLEMENTED:
                    raise
            else:
                break
        return True

    def guarantees(self, key: str) -> Guarantees:
        """Tests what the server checks."""
        full_key = self.full_key(key)
        checks = self.server_checks(full_key)
        data = b"probe"
        digest = hashlib.sha256(data).digest()
        try:
            self.put(full_key, data, digest)
            conditional = self._refuses_overwrite(full_key, data, digest)
        finally:
            self.delete([key])
        return Guarantees("Server" if checks else "ReadBack", conditional)

    def _refuses_overwrite(self, full_key: str, data: bytes, digest: bytes) -> bool:
        try:
            self.put(full_key, data, digest, IfNoneMatch="*")
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and status_of(cause) in (409, 412):
                return True
            if isinstance(cause, ClientError) and code_of(cause) in _NOT_IMPLEMENTED:
                return False
            raise
        return False

    # --- reading ---------------------------------------------------------------------------------------------

    def head(self, key: str) -> ObjectInfo | None:
        """The object's size, or None if it does not exist."""
        with translated(f"find {key}", self.url):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=self.full_key(key))
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return None
                raise
        return ObjectInfo(key, answer["ContentLength"])

    def digest(self, key: str) -> str | None:
        """The object's SHA-256 where the server checked it: that of one request. Of a multipart upload S3 has a digest of the parts' digests only."""
        full_key = self.full_key(key)
        if not self.server_checks(full_key):
            return None
        with translated(f"find {key}", self.url):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=full_key, ChecksumMode="ENABLED")
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return None
                raise
        return _whole_digest(answer.get("ChecksumSHA256", ""), answer.get("ChecksumType", ""))

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        """A small object."""
        data = bytearray()
        try:
            for chunk in download(self, key, None):
                data += chunk
                if len(data) > limit:
                    raise StoreError(conditions.CORRUPT, f"{key} in {self.url} is larger than {limit} bytes")
        except Absent:
            return None
        return bytes(data)

    def read(self, obj: StoredObject) -> Iterator[bytes]:
        """An object in chunks; compares its size and SHA-256 at the end."""
        digest = hashlib.sha256()
        try:
            for chunk in download(self, obj.key, obj.size):
                digest.update(chunk)
                yield chunk
        except Absent as error:
            raise Corrupt(f"{obj.key} is missing in {self.url}") from error
        if digest.hexdigest() != obj.sha256:
            raise Corrupt(f"{obj.key} in {self.url} is not what was stored: its SHA-256 differs from the manifest")

    def read_range(self, obj: StoredObject, start: int, length: int) -> Iterator[bytes]:
        """Some bytes of an object, not compared."""
        try:
            yield from download(self, obj.key, obj.size, start, start + length)
        except Absent as error:
            raise Corrupt(f"{obj.key} is missing in {self.url}") from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key starts with the prefix."""
        with translated(f"list {prefix or 'everything'}", self.url):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    yield ObjectInfo(
                        found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"].timestamp()
                    )

    def folders(self, prefix: str) -> Iterator[str]:
        """One request for a thousand of them."""
        start = self._prefix + prefix
        with translated(f"list {prefix or 'everything'}", self.url):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start, Delimiter="/"
            )
            for page in pages:
                for found in page.get("CommonPrefixes", ()):
                    yield found["Prefix"].removeprefix(start).rstrip("/")

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Unfinished multipart uploads below the prefix."""
        with translated(f"list unfinished uploads of {prefix or 'everything'}", self.url):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for found in page.get("Uploads", ()):
                    key = found["Key"].removeprefix(self._prefix)
                    yield Upload(key, found["UploadId"], found["Initiated"].timestamp())

    def discard(self, upload: Upload) -> bool:
        """Aborts an upload."""
        with translated(f"abort an upload of {upload.key}", self.url):
            return self.abort_upload(self.full_key(upload.key), upload.id)

    # --- deleting --------------------------------------------------------------------------------------------

    def delete(self, keys: Iterable[str]) -> int:
        """Deletes in batches of 1000. S3 does not report which keys existed: returns the number of keys."""
        count = 0
        batch: list[str] = []
        for key in keys:
            batch.append(self.full_key(key))
            if len(batch) == DELETE_BATCH:
                count += self._delete_batch(batch)
                batch = []
        return count + (self._delete_batch(batch) if batch else 0)

    def _delete_batch(self, full_keys: Sequence[str]) -> int:
        with translated(f"delete {full_keys[0]}", self.url):
            try:
                # Not quiet: the answer shows whether the bucket has versioning, without another right.
                answer = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in full_keys]}
                )
            except ClientError as error:
                if code_of(error) not in _NOT_IMPLEMENTED:
                    raise
                # Google's XML API has no DeleteObjects.
                for key in full_keys:
                    self.client.delete_object(Bucket=self.bucket, Key=key)
                return len(full_keys)
            for failed in answer.get("Errors", ()):
                if failed.get("Code") not in NOT_FOUND:
                    raise ClientError({"Error": dict(failed)}, "DeleteObjects")  # type: ignore[typeddict-item]
            self._marked = self._marked or any(d.get("DeleteMarker") for d in answer.get("Deleted", ()))
        return len(full_keys)

    def purge(self, prefix: str) -> KeptVersions | None:
        """See s3_versions.py."""
        return purge(self, self._prefix + prefix, marked=self._marked)

    def abort_uploads(self, prefix: str, *, spare: str = "") -> int:
        """Aborts unfinished multipart uploads below the prefix."""
        count = 0
        with translated(f"list unfinished uploads of {prefix or 'everything'}", self.url):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self._prefix + prefix
            )
            # List all of them first: aborting while paging would skip some.
            found = [(upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", ())]
            for key, upload in found:
                if not (spare and key.startswith(self._prefix + spare)):
                    count += self.abort_upload(key, upload)
        return count


def _whole_digest(declared: str, type_: str) -> str | None:
    """The hex digest of a base64 checksum of a whole object; None for `<digest>-<parts>` and for what is none."""
    if type_ == "COMPOSITE":
        return None
    try:
        found = base64.b64decode(declared, validate=True)
    except ValueError:
        return None
    return found.hex() if len(found) == hashlib.sha256().digest_size else None


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
