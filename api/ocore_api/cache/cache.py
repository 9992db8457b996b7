"""The cache as routes, writes and streams use it: the store, and the watches that keep it current."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from ocore_api.cache.entries import KINDS, Entry, EnvironmentEntry
from ocore_api.cache.queries import Served
from ocore_api.cache.staleness import Heartbeat, is_stale
from ocore_api.cache.store import Store
from ocore_api.cache.watch import Watch
from ocore_api.views.values import Object
from ocore_kube.errors import ApiError, Forbidden, Invalid
from ocore_kube.transport import Transport, no_answer
from ocore_kube.types import OURS

#: Seconds for which an id that the API server does not know is not asked for again.
UNKNOWN_SECONDS = 5.0
#: Ids that are remembered as unknown.
UNKNOWN_IDS = 10_000
#: Seconds within which the API server must have answered about an id, with all repetitions.
ANSWER_SECONDS = 10.0
#: Questions to the API server about unknown ids at the same time.
QUESTIONS = 4

EntryT = TypeVar("EntryT", bound=Entry)
_log = structlog.get_logger()


def _everyone(_: object) -> bool:
    return True


class Cache:
    """Reads by id; `served` has the lists. `put` and `hide` of `store` take answers to writes: clients read their own
    writes at once."""

    def __init__(
        self, transport: Transport | None = None, namespaces: Sequence[str] = (), *, seconds: float = ANSWER_SECONDS
    ) -> None:
        """`namespaces`: those that are served; none: the whole cluster. `seconds`: how long an id that is not known may
        be asked for. Without a transport nothing is read but what is put: for tests."""
        self.store = Store()
        self._transport = transport
        self._seconds = seconds
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._watches = tuple(
            Watch(transport, self.store, kind, namespace)
            for namespace in self._namespaces
            for kind in KINDS
            if transport is not None
        )
        self._heartbeat = Heartbeat(transport) if transport is not None else None
        self._unknown: OrderedDict[tuple[str, str], float] = OrderedDict()  # until when
        self._asked: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(QUESTIONS)

    @property
    def served(self) -> Served:
        """All entries that have their ids."""
        return self.store.served

    async def run(self) -> None:
        """Lists and watches until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(watch.run())
            if self._heartbeat is not None:
                group.create_task(self._heartbeat.run())

    async def listed(self) -> None:
        """Returns when all objects were read once that may be read."""
        for watch in self._watches:
            await watch.listed.wait()

    @property
    def not_ready(self) -> str | None:
        """Why reads cannot be answered; None if they can. A namespace of which nothing may be read counts only if there
        is no other one."""
        found: list[str] = []
        refused: list[str] = []
        for namespace in self._namespaces:
            watches = [w for w in self._watches if w.namespace == namespace]
            problems = [f"{w.label}: {w.problem}" for w in watches if w.problem is not None]
            (refused if all(w.unreadable for w in watches) else found).extend(problems)
        if len(refused) == len(self._watches):
            found = refused
        return "; ".join(found[:3]) + (f"; {len(found) - 3} more" if len(found) > 3 else "") if found else None

    @property
    def stale(self) -> bool:
        """As :func:`is_stale`."""
        return is_stale(self._heartbeat, self._watches)

    async def find(self, type_: type[EntryT], id_: str, visible: Callable[[EntryT], bool] = _everyone) -> EntryT | None:
        """The entry of that type and id; None where it is not visible to the caller. What exists and is not visible is
        asked for as an id that does not exist: the time shows no difference."""
        kind = type_.kind
        found = self.served.find(type_, id_)
        if found is not None and visible(found):
            return found
        if self._transport is None:
            return None
        key, now = (kind, id_), asyncio.get_running_loop().time()
        if self._unknown.get(key, now) > now:
            return None
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(self._transport, kind, id_))
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.shield(task)
        except TimeoutError:
            raise no_answer(self._seconds) from None
        found = self.served.find(type_, id_)
        return found if found is not None and visible(found) else None

    async def _ask(self, transport: Transport, kind: str, id_: str) -> None:
        """Asks the API server once for an object by its status.id (a selectable field of our CRDs). It then is in the
        store, or remembered as unknown."""
        async with self._slots:
            for namespace in self._namespaces:
                query = {"fieldSelector": f"status.id={id_}", "limit": "10"}
                try:
                    answer = await transport.request("GET", OURS[kind].path(namespace), query=query)
                except (Forbidden, Invalid) as error:
                    # No Role in the namespace, or an API server before 1.31, which selects by no field of ours: the
                    # watch alone says what exists.
                    _log.debug("id cannot be looked up", kind=kind, namespace=namespace, error=str(error))
                    continue
                except ApiError as error:
                    if error.status != 404:  # the namespace is gone
                        raise
                    continue
                for obj in answer["items"]:
                    self.store.put(kind, obj)
        self._unknown[kind, id_] = asyncio.get_running_loop().time() + UNKNOWN_SECONDS
        if len(self._unknown) > UNKNOWN_IDS:
            self._unknown.popitem(last=False)

    def policy_of(self, entry: EnvironmentEntry) -> Object | None:
        """The SnapshotPolicy of an environment, as the API server returned it; None where it has none."""
        return self.served.policies.get((entry.namespace, entry.name))
