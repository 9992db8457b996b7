"""A store and a counter that raise Cancelled once the command is cancelled. Their callers need not know of
deadlines."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from ocore_crds.kept_versions import KeptVersions
from ocore_crds.manifest import StoredObject
from ocore_crds.reports import Step
from ocore_mover.deadline import Token
from ocore_mover.errors import StoreError
from ocore_mover.report import Counter, Reporter
from ocore_mover.store.interface import Guarantees, ObjectInfo, Store, Upload, Writer
from ocore_mover.store.patience import Patience
from ocore_mover.store.wrapped import WrappedStore


class GuardedWriter:
    """A writer that raises Cancelled once the command is cancelled; its ``with`` then aborts."""

    def __init__(self, writer: Writer, token: Token) -> None:
        self._writer = writer
        self._token = token

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._token.check()
        self._writer.write(data)

    def commit(self) -> StoredObject:
        self._token.check()
        return self._writer.commit()

    def abort(self) -> None:
        self._writer.abort()

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)


class GuardedStore(WrappedStore):
    """A store over another store.

    Deletion is not guarded: a cancelled command uses it to clean up.
    """

    def __init__(self, store: Store, token: Token) -> None:
        super().__init__(store)
        self._token = token

    def writer(self, key: str, *, patience: Patience | None = None) -> Writer:
        self._token.check()
        return GuardedWriter(self._store.writer(key, patience=patience), self._token)

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        self._token.check()
        return self._store.adopt(key, expected)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._token.check()
        return self._store.put_if_absent(key, data)

    def guarantees(self, key: str) -> Guarantees:
        self._token.check()
        return self._store.guarantees(key)

    def delete(self, keys: Iterable[str]) -> int:
        return self._store.delete(keys)

    def discard(self, upload: Upload) -> bool:
        return self._store.discard(upload)

    def purge(self, prefix: str) -> KeptVersions | None:
        return self._store.purge(prefix)

    def _before_read(self) -> None:
        self._token.check()


class PatientStore(GuardedStore):
    """A guarded store that repeats writes, and the small reads that check them, while the store fails for a time."""

    def __init__(self, store: Store, token: Token) -> None:
        super().__init__(store, token)
        self._patience = Patience(token)

    def writer(self, key: str, *, patience: Patience | None = None) -> Writer:
        return super().writer(key, patience=patience or self._patience)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self._patience.run(lambda: super(PatientStore, self).put_if_absent(key, data))

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        return self._patience.run(lambda: super(PatientStore, self).get(key, limit=limit))

    def head(self, key: str) -> ObjectInfo | None:
        return self._patience.run(lambda: super(PatientStore, self).head(key))

    def digest(self, key: str) -> str | None:
        return self._patience.run(lambda: super(PatientStore, self).digest(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Begins again where a page fails, and leaves out what it has given already: keys come in their order."""
        if self.local_root is not None:
            yield from super().list(prefix)
            return
        last = ""

        def rest() -> Iterator[ObjectInfo]:
            return (found for found in super(PatientStore, self).list(prefix) if found.key > last)

        found = rest()

        def following() -> ObjectInfo | None:
            nonlocal found
            try:
                return next(found, None)
            except StoreError:
                found = rest()
                raise

        while (item := self._patience.run(following)) is not None:
            last = item.key
            yield item


class GuardedCounter(Counter):
    """A counter that raises Cancelled once the command is cancelled."""

    def __init__(
        self, reporter: Reporter, step: Step, token: Token, *, bytes_total: int = 0, files_total: int = 0
    ) -> None:
        super().__init__(reporter, step, bytes_total=bytes_total, files_total=files_total)
        self._token = token

    def add(self, *, bytes_: int = 0, files: int = 0) -> None:
        self._token.check()
        super().add(bytes_=bytes_, files=files)
