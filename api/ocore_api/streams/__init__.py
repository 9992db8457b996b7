"""Progress of operations as server-sent events.

`frames` (the bytes of an event, pure), `stream` (one open response), `hub` (all of them: who follows which operation, and the clock).
"""

from ocore_api.streams.hub import Hub, Operations
from ocore_api.streams.stream import EventStream

__all__ = ["EventStream", "Hub", "Operations"]
