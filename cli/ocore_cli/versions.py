"""Versions of objects in a bucket with versioning, read and copied with the caller's own keys. Deletes nothing."""

import hashlib
import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from ocore_crds.resources.snapshotstore import S3

from . import s3
from .errors import CliError, Denied

#: Bytes that one request copies. S3 allows 5 GiB; a server that is silent for a minute counts as unreachable.
PART = 512 * 1024 * 1024
#: Versions in one answer, at most.
PAGE = 1000
#: Bytes of an answer that is kept whole.
_ANSWER = 64 * 1024 * 1024
_VERSION = re.compile(r"<(Version|DeleteMarker)>(.*?)</\1>", re.DOTALL)
_FIELD = re.compile(r"<(Key|VersionId|IsLatest|Size|ETag|NextKeyMarker|NextVersionIdMarker|UploadId)>([^<]*)</")


@dataclass(frozen=True)
class Version:
    """A version of an object, or a delete marker."""

    key: str  # below the store's prefix
    id: str
    size: int
    etag: str
    marker: bool
    newest: bool


@dataclass(frozen=True)
class Bucket:
    """The bucket of a store, and how this program reaches it."""

    store: S3
    keys: s3.Credentials
    ca: str | None
    endpoint: str | None

    def versions(self, prefix: str) -> Iterator[Version]:
        """Those of every key with the prefix; of one key the newest first, as S3 lists them. Raises CliError."""
        own = f"{self.store.prefix}/" if self.store.prefix else ""
        page = {"prefix": own + prefix, "versions": "", "max-keys": str(PAGE)}
        while True:
            with _needing("s3:ListBucketVersions"):
                text = self._text(f"{self._url()}?{_query(page)}")
            for kind, entry in _VERSION.findall(text):
                found = _fields(entry)
                yield Version(
                    found.get("Key", "").removeprefix(own),
                    found.get("VersionId") or "null",
                    int(found.get("Size") or 0),
                    found.get("ETag", "").strip('"'),
                    marker=kind == "DeleteMarker",
                    newest=found.get("IsLatest") == "true",
                )
            after = _fields(_VERSION.sub("", text))
            following = {
                **page,
                "key-marker": after.get("NextKeyMarker", ""),
                "version-id-marker": after.get("NextVersionIdMarker", ""),
            }
            if "<IsTruncated>true" not in text:
                return
            if following == page or not following["key-marker"]:
                raise CliError(f"the store lists the versions below {prefix} without an end")
            page = following

    def read(self, version: Version) -> Iterator[bytes]:
        """Its contents in chunks. Raises CliError."""
        url = f"{self._url(version.key)}?{_query({'versionId': version.id})}"
        with _needing("s3:GetObjectVersion"):
            yield from s3.get(url, self.store.region, self.keys, self.ca)

    def sha256(self, version: Version) -> str:
        """Of its contents, read whole."""
        digest = hashlib.sha256()
        for chunk in self.read(version):
            digest.update(chunk)
        return digest.hexdigest()

    def make_newest(self, version: Version) -> None:
        """Copies it to a new version of the same key, inside of the store. Raises CliError."""
        with _needing("s3:PutObject and s3:GetObjectVersion (and those of the KMS key, if there is one)"):
            self._copy(version)

    def _copy(self, version: Version) -> None:
        if version.size <= PART:
            self._text(self._url(version.key), "PUT", self._source(version) | self._encryption())
            return
        url = self._url(version.key)
        upload = _fields(self._text(f"{url}?uploads=", "POST", self._encryption())).get("UploadId", "")
        parts = []
        for number, start in enumerate(range(0, version.size, PART), 1):
            end = min(start + PART, version.size) - 1
            query = _query({"partNumber": str(number), "uploadId": upload})
            more = self._source(version) | {"x-amz-copy-source-range": f"bytes={start}-{end}"}
            etag = _fields(self._text(f"{url}?{query}", "PUT", more)).get("ETag", "")
            parts.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{html.escape(etag)}</ETag></Part>")
        body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>"
        self._text(f"{url}?{_query({'uploadId': upload})}", "POST", {}, body.encode())

    def _source(self, version: Version) -> dict[str, str]:
        key = quote(f"{self.store.bucket}/{self.store.prefix}/{version.key}".replace("//", "/"), safe="/-_.~")
        return {"x-amz-copy-source": f"/{key}?{_query({'versionId': version.id})}"}

    def _encryption(self) -> dict[str, str]:
        found = self.store.server_side_encryption
        if found is None:
            return {}
        key = {"x-amz-server-side-encryption-aws-kms-key-id": found.kms_key_id} if found.kms_key_id else {}
        return {"x-amz-server-side-encryption": found.algorithm, **key}

    def _url(self, key: str = "") -> str:
        """Of an object, or of the bucket."""
        store = self.store if key else self.store.model_copy(update={"prefix": ""})
        return s3.url_of(store, key, self.endpoint)

    def _text(self, url: str, method: str = "GET", more: dict[str, str] | None = None, data: bytes = b"") -> str:
        """The answer. A copy that fails late is answered with 200 and an error."""
        body = data if method != "GET" else None
        with s3.asked(url, self.store.region, self.keys, self.ca, body, more or {}, method) as answer:
            text = answer.read(_ANSWER + 1)
        if len(text) > _ANSWER:
            raise CliError(f"the answer of the store for {url} is larger than {_ANSWER} bytes")
        if b"<Error>" in text:
            raise CliError(f"the store answers {text[:500].decode(errors='replace')} for {url}")
        return text.decode(errors="replace")


@contextmanager
def _needing(rights: str) -> Iterator[None]:
    try:
        yield
    except Denied as error:
        raise Denied(f"{error}. These keys need the right {rights}") from error


def _query(found: dict[str, str]) -> str:
    """Sorted, as a signature needs it."""
    return urlencode(sorted(found.items()), quote_via=quote, safe="-_.~")


def _fields(text: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in _FIELD.findall(text)}
