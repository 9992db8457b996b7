"""All changes that a caller may see. Only the newest state of an object is sent, not more often than PACE: a flood of
changes, or a slow reader, takes no memory."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from ocore_api.auth import Principal
from ocore_api.cache import console
from ocore_api.cache.changes import Change
from ocore_api.cache.store import Store
from ocore_api.streams import frames
from ocore_api.streams.reader import Reader
from ocore_api.views.values import encode
from ocore_crds.text.timestamps import text

#: Seconds between two batches of events for one reader.
PACE = 0.5
#: Bytes of a batch, but for a larger event.
BATCH = 256 * 1024


class ChangeReader(Reader):
    """A stream of changes. `project_id`, `environment_id`: what it is restricted to; None: nothing."""

    __slots__ = ("_cursor", "_dirty", "_environment_id", "_next_at", "_project_id", "_store", "_timer")

    def __init__(
        self, store: Store, principal: Principal, project_id: str | None, environment_id: str | None, seen: str | None
    ) -> None:
        super().__init__(principal)
        self._store = store
        self._project_id = project_id
        self._environment_id = environment_id
        self._cursor = store.changes.number_of(seen)
        #: Environments that have changed since they were read.
        self._dirty = self._seen()
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

    def take(self) -> bytes:
        """The next batch."""
        now = asyncio.get_running_loop().time()
        data = b"".join(self._batch()) if now >= self._next_at else b""
        if data:
            self._next_at = now + PACE
        if self._dirty and self._timer is None:
            self.note(next(iter(self._dirty)))
        return data

    def _batch(self) -> Iterable[bytes]:
        changes, size = self._store.changes, 0
        if self._cursor is None or changes.floor(self._dirty) > self._cursor:
            self._dirty = self._seen()
            self._cursor = changes.begin(self._dirty)
            yield self._event(self._cursor, "reset", encode({"time": text(datetime.now(UTC))}))
        newest = changes.number
        for change in changes.after(self._cursor, self._dirty):
            if self.sees(change.project_id, change.environment_id):
                if size > BATCH:
                    return
                event = self._event(change.number, change.type.noun, self._newest(change))
                size += len(event)
                self._cursor = change.number
                yield event
        self._dirty.clear()
        self._cursor = newest

    def _seen(self) -> set[str]:
        return {e for e, project in self._store.changes.environments() if self.sees(project, e)}

    def _newest(self, change: Change) -> bytes:
        """The data of the event of a change: the newest state of its object."""
        served = self._store.served
        found = None if change.deleted else console.changed_object(served, change, datetime.now(UTC))
        about = {
            "id": change.id,
            "environmentId": change.environment_id,
            "projectId": change.project_id,
            "deleted": found is None,
        }
        return encode(about)[:-1] + b',"object":' + (found or b"null") + b"}"

    def _event(self, number: int, name: str, data: bytes) -> bytes:
        return frames.event(f"{self._store.changes.boot}-{number}", name, data)
