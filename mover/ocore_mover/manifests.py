"""Manifests: written last and only once, read, compared with the store, deleted first."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from ocore_crds import conditions, failpoints, naming
from ocore_crds.stored.manifest import (
    ENCRYPTED_VERSION,
    AnyManifest,
    FilestoreBase,
    Ids,
    Manifest,
    OuterManifest,
    StoredObject,
)
from ocore_crds.text.quantity import human
from ocore_mover import memory
from ocore_mover.errors import Corrupt, MoverError, StoreError
from ocore_mover.filestore.packset import FOLDER as FILESTORE_FOLDER
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store, abort_uploads
from ocore_mover.workers import run_workers

if TYPE_CHECKING:
    from ocore_mover.signatures import Signer

log = logging.getLogger(__name__)

#: What the JSON parser and the model's errors need for each array, object and comma (bytes). Measured: 220 to 980,
#: where a store sends what is no manifest; a real one needs a third of it.
_BYTES_PER_TOKEN = 1024
#: The bytes themselves: received, joined, parsed.
_COPIES = 3
#: Why the bytes of a manifest are not those of a snapshot.
_NO_SNAPSHOT = (conditions.CORRUPT, conditions.MANIFEST_TOO_LARGE, conditions.SIGNATURE_INVALID)
_ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
#: Keys of one deletion: a listing is never kept whole.
DELETE_BATCH = 1000
#: Bytes of a key object at most. One for 20 recipients has 2.5 KiB.
KEY_BYTES = 64 * 1024
#: Key objects of one snapshot that are read or copied. Who can write to the bucket can add any number.
MOST_KEYS = 10_000


def _kind(document: Any) -> str:
    """Which model a manifest's document has."""
    encrypted = isinstance(document, dict) and document.get("formatVersion") == ENCRYPTED_VERSION
    return "outer" if encrypted else "plain"


_READABLE: TypeAdapter[Manifest | OuterManifest] = TypeAdapter(
    Annotated[Annotated[Manifest, Tag("plain")] | Annotated[OuterManifest, Tag("outer")], Discriminator(_kind)]
)


@dataclass(frozen=True)
class StoredManifest:
    """A manifest in the store. Of an encrypted snapshot it is the outer one; :mod:`.encryption` reads the other."""

    manifest: Manifest | OuterManifest
    key: str
    sha256: str  # of its bytes
    recovered: tuple[str, ...] = ()  # keys of objects of which the store reads an older version


def write(store: Store, manifest: Manifest | OuterManifest, signer: "Signer | None" = None) -> StoredManifest:
    """Publishes a snapshot: writes its manifest, reads it back and compares. `signer`: signs it before.

    The first manifest wins: raises MoverError ManifestExists if another attempt has written one. An identical manifest
    is accepted, because the answer to an earlier write may be lost. Raises Corrupt if the read-back differs.
    """
    identity = manifest.identity
    key = naming.manifest_key(identity.environment_id, identity.snapshot_id)
    _check_keys(manifest)
    data = encoded(key, manifest)
    if signer is not None:
        signer.write(store, manifest, data)
    created = publish(store, manifest, key, data)
    if created is not None:
        return StoredManifest(manifest, key, created)
    raise MoverError(
        conditions.MANIFEST_EXISTS,
        f"another attempt has already written the manifest of snapshot {identity.snapshot_id}. The snapshot is"
        " complete; this attempt is not needed.",
    )


def encoded(key: str, manifest: Manifest | OuterManifest) -> bytes:
    """The bytes of a manifest. Raises MoverError ManifestTooLarge: what is published can be read back."""
    data = json.dumps(manifest.wire(), indent=1, ensure_ascii=True).encode() + b"\n"
    _check_size(key, data)
    return data


def publish(store: Store, manifest: Manifest | OuterManifest, key: str, data: bytes) -> str | None:
    """As :func:`write_once`, of a manifest's bytes. Everything that a restore needs is locked before, where the store
    locks: no snapshot exists without its lock."""
    of_base: list[str] = []
    if manifest.base is not None and isinstance(manifest, OuterManifest):
        of_base = key_objects(store, base_of(store, manifest).manifest)
    store.lock([*(obj.key for obj in manifest.needed()), *_small(store, manifest), *of_base])
    return write_once(store, key, data)


