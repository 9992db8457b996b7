"""The real cache, fed by `ApiServer` in the place of a watch."""

from ocore_api.cache import Cache
from ocore_api.cache.entries import KINDS
from ocore_api.cache.store import Store
from support.api.api_server import ApiServer, Object


class _Noting(Store):
    """Notes what it is given. What a watch shows comes by `seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[str, str]] = []

    def put(self, kind: str, obj: Object) -> None:
        """See ocore_api.cache.store."""
        self.taken.append((kind, obj["metadata"]["name"]))
        super().put(kind, obj)

    def seen(self, kind: str, obj: Object) -> None:
        super().put(kind, obj)


class Mirror(Cache):
    """Sees every change at once, but for those of the kinds that it is `late` with."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__()
        self._noting = _Noting()
        self.store = self._noting
        self.late: set[str] = set()
        for obj in server.objects.values():
            self._noting.seen(obj["kind"], obj)
        server.changed = self._watch

    @property
    def taken(self) -> list[tuple[str, str]]:
        """Kind and name of every answer to a write that it was given."""
        return self._noting.taken

    def _watch(self, kind: str, obj: Object) -> None:
        if kind in KINDS and kind not in self.late:
            self._noting.seen(kind, obj)
