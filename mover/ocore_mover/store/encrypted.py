"""A store whose objects are age files for the identity of one attempt, and those of its base for another: its callers
see names without ``.age``, and the offsets and sizes of the plain text."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, Self
from weakref import WeakKeyDictionary

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt
from ocore_mover.store import age
from ocore_mover.store.interface import Store, Writer
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.retries import Patience
from ocore_mover.store.wrapper import WrappedStore

SUFFIX = ".age"


def stored(obj: StoredObject) -> StoredObject:
    """An object as the store has it, of its plain view: with ``.age`` and its stored size. Both have the SHA-256 of the
    stored bytes."""
    return StoredObject(key=obj.key + SUFFIX, size=age.stored_size(obj.size), sha256=obj.sha256)


def plain(obj: StoredObject) -> StoredObject:
    """The plain view of an object as the store has it. Raises Corrupt if it cannot be one of an encrypted snapshot."""
    if not obj.key.endswith(SUFFIX):
        raise Corrupt(f"{obj.key} is not encrypted, and belongs to an encrypted snapshot", obj.key)
    try:
        size = age.plain_size(obj.size)
    except ValueError as error:
        raise Corrupt(f"{obj.key} is not what was stored: {error}", obj.key) from error
    return StoredObject(key=obj.key.removesuffix(SUFFIX), size=size, sha256=obj.sha256)


class EncryptedStore(WrappedStore):
    """Encrypts what writers get, and decrypts what :meth:`read` and :meth:`read_range` return. All other methods are
    those of the store below: manifests, keys and states are not encrypted here. No store may wrap this one: it would
    compare the plain text with the digest of the stored bytes."""

    def __init__(self, store: Store, identity: age.Identity) -> None:
        super().__init__(store)
        self._identity = identity
        self._of_base: tuple[str, age.Identity] | None = None
        self._payloads: WeakKeyDictionary[Pinned, age.Payload] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def local_root(self) -> Path | None:
        """None: no program can write or read the files in place."""
        return None

    def read_base(self, prefix: str, base: "EncryptedStore") -> None:
        """From now on reads objects below this prefix with the identity of the base's view."""
        self._of_base = prefix, base._identity

    def _identity_of(self, key: str) -> age.Identity:
        if self._of_base is not None and key.startswith(self._of_base[0]):
            return self._of_base[1]
        return self._identity

    def adopt(self, key: str, expected: StoredObject) -> NoReturn:
        """Not supported: see `local_root`."""
        raise NotImplementedError(f"{key} in {self.url} is encrypted: {expected.size} bytes cannot be adopted")

    def writer(self, key: str, *, patience: Patience | None = None) -> "_PlainView":
        """Writes ``<key>.age``. Commit returns the plain view."""
        return _PlainView(super().writer(key + SUFFIX, patience=patience), (self._identity.recipient,))

    def read(self, obj: StoredObject) -> Iterator[bytes]:
        """Raises Corrupt, at the latest after the last chunk, if the stored bytes differ from their SHA-256."""
        below = stored(obj)
        chunks = self._store.read(below)
        start, rest = _start(chunks, below)
        payload = age.opened(start, below.size, self._identity_of(below.key), below.key)
        yield from payload.decrypted(_joined(rest, chunks), 0)

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        """Bytes of the plain text. Each chunk of it is checked, and that all have the same key. Another object of the
        same size is noticed by its digest only."""
        if not length:
            return
        below, version = stored(obj), version or Pinned()
        payload = self._payload(below, version)
        first, last = start // age.CHUNK, (start + length - 1) // age.CHUNK
        begin = age.START + first * (age.CHUNK + age.TAG)
        end = min(age.START + (last + 1) * (age.CHUNK + age.TAG), below.size)
        skipped = start - first * age.CHUNK
        for chunk in payload.decrypted(self._store.read_range(below, begin, end - begin, version), first):
            piece = chunk[skipped : skipped + length]
            skipped, length = 0, length - len(piece)
            yield piece

    def _payload(self, below: StoredObject, version: Pinned) -> age.Payload:
        """The header is read once for all ranges of one version."""
        with self._lock:
            found = self._payloads.get(version)
        if found is None:
            start = b"".join(self._store.read_range(below, 0, age.START, version))
            found = age.opened(start, below.size, self._identity_of(below.key), below.key)
            with self._lock:
                self._payloads[version] = found
        return found


class EncryptedResults(WrappedStore):
    """Encrypts what writers get, for recipients who open it themselves. Nothing is decrypted here."""

    def __init__(self, store: Store, recipients: Sequence[str]) -> None:
        super().__init__(store)
        self._recipients = recipients

    @property
    def local_root(self) -> Path | None:
        """None: no program can write the files in place."""
        return None

    def writer(self, key: str, *, patience: Patience | None = None) -> "EncryptedWriter":
        """Writes ``<key>.age``. Commit returns the object as it is stored. Raises MoverError RecipientInvalid."""
        return EncryptedWriter(super().writer(key + SUFFIX, patience=patience), self._recipients)


class EncryptedWriter:
    """See :class:`~ocore_mover.store.interface.Writer`."""

    def __init__(self, writer: Writer, recipients: Sequence[str]) -> None:
        self._writer = writer
        try:
            self._encryptor = age.Encryptor(recipients)
            writer.write(self._encryptor.header)
        except BaseException:
            writer.abort()
            raise

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends."""
        for chunk in self._encryptor.update(data):
            self._writer.write(chunk)

    def commit(self) -> StoredObject:
        """Ends the file and makes it visible."""
        self._writer.write(self._encryptor.finish())
        return self._writer.commit()

    def abort(self) -> None:
        """Discards the object."""
        self._writer.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class _PlainView(EncryptedWriter):
    def commit(self) -> StoredObject:
        """As above. Returns the plain view."""
        return plain(super().commit())


def _start(chunks: Iterator[bytes], below: StoredObject) -> tuple[bytes, bytes]:
    """Header and nonce, and what came with them."""
    found = b""
    while len(found) < age.START:
        chunk = next(chunks, None)
        if chunk is None:
            raise Corrupt(f"{below.key} is truncated", below.key)
        found += chunk
    return found[: age.START], found[age.START :]


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
