"""Other releases that watch the same namespaces: the one that came first keeps them, and this one does not start.

The chart announces each release by annotations of its ClusterRole: the watched namespaces, and its Lease. Only cluster
administrators write ClusterRoles. No tenant can announce a release, move one to other namespaces, or make it older. A
tenant's Leases are not even read: the Leases that are read are those of announced releases, each by its name.

A release keeps its namespaces for KEPT seconds after the last renewal of its Lease, so that a second one does not take
over while the first one is upgraded.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from ocore_crds import naming
from ocore_kube.errors import ApiError, Forbidden
from ocore_kube.types import CLUSTER_ROLES, LEASES
from ocore_operator import clock
from ocore_operator.engine.lease import hard_exit
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object

#: Seconds for which a release keeps its namespaces after its last renewal. The clocks of the nodes differ by less.
KEPT = 60.0
#: Seconds between two reads while another release has the namespaces, and while this one leads.
PAUSE, LEADING_PAUSE = 5.0, 60.0

_log = structlog.get_logger()


@dataclass(frozen=True)
class Release:
    """A release as it is announced."""

    #: Namespace and name of its Lease.
    lease: tuple[str, str]
    #: The namespaces that it watches; empty: all.
    watches: tuple[str, ...]
    #: When the API server created the announcement, and its uid: the older release has the smaller one.
    age: tuple[str, str]


def announced(role: Object) -> Release | None:
    """The release that a ClusterRole announces; None where its annotations are missing. Pure."""
    meta = role["metadata"]
    annotations = meta.get("annotations") or {}
    namespace, _, name = annotations.get(naming.ANNOTATION_LEASE, "").partition("/")
    watches = annotations.get(naming.ANNOTATION_WATCHES)
    if not namespace or not name or watches is None:
        return None
    return Release((namespace, name), tuple(filter(None, watches.split(","))), (meta["creationTimestamp"], meta["uid"]))


def overlap(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """What both watch, for a message; empty where that is nothing. Pure."""
    if not theirs or not ours:
        return ", ".join(theirs or ours) or "all namespaces"
    return ", ".join(sorted({*theirs} & {*ours}))


def leads(lease: Object | None, now: datetime) -> bool:
    """Whether a release that has this Lease keeps its namespaces. A time that cannot be read keeps none. Pure."""
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    try:
        return abs(clock.seconds_since(str(renewed), now)) < KEPT
    except (ValueError, TypeError, ArithmeticError):
        return False


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
                _, found = await self._read()
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
        """Ends the process where another release began to lead at the same time, and was announced before this one."""
        try:
            mine, found = await self._read()
        except (ApiError, TimeoutError) as error:
            _log.warning("other releases not read", error=str(error) or type(error).__name__)
            return
        earlier = [each for each in found if mine is None or each.age < mine.age]
        if earlier:
            self._lost(self._text(earlier[0]))

    async def keep(self) -> None:
        """The same again and again, until cancelled: the API server may not have answered, and the clocks of two
        releases differ."""
        while True:
            await asyncio.sleep(LEADING_PAUSE)
            await self.yield_to_earlier()

    async def _read(self) -> tuple[Release | None, list[Release]]:
        """This release as it is announced (None: it is not), and the others that keep one of the namespaces."""
        try:
            roles = await self._kube.metadata(CLUSTER_ROLES, None, labels=f"{naming.LABEL_RELEASE}=true")
            known = [each for each in map(announced, roles) if each is not None]
            others = [each for each in known if each.lease != self._own and overlap(each.watches, self._namespaces)]
            found = [each for each in others if leads(await self._kube.get(LEASES, *each.lease), self._now())]
        except Forbidden as error:
            _log.warning("other releases are not seen: the operator may not read them", error=str(error))
            return None, []
        mine = next((each for each in known if each.lease == self._own), None)
        if mine is None:
            _log.warning("other releases do not see this one: no ClusterRole announces it", lease="/".join(self._own))
        return mine, found

    def _text(self, release: Release) -> str:
        return (
            f"another release watches {overlap(release.watches, self._namespaces)} too: its Lease is"
            f" {'/'.join(release.lease)}. Uninstall one of them, or give them different watchNamespaces."
        )
