"""Other releases that watch the same namespaces: the one that came first keeps them, and this one does not start.

Each release has its own Lease, in its own namespace, with the watched namespaces in an annotation. A release keeps them
for KEPT seconds after its last renewal, so that a second one does not take over while the first one is upgraded.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import structlog

from ocore_crds import naming
from ocore_kube.errors import ApiError, Forbidden
from ocore_kube.types import LEASES
from ocore_operator import clock
from ocore_operator.engine.lease import hard_exit
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object

#: Seconds for which a release keeps its namespaces after its last renewal. The clocks of the nodes differ by less.
KEPT = 60.0
#: Seconds between two reads while another release has the namespaces, and while this one leads.
PAUSE, LEADING_PAUSE = 5.0, 60.0

_log = structlog.get_logger()


def metadata(namespaces: Sequence[str]) -> Object:
    """Of the Lease of a release that watches these namespaces; none: all."""
    return {
        "labels": {naming.LABEL_MANAGED_BY: naming.MANAGED_BY},
        "annotations": {naming.ANNOTATION_WATCHES: ",".join(sorted(namespaces))},
    }


def others(leases: Iterable[Object], own: tuple[str, str], namespaces: Sequence[str], now: datetime) -> list[Object]:
    """The Leases of other releases that watch one of the namespaces. `own`: namespace and name of this release's Lease.
    Pure."""
    return [
        lease
        for lease in leases
        if _key(lease) != own and _overlap(_watched(lease), namespaces) is not None and _counts(lease, now)
    ]


def _key(lease: Object) -> tuple[str, str]:
    return lease["metadata"]["namespace"], lease["metadata"]["name"]


def _watched(lease: Object) -> tuple[str, ...] | None:
    """The namespaces of the Lease's release; None where it is not the Lease of a release."""
    text = (lease["metadata"].get("annotations") or {}).get(naming.ANNOTATION_WATCHES)
    return tuple(filter(None, text.split(","))) if text is not None else None


def _overlap(theirs: Sequence[str] | None, ours: Sequence[str]) -> str | None:
    """What both watch, for a message; None where that is nothing."""
    if theirs is None:
        return None
    if not theirs or not ours:
        return ", ".join(theirs or ours) or "all namespaces"
    return ", ".join(sorted({*theirs} & {*ours})) or None


def _counts(lease: Object, now: datetime) -> bool:
    renewed = str((lease.get("spec") or {}).get("renewTime") or "")
    return renewed != "" and abs(clock.seconds_since(renewed, now)) < KEPT


class Releases:
    """The other releases, as the API server knows them."""

    def __init__(
        self,
        kube: Kube,
        *,
        own: tuple[str, str],
        namespaces: Sequence[str],
        now: Callable[[], datetime] = clock.now,
        lost: Callable[[str], None] = hard_exit,
    ) -> None:
        """`kube`: of the whole cluster. `own`: namespace and name of this release's Lease."""
        self._kube = kube
        self._own = own
        self._namespaces = namespaces
        self._now = now
        self._lost = lost
        #: Why this release does not start; empty where it does.
        self.problem = ""

    async def wait(self) -> None:
        """Returns once no other release watches one of the namespaces."""
        while True:
            try:
                found = await self._others()
            except (ApiError, TimeoutError) as error:
                _log.warning("other releases not read", error=str(error) or type(error).__name__)
                await asyncio.sleep(PAUSE)
                continue
            problem = self._text(found[0]) if found else ""
            if problem and problem != self.problem:
                _log.error("another release watches the same namespaces", problem=problem)
            self.problem = problem
            if not problem:
                return
            await asyncio.sleep(PAUSE)

    async def yield_to_earlier(self) -> None:
        """Ends the process where another release began to lead at the same time, and before this one."""
        try:
            mine = await self._kube.get(LEASES, *self._own)
            found = await self._others()
        except (ApiError, TimeoutError) as error:
            _log.warning("other releases not read", error=str(error) or type(error).__name__)
            return
        earlier = [lease for lease in found if mine is None or _rank(lease) < _rank(mine)]
        if earlier:
            self._lost(self._text(earlier[0]))

    async def keep(self) -> None:
        """The same again and again, until cancelled: the API server may not have answered, and the clocks of two
        releases differ."""
        while True:
            await asyncio.sleep(LEADING_PAUSE)
            await self.yield_to_earlier()

    async def _others(self) -> list[Object]:
        labels = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
        try:
            leases = await self._kube.list(LEASES, labels=labels)
        except Forbidden as error:
            _log.warning("other releases are not seen: the operator may not list Leases", error=str(error))
            return []
        return others(leases, self._own, self._namespaces, self._now())

    def _text(self, lease: Object) -> str:
        namespace, name = _key(lease)
        return (
            f"another release watches {_overlap(_watched(lease) or (), self._namespaces)} too: its Lease is"
            f" {namespace}/{name}. Uninstall one of them, or give them different watchNamespaces. If it is gone for"
            f" good: kubectl -n {namespace} delete leases.coordination.k8s.io {name}"
        )


def _rank(lease: Object) -> tuple[str, tuple[str, str]]:
    return str(lease["spec"].get("acquireTime") or ""), _key(lease)
