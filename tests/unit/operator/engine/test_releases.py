"""Other releases of the chart that watch the same namespaces: the first one keeps them, the second one waits and says
so. Only what cluster administrators write is believed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from ocore_crds import naming
from ocore_kube.errors import Forbidden, Unavailable
from ocore_kube.types import CLUSTER_ROLES, LEASES, Type
from ocore_operator import clock
from ocore_operator.engine import releases
from ocore_operator.engine.releases import Release, Releases, announced, leads, overlap
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWN = ("ours", "operator")


def role(name: str, *watches: str, namespace: str = "theirs", age: float = 100, uid: str = "") -> Object:
    """The ClusterRole that announces a release. `age`: in seconds."""
    annotations = {naming.ANNOTATION_LEASE: f"{namespace}/{name}", naming.ANNOTATION_WATCHES: ",".join(watches)}
    created = clock.text(NOW - timedelta(seconds=age))
    return {"metadata": {"name": name, "uid": uid or name, "creationTimestamp": created, "annotations": annotations}}


def lease(renewed: float = 1) -> Object:
    """A Lease that was renewed so many seconds ago."""
    return {"spec": {"renewTime": clock.micro(NOW - timedelta(seconds=renewed))}}


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ((), (), "all namespaces"),
        (("shop",), (), "shop"),
        ((), ("shop",), "shop"),
        (("shop", "a"), ("b", "shop"), "shop"),
        (("shop",), ("b",), ""),
    ],
)
def test_row_83_releases_that_watch_the_same_namespace(theirs: Sequence[str], ours: Sequence[str], same: str) -> None:
    assert overlap(theirs, ours) == same


def test_row_83_what_announces_a_release() -> None:
    found = role("other", "a", "b")
    assert announced(found) == Release(("theirs", "other"), ("a", "b"), ("2026-03-01T11:58:20Z", "other"))
    assert announced(role("other")) == Release(("theirs", "other"), (), ("2026-03-01T11:58:20Z", "other"))
    for missing in (naming.ANNOTATION_LEASE, naming.ANNOTATION_WATCHES):
        found = role("other")
        del found["metadata"]["annotations"][missing]
        assert announced(found) is None
    assert announced({"metadata": {"name": "other", "uid": "u", "creationTimestamp": "t"}}) is None


def test_row_83_a_release_keeps_its_namespaces_while_it_is_upgraded() -> None:
    assert leads(lease(releases.KEPT - 1), NOW)
    assert not leads(lease(releases.KEPT + 1), NOW)
    assert not leads(lease(-releases.KEPT - 1), NOW), "of a clock that is wrong"
    assert not leads(None, NOW)
    assert not leads({}, NOW)


@pytest.mark.parametrize("time", ["0000-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "now", "", None])
def test_row_122_a_time_that_cannot_be_read_keeps_nothing(time: str | None) -> None:
    kept: bool | str
    try:
        kept = leads({"spec": {"renewTime": time}}, NOW)
    except ValueError as error:
        kept = f"raises {error}"
    assert kept is False


class Server:
    """ClusterRoles, and Leases by namespace and name. Any other request fails the test."""

    def __init__(self, *roles: Object, leases: dict[tuple[str, str], Object] | None = None) -> None:
        self.roles = list(roles)
        self.leases = leases or {}
        self.error: Exception | None = None
        self.read: list[tuple[str, str]] = []

    async def metadata(self, type_: Type, namespace: str | None, *, labels: str) -> Sequence[Object]:
        assert (type_, namespace, labels) == (CLUSTER_ROLES, None, "ocore.dev/release=true")
        if self.error is not None:
            raise self.error
        return self.roles

    async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
        assert type_ == LEASES
        self.read.append((namespace, name))
        return self.leases.get((namespace, name))


class Lost(Exception):
    """Stands for the end of the process."""


def of(server: Server, *namespaces: str) -> Releases:
    def lost(message: str) -> None:
        raise Lost(message)

    return Releases(cast(Kube, server), own=OWN, namespaces=namespaces, now=lambda: NOW, lost=lost)


def test_row_83_the_second_release_waits_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "PAUSE", 0.001)

    async def main() -> None:
        server = Server(role("first", "shop"), leases={("theirs", "first"): lease()})
        second = of(server, "shop", "staging")
        waiting = asyncio.ensure_future(second.wait())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        assert second.problem == (
            "another release watches shop too: its Lease is theirs/first. Uninstall one of them, or give them"
            " different watchNamespaces."
        )
        server.leases.clear()
        server.error = Unavailable(0, "NoAnswer", "cut off")
        await asyncio.sleep(0.02)
        assert not waiting.done(), "what it cannot read"
        server.error = None
        await asyncio.wait_for(waiting, 5)
        assert second.problem == ""

    asyncio.run(main())


def test_row_83_of_two_that_start_at_once_the_later_one_ends() -> None:
    def beside(other: Object, *more: Object) -> Any:
        return of(Server(other, *more, leases={("theirs", other["metadata"]["name"]): lease()})).yield_to_earlier()

    async def main() -> None:
        ours = role("operator", namespace="ours", age=50, uid="m")
        await beside(role("later", age=10), ours)
        with pytest.raises(Lost, match="all namespaces"):
            await beside(role("earlier", age=90), ours)
        with pytest.raises(Lost):
            await beside(role("same", age=50, uid="a"), ours)
        await beside(role("same", age=50, uid="z"), ours)
        with pytest.raises(Lost):
            await beside(role("later", age=10))  # this one is not announced, so the other one does not see it

    asyncio.run(main())


def test_row_122_a_lease_that_no_release_has_announced_is_not_read() -> None:
    """The role `edit` may write Leases in its namespace: it could end every operator, or fill its memory."""

    async def main() -> None:
        ours = role("operator", "shop", namespace="ours")
        server = Server(ours, role("other", "b"), leases={OWN: lease(), ("theirs", "other"): lease()})
        found = of(server, "shop")
        await found.yield_to_earlier()
        assert server.read == [], "neither its own, nor that of a release with other namespaces"
        await found.wait()

    asyncio.run(main())


def test_row_122_the_lease_of_a_release_says_only_that_it_leads() -> None:
    """Who may write in the namespace of a release gets it neither other namespaces nor an earlier turn."""
    forged = lease()
    forged["metadata"] = {"annotations": {naming.ANNOTATION_WATCHES: ""}}
    forged["spec"]["acquireTime"] = "2000-01-01T00:00:00.000000Z"

    async def main() -> None:
        ours = role("operator", "shop", namespace="ours", age=50)
        await of(Server(ours, role("other", "b"), leases={("theirs", "other"): forged}), "shop").wait()
        later = Server(ours, role("other", "shop", age=10), leases={("theirs", "other"): forged})
        await of(later, "shop").yield_to_earlier()
        assert later.read == [("theirs", "other")]

    asyncio.run(main())


def test_row_83_an_operator_that_may_not_read_releases_starts() -> None:
    """Roles that someone made by hand: what it cannot know must not stop backups."""
    server = Server(role("first"), leases={("theirs", "first"): lease()})
    server.error = Forbidden(403, "Forbidden", "no")
    asyncio.run(of(server).wait())
    asyncio.run(of(server).yield_to_earlier())
