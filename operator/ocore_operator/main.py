"""Builds the operator's parts and runs them until a signal comes, or until a part ends that must not."""

import asyncio
import signal
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any

import kopf
import structlog

from ocore_kube import logs
from ocore_kube.errors import ApiError
from ocore_kube.transport import Transport, connect
from ocore_kube.types import Type
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.engine import handlers, login, releases, unreadable
from ocore_operator.engine.access import Access, Namespace, title
from ocore_operator.engine.dispatch import Dispatch
from ocore_operator.engine.health import HealthServer
from ocore_operator.engine.kinds import makers, reconcilers
from ocore_operator.engine.lease import Lease
from ocore_operator.engine.metrics import FromCatalog, Metrics
from ocore_operator.engine.queue import RECONCILE_TIMEOUT, WorkQueue
from ocore_operator.engine.resync import Resync
from ocore_operator.engine.shutdown import Shutdown
from ocore_operator.engine.watch import Watch
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.observing.lingering import Lingering
from ocore_operator.jobs.observing.pod_changes import PodChanges
from ocore_operator.jobs.reporting.log import Followers
from ocore_operator.jobs.reporting.progress import ProgressWriter
from ocore_operator.jobs.slots.slots import Slots
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.client import Kube
from ocore_operator.kube.events import Recorder
from ocore_operator.kube.resources import Key
from ocore_operator.probe_requests import ProbeRequests
from ocore_operator.settings import Settings

#: Seconds between two checks whether the CRDs are served.
KINDS_PAUSE = 3.0
#: Seconds that Events have to be written at shutdown.
FLUSH = 3.0

_log = structlog.get_logger()


def _lease(settings: Settings, kube: Kube) -> Lease:
    return Lease(
        kube,
        namespace=settings.namespace,
        name=settings.lease_name,
        identity=settings.identity(),
        duration=settings.lease_duration,
        renew=settings.lease_duration / 3,
    )


