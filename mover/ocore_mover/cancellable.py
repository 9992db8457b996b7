"""A store and a counter that raise Cancelled once the command is cancelled. Their callers need not know of
deadlines."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Self

from ocore_crds.reports.base import Step
from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.deadline import Token
from ocore_mover.errors import StoreError
from ocore_mover.report import Counter, Reporter
from ocore_mover.store.interface import ObjectInfo, Store, Upload, Writer
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.retries import Patience
from ocore_mover.store.wrapper import WrappedStore


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

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)


class GuardedStore(WrappedStore):
    """A store over another store.

    Deletion is not guarded: a cancelled command uses it to clean up.
    """

    def __init__(self, store: Store, token: Token) -> None:
        super().__init__(store)
        self._token = token

    def writer(self, key: str, *, patience: Patience | None = None) -> Writer:
        return GuardedWriter(super().writer(key, patience=patience), self._token)

    def _before_read(self) -> None:
        self._token.check()

    def _before_write(self, doing: str) -> None:
        del doing
        self._token.check()


class PatientStore(GuardedStore):
    """A guarded store that repeats every request while the store fails for a time. What is read continues where it
    failed."""

    def __init__(
        self, store: Store, token: Token, *, limit: float = math.inf, report: Callable[[str], object] | None = None
    ) -> None:
        """As :class:`~ocore_mover.store.retries.Patience`."""
        super().__init__(store, token)
        self._patience = Patience(token, limit=limit, report=report)

    def writer(self, key: str, *, patience: Patience | None = None) -> Writer:
        return super().writer(key, patience=patience or self._patience)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self._patience.run(lambda: super(PatientStore, self).put_if_absent(key, data))

    def lock(self, keys: Collection[str]) -> None:
        self._patience.run(lambda: super(PatientStore, self).lock(keys))

    def renew(self, keys: Collection[str]) -> int:
        return self._patience.run(lambda: super(PatientStore, self).renew(keys))

    def check_lock(self, key: str) -> tuple[str, ...]:
        return self._patience.run(lambda: super(PatientStore, self).check_lock(key))

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        return self._patience.run(lambda: super(PatientStore, self).get(key, limit=limit))

    def head(self, key: str) -> ObjectInfo | None:
        return self._patience.run(lambda: super(PatientStore, self).head(key))

    def digest(self, key: str) -> str | None:
        return self._patience.run(lambda: super(PatientStore, self).digest(key))

    def delete(self, keys: Iterable[str]) -> int:
        names = list(keys)
        return self._patience.run(lambda: super(PatientStore, self).delete(names))

    def discard(self, upload: Upload) -> bool:
        return self._patience.run(lambda: super(PatientStore, self).discard(upload))

    def purge(self, prefix: str) -> KeptVersions | None:
        return self._patience.run(lambda: super(PatientStore, self).purge(prefix))

    def older(
        self, key: str, matches: Callable[[bytes], bool], *, limit: int, oldest_first: bool = False
    ) -> bytes | None:
        return self._patience.run(
            lambda: super(PatientStore, self).older(key, matches, limit=limit, oldest_first=oldest_first)
        )

    def recover(self, prefix: str, objects: Collection[StoredObject]) -> tuple[str, ...]:
        return self._patience.run(lambda: super(PatientStore, self).recover(prefix, objects))

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        same = version or Pinned()  # what is read after a failure is of the same object
        done, chunks = 0, super().read_range(obj, start, length, same)

        def following() -> bytes | None:
            nonlocal chunks
            try:
                return next(chunks, None)
            except StoreError:
                chunks = super(PatientStore, self).read_range(obj, start + done, length - done, same)
                raise

        while (chunk := self._patience.run(following)) is not None:
            done += len(chunk)
            yield chunk

    def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
        return super().list(prefix, patience=patience or self._patience)

    def folders(self, prefix: str, *, patience: Patience | None = None) -> Iterator[str]:
        return super().folders(prefix, patience=patience or self._patience)

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Few: those of killed Jobs."""
        yield from self._patience.run(lambda: [*super(PatientStore, self).uploads(prefix)])


class GuardedCounter(Counter):
    """A counter that raises Cancelled once the command is cancelled."""

    def __init__(self, reporter: Reporter, step: Step, token: Token) -> None:
        super().__init__(reporter, step)
        self._token = token

    def add(self, *, bytes_: int = 0, files: int = 0) -> None:
        self._token.check()
        super().add(bytes_=bytes_, files=files)
