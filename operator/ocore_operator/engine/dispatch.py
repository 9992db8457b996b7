"""What a watch event means: it feeds the catalog and puts keys into the work queue. And how kopf is configured for
that."""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import kopf

from ocore_crds import naming
from ocore_operator.context import Context
from ocore_operator.engine.kinds import Reconcilers
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.jobs.observing.lingering import Lingering
from ocore_operator.jobs.observing.outcome import ever_ran, finished, pod_ended
from ocore_operator.jobs.observing.ownership import owner_of_job, owner_of_pod
from ocore_operator.jobs.observing.pod_failures import VAGUE, container_trouble, mover, pod_trouble
from ocore_operator.kube.catalog import Entry
from ocore_operator.kube.client import PAGE
from ocore_operator.kube.resources import Key, Object

#: Label selector of our Jobs and pods.
OURS = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
#: Seconds after which a watch is opened again, so that a connection that is dead on one side is noticed.
SERVER_TIMEOUT = 50
#: Seconds for which kopf keeps an object that did not change: it has as many in memory as come in that time.
KEPT = 0.1
#: Seconds without any event or bookmark after which a watch is opened again.
INACTIVITY = 60.0
#: Seconds between kopf's attempts at a request, before its watches end and watch.py starts them again. kopf's own list
#: takes 88 s: a namespace that is back would wait for the rest of it.
ATTEMPTS = (0.5, 1.0, 2.0, 4.0)


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf as a mere watcher: it writes nothing."""
    settings.posting.enabled = False
    settings.posting.level = logging.CRITICAL
    settings.scanning.disabled = True  # main.py has waited for our kinds; CRDs and namespaces need not be watched
    settings.peering.standalone = True  # the Lease is ours
    settings.process.ultimate_exiting_timeout = None  # it would kill the process when the watches of one namespace end
    settings.watching.server_timeout = SERVER_TIMEOUT
    settings.watching.client_timeout = SERVER_TIMEOUT + 10
    settings.watching.inactivity_timeout = INACTIVITY
    settings.watching.connect_timeout = 5
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = KEPT
    settings.persistence.diffbase_storage = NoDifferences()
    settings.watching.reconnect_backoff = 1
    settings.networking.request_timeout = 20
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = ATTEMPTS
    for resource in (("batch", "v1", "jobs"), ("", "v1", "pods")):
        settings.watching.label_selectors[resource] = OURS


class NoDifferences(kopf.DiffBaseStorage):
    """What kopf keeps of an object for handlers that ask what changed: nothing. We have none, and it would copy each
    object of each event for them."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """What changes are compared with."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """The object as it was when a handler last ran: not kept."""
        return None

    def store(self, **_: Any) -> None:
        """Writes nothing."""


@dataclass(frozen=True, slots=True)
class News:
    """An event about an object of our kinds, without the object."""

    entry: Entry
    type: str | None
    #: An object of another kind that it concerns.
    concerned: Key | None


class Dispatch:
    """From watch events to the work queue."""

    def __init__(self, ctx: Context, queue: WorkQueue, reconcilers: Reconcilers, lingering: Lingering) -> None:
        self._ctx = ctx
        self._lingering = lingering
        self._queue = queue
        self._reconcilers = reconcilers
        self._told: OrderedDict[str, str] = OrderedDict()  # of Jobs and pods of known objects, by uid

    def kinds(self) -> Iterable[tuple[str, str]]:
        """Kind and plural of all that is watched."""
        return ((kind, row.type.plural) for kind, row in self._reconcilers.items())

    def news(self, kind: str, type_: str | None, obj: Object) -> News:
        """What is needed of an event about an object of our kinds. Pure, for kopf's thread: 20,000 raw objects must not
        wait for the main event loop. `type_` None: the object was listed as a watch was opened."""
        return News(self._ctx.catalog.entry(kind, obj), type_, self._reconcilers[kind].concerns(obj))

    def changed(self, news: News) -> None:
        """An object of our kinds was created, changed or deleted."""
        catalog, key = self._ctx.catalog, news.entry.key
        if news.concerned is not None and (news.type is not None or key.kind == "Environment"):
            self._queue.add(news.concerned, low=True)
        if news.type == "DELETED":
            self._queue.when_finished(key, lambda: None)  # nothing that came before
            catalog.remove(key, news.entry.uid)
            self._queue.forget(key)
            self._queue.add(key)
        # While it is reconciled, the event may be that of our own write, whose answer puts it into the catalog.
        elif not self._queue.when_finished(key, lambda: self._known_or_queued(news)):
            self._known_or_queued(news)

    def _known_or_queued(self, news: News) -> None:
        """Queues the object where the event says something that no reconcile has read or written."""
        catalog, key = self._ctx.catalog, news.entry.key
        old = catalog.get(key)
        new = catalog.take(news.entry)
        known = old is not None and old.version >= new.version and old.uid == new.uid and news.type is not None
        # An import that ended between the two writes of an object is found by the resync: thousands of reconciles would
        # find that they must wait.
        arriving = new.work.arriving and not new.phase and not new.deleting
        if not known and not new.work.idle and not arriving:
            self._queue.add(key)

    def job_changed(self, job: Object, deleted: bool) -> None:
        """A Job with our label changed: its owner is reconciled. Where it ended, also the owners that wait for a
        slot."""
        self._ctx.remembered.heard(job)
        owner = owner_of_job(job, self._ctx.catalog)  # None: it has our label, but is not ours
        if owner is not None or deleted:  # the owner may be gone before its Job
            self._ctx.slots.changed(job, deleted=deleted)
        if not self._is_news(job, owner, deleted, begins=job_begins(job)) or owner is None:
            return
        self._queue.add(owner)
        if deleted or finished(job) is not None:
            for waiting in self._ctx.slots.waiters():
                self._queue.add(waiting)

    def pod_changed(self, pod: Object, deleted: bool) -> None:
        """A pod with our label changed: the object that it names is reconciled, where that exists."""
        self._ctx.remembered.heard(pod)
        self._lingering.heard(pod, deleted=deleted)
        owner = owner_of_pod(pod, self._ctx.catalog)
        if self._is_news(pod, owner, deleted, begins=pod_begins(pod)) and owner is not None:
            self._queue.add(owner)

    def _is_news(self, obj: Object, owner: Key | None, deleted: bool, *, begins: bool) -> bool:
        """Whether the event of a Job or pod says anything that a reconcile reads. Most do not: addresses, counts,
        readiness by condition, and that what was just created `begins`, which the reconcile that created it knows."""
        uid = obj["metadata"]["uid"]
        old = self._told.pop(uid, BEGINS)
        if owner is None:
            return True
        new = BEGINS if begins else substance(obj)
        if deleted:
            return new != old or not pod_ended(obj)
        self._told[uid] = new
        if len(self._told) > TOLD:  # the deletion of some was missed
            self._told.popitem(last=False)
        return new != old


#: Jobs and pods of which is known what they said last, at most. Of another one each event wakes its owner, but for
#: those of its beginning.
TOLD = 20_000
#: Conditions of a pod that only repeat what its containers say.
REPEATED = ("Initialized", "PodReadyToStartContainers", "ContainersReady", "Ready")
#: The substance of a Job or pod that has only begun.
BEGINS = ""


def substance(obj: Object) -> str:
    """What a reconcile reads of a Job or pod, as a digest: `outcome.py` and `pod_failures.py` of `jobs/observing` know
    no other field that changes."""
    meta, status = obj["metadata"], obj.get("status") or {}
    conditions = [
        [x.get(name) for name in ("type", "status", "reason", "message")]
        for x in status.get("conditions") or ()
        if x["type"] not in REPEATED
    ]
    containers = [
        {name: x.get(name) for name in ("name", "state", "lastState", "ready", "restartCount")}
        for x in status.get("containerStatuses") or ()
    ]
    read = [
        None if pod_ended(obj) else meta.get("deletionTimestamp"),  # it has ended anyway
        *(meta.get(name) for name in ("ownerReferences", "labels", "annotations")),
        *(status.get(name) for name in ("phase", "reason", "message")),
        obj.get("spec", {}).get("nodeName"),
        conditions,
        containers,
    ]
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def job_begins(job: Object) -> bool:
    """Whether the Job runs or is about to: its pods say the rest."""
    return "deletionTimestamp" not in job["metadata"] and finished(job) is None


def pod_begins(pod: Object) -> bool:
    """Whether the pod has never run, and what it waits for is no trouble."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"] or status.get("phase") != "Pending" or status.get("reason"):
        return False
    disrupted = any(x["type"] == "DisruptionTarget" for x in status.get("conditions") or ())
    trouble = pod_trouble(pod) or container_trouble(mover(pod))
    return not disrupted and not ever_ran(pod) and trouble.kind in VAGUE
