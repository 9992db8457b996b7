"""Other releases of the chart that watch the same namespaces: the first one keeps them, the second one waits and says
so."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from ocore_crds import naming
from ocore_kube.errors import Forbidden, Unavailable
from ocore_operator import clock
from ocore_operator.engine import releases
from ocore_operator.engine.releases import Releases, metadata, others
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWN = ("ours", "operator")


def lease(name: str, *watches: str, renewed: float = 1, acquired: float = 100, namespace: str = "theirs") -> Object:
    """The Lease of a release. `renewed`, `acquired`: seconds ago."""
    times = {k: clock.micro(NOW - timedelta(seconds=s)) for k, s in (("renewTime", renewed), ("acquireTime", acquired))}
    return {"metadata": {**metadata(watches), "namespace": namespace, "name": name}, "spec": times}


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ((), (), True),
        (("shop",), (), True),
        ((), ("shop",), True),
        (("shop", "a"), ("b", "shop"), True),
        (("shop",), ("b",), False),
    ],
)
def test_row_83_releases_that_watch_the_same_namespace(theirs: Sequence[str], ours: Sequence[str], same: bool) -> None:
    assert bool(others([lease("other", *theirs)], OWN, ours, NOW)) is same


def test_row_83_a_release_keeps_its_namespaces_while_it_is_upgraded() -> None:
    assert others([lease("other", renewed=releases.KEPT - 1)], OWN, (), NOW)
    assert not others([lease("other", renewed=releases.KEPT + 1)], OWN, (), NOW)
    assert not others([lease("other", renewed=-releases.KEPT - 1)], OWN, (), NOW), "of a clock that is wrong"
    assert not others([lease("operator", namespace="ours")], OWN, (), NOW), "our own"
    foreign = lease("other")
    del foreign["metadata"]["annotations"][naming.ANNOTATION_WATCHES]
    never = {**lease("other"), "spec": {}}
    assert not others([foreign, never], OWN, (), NOW)


class Server:
    """Leases."""

    def __init__(self, *leases: Object) -> None:
        self.leases = list(leases)
        self.forbidden = False
        self.down = False

    async def list(self, *_: Any, labels: str) -> Sequence[Object]:
        assert labels == "app.kubernetes.io/managed-by=ocore-snapshots"
        if self.down:
            raise Unavailable(0, "NoAnswer", "cut off")
        if self.forbidden:
            raise Forbidden(403, "Forbidden", "no")
        return self.leases

    async def get(self, _: Any, namespace: str, name: str) -> Object | None:
        keys = {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in self.leases}
        return keys.get((namespace, name))


class Lost(Exception):
    """Stands for the end of the process."""


def of(server: Server, *namespaces: str) -> Releases:
    def lost(message: str) -> None:
        raise Lost(message)

    return Releases(cast(Kube, server), own=OWN, namespaces=namespaces, now=lambda: NOW, lost=lost)


def test_row_83_the_second_release_waits_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "PAUSE", 0.001)

    async def main() -> None:
        server = Server(lease("first", "shop"))
        second = of(server, "shop", "staging")
        waiting = asyncio.ensure_future(second.wait())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        assert second.problem.startswith(
            "another release watches shop too: its Lease is theirs/first. Uninstall one of them"
        )
        assert "kubectl -n theirs delete leases.coordination.k8s.io first" in second.problem
        server.leases.clear()
        server.down = True
        await asyncio.sleep(0.02)
        assert not waiting.done(), "what it cannot read"
        server.down = False
        await asyncio.wait_for(waiting, 5)
        assert second.problem == ""

    asyncio.run(main())


def test_row_83_of_two_that_start_at_once_the_later_one_ends() -> None:
    async def main() -> None:
        ours = lease("operator", acquired=50, namespace="ours")
        await of(Server(ours, lease("later", acquired=10))).yield_to_earlier()
        with pytest.raises(Lost, match="all namespaces"):
            await of(Server(ours, lease("earlier", acquired=90))).yield_to_earlier()
        with pytest.raises(Lost):
            await of(Server(ours, lease("same", acquired=50, namespace="a"))).yield_to_earlier()
        await of(Server(ours, lease("same", acquired=50, namespace="z"))).yield_to_earlier()

    asyncio.run(main())


def test_row_83_an_operator_that_may_not_list_leases_starts() -> None:
    """Roles of before this version: what it cannot know must not stop backups."""
    server = Server(lease("first"))
    server.forbidden = True
    asyncio.run(of(server).wait())
