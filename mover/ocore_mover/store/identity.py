"""A store that is the one with a given id. Another store may have its URL by now: the bucket was emptied and made
again, or the SnapshotStore names another one."""

from collections.abc import Iterator

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import StoreError
from ocore_mover.store.interface import ObjectInfo, Store
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.probe import read_id
from ocore_mover.store.retries import Patience
from ocore_mover.store.wrapper import WrappedStore


class BoundStore(WrappedStore):
    """A store over another store. Asks for its id before the first request, and again right before each deletion.
    Raises StoreError StoreIdConflict where it is another one."""

    def __init__(self, store: Store, store_id: str) -> None:
        super().__init__(store)
        self._id = store_id
        self._asked = False

    def ask(self) -> None:
        """Raises StoreError StoreIdConflict where the store has another id, or none."""
        found = read_id(self._store)
        if found != self._id:
            raise StoreError(
                conditions.STORE_ID_CONFLICT,
                f"{self.url} has {f'the id {found}' if found else 'no id'}, and this was decided for the store"
                f" {self._id}. Nothing was deleted, and this says nothing about what the store {self._id} has. Correct"
                " the SnapshotStore, or bring the store back.",
            )
        self._asked = True

    def folders(self, prefix: str, *, patience: Patience | None = None) -> Iterator[str]:
        self._before_listing(patience)  # also where nothing is found
        yield from self._store.folders(prefix, patience=patience)

    def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
        self._before_listing(patience)
        return self._store.list(prefix, patience=patience)

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        self._before_read()  # also where the object is missing
        yield from self._store.read_range(obj, start, length, version)

    def _before_listing(self, patience: Patience | None) -> None:
        if patience is not None:
            patience.run(self._before_read)
        else:
            self._before_read()

    def _before_read(self) -> None:
        if not self._asked:
            self.ask()

    def _before_write(self, doing: str) -> None:
        del doing
        self._before_read()

    def _before_delete(self, doing: str) -> None:
        del doing
        self.ask()
