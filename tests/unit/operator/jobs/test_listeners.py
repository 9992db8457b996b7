"""Test listeners: only those that the operator has just reached, outside of the cluster's networks, can prove
isolation."""

import asyncio
import socket

import pytest

from ocore_operator.jobs.building import listeners
from ocore_operator.jobs.building.listeners import Listeners, observe
from ocore_operator.settings import Settings

PRIVATE = Settings().cluster_networks


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something listens at port 443 of every address but one."""

    async def accepts(host: str, port: int) -> bool:
        return host != "203.0.113.9" and port == 443

    monkeypatch.setattr(listeners, "_accepts", accepts)


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize(
    ("given", "outside"),
    [
        ("198.51.100.7:443", ("198.51.100.7:443",)),
        ("[2001:db8::7]:443", ("[2001:db8::7]:443",)),
        ("198.51.100.7:25", ()),  # nothing listens
        ("203.0.113.9:443", ()),
        ("10.96.0.1:443", ()),  # of the cluster
        ("100.64.1.1:443", ()),
        ("[fd00::1]:443", ()),
        ("127.0.0.1:443", ()),
        ("169.254.169.254:443", ()),
    ],
)
def test_row_63_outside_and_reached(given: str, outside: tuple[str, ...]) -> None:
    found = asyncio.run(observe([given], PRIVATE))
    assert found == Listeners(() if outside else (given,), outside)


@pytest.mark.usefixtures("reachable")
def test_the_networks_are_a_setting() -> None:
    own = Settings(cluster_networks="10.96.0.0/16, 10.244.0.0/16")  # type: ignore[arg-type]
    assert asyncio.run(observe(["192.168.7.7:443", "10.244.0.7:443"], own.cluster_networks)) == Listeners(
        ("10.244.0.7:443",), ("192.168.7.7:443",)
    )
    with pytest.raises(ValueError, match=r"10\.96"):
        Settings(cluster_networks="10.96.0.0/99")  # type: ignore[arg-type]


def test_a_name_that_does_not_resolve_is_passed_on() -> None:
    """The pod refuses it."""
    assert asyncio.run(observe(["no-such-host.invalid:443"], PRIVATE)) == Listeners(("no-such-host.invalid:443",))


def test_it_really_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert asyncio.run(listeners._accepts("127.0.0.1", port))
    assert not asyncio.run(listeners._accepts("127.0.0.1", port))
