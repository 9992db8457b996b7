"""Progress of operations as server-sent events.

`frames` (the bytes of an event, pure), `reader` (the sending side of a stream), `hub` (all of them: who follows which
operation, and the clock), `stream` (one open response); `changes` (all changes that a caller may see).
"""

from ocore_api.streams.changes import ChangeStream, Feed
from ocore_api.streams.hub import Hub
from ocore_api.streams.stream import EventStream

__all__ = ["ChangeStream", "EventStream", "Feed", "Hub"]
