"""One leader: a coordination.k8s.io Lease, renewed by a loop here. Losing it ends the process at once.

The age of another holder's record is measured by our own clock from when we first saw it (as client-go does), so the
clocks of two machines need not agree. Our clock is CLOCK_BOOTTIME, which continues while the process is stopped
(SIGSTOP) and while the machine sleeps. A process that continues after that finds its lease expired before it writes
anything (:meth:`Lease.guard`, called by kube/client.py before every write).
"""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

import structlog

from ocore_kube.errors import AlreadyExists, ApiError, Conflict
from ocore_kube.types import LEASES
from ocore_operator import clock
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object

#: Seconds until the next attempt after a renewal that failed.
RETRY_PAUSE = 1.0

_log = structlog.get_logger()


def boottime() -> float:
    """Seconds since boot, including suspended time."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def hard_exit(message: str) -> NoReturn:
    """Ends the process without cleanup: nothing may be written any more."""
    _log.critical("lease lost, exiting", message=message)
    os._exit(1)


class Lease:
    """The Lease as this process sees it."""

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration: int,
        renew: float,
        now: Callable[[], datetime] = clock.now,
        monotonic: Callable[[], float] = boottime,
        lost: Callable[[str], None] = hard_exit,
    ) -> None:
        """`kube` must have no guard: the guard depends on the renewal, which is a write."""
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._renew = renew
        self._now = now
        self._monotonic = monotonic
        self._lost = lost
        self._valid_until: float | None = None
        self._seen: tuple[str, float] | None = None

    # --- state ----------------------------------------------------------------------------------------------
    def held(self) -> bool:
        """Whether this process is the leader at this moment."""
        return self._valid_until is not None and self._monotonic() < self._valid_until

    def guard(self) -> None:
        """Ends the process unless it is the leader at this moment."""
        if not self.held():
            self._lost("a write was attempted without the lease")

    # --- life -----------------------------------------------------------------------------------------------
    async def acquire(self) -> None:
        """Returns once this process is the leader; waits while another one is."""
        while True:
            if await self._try():
                break
            await asyncio.sleep(min(self._renew, 2.0))
        _log.info("lease acquired", lease=f"{self._namespace}/{self._name}", identity=self._identity)

    async def keep(self) -> None:
        """Renews until cancelled. Ends the process where the lease expires or another operator holds it."""
        pause = self._renew
        while True:
            await asyncio.sleep(pause)
            pause = self._renew if await self._try() else RETRY_PAUSE
            if not self.held():
                self._lost("it was not renewed in time")
                return

    async def release(self) -> None:
        """Releases it at a clean shutdown, so that the next leader need not wait."""
        held, self._valid_until = self.held(), None
        if not held:
            return
        try:
            lease = await self._kube.get(LEASES, self._namespace, self._name)
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                await self._write(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})
        except ApiError as error:
            _log.warning("lease not released; it expires", error=str(error))

    # --- inner ----------------------------------------------------------------------------------------------
    async def _try(self) -> bool:
        """One attempt to acquire or renew it. The lease counts from before the request was sent."""
        begin = self._monotonic()
        try:
            async with asyncio.timeout(self._duration / 3):
                taken = await self._take()
        except (ApiError, TimeoutError) as error:
            _log.warning("lease not renewed", error=str(error) or type(error).__name__)
            return False
        if taken:
            self._valid_until = begin + self._duration
        return taken

    async def _take(self) -> bool:
        lease = await self._kube.get(LEASES, self._namespace, self._name)
        now = clock.micro(self._now())
        mine = {"holderIdentity": self._identity, "leaseDurationSeconds": self._duration, "renewTime": now}
        if lease is None:
            return await self._create({**mine, "acquireTime": now, "leaseTransitions": 0})
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") == self._identity:
            return await self._write(lease, mine)
        if self._valid_until is not None and spec.get("holderIdentity"):
            self._lost(f"{spec['holderIdentity']} holds it")
        if not self._expired(spec):
            return False
        transitions = int(spec.get("leaseTransitions") or 0) + 1
        return await self._write(lease, {**mine, "acquireTime": now, "leaseTransitions": transitions})

    def _expired(self, spec: Object) -> bool:
        if not spec.get("holderIdentity"):
            return True
        record = f"{spec['holderIdentity']} {spec.get('renewTime')}"
        if self._seen is None or self._seen[0] != record:
            self._seen = (record, self._monotonic())
        return self._monotonic() - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._duration)

    async def _create(self, spec: Object) -> bool:
        metadata = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        try:
            await self._kube.create(LEASES, body)
        except AlreadyExists:
            return False
        return True

    async def _write(self, lease: Object, spec: Object) -> bool:
        patch = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec}
        try:
            return await self._kube.merge_patch(LEASES, self._namespace, self._name, patch) is not None
        except Conflict:
            return False
