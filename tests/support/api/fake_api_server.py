"""A small HTTP server that plays an API server, only for faults that a real one cannot produce at will (410 Gone, a
half-open connection, refusals), and for several facades at once. It knows lists, watches, creations and reads of one
object."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

Object = dict[str, Any]
#: What is answered to a request: plural, query → status and JSON; None: the default.
Refuse = Callable[[str, dict[str, str]], tuple[int, Object] | None]


class FakeApiServer:
    """Lists and watches of any resource, in memory. A context manager; its methods are called in its own event loop."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: dict[str, dict[tuple[str, str], Object]] = {}
        self.refuse: Refuse = lambda _, __: None
        #: Requests so far: plural and query.
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.namespace = ""  # of the last request
        self.head = ""  # of the last request, in lower case
        self.mute = False  # watches get nothing, and do not end
        self.answers = asyncio.Event()  # cleared: nothing gets an answer, and all connections stay
        self.answers.set()
        self.versions = 0  # requests for its version
        self.streams = False  # it has streaming lists
        self.breaks_stream = False  # in the middle of an object
        self._events: list[tuple[int, str, Object | bytes]] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "FakeApiServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Breaks all connections."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def listed(self, plural: str) -> int:
        """How often the first page of a list was requested."""
        return sum(
            p == plural and "watch" not in q and "continue" not in q and "fieldSelector" not in q
            for p, q in self.requests
        )

    def put(self, plural: str, obj: Object, *, silent: bool = False) -> Object:
        """Creates or changes an object. `silent`: no watch reports it."""
        self.version += 1
        place = obj["metadata"]["namespace"], obj["metadata"]["name"]
        kind = "MODIFIED" if place in self.objects.setdefault(plural, {}) else "ADDED"
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects[plural][place] = obj
        if not silent:
            self._report(plural, kind, obj)
        return obj

    def delete(self, plural: str, namespace: str, name: str, *, silent: bool = False) -> None:
        """Deletes an object."""
        self.version += 1
        obj = self.objects[plural].pop((namespace, name))
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        if not silent:
            self._report(plural, "DELETED", obj)

    def error(self, plural: str, code: int, reason: str) -> None:
        """An event ERROR in all watches of the resource."""
        self._report(plural, "ERROR", {"kind": "Status", "code": code, "reason": reason, "message": reason})

    def garbage(self, plural: str, line: bytes) -> None:
        """A line in all watches that begin before it."""
        self.version += 1
        self._events.append((self.version, plural, line))

    def _report(self, plural: str, kind: str, obj: Object) -> None:
        self._events.append((self.version, plural, {"type": kind, "object": obj}))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = urlsplit(head.split(b" ", 2)[1].decode())
                self.head = head.decode().lower()
                _, _, *path = target.path.split("/")
                self.namespace = path[path.index("namespaces") + 1] if "namespaces" in path else ""
                await self.answers.wait()
                method, length = head.split(b" ", 1)[0], re.search(r"content-length: (\d+)", self.head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if target.path == "/version":
                    self.versions += 1
                    _send(writer, 200, {"major": "1"})
                    await writer.drain()
                elif method == b"POST":
                    self._create(writer, path[-1], json.loads(body))
                    await writer.drain()
                elif "namespaces" in path and path.index("namespaces") == len(path) - 4:
                    self._read_one(writer, *path[-2:])
                    await writer.drain()
                else:
                    await self._answer(writer, path[-1], dict(parse_qsl(target.query)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _create(self, writer: asyncio.StreamWriter, plural: str, obj: Object) -> None:
        meta = obj["metadata"]
        if (meta["namespace"], meta["name"]) in self.objects.get(plural, {}):
            _send(writer, 409, {"reason": "AlreadyExists", "message": meta["name"]})
            return
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        obj = {**obj, "metadata": {**meta, "uid": str(uuid4()), "creationTimestamp": created}}
        _send(writer, 201, self.put(plural, obj))

    def _read_one(self, writer: asyncio.StreamWriter, plural: str, name: str) -> None:
        found = self.objects.get(plural, {}).get((self.namespace, name))
        _send(writer, 200 if found else 404, found or {"reason": "NotFound", "message": name})

    async def _answer(self, writer: asyncio.StreamWriter, plural: str, query: dict[str, str]) -> None:
        self.requests.append((plural, query))
        refused = self.refuse(plural, query)
        if refused is not None:
            _send(writer, *refused)
        elif "sendInitialEvents" in query and not self.streams:
            _send(writer, 422, {"reason": "Invalid", "message": "sendInitialEvents: Forbidden"})
        elif "watch" in query:
            await self._watch(writer, plural, query)
        else:
            _send(writer, 200, self._page(plural, query))
        await writer.drain()

    def _page(self, plural: str, query: dict[str, str]) -> Object:
        found = list(self.objects.get(plural, {}).values())
        if "fieldSelector" in query:
            wanted = query["fieldSelector"].removeprefix("status.id=")
            found = [f for f in found if f.get("status", {}).get("id") == wanted]
        begin, limit = int(query.get("continue", 0)), int(query["limit"])
        more = {"continue": str(begin + limit)} if len(found) > begin + limit else {}
        return {"items": found[begin : begin + limit], "metadata": {"resourceVersion": str(self.version), **more}}

    async def _watch(self, writer: asyncio.StreamWriter, plural: str, query: dict[str, str]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        since, at = int(query.get("resourceVersion", self.version)), 0
        if "sendInitialEvents" in query:
            found = list(self.objects.get(plural, {}).values())
            for obj in found[: len(found) // 2] if self.breaks_stream else found:
                _event(writer, {"type": "ADDED", "object": obj})
            if self.breaks_stream:
                writer.write(b'8\r\n{"type":\r\n0\r\n\r\n')
                return
            meta = {"resourceVersion": str(self.version), "annotations": {"k8s.io/initial-events-end": "true"}}
            _event(writer, {"type": "BOOKMARK", "object": {"metadata": meta}})
        end = asyncio.get_running_loop().time() + float(query["timeoutSeconds"])
        while self.mute or not self.answers.is_set() or asyncio.get_running_loop().time() < end:
            found = [] if self.mute or not self.answers.is_set() else self._events[at:]
            for version, of, event in found:
                if of == plural and (version > since or (isinstance(event, dict) and event["type"] == "ERROR")):
                    _event(writer, event)
            at += len(found)
            await writer.drain()
            if writer.is_closing():
                return
            await asyncio.sleep(0.005)
        writer.write(b"0\r\n\r\n")


def _event(writer: asyncio.StreamWriter, event: Object | bytes) -> None:
    line = (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n"
    writer.write(b"%x\r\n%b\r\n" % (len(line), line))


def _send(writer: asyncio.StreamWriter, status: int, body: Object) -> None:
    data = json.dumps(body).encode()
    writer.write(
        b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data)
    )
