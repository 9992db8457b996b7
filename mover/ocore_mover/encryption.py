"""Encrypted snapshots: the view of a store in which their objects are not encrypted, and their two manifests.

The outer manifest names every object as it is stored. The inner one is one of these objects, and is read with an
identity only. In memory its objects are those of the view: names without ``.age``, sizes of the plain text, and digests
of the stored bytes, because these are compared before anything is decrypted. docs/decisions/0220-format-3.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backports import zstd

from ocore_crds import conditions, naming
from ocore_crds.stored.manifest import (
    ENCRYPTED_VERSION,
    Bases,
    Encryption,
    FilestoreBase,
    Manifest,
    OuterManifest,
    StoredObject,
)
from ocore_crds.text.quantity import human
from ocore_mover import keys, manifests
from ocore_mover.chunks import DECOMPRESSED_CHUNK, decompressor
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.manifests import StoredManifest
from ocore_mover.store import encrypted
from ocore_mover.store.age import Identity, parse_identities
from ocore_mover.store.encrypted import EncryptedResults, EncryptedStore
from ocore_mover.store.interface import Store

INNER = "inner.json.zst"
#: Bytes of one file with identities. A line has 74.
_IDENTITY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Opened:
    """A snapshot whose contents can be read."""

    store: Store  #: in which the objects of `manifest` are not encrypted
    manifest: Manifest
    stored: StoredManifest
    #: Where files that are taken out of the snapshot are written to. They are encrypted for its recipients.
    results: Store


def opened(store: Store, stored: StoredManifest, identity: str | None) -> Opened:
    """The contents of a snapshot. `identity`: a folder in which each file has age identities; None: there is none.

    Raises MoverError IdentityMissing for an encrypted snapshot without one, IdentityInvalid, IdentityWrong; Corrupt
    where the inner manifest is not that of the outer one.
    """
    outer = stored.manifest
    if isinstance(outer, Manifest):
        return Opened(store, outer, stored, store)
    ids = outer.identity
    if identity is None:
        raise MoverError(
            conditions.IDENTITY_MISSING,
            f"snapshot {ids.snapshot_id} is encrypted to {_named(outer)}, and no identity was given. Name the Secret"
            " that has one in identitySecretRef",
        )
    identities = tuple(_identities(Path(identity)))
    view = _view(store, outer, identities)
    if outer.base is not None:
        base = manifests.base_of(store, outer).manifest
        if not isinstance(base, OuterManifest):
            raise Corrupt(f"the base of snapshot {ids.snapshot_id}, {base.identity.snapshot_id}, is not encrypted")
        view.read_base(_prefix(base), _view(store, base, identities))
    return Opened(view, _inner(view, outer), stored, EncryptedResults(store, outer.encryption.recipients))


def _view(store: Store, outer: OuterManifest, identities: tuple[Identity, ...]) -> EncryptedStore:
    ids, encryption = outer.identity, outer.encryption
    found = keys.find(
        store,
        ids.environment_id,
        ids.snapshot_id,
        encryption.public_key,
        identities,
        encryption.recipients,
        outer.attempt,
        encryption.job_key,
    )
    return EncryptedStore(store, found)


def _prefix(outer: OuterManifest) -> str:
    return naming.snapshot_prefix(outer.identity.environment_id, outer.identity.snapshot_id)


def _named(outer: OuterManifest) -> str:
    return ", ".join(outer.encryption.recipients) or outer.encryption.public_key


def _identities(folder: Path) -> Iterator[Identity]:
    """Those of every file. The kubelet keeps a Secret's data in folders whose names begin with two dots."""
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
        texts = [_head(path) for path in files]
    except OSError as error:
        raise MoverError(conditions.IDENTITY_INVALID, f"the identity cannot be read: {error}") from error
    if not texts:
        raise MoverError(
            conditions.IDENTITY_INVALID, f"{folder} has no file. Give the Secret of identitySecretRef a key"
        )
    for path, text in zip(files, texts, strict=True):
        try:
            yield from parse_identities(text.decode(errors="replace"))
        except MoverError as error:
            raise MoverError(error.reason, f"{path.name}: {error.message}") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_IDENTITY_BYTES)


def _inner(view: EncryptedStore, outer: OuterManifest) -> Manifest:
    """Reads the inner manifest, and checks that it is the one of the outer manifest. Returns it with the view's
    objects."""
    inner = next((obj for obj in outer.stored if obj.key == outer.inner), None)
    if inner is None:
        raise Corrupt(f"the manifest of snapshot {outer.identity.snapshot_id} does not name its inner manifest")
    found = manifests.parse_inner(inner.key, _unpacked(view, encrypted.plain(inner)))
    ids, own = outer.identity, found.identity
    if (
        (own.environment_id, own.project_id, own.snapshot_id) != (ids.environment_id, ids.project_id, ids.snapshot_id)
        or (found.attempt, found.store_id) != (outer.attempt, outer.store_id)
        or found.consistent_at != outer.consistent_at
        or found.base != outer.base
        or set(found.objects()) != set(outer.stored) - {inner}
    ):
        raise Corrupt(f"{inner.key} is not the inner manifest of {ids.snapshot_id}: one of both was changed", inner.key)
    return _converted(found, encrypted.plain)


