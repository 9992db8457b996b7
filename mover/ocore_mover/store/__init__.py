"""Where artifacts live: :func:`open_store` gives a :class:`~ocore_mover.store.base.Store` for a URL."""

from dataclasses import dataclass
from pathlib import Path

from .base import ObjectInfo, Store, Writer

__all__ = ["ObjectInfo", "S3Options", "Store", "Writer", "open_store"]


@dataclass(frozen=True)
class S3Options:
    """How to reach an S3 store; the command line's options of the same names."""

    endpoint: str | None = None
    region: str = "us-east-1"
    credentials: Path | None = None
    ca: Path | None = None
    sse: str | None = None
    kms_key: str | None = None
    path_style: bool = True


def open_store(url: str, s3: S3Options | None = None) -> Store:
    """The store at ``s3://bucket/prefix`` or ``file:///folder``. Opens no connection yet.

    Raises ValueError for a URL of another form.
    """
    raise NotImplementedError
