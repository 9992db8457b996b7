"""Versions of objects in a bucket with versioning: the one that was stored is found by its size and digest, whatever
was written over it or hides it.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from botocore.exceptions import ClientError

from ocore_crds.stored.manifest import StoredObject
from ocore_crds.stored.object_versions import Candidates
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.s3_bucket import Bucket
from ocore_mover.store.s3_client import code_of, status_of, translated
from ocore_mover.store.s3_reader import Absent, download

log = logging.getLogger(__name__)

_NO_SUCH_REQUEST = {"NotImplemented", "MethodNotAllowed", "501", "405"}


@dataclass(frozen=True)
class ObjectVersion:
    """A version of an object, or a delete marker."""

    key: str
    id: str
    size: int
    modified: datetime
    marker: bool
    newest: bool


def listed(bucket: Bucket, full_prefix: str) -> Iterator[ObjectVersion]:
    """Each version and delete marker below the prefix; the newest one of a key first. Raises ClientError."""
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.bucket, Prefix=full_prefix)
    for page in pages:
        for kind in ("Versions", "DeleteMarkers"):
            entries: Sequence[Any] = page.get(kind, ())  # type: ignore[assignment]
            for each in entries:
                yield ObjectVersion(
                    each["Key"],
                    each["VersionId"],
                    each.get("Size", 0),
                    each["LastModified"],
                    marker=kind == "DeleteMarkers",
                    newest=bool(each.get("IsLatest")),
                )


def folders(bucket: Bucket, full_prefix: str) -> Iterator[str] | None:
    """The folders below the prefix of which any version exists, sorted. None where the credentials or the server do not
    allow the listing."""
    paginator = bucket.client.get_paginator("list_object_versions")
    pages = iter(paginator.paginate(Bucket=bucket.bucket, Prefix=full_prefix, Delimiter="/"))
    with translated(f"list the versions of {full_prefix}", bucket.url):
        try:
            first = next(pages)
        except ClientError as error:
            if not unsupported(error):
                raise
            return None
    return _folders_of(bucket, full_prefix, chain([first], pages))


def _folders_of(bucket: Bucket, full_prefix: str, pages: Iterator[Any]) -> Iterator[str]:
    with translated(f"list the versions of {full_prefix}", bucket.url):
        for page in pages:
            for found in page.get("CommonPrefixes", ()):
                yield found["Prefix"].removeprefix(full_prefix).rstrip("/")


def unsupported(error: ClientError) -> bool:
    """Whether the credentials or the server do not allow the request, whatever the bucket holds. Servers without
    versioning answer in many ways."""
    return status_of(error) in (400, 401, 403, 405, 501) or code_of(error) in _NO_SUCH_REQUEST


def recover(bucket: Bucket, full_prefix: str, objects: Collection[StoredObject]) -> tuple[str, ...]:
    """See :meth:`~ocore_mover.store.interface.Store.recover`. Compares bytes only where several versions of an object
    have its size."""
    wanted = {bucket.full_key(obj.key): obj for obj in objects}
    found: dict[str, Candidates[ObjectVersion]] = {}
    for version in _allowed(bucket, full_prefix):
        if version.key in wanted and not version.marker and version.size == wanted[version.key].size:
            found.setdefault(version.key, Candidates()).add(version)
    recovered = []
    for full_key, candidates in found.items():
        obj, ordered = wanted[full_key], candidates.ordered()
        # The only one is compared when it is read.
        chosen = ordered[0] if len(ordered) == 1 else _with_digest(bucket, obj, ordered)
        if chosen is not None and not chosen.newest:
            bucket.versions[obj.key] = chosen.id
            recovered.append(obj.key)
    return tuple(recovered)


def older(
    bucket: Bucket, key: str, matches: Callable[[bytes], bool], limit: int, *, oldest_first: bool = False
) -> bytes | None:
    """See :meth:`~ocore_mover.store.interface.Store.older`."""
    full_key = bucket.full_key(key)
    candidates = Candidates[ObjectVersion]()
    for version in _allowed(bucket, full_key):
        if version.key == full_key and not version.marker and version.size <= limit:
            candidates.add(version)
    for version in candidates.ordered(oldest_first=oldest_first):
        data = b"".join(_chunks(bucket, key, version))
        if matches(data):
            return data
    return None


def _allowed(bucket: Bucket, full_prefix: str) -> Iterator[ObjectVersion]:
    """None where the credentials or the server do not allow the listing: then only the newest versions are read."""
    with translated(f"list the versions of {full_prefix}", bucket.url):
        try:
            yield from listed(bucket, full_prefix)
        except ClientError as error:
            if not unsupported(error):
                raise
            log.debug("versions cannot be listed", extra={"prefix": full_prefix, "error": str(error)})


def _with_digest(bucket: Bucket, obj: StoredObject, versions: Sequence[ObjectVersion]) -> ObjectVersion | None:
    for version in versions:
        digest = hashlib.sha256()
        for chunk in _chunks(bucket, obj.key, version):
            digest.update(chunk)
        if digest.hexdigest() == obj.sha256:
            return version
    return None


def _chunks(bucket: Bucket, key: str, version: ObjectVersion) -> Iterator[bytes]:
    """Nothing where it was deleted in the meantime."""
    try:
        yield from download(bucket, key, version.size, version=Pinned(version.id))
    except Absent:
        return
