"""Objects that took something from another one, or wait for it: they are read again when that one changes. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from zlib import decompress

from pydantic_core import from_json

from ocore_api.cache.entries import Key, packed, whole
from ocore_api.views.values import Object


class Dependents:
    """The objects, packed, and what each of them needs."""

    def __init__(self) -> None:
        #: Packed, with what they need.
        self.objects: dict[Key, tuple[bytes, tuple[Key, ...]]] = {}
        self._waiting: defaultdict[Key, set[Key]] = defaultdict(set)  # what is needed → who needs it

    def keep(self, key: Key, obj: Object, needs: tuple[Key, ...]) -> None:
        """Keeps an object in the place of what was kept of it; nothing where it needs nothing. Raises ValueError where
        it is too large."""
        kept = packed(whole(obj)) if needs else b""
        for each in self.objects.pop(key, (b"", ()))[1]:
            self._waiting[each].discard(key)
            if not self._waiting[each]:
                del self._waiting[each]
        if needs:
            self.objects[key] = kept, needs
        for each in needs:
            self._waiting[each].add(key)

    def of(self, key: Key) -> Iterator[tuple[Key, Object]]:
        """Those that need the object of that key."""
        for each in tuple(self._waiting.get(key, ())):
            yield each, from_json(decompress(self.objects[each][0]))
