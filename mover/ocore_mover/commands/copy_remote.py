"""``copy-remote``: copies a snapshot into another store, byte for byte, under the same keys.

The manifest goes last and keeps the id of the store that the snapshot was written to. A copy is accepted by the
manifest's SHA-256: with the same manifest, every object has the digest that the manifest names. An attempt that was
killed is continued: an object that is in the remote store with its size and SHA-256 is not sent again.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ocore_crds import conditions, failpoints, naming
from ocore_crds.commands.copy_remote import CopyRemoteRequest, CopyResult
from ocore_crds.reports.base import Step
from ocore_crds.stored.manifest import AnyManifest, StoredObject
from ocore_crds.stored.snapshot_state import MAX_BYTES
from ocore_mover import dependents, manifests, states
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.manifests import StoredManifest
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store, abort_uploads, small
from ocore_mover.store.probe import store_id
from ocore_mover.workers import run_workers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Sent:
    objects: int
    bytes: int


def execute(runtime: Runtime, request: CopyRemoteRequest) -> CopyResult:
    """Copies the snapshot from one store to the other.

    Raises MoverError SameStore, SnapshotNotFound, RemoteCopyConflict (another manifest exists), BaseNotCopied
    (retryable); Corrupt where the source differs from its manifest: such bytes never become an object of the target.
    """
    source, target = runtime.guarded(opening.source(request.source)), runtime.guarded(opening.store(request.store))
    with runtime.step(Step.COPY_REMOTE):
        with _of_target():
            remote = store_id(target)
        if store_id(source) == remote:
            raise MoverError(
                conditions.SAME_STORE,
                f"{source.url} and {target.url} are the same store (id {remote}), so a copy would protect nothing. Name"
                " another SnapshotStore in spec.remoteStoreRef of the Environment.",
            )
        stored, data = manifests.read_bytes(
            source, request.environment_id, request.snapshot_id, sha256=request.manifest_sha256
        )
        published = _check_target(target, stored, data)
        _check_base(target, stored.manifest)
        counter = runtime.counter(Step.COPY_REMOTE)
        sent = _Copy(source, target, stored.manifest, counter).run(request.jobs)
        _copy_keys(source, target, stored.manifest)
        _copy_signature(source, target, stored.manifest)
        failpoints.hit("copy-remote-objects")
        if not published:
            _copy_state(source, target, request)
        _publish(target, stored, data)
        failpoints.hit("copy-remote-manifest")
        _check_base_again(target, stored)
        with _of_target():
            state = states.readable(target, request.environment_id, request.snapshot_id)
    objects = stored.manifest.objects()
    return CopyResult(
        store_id=remote,
        manifest_key=stored.key,
        manifest_sha256=stored.sha256,
        objects=len(objects),
        bytes=stored.manifest.stored_bytes(),
        objects_sent=sent.objects,
        bytes_sent=sent.bytes,
        state=state,
    )


class _Copy:
    """The objects of one manifest, copied by some threads."""

    def __init__(self, source: Store, target: Store, manifest: AnyManifest, counter: Counter) -> None:
        self._source, self._target, self._manifest, self._counter = source, target, manifest, counter
        self._lock = threading.Lock()
        self._sent = _Sent(0, 0)

    def run(self, jobs: int) -> _Sent:
        """Copies what the target lacks, the largest objects first. Returns what was sent."""
        objects = sorted(self._manifest.objects(), key=lambda obj: -obj.size)
        self._counter.bytes_total, self._counter.files_total = sum(obj.size for obj in objects), len(objects)
        identity = self._manifest.identity
        prefix = naming.snapshot_prefix(identity.environment_id, identity.snapshot_id)
        with _of_target():
            abort_uploads(self._target, prefix)  # of a killed attempt; one copy of a snapshot runs at a time
            sizes = {found.key: found.size for found in self._target.list(prefix)}

        def work(some: Iterator[StoredObject]) -> None:
            for obj in some:
                with _of_target():
                    known = sizes.get(obj.key) == obj.size and self._is_copied(obj)
                if known:
                    self._counter.add(bytes_=obj.size, files=1)
                else:
                    self._send(obj)

        run_workers(min(jobs, len(objects)), objects, work)
        return self._sent

    def _is_copied(self, obj: StoredObject) -> bool:
        """Whether the target's object, which has the right size, has the right bytes: by the store's own checksum, else
        by reading it."""
        digest = self._target.digest(obj.key)
        if digest is not None:
            return digest == obj.sha256
        try:
            for _ in self._target.read(obj):
                pass
        except Corrupt:
            return False
        return True

    def _send(self, obj: StoredObject) -> None:
        """Streams one object. Leaving the writer without a commit discards it: so it does where the source's bytes are
        not those of the manifest."""
        with self._target.writer(obj.key) as writer:
            for chunk in self._source.read(obj):
                with _of_target():
                    writer.write(chunk)
                self._counter.add(bytes_=len(chunk))
            with _of_target():
                written = writer.commit()
        if written != obj:
            raise _not_written(f"{obj.key} was written to {self._target.url} with other bytes than were read")
        self._counter.add(files=1)
        with self._lock:
            self._sent = _Sent(self._sent.objects + 1, self._sent.bytes + obj.size)
        failpoints.hit("copy-remote-object")


def _check_target(target: Store, stored: StoredManifest, data: bytes) -> bool:
    """Whether the target has the manifest already. Raises MoverError RemoteCopyConflict before anything is sent."""
    with _of_target():
        info = target.head(stored.key)
        same = info is None or (info.size == len(data) and target.get(stored.key) == data)
    if not same:
        raise _conflict(target, stored)
    return info is not None


def _check_base(target: Store, manifest: AnyManifest) -> None:
    """Raises MoverError BaseNotCopied for a differential whose full is not in the target: the copy could not be
    restored."""
    base = manifest.base
    if base is None:
        return
    try:
        with _of_target():
            manifests.check_base(target, manifest)
    except MoverError as error:
        if error.reason != conditions.BASE_GONE:
            raise
        raise MoverError(
            conditions.BASE_NOT_COPIED,
            f"snapshot {manifest.identity.snapshot_id} is a differential of snapshot {base.snapshot_id}, which is not"
            f" in {target.url}, or not whole. Copy that one first.",
            retryable=True,
        ) from error


def _check_base_again(target: Store, stored: StoredManifest) -> None:
    """A deletion of the base's copy that began before the manifest was written did not know of this one: then the
    manifest goes, and the objects wait for the next attempt. A deletion that begins later finds the marker."""
    try:
        _check_base(target, stored.manifest)
    except MoverError as error:
        if error.reason == conditions.BASE_NOT_COPIED:
            with _of_target():
                target.delete([stored.key])
        raise


def _copy_state(source: Store, target: Store, request: CopyRemoteRequest) -> None:
    """Pin, retention and deletionPolicy as they are now, for an import from the copy. They are no part of the
    snapshot's contents.

    Never beside a manifest: from then on ``write-state`` replaces them, and a pod that was believed dead could write
    older ones.
    """
    key = naming.state_key(request.environment_id, request.snapshot_id)
    data = source.get(key, limit=MAX_BYTES) if source.head(key) is not None else None
    if data is None:
        return
    with _of_target():
        _write(target, key, data)


def _write(target: Store, key: str, data: bytes) -> None:
    """Replaces an object that may change."""
    with target.writer(key) as writer:
        writer.write(data)
        writer.commit()


def _copy_keys(source: Store, target: Store, manifest: AnyManifest) -> None:
    """The key objects of an encrypted snapshot, and those that were added since an earlier copy. The manifest names
    none of them, so an object that is too large to be one is not copied."""
    for key in manifests.key_objects(source, manifest):
        data = small(source, key, manifests.KEY_BYTES)
        if data is not None:
            with _of_target():
                target.put_if_absent(key, data)


def _copy_signature(source: Store, target: Store, manifest: AnyManifest) -> None:
    """What the target has in its place is replaced: without its signature the copy is not imported."""
    for key in manifest.signature_keys():
        data = small(source, key, manifests.KEY_BYTES)
        if data is None:
            log.warning("the signature of the manifest is missing: the copy is not signed", extra={"key": key})
            continue
        with _of_target():
            if small(target, key, manifests.KEY_BYTES) != data:
                _write(target, key, data)


def _publish(target: Store, stored: StoredManifest, data: bytes) -> None:
    with _of_target():
        manifests.check_objects(target, stored.manifest)
        dependents.enter(target, stored.manifest)  # the copy of a differential protects the copy of its full snapshot
        if manifests.publish(target, stored.manifest, stored.key, data) is None:
            raise _conflict(target, stored)


def _conflict(target: Store, stored: StoredManifest) -> MoverError:
    return MoverError(
        conditions.REMOTE_COPY_CONFLICT,
        f"{target.url} has another manifest under {stored.key}: two snapshots have the same id, or the object was"
        " changed. Compare both; delete the wrong one by hand, then the copy is made.",
    )


def _not_written(message: str) -> MoverError:
    return MoverError(conditions.STORE_NOT_WRITABLE, f"{message}. Check the remote store.", retryable=True)


@contextmanager
def _of_target() -> Iterator[None]:
    """Bytes that differ in the target are no damage of the snapshot: `Corrupt` always means the source."""
    try:
        yield
    except Corrupt as error:
        raise _not_written(error.message.rstrip(".")) from error
