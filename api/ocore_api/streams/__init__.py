"""Progress of operations as server-sent events.

`frames` (the bytes of an event, pure), `reader` (the sending side of a stream), `hub` (all of them: who follows which
operation, and the clock), `stream` (one open response).
"""

from ocore_api.streams.hub import Hub
from ocore_api.streams.stream import EventStream

__all__ = ["EventStream", "Hub"]
