"""Ports of loopback for servers that a test starts. No two workers of a test run are given the same one."""

import os
import random
import socket

#: Below the range from which the system draws ports for connections (32768 and up): none of those takes a port that is
#: still free here.
_FIRST, _EACH, _WORKERS = 12_000, 1_000, 20
_drawn: set[int] = set()


def free_port() -> int:
    """A port without a listener that this process was not given before. Raises RuntimeError where all of them are
    taken."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    first = _FIRST + worker * _EACH
    # At random: another test run on this machine draws from the same ports.
    for port in random.sample(range(first, first + _EACH), _EACH):
        if port not in _drawn and _is_free(port):
            _drawn.add(port)
            return port
    raise RuntimeError(f"no free port between {first} and {first + _EACH}: end servers that earlier test runs left")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
