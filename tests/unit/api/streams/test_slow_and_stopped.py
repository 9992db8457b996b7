"""Readers that do not read, and the end of the server: no one else is harmed, and nothing waits for them."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from ocore_api.http.server import Connection
from ocore_api.streams import ProgressReader
from support.api import objects
from support.api.fed import SNAPSHOT_PATH, Fed
from support.api.sse import DEADLINE

#: Bytes of a message: with a small receive buffer, some events fill what the kernel and the server hold for a reader.
LARGE = 200_000
#: The last bytes of a whole answer.
END = b"\r\n0\r\n\r\n"


class Stuck:
    """A client that opens a stream and reads only when it is asked to."""

    def __init__(self, fed: Fed) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = fed.serving.url.removeprefix("http://").split(":")
        self.socket.connect((host, int(port)))
        self.socket.settimeout(DEADLINE)
        token = fed.serving.issuer.token(projects=[objects.PROJECT])
        request = f"GET {SNAPSHOT_PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        self.socket.sendall(request.encode())

    def read(self) -> bytes:
        """Everything until the answer or the connection ends."""
        received = b""
        try:
            while chunk := self.socket.recv(65536):
                received += chunk
                if received.endswith(END):
                    break
        except ConnectionError:
            pass
        return received


def events_of(answer: bytes) -> list[dict[str, Any]]:
    """The data of the events of a whole answer."""
    body, rest = b"", answer.split(b"\r\n\r\n", 1)[1]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    lines = body.decode().split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def large(percent: int) -> dict[str, Any]:
    """A running Snapshot with a long message."""
    found = objects.running(percent=percent)
    found["status"]["conditions"][0]["message"] = "x" * LARGE
    return found


def blocked(fed: Fed) -> int:
    """Readers whose connection takes nothing more."""
    return sum(1 for r in fed.serving.facade.hub.readers if r.blocked_since)


def block(fed: Fed) -> None:
    """Sends events until one reader takes no more."""
    end = time.monotonic() + DEADLINE
    percent = 10
    while not blocked(fed):
        assert time.monotonic() < end, "the reader took everything"
        percent = percent % 90 + 1
        fed.put("Snapshot", large(percent))


def test_a_slow_reader_gets_the_newest_and_the_final_event(fed: Fed) -> None:
    stuck = Stuck(fed)
    fed.wait_for_streams(1)
    block(fed)
    for percent in range(1, 99):
        fed.put("Snapshot", large(percent))
    fed.put("Snapshot", large(99))
    fed.complete()
    events = events_of(stuck.read())
    assert events[-1]["status"] == "completed"
    # What waited was replaced: none of the 99 events that came after the connection was full.
    assert len(events) < 99
    assert [e["percent"] for e in events].count(98) == 0
    fed.wait_for_streams(0)


def test_a_reader_that_never_reads_is_dropped_without_harm_to_others(feed: Callable[..., Fed]) -> None:
    fed = feed(stream_stall_seconds=0.5)
    good = fed.listen()
    stuck = Stuck(fed)
    fed.wait_for_streams(2)
    block(fed)
    fed.wait_for_streams(1)
    assert fed.serving.facade.metrics.registry.get_sample_value("ocore_api_streams_dropped_total") == 1
    fed.complete()
    assert good.rest()[-1].data["status"] == "completed"
    assert not stuck.read().endswith(END)  # the client sees that it has not everything


def test_the_end_of_the_server_ends_every_stream(feed: Callable[..., Fed]) -> None:
    """Not the 60 s that other requests have."""
    fed = feed(shutdown_seconds=60)
    streams = [fed.listen() for _ in range(20)]
    for stream in streams:
        stream.event()
    fed.serving.stop()
    for stream in streams:
        assert stream.rest() == []
        assert stream.comments[-1] == "this server is shutting down"
        assert stream.failure is None  # the answer is whole


def test_the_end_of_the_server_does_not_wait_for_a_reader_that_does_not_read(feed: Callable[..., Fed]) -> None:
    fed = feed(shutdown_seconds=60)
    good, _stuck = fed.listen(), Stuck(fed)
    fed.wait_for_streams(2)
    block(fed)
    fed.serving.stop()
    good.rest()
    fed.wait_for_streams(0)  # `serving` fails where the server does not end in time


def test_what_waits_is_sent_before_the_end(fed: Fed) -> None:
    """The final state arrives in the same moment as SIGTERM."""
    stream = fed.listen()
    stream.event()

    def both() -> None:
        fed.version += 1
        done = objects.complete(version=fed.version)
        fed.cache.store.put("Snapshot", done)
        fed.serving.facade.stop()

    fed.serving.call(both)
    assert [e.data["status"] for e in stream.rest()] == ["completed"]


def test_no_stream_opens_during_the_shutdown(fed: Fed) -> None:
    fed.serving.call(fed.serving.facade.stop)
    refused = fed.listen()
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"


@pytest.mark.parametrize("part", ["take", "send"])
def test_a_stream_that_fails_is_dropped_without_harm_to_others(
    fed: Fed, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    stream, other = fed.listen(), fed.listen(subject="bob")
    stream.event()
    other.event()
    take, send = ProgressReader.take, Connection.push

    def broken(self: ProgressReader) -> bytes:
        if self.principal.subject == "alice":
            raise RuntimeError("broken")
        return take(self)

    (reader,) = (r for r in fed.serving.facade.hub.readers if r.principal.subject == "alice")

    def unsent(self: Connection, data: bytes) -> bool:
        if self is reader._connection:
            raise RuntimeError("broken")
        return send(self, data)

    if part == "take":
        monkeypatch.setattr(ProgressReader, "take", broken)
    else:
        monkeypatch.setattr(Connection, "push", unsent)
    fed.running(33)
    assert other.event().data["percent"] == 33
    fed.complete()
    stream.rest()
    assert stream.failure is not None
    assert other.rest()[-1].data["status"] == "completed"
    fed.wait_for_streams(0)
