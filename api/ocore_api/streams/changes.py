"""All changes that a caller may see. Only the newest state of an object is sent, not more often than PACE: a flood of
changes, or a slow reader, takes no memory."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from ocore_api.auth import Principal
from ocore_api.cache import console
from ocore_api.cache.changes import Change
from ocore_api.cache.store import Store
from ocore_api.streams import frames
from ocore_api.streams.reader import Reader, Source
from ocore_api.views.values import encode
from ocore_crds.text.timestamps import text

#: Seconds between two batches of events for one reader.
PACE = 0.5
#: Bytes of a batch, but for a larger event.
BATCH = 256 * 1024


class Feed(Source):
    """The changes of all objects. `behind`: whether some may be missed."""

    def __init__(self, store: Store, behind: Callable[[], bool]) -> None:
        super().__init__()
        self.store = store
        self._behind = behind
        #: Names this process in the ids of events: another one numbers its changes in another way.
        self._boot = secrets.token_hex(6)

    @property
    def missed(self) -> bool:
        """Whether the API server does not answer."""
        return self._behind()

    def changed(self, change: Change) -> None:
        """Tells the readers who may see it."""
        for reader in self.readers:
            if reader.sees(change.project_id, change.environment_id):
                reader.note(change.environment_id)

    def number_of(self, event_id: str | None) -> int | None:
        """The change that a Last-Event-ID of this process stands for; None for any other."""
        boot, _, number = (event_id or "").partition("-")
        known = boot == self._boot and number.isascii() and number.isdecimal() and len(number) < 20
        return int(number) if known and int(number) <= self.store.changes.number else None

    def reset(self, number: int) -> bytes:
        """The event for a reader that must read everything again."""
        return self._event(number, "reset", encode({"time": text(datetime.now(UTC))}))

    def event(self, change: Change) -> bytes:
        """The event of a change: the newest state of its object."""
        now = text(datetime.now(UTC))
        found = None if change.deleted else console.changed_object(self.store.served, change, now)
        about = {
            "id": change.id,
            "environmentId": change.environment_id,
            "projectId": change.project_id,
            "deleted": found is None,
        }
        return self._event(
            change.number, change.type.noun, encode(about)[:-1] + b',"object":' + (found or b"null") + b"}"
        )

    def _event(self, number: int, name: str, data: bytes) -> bytes:
        return frames.event(f"{self._boot}-{number}", name, data)


class ChangeReader(Reader):
    """A stream of changes. `project_id`, `environment_id`: what it is restricted to; None: nothing."""

    __slots__ = ("_cursor", "_dirty", "_environment_id", "_next_at", "_project_id", "_timer")

    source: Feed

    def __init__(
        self, feed: Feed, principal: Principal, project_id: str | None, environment_id: str | None, seen: str | None
    ) -> None:
        super().__init__(principal)
        self._project_id = project_id
        self._environment_id = environment_id
        self._cursor = feed.number_of(seen)
        #: Environments that have changed since they were read.
        self._dirty = {e for e, project in feed.store.changes.environments() if self.sees(project, e)}
        self._next_at = 0.0  # by the loop's clock: when the next batch may be sent
        self._timer: asyncio.TimerHandle | None = None

    def sees(self, project_id: str, environment_id: str) -> bool:
        """Whether what belongs to that project and environment is the reader's, and wanted."""
        return (
            self._project_id in (None, project_id)
            and self._environment_id in (None, environment_id)
            and self.principal.may_see(project_id, environment_id)
        )

    def note(self, environment_id: str) -> None:
        """Something in an environment changed. It is read later: several changes of one moment are one batch."""
        self._dirty.add(environment_id)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next_at, loop.time()), self._due)

    def release(self) -> None:
        """The response has ended."""
        super().release()
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self._timer, self._next_at = None, 0.0
        self.wake()

    def take(self) -> tuple[bytes, bytes | None, bool]:
        """The next batch."""
        now = asyncio.get_running_loop().time()
        data = self._batch() if now >= self._next_at else b""
        if data:
            self._next_at = now + PACE
        if self._dirty and self._timer is None:
            self.note(next(iter(self._dirty)))
        return data, None, False

    def _batch(self) -> bytes:
        feed, changes = self.source, self.source.store.changes
        parts: list[bytes] = []
        if self._cursor is None or changes.floor(self._dirty) > self._cursor:
            self._dirty = {e for e, project in changes.environments() if self.sees(project, e)}
            self._cursor = changes.begin(self._dirty)
            parts.append(feed.reset(self._cursor))
        size, newest = 0, changes.number
        for change in changes.after(self._cursor, self._dirty):
            if not self.sees(change.project_id, change.environment_id):
                continue
            if size > BATCH:
                return b"".join(parts)
            parts.append(feed.event(change))
            size += len(parts[-1])
            self._cursor = change.number
        self._dirty.clear()
        self._cursor = newest
        return b"".join(parts)