def _small(store: Store, manifest: AnyManifest) -> list[str]:
    """What a restore needs and the manifest does not name with its bytes."""
    base = (manifest.base.manifest_key,) if manifest.base is not None else ()
    return [*base, *beside(store, manifest)]


def renew_lock(store: Store, environment_id: str, snapshot_id: str, *, readers: int = 1) -> int:
    """Extends the lock of what a restore of the snapshot needs: of the versions that were stored, whatever was written
    over them. Returns the number of objects that it has locked; 0 for a snapshot whose manifest is deleted or hidden.

    So a snapshot that is being deleted is left alone. `readers`: as in :func:`find`, and raises what that does.
    """
    key = naming.manifest_key(environment_id, snapshot_id)
    exists = store.head(key) is not None
    stored = find(store, environment_id, snapshot_id, readers=readers, hidden=True) if exists else None
    if stored is None:
        return 0
    small = [key, *_small(store, stored.manifest)]
    for each in small:  # written once: no one could write an older version than the Job
        data = store.older(each, lambda _: True, limit=max_bytes() // readers, oldest_first=True)
        if data is not None:
            store.recover(each, [StoredObject(key=each, size=len(data), sha256=hashlib.sha256(data).hexdigest())])
    return store.renew([*(obj.key for obj in stored.manifest.needed()), *small])


def write_once(store: Store, key: str, data: bytes) -> str | None:
    """Writes a small object if the key does not exist, reads it back and returns its SHA-256; None if the store has
    another one.

    Identical bytes are accepted. Raises Corrupt if the read-back differs from what was written.
    """
    created = store.put_if_absent(key, data)
    found = store.get(key, limit=max_bytes())
    if found == data:
        return hashlib.sha256(data).hexdigest()
    if created:
        raise Corrupt(f"{key} in {store.url} reads back other bytes than were written")
    return None


def read(
    store: Store, environment_id: str, snapshot_id: str, *, sha256: str | None = None, signers: Sequence[str] = ()
) -> StoredManifest:
    """Reads a manifest. Raises MoverError SnapshotNotFound, and Corrupt if it is invalid, or its ids or SHA-256
    differ. `signers`: see :func:`find`.

    With `sha256`, from a status that no one who can write to the bucket has written, a bucket with versioning reads the
    versions of manifest and objects that were stored: overwritten and hidden ones, too.
    """
    return read_bytes(store, environment_id, snapshot_id, sha256=sha256, signers=signers)[0]


def read_bytes(
    store: Store, environment_id: str, snapshot_id: str, *, sha256: str | None = None, signers: Sequence[str] = ()
) -> tuple[StoredManifest, bytes]:
    """As :func:`read`, with the manifest's bytes as they are stored."""
    found = _find(store, environment_id, snapshot_id, sha256, older=True, signers=signers)
    if found is None:
        raise MoverError(
            conditions.SNAPSHOT_NOT_FOUND,
            f"{store.url} has no snapshot {snapshot_id} of environment {environment_id}. It never completed, was"
            " deleted, or is in another store.",
        )
    if sha256 is None:
        return found
    stored, data = found
    return replace(stored, recovered=_recovered(store, stored)), data


def find(
    store: Store,
    environment_id: str,
    snapshot_id: str,
    *,
    sha256: str | None = None,
    readers: int = 1,
    signers: Sequence[str] = (),
    hidden: bool = False,
) -> StoredManifest | None:
    """As :func:`read`, but returns None if the store has no manifest. `readers`: threads that share this Job's
    memory.

    `signers`: a manifest whose SHA-256 is not known must be signed by one of these keys; raises MoverError
    SignatureInvalid. Of several versions in a bucket with versioning the oldest one that is counts: who has stolen the
    signing key cannot replace a snapshot.

    `hidden`: without a SHA-256 the oldest version that can be read counts, and the versions of its objects that were
    stored.
    """
    if not hidden:
        found = _find(store, environment_id, snapshot_id, sha256, readers, signers=signers)
        return found[0] if found is not None else None
    key = naming.manifest_key(environment_id, snapshot_id)
    found = _oldest(store, key, max_bytes() // readers, readers, signers, hidden=True)
    return replace(found[0], recovered=_recovered(store, found[0])) if found is not None else None


def _find(
    store: Store,
    environment_id: str,
    snapshot_id: str,
    sha256: str | None,
    readers: int = 1,
    *,
    older: bool = False,
    signers: Sequence[str] = (),
) -> tuple[StoredManifest, bytes] | None:
    """In one request: a manifest that is too large is not read to its end. `older`: where the newest version has
    another SHA-256, or is too large, an older one counts."""
    key = naming.manifest_key(environment_id, snapshot_id)
    limit = max_bytes() // readers
    if signers and sha256 is None:
        return _oldest(store, key, limit, readers, signers)
    refused: StoreError | None = None
    try:
        data = store.get(key, limit=limit)
    except StoreError as error:
        if error.reason != conditions.CORRUPT:
            raise
        data, refused = None, error
    if older and sha256 is not None and (data is None or hashlib.sha256(data).hexdigest() != sha256):
        data = store.older(key, lambda found: hashlib.sha256(found).hexdigest() == sha256, limit=limit) or data
    if data is not None:
        return _checked(store, key, data, sha256, readers=readers), data
    if refused is not None:
        raise too_large(key, f"is larger than {human(limit)}") from refused
    return None


def _oldest(
    store: Store, key: str, limit: int, readers: int, signers: Sequence[str], *, hidden: bool = False
) -> tuple[StoredManifest, bytes] | None:
    """The oldest version that can be read and is signed by one of these keys, where there are any. `hidden`: raises why
    none is one also where the newest is a delete marker."""
    from ocore_mover import signatures  # most commands read no manifest whose SHA-256 is not known

    refused: list[MoverError] = []

    def is_valid(data: bytes) -> bool:
        try:
            manifest = _checked(store, key, data, None, readers=readers).manifest
            if signers:
                signatures.check(store, manifest, data, signers)
        except MoverError as error:
            if error.reason not in _NO_SNAPSHOT:
                raise
            refused.append(error)
            return False
        return True

    data = store.older(key, is_valid, limit=limit, oldest_first=True)
    if data is None:  # also where the bucket has no versions
        data = store.get(key, limit=limit)
        if data is not None and not is_valid(data):
            raise refused[-1]
    if data is None and hidden and refused:
        raise refused[0]
    return (_checked(store, key, data, None, readers=readers), data) if data is not None else None


def _recovered(store: Store, stored: StoredManifest) -> tuple[str, ...]:
    """Finds the versions of its objects. Returns the keys of which an older version is read."""
    identity, base = stored.manifest.identity, stored.manifest.base
    prefix = naming.snapshot_prefix(identity.environment_id, identity.snapshot_id)
    found = store.recover(prefix, stored.manifest.objects())
    if base is not None:
        found += store.recover(naming.snapshot_prefix(identity.environment_id, base.snapshot_id), base.packs)
    if found:
        log.warning("older versions are read", extra={"objects": len(found), "first": found[0]})
    return found


def _checked(store: Store, key: str, data: bytes, sha256: str | None, *, readers: int) -> StoredManifest:
    _, environment_id, _, snapshot_id, _ = key.split("/")
    _check_size(key, data, readers)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise Corrupt(
            f"{key} in {store.url} has SHA-256 {digest} instead of {sha256}: it was changed after the snapshot"
        )
    with _reading(key):
        manifest = _READABLE.validate_json(data)
    identity = manifest.identity
    if (identity.environment_id, identity.snapshot_id) != (environment_id, snapshot_id):
        raise Corrupt(f"{key} in {store.url} is the manifest of another snapshot: {identity.snapshot_id}")
    _check_keys(manifest)
    return StoredManifest(manifest, key, digest)


def parse_inner(key: str, data: bytes) -> Manifest:
    """The inner manifest of an encrypted snapshot. Raises Corrupt, and MoverError ManifestTooLarge."""
    _check_size(key, data)
    with _reading(key):
        found = Manifest.model_validate_json(data)
    if found.format_version != ENCRYPTED_VERSION:
        raise Corrupt(f"{key} is not an inner manifest that this version can read")
    _check_keys(found)
    return found


def max_bytes() -> int:
    """The largest manifest that this Job's memory allows."""
    return memory.budget() // _COPIES


def _check_size(key: str, data: bytes, readers: int = 1) -> None:
    """Raises MoverError ManifestTooLarge before the parser runs: a few megabytes of nested brackets take gigabytes."""
    tokens = data.count(b",") + data.count(b"[") + data.count(b"{")
    needed = _COPIES * len(data) + _BYTES_PER_TOKEN * tokens
    if needed > memory.budget() // readers:
        raise too_large(key, f"({human(len(data))}, {tokens} values) needs up to {human(needed)} of memory")


def too_large(key: str, problem: str) -> MoverError:
    """MoverError ManifestTooLarge. `problem`: of the object with this key."""
    return MoverError(
        conditions.MANIFEST_TOO_LARGE,
        f"{key} {problem}, and this Job may use {human(memory.budget())} for it. Increase"
        " spec.jobs.resources.limits.memory of the Environment, unless the store is damaged",
    )


@contextmanager
def _reading(key: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("plain", "outer"))
        raise Corrupt(f"{key} is not a manifest that this version can read: {where}: {first['msg']}") from error


def _check_keys(manifest: AnyManifest) -> None:
    """Raises Corrupt for an object outside the snapshot's own prefix, or of a base outside the base's: a manifest
    cannot read or delete anything else."""
    identity = manifest.identity
    prefix = naming.snapshot_prefix(identity.environment_id, identity.snapshot_id)
    _check_below(prefix, manifest.objects(), identity.snapshot_id, "the snapshot's")
    if not _ATTEMPT.fullmatch(manifest.attempt):  # a part of the keys of signature and key objects
        raise Corrupt(f"the manifest of snapshot {identity.snapshot_id} has the attempt {manifest.attempt[:80]!r}")
    if manifest.base is not None:
        _check_base(identity, manifest.base)


def _check_below(prefix: str, objects: Iterable[StoredObject], snapshot_id: str, whose: str) -> None:
    seen: set[str] = set()
    for obj in objects:
        parts = obj.key.removeprefix(prefix).split("/")
        if not obj.key.startswith(prefix) or any(part in ("", ".", "..") for part in parts):
            raise Corrupt(f"the manifest of snapshot {snapshot_id} names {obj.key!r}, which is not {whose}")
        if obj.key in seen:
            raise Corrupt(f"the manifest of snapshot {snapshot_id} names {obj.key!r} twice")
        seen.add(obj.key)


def _check_base(identity: Ids, base: FilestoreBase) -> None:
    """The base is another snapshot of the same environment, and its packs are in one folder: the index refers to them
    by name."""
    own = identity.snapshot_id
    if base.snapshot_id == own:
        raise Corrupt(f"the manifest of snapshot {own} names the snapshot as its own base")
    if base.manifest_key != naming.manifest_key(identity.environment_id, base.snapshot_id):
        raise Corrupt(
            f"the manifest of snapshot {own} names {base.manifest_key!r} as the manifest of its base {base.snapshot_id}"
        )
    prefix = naming.snapshot_prefix(identity.environment_id, base.snapshot_id)
    _check_below(prefix, base.packs, own, f"a pack of its base {base.snapshot_id}")
    folders = {pack.key.rpartition("/")[0] for pack in base.packs}
    one_folder = re.compile(f"{re.escape(prefix)}[^/]+/{FILESTORE_FOLDER[:-1]}")
    if len(folders) > 1 or not all(map(one_folder.fullmatch, folders)):
        raise Corrupt(f"the manifest of snapshot {own} names packs of its base {base.snapshot_id} in {sorted(folders)}")


def key_objects(store: Store, manifest: AnyManifest) -> list[str]:
    """Keys of the key objects of an encrypted snapshot: the attempt's own one, also where a bucket with versioning
    hides it, and others that exist, up to MOST_KEYS. Those for Job identities are none: no person has one."""
    if not isinstance(manifest, OuterManifest):
        return []
    identity = manifest.identity
    prefix = naming.keys_prefix(identity.environment_id, identity.snapshot_id)
    first = naming.key_object(identity.environment_id, identity.snapshot_id, manifest.attempt)
    listed = [each.key for each in islice(store.list(prefix), MOST_KEYS)]
    found = [key for key in listed if key != first and not key.endswith(naming.JOB_KEY)]
    exists = store.head(first) is not None or store.older(first, bool, limit=KEY_BYTES) is not None
    return [first, *found] if exists else found


def beside(store: Store, manifest: AnyManifest) -> list[str]:
    """Keys of what belongs to a snapshot and is not named by its manifest: the signature, and :func:`key_objects`."""
    return [*manifest.signature_keys(), *key_objects(store, manifest)]


def artifact_digest(objects: Iterable[StoredObject]) -> str:
    """One SHA-256 for an artifact of many objects: over its lines ``<sha256>  <key>``, sorted as bytes, in the format
    of ``sha256sum`` (docs/format.md)."""
    lines = sorted(f"{obj.sha256}  {obj.key}\n".encode() for obj in objects)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def check_objects(store: Store, manifest: AnyManifest) -> None:
    """Checks that every object that a restore needs exists with its size, and that an encrypted snapshot has a key
    object; reads no bytes. Raises Corrupt with the first that does not."""
    identity, base = manifest.identity, manifest.base
    _check_sizes(store, naming.snapshot_prefix(identity.environment_id, identity.snapshot_id), manifest.objects())
    _check_opens(store, manifest)
    if base is not None:
        prefix = naming.snapshot_prefix(identity.environment_id, base.snapshot_id)
        _check_sizes(store, prefix, base.packs, f" (of the base, snapshot {base.snapshot_id})")
        if isinstance(manifest, OuterManifest):
            _check_opens(store, base_of(store, manifest).manifest)


def _check_opens(store: Store, manifest: AnyManifest) -> None:
    if isinstance(manifest, OuterManifest) and not key_objects(store, manifest):
        keys = naming.keys_prefix(manifest.identity.environment_id, manifest.identity.snapshot_id)
        raise Corrupt(f"{keys} in {store.url} has no key object, so nothing opens the snapshot", keys)


def base_of(store: Store, manifest: AnyManifest, *, older: bool = True) -> StoredManifest:
    """The manifest of a differential's base, unchanged. Raises Corrupt where it is missing or was changed. `older`: in
    a bucket with versioning also one that was overwritten or hidden."""
    base = manifest.base
    if base is None:
        raise ValueError(f"snapshot {manifest.identity.snapshot_id} is a full one")
    found = _find(store, manifest.identity.environment_id, base.snapshot_id, base.manifest_sha256, older=older)
    if found is None:
        raise Corrupt(f"{base.manifest_key} is missing in {store.url}", base.manifest_key)
    return found[0]


def missing_object(store: Store, manifest: AnyManifest) -> str:
    """The first object that a restore needs and that does not exist, or has another size; empty: all exist. Reads no
    bytes.

    Buckets are replicated in no order: a manifest can arrive before the objects that it names.
    """
    try:
        check_objects(store, manifest)
    except Corrupt as error:
        return error.message
    return ""


def check_base(store: Store, manifest: AnyManifest) -> None:
    """Checks that the base of a differential exists: its manifest unchanged, the needed packs with their sizes, and of
    an encrypted one a key object. Does nothing for a full. `manifest`: with the objects as they are stored.

    Raises MoverError BaseGone, retryable: the next attempt does not use this base.
    """
    base = manifest.base
    if base is None:
        return
    try:
        found = base_of(store, manifest, older=False).manifest  # a deleted one is no base
        _check_sizes(store, naming.snapshot_prefix(found.identity.environment_id, base.snapshot_id), base.packs)
        _check_opens(store, found)
    except Corrupt as error:
        raise MoverError(
            conditions.BASE_GONE,
            f"the base, snapshot {base.snapshot_id}, was deleted or lost objects while this differential was taken:"
            f" {error.message}. The next attempt stores the files that it lacks.",
            retryable=True,
        ) from error


def _check_sizes(store: Store, prefix: str, objects: Iterable[StoredObject], of: str = "") -> None:
    # One request for a thousand objects. What else exists is not kept, and not listed to its end: it may be anything.
    objects = tuple(objects)
    wanted, sizes = {obj.key for obj in objects}, dict[str, int]()
    for found in store.list(prefix):
        if found.key in wanted:
            sizes[found.key] = found.size
        if len(sizes) == len(wanted):
            break
    for obj in objects:
        size = sizes.get(obj.key)
        if size != obj.size and (read := store.head(obj.key)) is not None:
            size = read.size  # of the version that is read; a listing shows the newest ones
        if size is None:
            raise Corrupt(f"{obj.key}{of} is missing in {store.url}", obj.key)
        if size != obj.size:
            raise Corrupt(f"{obj.key}{of} in {store.url} has {size} bytes instead of {obj.size}", obj.key)


def check_filestore(store: Store, manifest: Manifest) -> None:
    """As :func:`check_objects`, of the filestore's own objects only."""
    identity, filestore = manifest.identity, manifest.filestore
    if filestore is not None:
        prefix = naming.attempt_prefix(identity.environment_id, identity.snapshot_id, manifest.attempt)
        _check_sizes(store, prefix + FILESTORE_FOLDER, (filestore.index, *filestore.packs))


def verify_objects(store: Store, manifest: AnyManifest, counter: Counter, *, jobs: int = 2) -> int:
    """Reads every byte that a restore needs, those of the base too, and compares the digests. Returns the bytes read;
    raises Corrupt."""
    objects = sorted(manifest.needed(), key=lambda obj: -obj.size)

    def work(some: Iterator[StoredObject]) -> None:
        for obj in some:
            for chunk in store.read(obj):
                counter.add(bytes_=len(chunk))
            counter.add(files=1)

    run_workers(min(jobs, len(objects)), objects, work)
    return manifest.needed_bytes()


def delete_snapshot(store: Store, environment_id: str, snapshot_id: str) -> int:
    """Deletes the manifest, then every object below the prefix, then stale uploads. Idempotent.

    Returns the number of objects. Hits the failpoint delete-manifest-gone.
    """
    key = naming.manifest_key(environment_id, snapshot_id)
    count = 0
    if store.head(key) is not None:
        count += store.delete([key])
    failpoints.hit("delete-manifest-gone")
    prefix = naming.snapshot_prefix(environment_id, snapshot_id)
    return count + _delete_all(store, prefix)


def delete_leftovers(store: Store, environment_id: str, snapshot_id: str) -> int:
    """Deletes everything below the snapshot's prefix but the manifest, its objects and keys, the state object and the
    markers of differentials. No attempt is still writing.

    Returns the number of objects. Raises Corrupt if the manifest cannot be read: then nothing is deleted, and the
    manifest can still be fixed.
    """
    found = find(store, environment_id, snapshot_id)
    keep: frozenset[str] = frozenset()
    if found is not None:
        own = (obj.key for obj in found.manifest.objects())
        keep = frozenset((found.key, *own, *found.manifest.signature_keys()))
    keep |= {naming.state_key(environment_id, snapshot_id)}
    below = [naming.dependents_prefix(environment_id, snapshot_id)]  # written at any time, and so no set of keys
    if found is not None:
        below.append(naming.keys_prefix(environment_id, snapshot_id))
    prefix = naming.snapshot_prefix(environment_id, snapshot_id)
    return _delete_all(store, prefix, keep, tuple(below))


def _delete_all(store: Store, prefix: str, keep: frozenset[str] = frozenset(), keep_below: tuple[str, ...] = ()) -> int:
    """Objects, then unfinished uploads. Returns the number of objects."""
    count = 0
    batch: list[str] = []
    for found in store.list(prefix):
        if found.key in keep or found.key.startswith(keep_below):
            continue
        batch.append(found.key)
        if len(batch) == DELETE_BATCH:
            count += store.delete(batch)
            batch = []
    count += store.delete(batch) if batch else 0
    abort_uploads(store, prefix)
    return count
