"""Manifests: written last and once, read, checked against the store, deleted first."""

from dataclasses import dataclass

from ocore_crds.manifest import Manifest
from ocore_crds.protocol import SnapshotResult

from .report import Counter
from .store.base import Store


@dataclass(frozen=True)
class StoredManifest:
    """A manifest as it lies in the store."""

    manifest: Manifest
    key: str
    sha256: str  # of its bytes


def write(store: Store, manifest: Manifest) -> StoredManifest:
    """Publishes a snapshot. The first manifest wins: raises MoverError ManifestExists where another attempt's is there
    (the same attempt's own, found again after a lost answer, is fine). Reads it back and compares."""
    raise NotImplementedError


def read(store: Store, environment_id: str, snapshot_id: str, *, sha256: str | None = None) -> StoredManifest:
    """Raises MoverError SnapshotNotFound, Corrupt (not JSON of ours, ids differ, digest is not `sha256`)."""
    raise NotImplementedError


def find(store: Store, environment_id: str, snapshot_id: str) -> StoredManifest | None:
    """As :func:`read`, None where there is none."""
    raise NotImplementedError


def result(stored: StoredManifest, *, read_back: bool = False) -> SnapshotResult:
    """What ``snapshot`` and ``inspect`` report of it, checksums and paths included."""
    raise NotImplementedError


def check_objects(store: Store, manifest: Manifest) -> None:
    """Every object is there with its size (no byte is read). Raises Corrupt naming the first that is not."""
    raise NotImplementedError


def verify_objects(store: Store, manifest: Manifest, counter: Counter, *, jobs: int = 2) -> int:
    """Reads every byte and compares. Returns the bytes read; raises Corrupt."""
    raise NotImplementedError


def delete_snapshot(store: Store, environment_id: str, snapshot_id: str) -> tuple[int, int]:
    """Manifest first, then every object below the prefix, then stale uploads: (objects, uploads aborted). Idempotent.
    Hits the failpoint delete-manifest-gone."""
    raise NotImplementedError


def delete_leftovers(
    store: Store, environment_id: str, snapshot_id: str, *, keep_attempt: str | None = None
) -> tuple[int, int]:
    """Deletes what no manifest names: everything but the manifest and its objects; `keep_attempt` spares an attempt that
    is being written. (objects, uploads aborted)."""
    raise NotImplementedError