def _unpacked(view: Store, obj: StoredObject) -> bytes:
    """The object, decompressed in bounded steps: a few bytes of zstd can stand for gigabytes."""
    limit, data, frame = manifests.max_bytes(), bytearray(), decompressor()
    for chunk in view.read(obj):
        rest = chunk
        while rest or not (frame.needs_input or frame.eof):
            try:
                data += frame.decompress(rest, max_length=DECOMPRESSED_CHUNK)
            except (zstd.ZstdError, EOFError) as error:
                raise Corrupt(f"{obj.key}: {error}", obj.key) from error
            rest = b""
            if len(data) > limit:
                raise manifests.too_large(obj.key, f"is larger than {human(limit)}")
    return bytes(data)


def _converted(manifest: Manifest, each: Callable[[StoredObject], StoredObject]) -> Manifest:
    """The manifest with its objects converted."""
    database, filestore, config = manifest.database, manifest.filestore, manifest.config
    if database is not None:
        database = database.model_copy(update={"files": tuple(map(each, database.files))})
    if filestore is not None:
        base = filestore.base
        if base is not None:
            base = base.model_copy(update={"packs": tuple(map(each, base.packs))})
        update = {"index": each(filestore.index), "packs": tuple(map(each, filestore.packs)), "base": base}
        filestore = filestore.model_copy(update=update)
    if config is not None:
        config = config.model_copy(update={"archive": each(config.archive)})
    return manifest.model_copy(update={"database": database, "filestore": filestore, "config": config})


class Encrypting:
    """Encrypts one attempt at a snapshot. Its identity is in this process, and in the key object for the recipients."""

    def __init__(self, store: Store, recipients: tuple[str, ...]) -> None:
        self._store = store
        self.recipients = recipients
        self._identity = Identity.generate()
        self._job: str | None = None
        self._job_of_base: str | None = None
        #: Where the attempt writes and reads its data.
        self.view = EncryptedStore(store, self._identity)

    def open_base(self, store: Store, stored: StoredManifest, identity: str | None) -> Opened:
        """As :func:`opened`, of the base of a differential. Its objects are then also read by `view`."""
        found = opened(store, stored, identity)
        if isinstance(found.store, EncryptedStore) and isinstance(stored.manifest, OuterManifest):
            self.view.read_base(_prefix(stored.manifest), found.store)
            self._job_of_base = stored.manifest.encryption.job_key
        return found

    def choose_job(self, base: FilestoreBase | None, identity: str | None) -> list[str]:
        """Chooses the Job identity that opens the snapshot: its base's, or the one in the folder `identity`, if there
        is any. Returns warnings."""
        if base is not None:
            self._job = self._job_of_base
        elif identity is not None:
            try:
                self._job = next(_identities(Path(identity))).recipient
            except MoverError as error:
                return [f"the snapshot is sealed: no Job can open it, and the next one is a full one: {error.message}"]
        return []

    def converted(self, manifest: Manifest) -> Manifest:
        """The manifest with its objects as they are stored."""
        return _converted(manifest, encrypted.stored)

    def outer(self, manifest: Manifest) -> OuterManifest:
        """Writes the inner manifest, and returns the outer one. `manifest`: with the objects of the view."""
        ids = manifest.identity
        prefix = naming.attempt_prefix(ids.environment_id, ids.snapshot_id, manifest.attempt)
        document = self.converted(manifest).model_copy(update={"format_version": ENCRYPTED_VERSION})
        with self.view.writer(prefix + INNER) as writer:
            writer.write(zstd.compress(manifests.encoded(prefix + INNER, document)))
            inner = encrypted.stored(writer.commit())
        return OuterManifest(
            store_id=manifest.store_id,
            attempt=manifest.attempt,
            identity=ids.ids(),
            started_at=manifest.started_at,
            consistent_at=manifest.consistent_at,
            completed_at=manifest.completed_at,
            signature=manifest.signature,
            encryption=Encryption(public_key=self._identity.recipient, recipients=self.recipients, job_key=self._job),
            bases=Bases(filestore=document.base),
            inner=inner.key,
            stored=(inner, *document.objects()),
            sizes=manifest.sizes(),
        )

    def write_key(self, outer: OuterManifest) -> None:
        """Writes the key objects. Without one nothing of the snapshot can be read, so they precede the manifest."""
        ids = outer.identity
        attempt = self._store, ids.environment_id, ids.snapshot_id, outer.attempt, self._identity
        keys.write(*attempt, self.recipients)
        if self._job is not None:
            keys.write_job(*attempt, self._job)
