"""Where artifacts live: :func:`open_store` gives a :class:`~ocore_mover.store.base.Store` for a URL."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ocore_mover.store.base import ObjectInfo, Store, Writer
from ocore_mover.store.folder import FolderStore
from ocore_mover.store.s3_options import S3Options

__all__ = ["ObjectInfo", "S3Options", "Store", "Writer", "open_store"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(url: str, s3: S3Options | None = None) -> Store:
    """The store at ``s3://bucket/prefix`` or ``file:///folder``. Opens no connection and creates no folder yet.

    Raises ValueError for a URL of another form.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError(f"{url}: a store's URL has neither ? nor #")
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        if not _BUCKET.fullmatch(parts.netloc):
            raise ValueError(
                f"{url}: {parts.netloc!r} is not a valid bucket name (3 to 63 of a-z, 0-9, dot and hyphen)"
            )
        prefix = parts.path.strip("/")
        if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
            raise ValueError(f"{url}: the prefix must not have empty parts, '.' or '..'")
        from ocore_mover.store.s3 import S3Store  # imports botocore, which is slow

        return S3Store(parts.netloc, prefix, s3 or S3Options())
    raise ValueError(f"{url}: a store's URL is s3://bucket/prefix or file:///folder")
