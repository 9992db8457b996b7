"""Where artifacts live: :func:`open_store` gives a :class:`~ocore_mover.store.interface.Store` for a URL."""

from ocore_mover.store.interface import ObjectInfo, Store, Writer
from ocore_mover.store.kinds import open_store
from ocore_mover.store.s3_options import S3Options

__all__ = ["ObjectInfo", "S3Options", "Store", "Writer", "open_store"]
