"""Streams of server-sent events.

`frames` (the bytes of an event, pure), `reader` (the sending side of a stream, and its response), `progress` (one
operation), `changes` (all changes that a caller may see), `hub` (all streams, and the clock).
"""

from ocore_api.streams.changes import ChangeReader
from ocore_api.streams.hub import Hub
from ocore_api.streams.progress import ProgressReader
from ocore_api.streams.reader import EventStream

__all__ = ["ChangeReader", "EventStream", "Hub", "ProgressReader"]
