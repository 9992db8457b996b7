"""The real cache, fed by `ApiServer` in the place of a watch."""

from ocore_api.cache import Cache
from ocore_api.cache.entries import KINDS
from support.api.api_server import ApiServer, Object


class Mirror(Cache):
    """Sees every change at once, but for those of the kinds that it is `behind` with."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__()
        self.behind: set[str] = set()
        #: Kind and name of every answer to a write that it was given.
        self.taken: list[tuple[str, str]] = []
        for obj in server.objects.values():
            self.store.put(obj["kind"], obj)
        server.changed = self._watch

    def put(self, kind: str, obj: Object) -> None:
        """See ocore_api.cache."""
        self.taken.append((kind, obj["metadata"]["name"]))
        super().put(kind, obj)

    def _watch(self, kind: str, obj: Object) -> None:
        if kind in KINDS and kind not in self.behind:
            self.store.put(kind, obj)
