"""Objects of any size in a store."""

import random

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.store import Store
from ocore_mover.store.s3_writer import part_size

MIB = 1024 * 1024
#: Bytes of one upload to S3.
PART = part_size(1)


def random_bytes(size: int) -> bytes:
    """The same ones each time."""
    return random.Random(size).randbytes(size)  # noqa: S311 - no secret


def put(store: Store, key: str, data: bytes, piece: int = 70_000) -> StoredObject:
    with store.writer(key) as writer:
        for start in range(0, len(data), piece):
            writer.write(data[start : start + piece])
        return writer.commit()
