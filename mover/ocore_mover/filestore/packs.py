"""Packs: the files of a filestore as tar archives, streamed into a store, with an index."""

from ocore_crds.manifest import FilestoreArtifact

from ..report import Counter
from ..store.base import Store
from .folders import ClaimFolders
from .freeze import Frozen


def store_odoo(
    store: Store, prefix: str, frozen: Frozen, counter: Counter, *, jobs: int = 2, skipped_uris: int = 0
) -> FilestoreArtifact:
    """Stores the frozen files below ``<prefix>filestore/``. `prefix` is naming.attempt_prefix(…).

    Every file's SHA-1 is checked against its name. Raises MoverError AttachmentCorrupt (names the file),
    FilestoreChanging (not frozen, and a file vanished: take a new database snapshot and try again; retryable) and
    StoreError. Hits the failpoint snapshot-pack-stored. `frozen.missing` goes into the artifact's `missing`.
    """
    raise NotImplementedError


def store_plain(
    store: Store, prefix: str, folders: ClaimFolders, counter: Counter, *, jobs: int = 2
) -> tuple[FilestoreArtifact, tuple[str, ...]]:
    """Stores a folder of any files; the second value are warnings (sockets, devices: skipped).

    Raises MoverError FilestoreChanging, FilestoreNotFound, FilestoreNotReadable and StoreError.
    """
    raise NotImplementedError
