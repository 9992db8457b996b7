"""Objects that took something from another one, or wait for it: they are read again when that one changes. Pure."""

from collections.abc import Iterator
from zlib import decompress

from pydantic_core import from_json

from ocore_api.cache.entries import Key, packed
from ocore_api.views.values import Object


class Dependents:
    """The objects, packed, and what each of them needs."""

    def __init__(self) -> None:
        self._objects: dict[Key, tuple[bytes, tuple[Key, ...]]] = {}
        self._waiting: dict[Key, set[Key]] = {}  # what is needed → who needs it

    def keep(self, key: Key, raw: bytes, needs: tuple[Key, ...]) -> None:
        """Keeps an object, as JSON, in the place of what was kept of it; nothing where it needs nothing."""
        for each in self._objects.pop(key, (b"", ()))[1]:
            self._waiting[each].discard(key)
            if not self._waiting[each]:
                del self._waiting[each]
        if needs:
            self._objects[key] = packed(raw), needs
        for each in needs:
            self._waiting.setdefault(each, set()).add(key)

    def of(self, key: Key) -> Iterator[tuple[Key, Object]]:
        """Those that need the object of that key."""
        for each in tuple(self._waiting.get(key, ())):
            yield each, from_json(decompress(self._objects[each][0]))
