"""Objects in an S3-compatible store."""

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ocore_crds import conditions
from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import StoreError
from ocore_mover.store import s3_locks
from ocore_mover.store.interface import Guarantees, ObjectInfo, Store, Upload
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.retries import Patience
from ocore_mover.store.s3_bucket import UPLOADS, Bucket
from ocore_mover.store.s3_client import NOT_FOUND, code_of, status_of, translated
from ocore_mover.store.s3_options import S3Options
from ocore_mover.store.s3_purge import purge
from ocore_mover.store.s3_reader import Absent, download, read_range
from ocore_mover.store.s3_versions import folders, older, recover
from ocore_mover.store.s3_writer import PartPool, S3Writer

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

DELETE_BATCH = 1000
_NOT_IMPLEMENTED = {"501", "NotImplemented", "MethodNotAllowed", "405"}


class S3Store(Bucket, Store):
    """The store in a bucket, or in a prefix of it."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        super().__init__(bucket, prefix, options)
        self._marked = False  # a deletion has left a delete marker

    @cached_property
    def parts(self) -> PartPool:
        """The threads that upload parts, for all writers of this store."""
        return PartPool(UPLOADS)

    # --- writing ---------------------------------------------------------------------------------------------

    def writer(self, key: str, *, patience: Patience | None = None) -> S3Writer:
        """Streams a new object."""
        return S3Writer(self, self.parts, key, patience)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Also checks first whether the key exists, for servers that ignore If-None-Match. Its caller reads back what
        counts, so it is not tested what the server checks."""
        full_key = self.full_key(key)
        self.find()
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

    def lock(self, keys: Collection[str]) -> None:
        """See s3_locks.py."""
        s3_locks.lock(self, keys)

    def renew(self, keys: Collection[str]) -> int:
        """See s3_locks.py."""
        return s3_locks.renew(self, keys)

    def check_lock(self, key: str) -> tuple[str, ...]:
        """See s3_locks.py."""
        return s3_locks.check(self, key)

    def guarantees(self, key: str) -> Guarantees:
        """Tests what the server checks."""
        try:
            return self._tested(key)
        except StoreError as error:
            raise self._encryption_refused(error) or error from error

    def _encryption_refused(self, error: StoreError) -> StoreError | None:
        """The failure of a server that reads, but answers every encrypted write with an internal error: it does not
        support encryption."""
        if self.options.sse is None or not re.search(r"\b(InternalError|NotImplemented|501)\b", error.message):
            return None
        return StoreError(
            conditions.STORE_NOT_WRITABLE,
            f"{error.message} Reading works. spec.s3.serverSideEncryption is set: if the server does not support it,"
            " leave it out.",
        )

    def _tested(self, key: str) -> Guarantees:
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

    def digest(self, key: str) -> str | None:
        """The object's SHA-256 where the server checked it: that of one request. Of a multipart upload S3 has a digest
        of the parts' digests only."""
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

    def older(
        self, key: str, matches: Callable[[bytes], bool], *, limit: int, oldest_first: bool = False
    ) -> bytes | None:
        """See s3_versions.py."""
        return older(self, key, matches, limit, oldest_first=oldest_first)

    def recover(self, prefix: str, objects: Collection[StoredObject]) -> tuple[str, ...]:
        """See s3_versions.py."""
        return recover(self, self._prefix + prefix, objects)

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        """Some bytes of an object, not compared."""
        return read_range(self, obj, start, length, version)

    def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
        """All objects whose key starts with the prefix."""
        for page in self._pages(prefix, patience):
            for found in page.get("Contents", ()):
                yield ObjectInfo(
                    found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"].timestamp()
                )

    def folders(self, prefix: str, *, patience: Patience | None = None) -> Iterator[str]:
        """One request for a thousand of them."""
        for page in self._pages(prefix, patience, Delimiter="/"):
            for found in page.get("CommonPrefixes", ()):
                yield found["Prefix"].removeprefix(self._prefix + prefix).rstrip("/")

    def all_folders(self, prefix: str) -> Iterator[str]:
        """See s3_versions.py."""
        found = folders(self, self._prefix + prefix)
        return found if found is not None else self.folders(prefix)

    def _pages(self, prefix: str, patience: Patience | None, **more: Any) -> Iterator["ListObjectsV2OutputTypeDef"]:
        """Not boto3's paginator, which ends at an error: the order of the keys is the server's own, so that a listing
        cannot begin again after the last of them."""
        token: dict[str, Any] = {}

        def page() -> "ListObjectsV2OutputTypeDef":
            with translated(f"list {prefix or 'everything'}", self.url):
                return self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._prefix + prefix, **more, **token)

        while True:
            answer = page() if patience is None else patience.run(page)
            yield answer
            if not answer.get("IsTruncated"):
                return
            following = {"ContinuationToken": answer.get("NextContinuationToken")}
            if following in (token, {"ContinuationToken": None}):
                raise StoreError(
                    conditions.STORE_NOT_READY,
                    f"{self.url} lists {prefix or 'everything'} without an end: it names no next page, or the same one"
                    " again. Check the store.",
                )
            token = following

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
        """See s3_purge.py."""
        return purge(self, self._prefix + prefix, marked=self._marked)


def _whole_digest(declared: str, type_: str) -> str | None:
    """The hex digest of a base64 checksum of a whole object; None for `<digest>-<parts>` and for what is none."""
    if type_ == "COMPOSITE":
        return None
    try:
        found = base64.b64decode(declared, validate=True)
    except ValueError:
        return None
    return found.hex() if len(found) == hashlib.sha256().digest_size else None
