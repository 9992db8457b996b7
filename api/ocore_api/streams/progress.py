"""The progress of one operation: the current state, each change, and a final event, after which the stream ends."""

from datetime import UTC, datetime

from ocore_api.auth import Principal
from ocore_api.cache.changes import Change
from ocore_api.cache.entries import OperationEntry, Progress, event_of
from ocore_api.cache.queries import Served
from ocore_api.errors import Problem
from ocore_api.streams import frames
from ocore_api.streams.reader import Reader, Source
from ocore_api.views.events import deleted_event
from ocore_api.views.values import encode
from ocore_crds.text.timestamps import text

#: Its type and id.
Operation = tuple[type[OperationEntry], str]


class Topic(Source):
    """One operation that is followed, and its newest event."""

    def __init__(self, served: Served, operation: Operation) -> None:
        """Raises Problem (NotFound) where the operation does not exist."""
        super().__init__()
        self._served = served
        self._operation = operation
        entry = served.find(*operation)
        if entry is None:
            raise Problem("NotFound", f"No {operation[0].noun} {operation[1]} is visible to this caller.")
        self.entry = entry
        self._progress = entry.progress
        self.frame = frames.frame(entry.noun, self._progress)

    def changed(self, change: Change) -> None:
        """The operation changed, or was deleted: that is a final event, unless it had ended."""
        if self.frame.final:
            return
        former, found = self.entry, None if change.deleted else self._served.find(*self._operation)
        if found is None:
            last = deleted_event(event_of(self._progress), former.noun, text(datetime.now(UTC)))
            progress = Progress(former.version + 1, encode(last), True)
        else:
            self.entry, progress = found, found.progress
        if progress.event != self._progress.event:
            self._progress, self.frame = progress, frames.frame(former.noun, progress)
        elif (self.entry.project_id, self.entry.environment_id) == (former.project_id, former.environment_id):
            return
        for reader in tuple(self.readers):
            reader.wake()


class ProgressReader(Reader):
    """A stream of one operation. `environment_id`: the environment that the caller named; None: it named none."""

    __slots__ = ("_environment_id", "_seen", "_sent")

    source: Topic

    def __init__(self, principal: Principal, environment_id: str | None, last_event_id: str | None) -> None:
        super().__init__(principal)
        self._environment_id = environment_id
        self._seen = frames.seen(last_event_id)
        self._sent: frames.Frame | None = None

    @property
    def nothing_follows(self) -> bool:
        """Whether the client has the final event."""
        return self._seen is not None and self._seen.ends_with(self.source.frame)

    def take(self) -> tuple[bytes, bytes | None, bool]:
        """The newest event, unless the client has it. A final one is never replaced."""
        frame, entry, data, chunk = self.source.frame, self.source.entry, b"", None
        if self._environment_id not in (None, entry.environment_id) or not self.principal.may_see(
            entry.project_id, entry.environment_id
        ):
            # A deleted operation is whose it was.
            self.closing = self.closing or "the operation is not visible to this caller any more"
            return data, chunk, False
        if frame is not self._sent:
            self._sent = frame
            if self._seen is None or not self._seen.covers(frame):
                self._seen, data, chunk = None, frame.data, frame.chunk
        return data, chunk, frame.final
