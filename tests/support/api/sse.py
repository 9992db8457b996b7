"""A reader of server-sent events that follows the specification, in a thread of its own."""

import json
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

DEADLINE = 20.0


def until(holds: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    """Waits until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


@dataclass
class Event:
    """One event. `data` is its JSON."""

    id: str
    name: str
    data: dict[str, Any]


class Listener:
    """Follows one stream. `comments` and `retry` are what was received so far; `failure` why it ended early."""

    def __init__(self, client: httpx.Client, path: str, last_event_id: str | None = None) -> None:
        self.comments: list[str] = []
        self.retry: int | None = None
        self.status = 0
        self.headers: httpx.Headers = httpx.Headers()
        self.failure: Exception | None = None
        self._events: queue.Queue[Event] = queue.Queue()
        self._opened = threading.Event()
        self._ended = threading.Event()
        self._client = client
        self._response: httpx.Response | None = None
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        self._thread = threading.Thread(target=self._read, args=(path, headers), daemon=True)
        self._thread.start()
        assert self._opened.wait(DEADLINE)

    def event(self) -> Event:
        """The next event."""
        try:
            return self._events.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no event within {DEADLINE:.0f} s") from None

    def rest(self) -> list[Event]:
        """All events until the server ends the stream."""
        assert self._ended.wait(DEADLINE), "the stream did not end"
        found = []
        while not self._events.empty():
            found.append(self._events.get())
        return found

    def leave(self) -> None:
        """Closes the connection, as a client does that is no longer interested."""
        self._client.close()
        self._ended.wait(DEADLINE)

    def _read(self, path: str, headers: dict[str, str]) -> None:
        try:
            with self._client.stream("GET", path, headers=headers) as response:
                self.status, self.headers = response.status_code, response.headers
                self._opened.set()
                if response.status_code != 200:
                    response.read()
                    return
                self._parse(response)
        except (httpx.HTTPError, RuntimeError) as error:
            self.failure = error
        finally:
            self._opened.set()
            self._ended.set()

    def _parse(self, response: httpx.Response) -> None:
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if "data" in fields:
                    self._events.put(Event(fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
            elif not name:
                self.comments.append(value)
            elif name == "retry":
                self.retry = int(value)
            else:
                fields[name] = value
