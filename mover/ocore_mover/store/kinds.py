"""The kinds of stores: one row for each, by the scheme of its URL. No other module of the mover chooses between
kinds."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from ocore_mover.store.folder import FolderStore
from ocore_mover.store.interface import Store
from ocore_mover.store.s3_options import S3Options

#: Opens a store from the parts of its URL and the options of S3. Raises ValueError for a URL of another form.
Opener = Callable[[SplitResult, S3Options], Store]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _folder(parts: SplitResult, _: S3Options) -> Store:
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError(f"{parts.geturl()}: a store's URL is file:///folder, with the folder's whole path")
    return FolderStore(Path(unquote(parts.path)))


def _s3(parts: SplitResult, options: S3Options) -> Store:
    url = parts.geturl()
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"{url}: {parts.netloc!r} is not a valid bucket name (3 to 63 of a-z, 0-9, dot and hyphen)")
    prefix = parts.path.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ValueError(f"{url}: the prefix must not have empty parts, '.' or '..'")
    from ocore_mover.store.s3 import S3Store  # imports botocore, which is slow

    return S3Store(parts.netloc, prefix, options)


KINDS: dict[str, Opener] = {
    "file": _folder,
    "s3": _s3,
}


def open_store(url: str, s3: S3Options | None = None) -> Store:
    """The store at ``s3://bucket/prefix`` or ``file:///folder``. Opens no connection and creates no folder yet.

    Raises ValueError for a URL of another form.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError(f"{url}: a store's URL has neither ? nor #")
    if parts.scheme not in KINDS:
        raise ValueError(f"{url}: a store's URL is s3://bucket/prefix or file:///folder")
    return KINDS[parts.scheme](parts, s3 or S3Options())
