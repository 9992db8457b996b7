"""The size of a snapshot that could be taken now. Where the known sizes are too old, the operator is asked to measure,
once for all callers. What an environment lacks that cannot be measured is answered at once.
"""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from ocore_api.cache import Cache, EnvironmentEntry
from ocore_api.errors import Problem
from ocore_api.writes import probes
from ocore_api.writes.client import Client
from ocore_crds.resources.environment import SizesStatus
from ocore_crds.text.sentences import sentence
from ocore_crds.text.timestamps import parse, text

#: Seconds for which sizes are fresh.
FRESH = 60.0
#: Seconds for which new sizes are waited for.
WAIT = 10.0
#: Seconds between two reads of the cache, once per environment that is measured. The cache has no subscription to
#: Environments.
LOOK = 0.1

_log = structlog.get_logger()


def age_of(found: SizesStatus | None, now: float) -> float:
    """Seconds since an environment was measured; infinite before the first time. `now`: since the epoch. Pure."""
    if found is None or found.measured_at is None:
        return math.inf
    return max(now - parse(found.measured_at).timestamp(), 0.0)


def failed_since(found: SizesStatus | None, request: str) -> bool:
    """Whether a measurement ended without a result at `request` (RFC 3339, whole seconds) or later: no newer sizes
    come. Pure."""
    return found is not None and found.attempt_error != "" and (found.attempted_at or "") >= request


class Measurements:
    """Those under way, by environment: concurrent callers share one."""

    def __init__(self, *, wait: float = WAIT, clock: Callable[[], float] = time.time) -> None:
        self._wait = wait
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}

    async def sizes(self, client: Client, cache: Cache, environment: EnvironmentEntry) -> tuple[SizesStatus, float]:
        """The sizes, and their age in seconds. Those that are not fresh could not be measured in time.

        Raises Problem where the environment has never been measured.
        """
        environment, uid = await _now(cache, environment), environment.uid
        if age_of(environment.sizes, self._clock()) > FRESH:
            running = self._running.get(uid)
            if running is None:
                running = self._running[uid] = asyncio.create_task(self._measure(client, cache, environment))
                running.add_done_callback(lambda task: self._ended(uid, task))
            if environment.problem is None:  # else it may be measured all the same: the next caller gets the result
                await asyncio.shield(running)
            environment = await _now(cache, environment)
        if environment.sizes is None or environment.sizes.measured_at is None:
            raise _not_measured(environment)
        return environment.sizes, age_of(environment.sizes, self._clock())

    def _ended(self, uid: str, task: "asyncio.Task[None]") -> None:
        self._running.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            _log.info("sizes could not be requested", error=str(task.exception()))

    async def _measure(self, client: Client, cache: Cache, environment: EnvironmentEntry) -> None:
        """Asks the operator, and waits until it has measured, or could not, or the time is over."""
        request = text(datetime.fromtimestamp(self._clock(), UTC))
        await probes.request(client, environment, request)
        until = asyncio.get_running_loop().time() + self._wait
        ready = environment.problem is None
        while not self._settled(now := await _now(cache, environment), request) and not (ready and now.problem):
            if asyncio.get_running_loop().time() >= until:
                _log.info("sizes were not measured in time", environment=environment.id)
                return
            await asyncio.sleep(LOOK)

    def _settled(self, environment: EnvironmentEntry, request: str) -> bool:
        fresh = age_of(environment.sizes, self._clock()) <= FRESH
        return fresh or failed_since(environment.sizes, request)


async def _now(cache: Cache, environment: EnvironmentEntry) -> EnvironmentEntry:
    """The environment, as the cache has it now."""
    return await cache.find(EnvironmentEntry, environment.id) or environment


def _not_measured(environment: EnvironmentEntry) -> Problem:
    """Why no sizes are known, as far as it is."""
    again = "then repeat the request"
    if environment.problem is not None:
        reason, message = environment.problem
        detail = (
            f"The environment is not ready, so its sizes are not known: {sentence(message or reason)} Correct this,"
            f" {again}."
        )
    elif environment.sizes is not None and environment.sizes.attempt_error:
        reason, _, _ = environment.sizes.attempt_error.partition(":")
        detail = (
            f"The environment could not be measured: {sentence(environment.sizes.attempt_error)} Correct this, {again}."
        )
    else:
        reason = "Pending"
        detail = "The environment has not been measured yet. Wait for the time in Retry-After, " + again + "."
    return Problem("NotMeasured", detail, headers={"Retry-After": str(int(WAIT))}, cause=reason)
