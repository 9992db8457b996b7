"""The bytes of server-sent events. Pure."""

import base64
import hashlib
import re
from dataclasses import dataclass

#: Sent after a time without events, so that proxies and clients see that the stream is open.
ALIVE = b": alive\n\n"

_ID = re.compile(r"([0-9]{1,20})-([A-Za-z0-9_-]{12})")
#: Separators of lines that JSON leaves as they are, in UTF-8 and escaped.
_SEPARATORS = tuple((separator.encode(), b"\\u%04x" % ord(separator)) for separator in "\x85\u2028\u2029")


class Frame:
    """The event of one operation, encoded once for all readers. Its id is the version and a digest of the data: every
    replica gives the same state the same id. `version`: of the object that it was read from; `final`: none follows."""

    __slots__ = ("data", "digest", "event", "final", "version")

    def __init__(self, noun: str, version: int, data: bytes, *, final: bool) -> None:
        self.version, self.data, self.final = version, data, final
        self.digest = base64.urlsafe_b64encode(hashlib.blake2b(data, digest_size=9).digest()).decode()
        self.event = event(f"{version}-{self.digest}", f"{noun}-progress", data)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest event that a client has, by its Last-Event-ID."""

    version: int
    digest: str

    def covers(self, frame: Frame) -> bool:
        """Whether the client needs the frame no more: it has the same data, or newer data from a replica that was ahead
        of this one. A final event of other data is always sent."""
        return not frame.final and (self.digest == frame.digest or self.version >= frame.version)

    def ends_with(self, frame: Frame) -> bool:
        """Whether the frame is final and the client has this very event: nothing follows."""
        return frame.final and self.digest == frame.digest


def event(id_: str, name: str, data: bytes) -> bytes:
    """One event. Its data is one line also for parsers that take other separators for ends of lines."""
    for raw, escaped in _SEPARATORS:
        data = data.replace(raw, escaped)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (id_.encode(), name.encode(), data)


def seen(last_event_id: str | None) -> Seen | None:
    """What a Last-Event-ID stands for; None where it is absent or not one of ours: then the client gets the current
    state."""
    found = _ID.fullmatch(last_event_id or "")
    return Seen(int(found[1]), found[2]) if found else None


def retry(milliseconds: int) -> bytes:
    """How long a client waits before it opens a lost stream again."""
    return b"retry: %d\n\n" % milliseconds


def comment(text: str) -> bytes:
    """A comment: clients ignore it, people see it in curl."""
    return b": %b\n\n" % text.encode()