class Operator:
    """All parts, in the order in which they start."""

    def __init__(self, settings: Settings, api: Any, own: Any) -> None:
        """`own`: a client that only the Lease uses. Where a network drops connections without a word, each one that is
        kept for the next request fails only after a timeout, and a renewal must not wait for several of them."""
        self._settings = settings
        self._api = api
        self._stop = asyncio.Event()
        #: A second signal: nothing is finished first.
        self._stop_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        #: The Lease was acquired, and the workers run.
        self._leads = False
        self._transport = Transport(api, settings.request_timeout, "ocore-operator")
        self._own = Transport(own, settings.request_timeout, "ocore-operator")
        self._lease = _lease(settings, Kube(self._own))
        self._releases = releases.Releases(
            Kube(self._transport), own=(settings.namespace, settings.lease_name), namespaces=settings.namespaces
        )
        kube = Kube(self._transport, settings.namespaces, self._lease.guard)
        self._reconcilers = reconcilers()
        catalog = Catalog(makers(self._reconcilers))
        metrics = self._metrics = Metrics()
        queue = self._queue = WorkQueue(
            workers=settings.workers,
            timeout=RECONCILE_TIMEOUT,
            urgent=catalog.is_urgent,
            punctual=lambda key: self._reconcilers[key.kind].punctual,
            waited=metrics.waited,
        )
        followers = Followers(kube, self._heard)
        access = self._access = Access(settings.namespaces)
        self._ctx = Context(
            settings=settings,
            kube=kube,
            queue=queue,
            catalog=catalog,
            remembered=Remembered(lambda namespace: access.watched(namespace if settings.namespaces else None)),
            slots=Slots(
                settings.max_concurrent_jobs, settings.max_concurrent_jobs_per_namespace, settings.start_deadline
            ),
            followers=followers,
            pod_changes=PodChanges(kube, queue.add_after),
            progress=ProgressWriter(kube, catalog, followers, clock.now),
            events=Recorder(kube),
            metrics=metrics,
            probes=ProbeRequests(),
            now=clock.now,
        )
        self._lingering = Lingering(settings.job_ttl)
        self._resync = Resync(self._ctx, queue, self._reconcilers, self._access)
        self._shutdown = Shutdown(self._ctx, queue, self._resync.synced, self._access)
        self._health = HealthServer(
            port=settings.http_port,
            registry=metrics.registry,
            healthy=self._unhealthy,
            ready=self._unready,
            problems=self._access.problems,
        )

    def _heard(self, key: Key, within: float) -> None:
        """What a log says that its object acts on at once: it acts on Jobs that are listed after that."""
        entry = self._ctx.catalog.get(key) if within == 0 else None
        if entry is not None:
            self._ctx.remembered.changed(entry.uid)
        self._queue.add_after(key, within)

    # --- health ---------------------------------------------------------------------------------------------
    def _unhealthy(self) -> str | None:
        dead = [t.get_name() for t in self._tasks if t.done()]
        if dead:
            return f"these parts of the operator ended: {', '.join(dead)}"
        if self._leads and not self._queue.alive():
            return "a worker of the queue ended or is stuck"
        return None

    def _unready(self) -> str | None:
        if self._releases.problem:
            return self._releases.problem
        if not self._lease.held() and (self._leads or not self._settings.standby):
            return "another operator holds the lease, or this one could not renew it"
        if not self._resync.synced():
            return "the first list of all objects is not complete"
        if not self._access.any_listed():
            return "no watched namespace can be listed"
        return self._unhealthy()

    # --- life -----------------------------------------------------------------------------------------------
    async def run(self) -> int:
        """Exit code: 0 after a signal, 1 where a part ended that must not."""
        loop = asyncio.get_running_loop()
        self._on_signals(loop)
        ctx = self._ctx
        self._metrics.registry.register(
            FromCatalog(ctx.catalog, self._queue, ctx.slots.waiting, self._lease.held, self._access.readable)
        )
        port = await self._health.start()
        _log.info("operator starts", port=port, namespaces=self._settings.namespaces or "all")
        try:
            if not await self._until_stopped(self._prepare()):
                return 0
            return await self._work()
        finally:
            await self._shut_down()

    def _on_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """True where the work ended before a signal came. Raises what the work raises."""
        task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for each in (task, stopped):
            each.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)
        if task.cancelled():
            return False
        task.result()
        return True

    async def _prepare(self) -> None:
        """Waits for the CRDs, for other releases, then for the Lease. While a standby waits, it reads and watches; it
        writes nothing, and its queue takes nothing."""
        for reconciler in self._reconcilers.values():
            await self._served(reconciler.type)
        await self._releases.wait()
        if self._settings.standby:
            self._queue.pause()
            self._read()
        await self._lease.acquire()
        await self._releases.yield_to_earlier()

    async def _served(self, type_: Type) -> None:
        """Returns once the kind can be listed in one of the watched namespaces: the others may be gone, or not be
        readable."""
        while True:
            if await self._listed_once(type_):
                return
            await asyncio.sleep(KINDS_PAUSE)

    async def _listed_once(self, type_: Type) -> bool:
        for namespace in self._access.namespaces:
            try:
                async for _ in self._ctx.kube.pages(type_, namespace):
                    return True
            except ApiError as error:
                _log.warning(
                    "waiting for the API",
                    resource=type_.plural,
                    namespace=namespace,
                    status=error.status,
                    error=str(error),
                )
        return False

    async def _work(self) -> int:
        self._leads = True
        self._spawn("lease", self._lease.keep())
        self._spawn("other releases", self._releases.keep())
        self._spawn("queue", self._queue.run(self._reconcile))
        if self._settings.standby:
            self._queue.resume()
            self._resync.queue_forgotten()
        else:
            self._read()
        self._spawn("end of lingering Jobs", self._lingering.run(self._ctx))
        self._spawn("measurement of the event loop's lag", self._metrics.measure_lag())
        return await self._until_signalled()

    def _read(self) -> None:
        """Lists and watches all objects into the catalog."""
        self._spawn("resync", self._resync.run())
        dispatch = Dispatch(self._ctx, self._queue, self._reconcilers, self._lingering)
        kopf_in_thread = partial(self._kopf, dispatch, asyncio.get_running_loop())
        for namespace in self._access.namespaces:
            self._spawn(f"watch of {title(namespace)}", self._watch(Watch(namespace, kopf_in_thread, self._access)))

    async def _watch(self, watch: Watch) -> None:
        """Watches once everything was listed: two lists of 20,000 Snapshots at a time make the operator ready in twice
        the time."""
        await self._resync.first()
        await watch.run()

    async def _until_signalled(self) -> int:
        """The exit code, once a signal came and rollbacks have finished, or a part ended."""
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        done, _ = await asyncio.wait([*self._tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        ended = [task for task in self._tasks if task in done]
        if stopped in done:
            ended = await self._finish_first()
        if not ended:
            return 0
        for task in ended:
            error = None if task.cancelled() else task.exception()
            _log.error("a part of the operator ended", part=task.get_name(), exc_info=error)
        return 1

    async def _finish_first(self) -> list[asyncio.Task[None]]:
        """Lets rollbacks start the applications that they have stopped. Returns the parts that ended before that;
        empty: none."""
        _log.info("signal received; rollbacks that have stopped an application are finished first")
        finished = asyncio.create_task(self._shutdown.run(self._settings.shutdown_seconds), name="shutdown")
        at_once = asyncio.create_task(self._stop_now.wait(), name="second signal")
        done, _ = await asyncio.wait([*self._tasks, finished, at_once], return_when=asyncio.FIRST_COMPLETED)
        for task in (finished, at_once):
            task.cancel()
        await asyncio.gather(finished, at_once, return_exceptions=True)
        return [task for task in self._tasks if task in done]

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _reconcile(self, key: Key) -> float | None:
        await self._resync.first()
        if not self._shutdown.admits(key):
            return None
        with self._shutdown.reconciling(key):
            work = self._reconcilers[key.kind].reconcile(self._ctx, key)
            return await self._access.unless_refused(key.namespace, unreadable.reported(self._ctx, key, work))

    async def _kopf(
        self, dispatch: Dispatch, main: asyncio.AbstractEventLoop, namespace: Namespace, stop: asyncio.Event
    ) -> Collection[asyncio.Task[Any]]:
        """Runs in the thread of a Watch, which ends the tasks; its handlers run in the main event loop."""
        return await kopf.spawn_tasks(
            registry=handlers.registry(dispatch, self._login, main.call_soon_threadsafe),
            standalone=True,
            # Otherwise kopf needs the name of the user, and a numeric user of an image has none.
            identity=self._settings.identity(),  # type: ignore[arg-type]
            clusterwide=namespace is None,
            namespaces=[namespace] if namespace is not None else [],
            stop_flag=stop,
            memories=handlers.Forgetful(),
        )

    def _login(self) -> kopf.ConnectionInfo:
        return login.in_cluster() if self._settings.kubeconfig is None else login.from_client(self._api.configuration)

    async def _shut_down(self) -> None:
        _log.info("operator stops")
        await self._ctx.progress.stop()
        await self._ctx.followers.stop()
        await self._ctx.pod_changes.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=2 * FLUSH) if self._tasks else None
        await self._ctx.events.flush(FLUSH)
        await self._lease.release()
        await self._health.stop()
        await self._transport.close()
        await self._own.close()


async def run(settings: Settings) -> int:
    """Connects and runs; returns the exit code."""
    api, own = await connect(settings.kubeconfig), await connect(settings.kubeconfig, connections=1)
    return await Operator(settings, api, own).run()


def main() -> int:
    """The process."""
    settings = Settings()
    logs.configure(settings.log_level)
    return asyncio.run(run(settings))
