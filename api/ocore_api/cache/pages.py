"""Encoded pages of environments that have not changed since. Pure."""

from collections import OrderedDict

#: Bytes of all pages together.
LIMIT = 16 * 1024 * 1024


class Pages:
    """Pages by environment. The environments that were asked for least recently are dropped first."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._bytes = 0
        self._pages: OrderedDict[str, dict[tuple[int, int], bytes]] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes of all pages."""
        return self._bytes

    def get(self, environment_id: str, limit: int, offset: int) -> bytes | None:
        """The page, or None."""
        found = self._pages.get(environment_id)
        if found is None:
            return None
        self._pages.move_to_end(environment_id)
        return found.get((limit, offset))

    def keep(self, environment_id: str, limit: int, offset: int, page: bytes) -> None:
        """Keeps a page until the environment changes, or the space is needed."""
        if len(page) > self._limit:
            return
        pages = self._pages.setdefault(environment_id, {})
        self._bytes += len(page) - len(pages.get((limit, offset), b""))
        pages[limit, offset] = page
        self._pages.move_to_end(environment_id)
        while self._bytes > self._limit:
            oldest = next(iter(self._pages))
            if oldest == environment_id and len(pages) > 1:
                first = next(at for at in pages if at != (limit, offset))
                self._bytes -= len(pages.pop(first))
            else:
                self.changed(oldest)

    def changed(self, environment_id: str) -> None:
        """Something in the environment changed: its pages are dropped."""
        for page in self._pages.pop(environment_id, {}).values():
            self._bytes -= len(page)
