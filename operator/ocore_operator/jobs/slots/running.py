"""Which Jobs have slots: those that the operator has created, and those that a list or the watch has shown. One is
removed only where its end was seen.

A Job whose pod does not run gives its slot back after a while: it has no node, its image cannot be pulled, or a claim
is not bound. A tenant decides how long it may last so. It keeps a place among those that wait in its namespace, and
takes a slot again when its pod runs, even where none is free.

So a lost event never lets more Jobs run than the limits allow: only the operator creates Jobs, and it remembers each
one before it sends the request. A lost event may delay a Job that could run, until the others are read (``check``). The
Jobs of the process that had the Lease before come with the list of the first request for a slot. One more list each
COUNT seconds finds what neither the operator nor the watch has shown.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ocore_crds import naming
from ocore_crds.commands.base import LimitsClass
from ocore_crds.commands.table import COMMANDS
from ocore_kube.errors import UNREADABLE, ApiError
from ocore_kube.types import JOBS
from ocore_operator.context import Context
from ocore_operator.jobs.observing.outcome import finished
from ocore_operator.jobs.observing.ownership import owner_of_job
from ocore_operator.kube.resources import Object

#: Classes of Jobs that an operation waits for (ANNOTATION_OF_OPERATION).
OF_OPERATIONS: dict[str, LimitsClass] = {"probe": "asked", "snapshot": "rollback"}


def job_class(job: Object) -> LimitsClass:
    """The Job's class, by its command, or by what it is for: a probe that a Rollback waits for, its safety snapshot.
    The inspection of a rollback is `free`: its environment is stopped."""
    labels, annotations = job["metadata"].get("labels", {}), job["metadata"].get("annotations") or {}
    command = labels[naming.LABEL_COMMAND]
    if labels.get(naming.LABEL_KIND) == "Rollback" and command == "inspect":
        return "free"
    wanted = OF_OPERATIONS.get(command) if naming.ANNOTATION_OF_OPERATION in annotations else None
    return wanted or COMMANDS[command].limits


def store_of(job: Object) -> tuple[str, str]:
    """Namespace and name of the Job's store; the name is empty where it uses none."""
    return job["metadata"]["namespace"], job["metadata"]["labels"].get(naming.LABEL_STORE, "")


@dataclass(frozen=True)
class Load:
    """Number of Jobs of one class that have not ended: those that have a slot, and those that gave it back."""

    by_namespace: Counter[str] = field(default_factory=Counter)
    by_store: Counter[tuple[str, str]] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)

    def total(self, per_namespace: int) -> int:
        """In all. A namespace never counts for more than its limit, whatever is created in it."""
        return sum(min(count, per_namespace) for count in self.by_namespace.values())

    def add(self, store: tuple[str, str]) -> None:
        """One more Job, of that namespace and store."""
        self.by_namespace[store[0]] += 1
        self.by_store[store] += 1


#: Seconds after which a Job whose pod does not run gives its slot back; of other classes the operator's start deadline
#: (OCORE_START_DEADLINE). More of these do no harm where the pods of many start at once: they are short.
PATIENCE: dict[LimitsClass, float] = {"asked": 30.0, "light": 30.0}
#: Commands whose pod has a container of the application too. Where that one has ended, the pod is not ready, and runs.
WITH_APPLICATION = ("neutralize",)
#: Seconds after which a request for a slot lists the Jobs again.
COUNT = 60.0
#: Seconds in which a Job that was seen running is not read again.
SEEN = 10.0
#: Jobs of one namespace that are remembered. A namespace with more is full until a list shows fewer.
MOST = 1_000
#: Jobs that are remembered as ended. Any other one is read.
ENDED = 10_000

#: Called with a Job that was created or adopted, as the API server has it.
Started = Callable[[Object], None]


@dataclass
class _Running:
    class_: LimitsClass
    store: tuple[str, str]
    #: Empty: the request to create it has no answer.
    uid: str
    #: When it was last seen, before its end.
    seen: float
    #: Since when its pod does not run; None where it runs, or where that is unknown.
    idle: float | None = None
    #: Whether its pod was seen running.
    ran: bool = False

    def saw(self, job: Object, now: float) -> None:
        """The Job as it is now."""
        status = job.get("status") or {}
        if status.get("ready", status.get("active")):
            self.idle, self.ran = None, True
        elif self.ran and job["metadata"]["labels"][naming.LABEL_COMMAND] in WITH_APPLICATION:
            self.idle = None
        elif self.idle is None:
            self.idle = now


