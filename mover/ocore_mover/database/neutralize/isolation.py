"""Whether the pod is isolated: it must not reach addresses at which something listens."""

import os
import socket
import time
from collections.abc import Iterable, Sequence

from ocore_crds import conditions
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

#: Seconds for one connection. What a NetworkPolicy drops never answers.
CONNECT_SECONDS = 3.0
#: Seconds until the rules must apply: a network plug-in may set them up after the pod has started.
PATIENCE = 30.0


def listeners(given: Iterable[str]) -> list[tuple[str, int]]:
    """The given ``host:port``, and the API server, which listens as long as the operator works."""
    found = list(given)
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if host and port:
        found.append(f"{host}:{port}")
    return parsed(found)


def parsed(given: Iterable[str]) -> list[tuple[str, int]]:
    """``host:port`` as a pair."""
    pairs = (address.rpartition(":") for address in dict.fromkeys(given))
    return [(host.strip("[]"), int(port)) for host, _, port in pairs]


def reached(addresses: Sequence[tuple[str, int]]) -> list[str]:
    """The addresses that the pod reaches. A refused connection counts: the packet arrived. Raises MoverError
    IsolationUnproven for a name that does not resolve: nothing was tried then."""
    return [f"{host}:{port}" for host, port in addresses if _reaches(host, port)]


def _reaches(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True
    except ConnectionRefusedError:
        return True
    except socket.gaierror as error:
        raise _unproven(f"the name {host} does not resolve ({error.strerror or error}): name an address") from error
    except OSError:  # no answer, no route
        return False


def prove(
    addresses: Sequence[tuple[str, int]],
    outside: Sequence[tuple[str, int]],
    token: Token,
    *,
    patience: float = PATIENCE,
) -> str:
    """Waits until the pod reaches none of the addresses. Returns what was proven. `outside`: those outside of the
    cluster's networks at which someone else has just seen a listener. Without one nothing is proven: a rule that closes
    the cluster's networks may leave the internet open.

    Raises MoverError IsolationUnproven.
    """
    until = time.monotonic() + patience
    while found := reached((*addresses, *outside)):
        if time.monotonic() >= until:
            raise _unproven(f"the pod reaches {', '.join(found)}")
        token.sleep(1.0)
    if not outside:
        raise _unproven(
            "no listener outside of the cluster's networks is known that the operator reaches: name one in"
            " spec.neutralize.testListeners of the Environment"
        )
    names = ", ".join(f"{host}:{port}" for host, port in dict.fromkeys((*addresses, *outside)))
    return f"isolation: the pod could not reach {names}"


def _unproven(why: str) -> MoverError:
    return MoverError(
        conditions.ISOLATION_UNPROVEN,
        f"the application's image was not started: {why}. Allow pods with the label ocore.dev/command=neutralize egress"
        " to PostgreSQL only (NetworkPolicy, docs/neutralising.md), or set isolation: BestEffort in a new Rollback",
    )
