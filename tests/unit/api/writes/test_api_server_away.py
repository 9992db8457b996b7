"""The API server does not answer, or refuses connections: real sockets, and the real transport, which repeats reads."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from kubernetes.aio import client

from ocore_api.cache import Cache
from ocore_kube.transport import Transport
from support.api import objects as o
from support.api.serving import Serving, serving

#: Seconds that the API server has to answer (requestTimeout).
LIMIT = 3.0
#: Seconds that a loaded machine may take beside. Without the limit, three attempts and their pauses take longer.
SLACK = 5.0
ENVIRONMENT = f"/api/environments/{o.ENVIRONMENT}"
SNAPSHOT = f"{ENVIRONMENT}/snapshots/{o.uid_of('Snapshot/apps/before')}"
UNKNOWN = "77777777-0000-4000-8000-000000000001"
WRITES: list[tuple[str, str, Any, dict[str, str]]] = [
    ("POST", f"{ENVIRONMENT}/snapshots", None, {"Idempotency-Key": "one"}),
    ("DELETE", SNAPSHOT, None, {}),
    ("PUT", f"{SNAPSHOT}/pin", {"label": "x"}, {}),
    ("DELETE", f"{SNAPSHOT}/pin", None, {}),
    ("POST", f"{ENVIRONMENT}/rollback", {"snapshotId": o.uid_of("Snapshot/apps/before")}, {"Idempotency-Key": "one"}),
    ("POST", f"{ENVIRONMENT}/rollback", {"snapshotId": UNKNOWN}, {}),
    ("GET", f"{ENVIRONMENT}/snapshot-settings", None, {}),
    ("PUT", f"{ENVIRONMENT}/snapshot-settings", {"maxPinned": 3}, {}),
    ("GET", f"{ENVIRONMENT}/snapshot-size", None, {}),
    ("GET", f"{ENVIRONMENT}/snapshots/{UNKNOWN}", None, {}),
]


@contextmanager
def silent() -> Iterator[str]:
    """A server that accepts connections, reads, and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for each in held:
            each.close()


@contextmanager
def refusing() -> Iterator[str]:
    """A port at which connections are refused: bound, and not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(params=[silent, refusing], ids=["silent", "refusing"])
def away(request: pytest.FixtureRequest) -> Iterator[Serving]:
    """A facade that has read everything; then the API server goes away."""
    with request.param() as url:

        def prepare(facade: Any) -> None:
            transport = Transport(client.ApiClient(client.Configuration(host=url)), LIMIT, "test")
            facade.client = transport
            facade.cache = Cache(transport, seconds=LIMIT)
            for obj in (o.environment(), o.complete()):
                facade.cache.store.put(obj["kind"], obj)

        with serving(prepare=prepare, request_timeout=LIMIT) as served:
            yield served
            served.run(served.facade.client.close())


def test_everything_that_asks_it_answers_within_the_limit(away: Serving) -> None:
    """A write was answered after 21.6 s: the limit was one of each attempt, and reads are repeated."""

    def send(request: tuple[str, str, Any, dict[str, str]]) -> tuple[httpx.Response, float]:
        method, path, body, headers = request
        with away.client(projects=[o.PROJECT], environments=[]) as alice:
            began = time.monotonic()
            answer = alice.request(method, path, json=body, headers=headers)
            return answer, time.monotonic() - began

    with ThreadPoolExecutor(len(WRITES)) as pool:
        for request, (answer, seconds) in zip(WRITES, pool.map(send, WRITES), strict=True):
            assert (answer.status_code, answer.json()["reason"]) == (503, "ApiServerUnavailable"), request
            assert answer.headers["retry-after"] == "5"
            assert seconds < LIMIT + SLACK, (request, seconds)


def test_reads_are_answered(away: Serving) -> None:
    with away.client(projects=[o.PROJECT], environments=[]) as alice:
        began = time.monotonic()
        assert alice.get(SNAPSHOT).json()["status"] == "completed"
        assert alice.get(f"{ENVIRONMENT}/snapshots").json()["total"] == 1
        assert alice.get(f"/api/projects/{o.PROJECT}/snapshots").json()["total"] == 1
        assert time.monotonic() - began < LIMIT