class RunningJobs:
    """The Jobs that have slots. All methods belong to the event loop's thread; one request for a slot at a time."""

    def __init__(
        self, per_namespace: int, most_waiting: int, patience: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`per_namespace`, `most_waiting`: limits of a class in one namespace. `patience`: seconds until a Job whose
        pod does not run gives its slot back, at most."""
        self._per_namespace = per_namespace
        self._most_waiting = most_waiting
        self._patience = patience
        self._now = now
        self._jobs: dict[str, dict[str, _Running]] = {}  # by namespace, then by name
        self._full: set[str] = set()
        self._counted: dict[str | None, float] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def load(self, class_: LimitsClass) -> Load:
        """The Jobs of the class that run, and those whose end was not seen."""
        found = Load()
        for jobs in self._jobs.values():
            for job in jobs.values():
                if job.class_ == class_ and self._waits(job):
                    found.waiting[job.store[0]] += 1
                elif job.class_ == class_:
                    found.add(job.store)
        for namespace in self._full:
            found.by_namespace[namespace] = max(found.by_namespace[namespace], self._per_namespace)
        return found

    def _waits(self, job: _Running) -> bool:
        """Whether it gave its slot back."""
        patience = min(PATIENCE.get(job.class_, self._patience), self._patience)
        return job.idle is not None and self._now() - job.idle >= patience

    @contextmanager
    def starting(self, job: Object) -> Iterator[Started]:
        """Remembers the Job before it is created. Where the request fails, it may exist anyway: ``check`` reads it."""
        meta = job["metadata"]
        mine = _Running(job_class(job), store_of(job), "", float("-inf"), self._now())
        self._jobs.setdefault(meta["namespace"], {})[meta["name"]] = mine

        def started(created: Object) -> None:
            mine.uid, mine.seen = created["metadata"]["uid"], self._now()
            if finished(created) is not None or mine.uid in self._ended:  # adopted, or it ended before the answer
                self._end(meta["namespace"], meta["name"], mine.uid)

        yield started

    def changed(self, job: Object, *, deleted: bool) -> None:
        """An event about a Job of an object that the operator knows, or about any Job that was deleted. An end counts
        for the Job of that uid only: another one may have the name now."""
        meta = job["metadata"]
        if not _counts(job):
            return
        if deleted or finished(job) is not None:
            self._end(meta["namespace"], meta["name"], meta["uid"])
        elif meta["uid"] not in self._ended:
            self._add(job, self._now())
            known = self._jobs[meta["namespace"]].get(meta["name"])
            if known is not None:
                known.saw(job, self._now())

    async def count(self, ctx: Context, namespace: str) -> None:
        """Lists the Jobs where that was not done for COUNT seconds. Another namespace that may not be read is left out:
        it must not stop the Jobs of `namespace`."""
        for each in ctx.settings.namespaces or (None,):
            began = self._now()
            if began - self._counted.get(each, float("-inf")) < COUNT:
                continue
            try:
                listed = await _existing(ctx, each)
            except ApiError as error:
                self._unreadable(each, namespace, error)
                continue
            self._compare(each, listed, began)
            self._counted[each] = began

    async def check(self, ctx: Context, namespace: str, class_: LimitsClass) -> None:
        """Reads the Jobs of the class that were not seen in the last SEEN seconds, of each namespace until one of its
        limits is reached."""
        for each in list(self._jobs):
            try:
                await self._check(ctx, each, class_)
            except ApiError as error:
                self._unreadable(each, namespace, error)

    async def _check(self, ctx: Context, namespace: str, class_: LimitsClass) -> None:
        of_class = {name: job for name, job in self._jobs[namespace].items() if job.class_ == class_}
        old = [name for name, job in of_class.items() if job.seen <= self._now() - SEEN]
        fresh = [job for job in of_class.values() if job.seen > self._now() - SEEN]
        waiting = sum(map(self._waits, fresh))
        running = len(fresh) - waiting
        while old and running < self._per_namespace and waiting < self._most_waiting:
            names = old[: self._per_namespace - running]
            old = old[len(names) :]
            for name, job in zip(
                names, await asyncio.gather(*(ctx.kube.get(JOBS, namespace, name) for name in names)), strict=True
            ):
                known = of_class[name]
                if job is None:
                    self._end(namespace, name, known.uid)
                elif finished(job) is not None:
                    self._remember(job["metadata"]["uid"])
                    self._end(namespace, name, known.uid)
                else:
                    known.uid, known.seen = job["metadata"]["uid"], self._now()
                    known.saw(job, self._now())
                    waiting += self._waits(known)
                    running += not self._waits(known)

    def _unreadable(self, each: str | None, namespace: str, error: ApiError) -> None:
        """Forgets the Jobs of another namespace that may not be read: it is listed again. Raises any other error."""
        if each in (None, namespace) or error.status not in UNREADABLE:
            raise error
        self._jobs.pop(each, None)
        self._full.discard(each)
        self._counted.pop(each, None)

    def _compare(self, each: str | None, listed: list[Object], began: float) -> None:
        """Removes what is not listed any more, unless it was seen since the list began. Adds what is."""
        there = {(job["metadata"]["namespace"], job["metadata"]["name"]): job["metadata"]["uid"] for job in listed}
        self._full -= {namespace for namespace in self._full if each in (None, namespace)}
        for namespace, jobs in self._jobs.items():
            if each in (None, namespace):
                for name, known in list(jobs.items()):
                    if known.seen < began and there.get((namespace, name)) != known.uid:
                        del jobs[name]
        for job in listed:
            if job["metadata"]["uid"] not in self._ended:
                self._add(job, float("-inf"))

    def _add(self, job: Object, seen: float) -> None:
        meta = job["metadata"]
        jobs = self._jobs.setdefault(meta["namespace"], {})
        known = jobs.get(meta["name"])
        if known is not None and known.uid == meta["uid"]:
            known.seen = max(known.seen, seen)
        elif known is None and len(jobs) < MOST:
            jobs[meta["name"]] = _Running(job_class(job), store_of(job), meta["uid"], seen)
        elif known is None:
            self._full.add(meta["namespace"])

    def _end(self, namespace: str, name: str, uid: str) -> None:
        if uid:
            self._remember(uid)
        known = self._jobs.get(namespace, {}).get(name)
        if known is not None and known.uid == uid:
            del self._jobs[namespace][name]

    def _remember(self, uid: str) -> None:
        self._ended[uid] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)


def _counts(job: Object) -> bool:
    """Whether it is one of ours that takes a slot."""
    command = (job["metadata"].get("labels") or {}).get(naming.LABEL_COMMAND)
    return command in COMMANDS and job_class(job) != "free"


async def _existing(ctx: Context, namespace: str | None) -> list[Object]:
    """The metadata of all Jobs with a slot that belong to known objects."""

    def counts(job: Object) -> bool:
        return _counts(job) and owner_of_job(job, ctx.catalog) is not None

    labels = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
    return await ctx.kube.metadata(JOBS, namespace, labels=labels, keep=counts)
