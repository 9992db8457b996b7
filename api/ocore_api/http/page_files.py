"""The files of the page as `make ui` builds them, read once. What is not among them is never read from a disk."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from fastapi import Request, Response

from ocore_api.http.list_response import accepts_gzip

PAGE = "index.html"
ASSETS = "assets/"
#: The build puts a hash of the content into these names: another content has another name.
_HASHED = re.compile(rf"{ASSETS}[^/]+-[A-Z0-9]{{8}}\.[a-z0-9]+")
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
#: Not Python's table: that depends on files of the machine.
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class BuiltFile:
    """One file. `etag` fits both encodings, so it is a weak one."""

    content: bytes
    compressed: bytes
    media_type: str
    etag: str
    cache_control: str

    def response(self, request: Request) -> Response:
        """The file: compressed, unless the client cannot read that; or 304 where the client has it."""
        headers = {"Cache-Control": self.cache_control, "ETag": self.etag, "Vary": "Accept-Encoding"}
        known = {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}
        if self.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        content = self.content
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            headers["Content-Encoding"] = "gzip"
            content = self.compressed
        return Response(content, headers=headers, media_type=self.media_type)


def read(folder: Path) -> Mapping[str, BuiltFile]:
    """All files below a folder by their paths in it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {
        name: built(name, path.read_bytes(), IMMUTABLE if _HASHED.fullmatch(name) else REVALIDATE)
        for name, path in names.items()
    }


def built(name: str, content: bytes, cache_control: str) -> BuiltFile:
    """A file of that name."""
    return BuiltFile(
        content=content,
        compressed=gzip.compress(content, mtime=0),
        media_type=MEDIA_TYPES.get(PurePath(name).suffix, "application/octet-stream"),
        etag=f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',
        cache_control=cache_control,
    )
