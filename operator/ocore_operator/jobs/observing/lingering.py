"""Ends Jobs whose mover has ended and whose pod has not: a container that was injected, for example by a service mesh,
still runs, and would until the Job's deadline. It keeps the Job's slot, and the claim mounted.

Only the container `mover` counts. A native sidecar (an init container with ``restartPolicy: Always``) is ended by the
kubelet; any other container never learns that the mover has ended, and a pod has no other way to end it than a deletion
of its Job. What the mover reported is read from the pod, so the Job stays for as long as it may still be read:

- after a result AFTER seconds: the reconcile that its end has caused has recorded it
- after a failure as long as a Job that has ended stays (``OCORE_JOB_TTL``): plans count attempts by the Jobs that exist

A plan that is done with a Job, or needs its claim, deletes it earlier.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from ocore_crds import naming
from ocore_kube.errors import ApiError
from ocore_kube.types import JOBS, PODS
from ocore_operator.context import Context
from ocore_operator.jobs.observing import ownership
from ocore_operator.jobs.observing.outcome import finished, mover_ended, pod_ended
from ocore_operator.jobs.observing.pod_failures import mover
from ocore_operator.kube.catalog import UNREADABLE_ERRORS
from ocore_operator.kube.resources import Object

#: Seconds after the end of a mover with a result.
AFTER = 60.0
#: Seconds between two checks.
CHECK = 5.0
#: Jobs that are remembered. A mesh in every namespace has fewer: each is deleted after a minute.
MOST = 2_000

_log = structlog.get_logger()


@dataclass(frozen=True)
class _Ended:
    """A pod whose mover has ended."""

    namespace: str
    job: str
    job_uid: str
    #: When its Job is deleted.
    due: float


class Lingering:
    """What the watch has shown, in memory: after a restart the watch shows each pod again."""

    def __init__(self, ttl: float, now: Callable[[], float] = time.monotonic) -> None:
        """`ttl`: seconds that a Job which has ended is kept."""
        self._ttl = ttl
        self._now = now
        self._ended: OrderedDict[str, _Ended] = OrderedDict()

    def heard(self, pod: Object, *, deleted: bool) -> None:
        """An event about a pod with our labels."""
        uid = pod["metadata"]["uid"]
        job = ownership.controller(pod)
        if deleted or pod_ended(pod) or not mover_ended(pod) or job is None or job["kind"] != "Job":
            self._ended.pop(uid, None)
        elif uid not in self._ended:
            due = self._now() + (AFTER if _succeeded(pod) else self._ttl)
            self._ended[uid] = _Ended(pod["metadata"]["namespace"], job["name"], job["uid"], due)
            if len(self._ended) > MOST:
                self._ended.popitem(last=False)

    async def run(self, ctx: Context) -> None:
        """Deletes what lingers, until cancelled."""
        while True:
            await asyncio.sleep(CHECK)
            await self.once(ctx)

    async def once(self, ctx: Context) -> None:
        """Deletes the Jobs that are due."""
        for uid, each in list(self._ended.items()):
            if each.due > self._now():
                continue
            try:
                await _end(ctx, each)
            except ApiError as error:
                _log.warning("lingering job not deleted", namespace=each.namespace, job=each.job, error=str(error))
                continue  # tried again at the next check
            except UNREADABLE_ERRORS as error:  # what one tenant wrote must not end the loop of all
                _log.warning("lingering job not read", namespace=each.namespace, job=each.job, error=repr(error))
            self._ended.pop(uid, None)


async def _end(ctx: Context, ended: _Ended) -> None:
    """Deletes the Job, unless it is not ours, or one of its pods may still act. Labels alone are not believed."""
    job = await ctx.kube.get(JOBS, ended.namespace, ended.job)
    if job is None or job["metadata"]["uid"] != ended.job_uid or finished(job) is not None:
        return
    key = ownership.owner_of_job(job, ctx.catalog)
    known = ctx.catalog.get(key) if key is not None else None
    if "deletionTimestamp" in job["metadata"] or known is None:
        return
    owner = known.uid
    pods = await ctx.kube.list(PODS, ended.namespace, labels=f"{naming.LABEL_UID}={owner}")
    if not only_lingers(job, pods):
        return
    try:
        await ctx.kube.delete(JOBS, ended.namespace, ended.job, uid=ended.job_uid, propagation="Background")
    finally:  # it may be gone though no answer came
        ctx.remembered.changed(owner)
    _log.info("job deleted whose mover had ended", namespace=ended.namespace, job=ended.job)


def only_lingers(job: Object, pods: Iterable[Object]) -> bool:
    """Whether the Job has pods that have not ended, and the mover has ended in each of them. Pure."""
    name = job["metadata"]["name"]
    live = [p for p in ownership.pods_by_job({name: job}, pods).get(name, ()) if not pod_ended(p)]
    return bool(live) and all(mover_ended(pod) for pod in live)


def _succeeded(pod: Object) -> bool:
    return bool(mover(pod)["state"]["terminated"].get("exitCode") == 0)
