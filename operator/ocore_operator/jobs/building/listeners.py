"""Which test listeners the operator reaches itself: only what it has just reached can show that a pod is kept from
reaching it."""

import asyncio
import ipaddress
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

#: Seconds for a name, and for one connection.
TIMEOUT = 3.0


@dataclass(frozen=True)
class Listeners:
    """Addresses (``host:port``) for the pod that must reach none of them."""

    #: As given, where the name does not resolve here: the pod refuses it.
    others: tuple[str, ...] = ()
    #: Reached by the operator, and outside of the cluster's networks.
    outside: tuple[str, ...] = ()


async def observe(given: Sequence[str], networks: Iterable[str]) -> Listeners:
    """Resolves each one and connects to it. Takes a few seconds at most, and raises nothing."""
    inside = [ipaddress.ip_network(each) for each in networks]
    found = await asyncio.gather(*(_observe(each) for each in given))
    others: list[str] = []
    outside: list[str] = []
    for name, addresses in zip(given, found, strict=True):
        if not addresses:
            others.append(name)
        for host, port, reached in addresses:
            address = ipaddress.ip_address(host)
            text = f"[{host}]:{port}" if address.version == 6 else f"{host}:{port}"
            far = not (address.is_loopback or address.is_link_local or any(address in net for net in inside))
            (outside if reached and far else others).append(text)
    return Listeners(tuple(dict.fromkeys(others)), tuple(dict.fromkeys(outside)))


async def _observe(name: str) -> list[tuple[str, int, bool]]:
    """The addresses of a ``host:port``, each with whether something accepts a connection there; empty where the name
    does not resolve."""
    host, _, port = name.rpartition(":")
    try:
        async with asyncio.timeout(TIMEOUT):
            resolved = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=1)
    except (OSError, ValueError, TimeoutError) as error:
        log.warning("test listener does not resolve", extra={"listener": name, "error": str(error)})
        return []
    addresses = list(dict.fromkeys((str(item[4][0]).partition("%")[0], int(item[4][1])) for item in resolved))
    reached = await asyncio.gather(*(_accepts(*each) for each in addresses))
    return [(*each, ok) for each, ok in zip(addresses, reached, strict=True)]


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
