"""The progress of one operation: the current state, each change, and a final event, after which the stream ends."""

from datetime import UTC, datetime

from pydantic_core import from_json

from ocore_api.auth import Principal
from ocore_api.cache.changes import Change
from ocore_api.cache.entries import Entry, OperationEntry
from ocore_api.streams import frames
from ocore_api.streams.reader import Reader
from ocore_api.views.events import deleted_event
from ocore_api.views.values import encode
from ocore_crds.text.timestamps import text

#: Its type and id.
Operation = tuple[type[Entry], str]


class Topic:
    """One operation that is followed, and its newest event."""

    def __init__(self, entry: OperationEntry) -> None:
        self.readers: set[Reader] = set()
        self.entry = entry
        self.frame = frames.Frame(entry.noun, entry.version, entry.parts()[1], final=entry.final)

    def changed(self, change: Change, entry: Entry) -> None:
        """The operation changed, or was deleted: that is a final event, unless it had ended."""
        if self.frame.final or not isinstance(entry, OperationEntry):
            return
        former, self.entry = self.entry, entry
        version, data, final = entry.version, entry.parts()[1], entry.final
        if change.deleted:
            last = deleted_event(from_json(self.frame.data), entry.noun, text(datetime.now(UTC)))
            self.entry, version, data, final = former, former.version + 1, encode(last), True
        if data != self.frame.data:
            self.frame = frames.Frame(entry.noun, version, data, final=final)
        elif (entry.project_id, entry.environment_id) == (former.project_id, former.environment_id):
            return
        for reader in tuple(self.readers):
            reader.wake()


class ProgressReader(Reader):
    """A stream of one operation. `environment_id`: the environment that the caller named; None: it named none."""

    __slots__ = ("_environment_id", "_seen", "_sent", "operation", "topic")

    #: Set by the hub.
    topic: Topic

    def __init__(
        self, principal: Principal, operation: Operation, environment_id: str | None, last_event_id: str | None
    ) -> None:
        super().__init__(principal)
        self.operation = operation
        self._environment_id = environment_id
        self._seen = frames.seen(last_event_id)
        self._sent: frames.Frame | None = None

    @property
    def nothing_follows(self) -> bool:
        """Whether the client has the final event."""
        return self._seen is not None and self._seen.ends_with(self.topic.frame)

    def take(self) -> bytes:
        """The newest event, unless the client has it. A final one is never replaced."""
        frame, entry = self.topic.frame, self.topic.entry
        if self._environment_id not in (None, entry.environment_id) or not self.principal.may_see(
            entry.project_id, entry.environment_id
        ):
            # A deleted operation is whose it was.
            self.closing = self.closing or "the operation is not visible to this caller any more"
            return b""
        self.last = frame.final
        if frame is self._sent or (self._seen is not None and self._seen.covers(frame)):
            return b""
        self._sent, self._seen = frame, None
        return frame.event
