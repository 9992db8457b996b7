"""One kind in one namespace: all objects, then a watch, again and again.

All objects come as a stream from the API server's memory (streaming lists, KEP-3157, on by default from Kubernetes 1.34
on), else as a list in pages, which it reads from etcd. Both give the resourceVersion at which the watch begins. A watch
that the API server ends continues where it stopped; after 410 Gone the list is read again. The connection is dead if
nothing arrives for SILENCE seconds although the API server must send: it ends every watch after `timeoutSeconds`, which
is less, so a half-open connection is noticed within SILENCE seconds. Pauses between attempts grow, with jitter.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

import structlog
from pydantic_core import from_json

from ocore_api.cache.store import Store
from ocore_api.views.values import Object
from ocore_kube.errors import UNREADABLE, ApiError, Invalid, Unavailable
from ocore_kube.pages import pages
from ocore_kube.transport import Transport
from ocore_kube.types import OURS

#: Objects in one page of a list; fewer where they are large (ocore_kube.pages).
PAGE = 250
#: Seconds after which the API server is asked to end a watch.
ROUND = 40
#: Seconds in which a stream of all objects must end.
STREAM = 300
#: The annotation of the event after the last object (k8s.io/apimachinery, meta/v1: InitialEventsAnnotationKey).
STREAM_END = "k8s.io/initial-events-end"
#: Seconds without a byte after which a connection is dead: more than ROUND.
SILENCE = 50.0
#: Bytes of the longest event. etcd takes objects of 1.5 MB; as JSON they can be larger.
LONGEST_EVENT = 8 * 1024 * 1024
#: Seconds of the shortest and the longest pause between attempts.
PAUSES = (0.2, 20.0)
#: Seconds after which a watch that has not heard from the API server makes the cache not ready.
OUT_OF_STEP = 90.0
#: Seconds after which the first watch after a failure is asked to end: that it lived is the first sign of life.
PROBE = 2
#: Failures of a watch after which the list is read again, if it was the API server that refused or sent something that
#: cannot be read.
RELIST_AFTER = 2
#: Namespace or name in what is no JSON, for the log.
_NAMED = re.compile(r'"(?:namespace|name)":"([^"\\]{1,253})"')
#: Objects after which other work gets its turn.
TURN = 25

_log = structlog.get_logger()


class _Gone(Exception):
    """The API server does not know the resourceVersion any more."""


class Watch:
    """Keeps the store current for one kind in one namespace (None: the whole cluster)."""

    def __init__(self, transport: Transport, store: Store, kind: str, namespace: str | None) -> None:
        self._transport = transport
        self._store = store
        self._kind = kind
        #: None: the whole cluster.
        self.namespace = namespace
        self._path = OURS[kind].path(namespace)
        self._version: str | None = None  # of the last event; None: all objects are needed
        self._streams = True  # the API server has streaming lists, as far as is known
        self._heard: float | None = None  # when the API server last answered a list or a watch
        self._error = ""
        self._failing: float | None = None  # since when no attempt has succeeded
        self._refused: float | None = None  # since when it has been refused
        #: Whether the last attempt was refused: no Role in the namespace, or no such namespace.
        self.unreadable = False
        #: Set when all objects were read for the first time, or may not be read.
        self.listed = asyncio.Event()

    @property
    def label(self) -> str:
        """Kind and namespace, for people."""
        return f"{self._kind} in {self.namespace or 'all namespaces'}"

    @property
    def problem(self) -> str | None:
        """Why its objects may not be current; None if they are."""
        why = f": {self._error}" if self._error else ""
        if self._heard is None:
            return f"not listed yet{why}"
        silent = asyncio.get_running_loop().time() - self._heard
        return f"no answer from the API server for {silent:.0f} s{why}" if silent > OUT_OF_STEP else None

    @property
    def failing_since(self) -> float | None:
        """Since when the API server does not answer, by the clock of the loop; None: it does, or it refuses (403,
        404)."""
        return None if self.unreadable else self._failing

    async def run(self) -> None:
        """Lists and watches until it is cancelled."""
        failures = 0
        while True:
            try:
                if self._version is None:
                    await self._read_all()
                    failures = 0
                if await self._watch():
                    failures = 0
                    continue
                self._error = "the API server ended the watch at once"
                # An event that is too long, or no JSON, comes again in each watch from this version.
                if failures >= RELIST_AFTER:
                    _log.warning(
                        "watch does not continue; listing again",
                        kind=self._kind,
                        namespace=self.namespace,
                        version=self._version,
                    )
                    self._version = None
            except _Gone:
                _log.info("resourceVersion is gone; listing again", kind=self._kind, namespace=self.namespace)
                self._version = None
                self._error = "the resourceVersion of the watch is gone"
                if not failures:
                    failures = 1
                    continue  # the first time at once
            except ApiError as error:
                self._failed(error, failures)
            except (ValueError, TypeError, LookupError, RecursionError) as error:  # it must not end the other watches
                self._failed(
                    Unavailable(0, "Unreadable", f"the API server's answer cannot be read: {error!r}"), failures
                )
                self._version = None
            failures += 1
            await asyncio.sleep(_pause(failures))

    def _failed(self, error: ApiError, failures: int) -> None:
        self._error = error.message or error.reason
        if not isinstance(error, Unavailable) or (error.status and failures >= RELIST_AFTER):
            self._version = None  # it may be unknown to the API server: etcd was restored, or changes were missed
        now = asyncio.get_running_loop().time()
        self._failing = self._failing or now
        self.unreadable = error.status in UNREADABLE
        if self.unreadable:
            self.listed.set()
        if not self.unreadable:
            self._refused = None
        elif self._refused is None:
            self._refused = now
        elif now - self._refused > OUT_OF_STEP:
            # What cannot be read is not served: deletions would not be seen. An API server that starts refuses for a
            # moment too.
            self._store.forget(self._kind, self.namespace)
        _log.warning("watch failed; retrying", kind=self._kind, namespace=self.namespace, error=self._error)

    async def _read_all(self) -> None:
        """Reads all objects, and drops those that are gone."""
        if self._streams:
            try:
                if await self._stream():
                    return
            except Invalid:  # it does not know the parameter, or the feature is off
                self._streams = False
        await self._list()

    async def _stream(self) -> bool:
        """The same from one stream. False where it ended early, or resourceVersions went back, so that the store took
        none of its objects: a list in pages follows."""
        names: set[tuple[str, str]] = set()
        known = self._store.newest_version(self._kind, self.namespace)
        query = {
            "watch": "true",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(STREAM),
        }
        async with aclosing(self._events(query, STREAM)) as events:
            async for event in events:
                meta = event["object"].get("metadata") or {}
                if (meta.get("annotations") or {}).get(STREAM_END) == "true":
                    if int(meta["resourceVersion"]) < known:
                        return False
                    self._complete(names, meta["resourceVersion"])
                    return True
                self._apply(event)
                if event["type"] != "BOOKMARK":
                    names.add((meta["namespace"], meta["name"]))
        return False

    async def _events(self, query: Mapping[str, str], seconds: float) -> AsyncGenerator[Object]:
        """The events of a watch, until it ends, or the connection breaks within a line."""
        lines = self._transport.lines(self._path, query=query, seconds=seconds, silence=SILENCE, longest=LONGEST_EVENT)
        count = 0
        async with aclosing(lines):
            async for line in lines:
                if not line:
                    continue
                try:
                    event = from_json(line)
                except ValueError:  # else the next watch begins with it
                    _log.warning(
                        "event cannot be read",
                        kind=self._kind,
                        namespace=self.namespace,
                        names=_NAMED.findall(line)[:3],
                    )
                    return
                yield event
                count += 1
                if count % TURN == 0:
                    await asyncio.sleep(0)

    def _complete(self, names: set[tuple[str, str]], version: str) -> None:
        """All objects were read: drops those that are gone. Of these `names` one may be deleted already; the store
        knows."""
        self._store.keep_only(self._kind, self.namespace, names, int(version))
        self._version = version
        self._alive()
        self.listed.set()

    async def _list(self) -> None:
        """Reads all objects in pages, and drops those that are gone. The API server prepares the next page while one is
        taken."""
        names: set[tuple[str, str]] = set()
        known = self._store.newest_version(self._kind, self.namespace)
        answers = pages(self._page, {}, PAGE)
        coming: asyncio.Task[Object | None] = asyncio.create_task(_next(answers))
        first, version = True, ""
        try:
            while (answer := await coming) is not None:
                version = answer["metadata"]["resourceVersion"]
                coming = asyncio.create_task(_next(answers))
                if first and int(version) < known:
                    _log.warning(
                        "resourceVersions went back: etcd was restored; starting again",
                        kind=self._kind,
                        namespace=self.namespace,
                    )
                    self._store.forget(self._kind, self.namespace)
                first = False
                for count, obj in enumerate(answer["items"]):
                    if count % TURN == 0:
                        await asyncio.sleep(0)
                    self._store.put(self._kind, obj)
                    names.add((obj["metadata"]["namespace"], obj["metadata"]["name"]))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        self._complete(names, version)

    async def _page(self, query: Mapping[str, str], most: int) -> Object:
        """A page of the list."""
        try:
            return await self._transport.request("GET", self._path, query=query, most=most)
        except ApiError as error:
            if error.status == 410 and "continue" in query:  # the pages took too long
                raise _Gone from None
            raise

    async def _watch(self) -> bool:
        """One watch, from the last version on. False if the API server did not let it live for a moment."""
        loop = asyncio.get_running_loop()
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(ROUND if self._failing is None else PROBE),
        }
        begin, events = loop.time(), 0
        async with aclosing(self._events(query, SILENCE)) as found:
            async for event in found:
                events += 1
                self._apply(event)
                self._alive()
                self._version = event["object"]["metadata"]["resourceVersion"]
        lived = loop.time() - begin
        if lived < (ROUND + SILENCE) / 2:
            self._alive()  # the API server ended it; a dead connection lasts for SILENCE seconds
        return events > 0 or lived > 1.0

    def _alive(self) -> None:
        self._heard = asyncio.get_running_loop().time()
        self._error = ""
        self._failing = self._refused = None
        self.unreadable = False

    def _apply(self, event: Object) -> None:
        kind, obj = event["type"], event["object"]
        if kind == "ERROR":
            if obj.get("code") == 410 or obj.get("reason") in ("Expired", "Gone"):
                raise _Gone
            raise Unavailable(int(obj.get("code") or 0), str(obj.get("reason") or ""), str(obj.get("message") or ""))
        meta = obj["metadata"]
        if kind in ("ADDED", "MODIFIED"):
            self._store.put(self._kind, obj)
        elif kind == "DELETED":
            self._store.remove(self._kind, meta["namespace"], meta["name"], meta["uid"])


async def _next(answers: AsyncIterator[Object]) -> Object | None:
    return await anext(answers, None)


def _pause(failures: int) -> float:
    """Seconds before the next attempt: doubled each time, with jitter."""
    shortest, longest = PAUSES
    return float(min(longest, shortest * 2.0 ** min(failures - 1, 20)) * random.uniform(0.5, 1.0))  # noqa: S311
