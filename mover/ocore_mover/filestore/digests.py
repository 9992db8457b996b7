"""Reads every byte of a stored filestore and compares the digest of each file. Nothing is written: no claim is
needed."""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import layouts
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.unpack import Block, blocks, entries, whole
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store
from ocore_mover.workers import run_workers

#: Buckets of names, by their first two hexadecimal digits.
_BUCKETS = 256
_MODULUS = 1 << 128
#: Names that a message shows.
_SHOWN = 3


class NameSums:
    """A digest of a set of names, whatever their order: memory does not grow with their number.

    Each name is hashed with a key of this process, so no one can choose names whose sums are equal. Bucket by bucket,
    so that a difference is found by looking at one of 256 parts.
    """

    def __init__(self, key: bytes) -> None:
        """Two sums can be compared if they have the same key."""
        self._key = key
        self._sums = [0] * _BUCKETS
        self._counts = [0] * _BUCKETS

    def add(self, name: str) -> None:
        """One more name, ``xx/sha1`` or ``xxx/sha1``."""
        bucket = int(name[:2], 16)
        number = int.from_bytes(hashlib.blake2b(name.encode(), key=self._key, digest_size=16).digest(), "big")
        self._sums[bucket] = (self._sums[bucket] + number) % _MODULUS
        self._counts[bucket] += 1

    def differing(self, other: "NameSums") -> int | None:
        """The first bucket in which the two sets differ; None: they are equal."""
        for bucket in range(_BUCKETS):
            mine = (self._sums[bucket], self._counts[bucket])
            if mine != (other._sums[bucket], other._counts[bucket]):
                return bucket
        return None


@dataclass(frozen=True)
class FilesRead:
    """What was read and matched."""

    files: int
    size: int
    names: NameSums | None  # where the database names the files


class _Reading:
    """What the workers share."""

    def __init__(self, store: Store, artifact: FilestoreArtifact, counter: Counter, key: bytes) -> None:
        self._store = store
        self._artifact = artifact
        self._counter = counter
        layout = layouts.of(artifact.layout)
        self._parse = layout.parse
        self._algorithm = layout.algorithm
        self._read: set[str] = set()  # keys of packs
        self.names = NameSums(key) if layout.names_in_database else None
        self.files = self.size = 0

    def blocks(self) -> Iterator[Block]:
        """The index, pack by pack, then the packs that it does not name. One thread at a time takes the next one."""
        for pack, known in blocks(self._store, self._artifact, self._parse):
            self._read.add(pack.key)
            for entry in known:
                if entry.kind == "file":
                    self.files += 1
                    self.size += entry.size
                    if self.names is not None:
                        self.names.add(entry.name)
            yield pack, known
        for pack in self._artifact.packs:
            if pack.key not in self._read:
                yield pack, []

    def work(self, packs: Iterator[Block]) -> None:
        """One worker: reads packs until there are no more."""
        for pack, known in packs:
            self._check(pack, [entry for entry in known if entry.kind == "file"])

    def _check(self, pack: StoredObject, files: list[Entry]) -> None:
        for entry, pieces in whole(self._store, pack, files, self._algorithm):
            for _ in pieces:
                pass
            self._counter.add(bytes_=entry.size, files=1)

    def check_whole(self) -> None:
        """Raises Corrupt unless the index has as many files and bytes as the manifest."""
        found, stated = (self.files, self.size), (self._artifact.file_count, self._artifact.size_bytes)
        if found != stated:
            raise Corrupt(
                f"the index names {found[0]} files of {found[1]} bytes and the manifest {stated[0]} files of"
                f" {stated[1]} bytes"
            )


def read_all(store: Store, artifact: FilestoreArtifact, counter: Counter, key: bytes, *, jobs: int = 1) -> FilesRead:
    """Reads the index and every pack completely. `key`: for the sums of the names, see :func:`new_key`.

    Raises Corrupt where bytes differ from their SHA-256 or a file from its digest, StoreError.
    """
    counter.bytes_total, counter.files_total = artifact.size_bytes, artifact.file_count
    reading = _Reading(store, artifact, counter, key)
    run_workers(jobs, reading.blocks(), reading.work)
    reading.check_whole()
    return FilesRead(reading.files, reading.size, reading.names)


def new_key() -> bytes:
    """For :class:`NameSums` that are to be compared."""
    return secrets.token_bytes(32)


def check_names(
    named: Iterable[str], in_snapshot: NameSums, store: Store, artifact: FilestoreArtifact, key: bytes
) -> None:
    """Checks that the snapshot has the files that the restored database names, and no others. `named`: their names,
    without those known to be lost; iterated twice where they differ.

    Raises MoverError AttachmentsMissing, VerificationFailed.
    """
    sums = NameSums(key)
    for name in named:
        sums.add(name)
    bucket = sums.differing(in_snapshot)
    if bucket is None:
        return
    wanted = {name for name in named if int(name[:2], 16) == bucket}
    line = layouts.of(artifact.layout).parse
    stored = {e.name for e in entries(store, artifact, line) if int(e.name[:2], 16) == bucket}
    missing = sorted(wanted - stored)
    if missing:
        raise MoverError(
            conditions.ATTACHMENTS_MISSING,
            "the restored database names files that the snapshot does not have, for example"
            f" {', '.join(missing[:_SHOWN])}; take a new snapshot",
        )
    raise MoverError(
        conditions.VERIFICATION_FAILED,
        "the snapshot has files that the restored database does not name, for example"
        f" {', '.join(sorted(stored - wanted)[:_SHOWN])}: it is inconsistent; take a new snapshot",
    )
