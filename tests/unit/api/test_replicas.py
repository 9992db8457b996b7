"""Two replicas: processes of their own, over one API server. What a client has of one of them holds at the other
one."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.api import objects as o
from support.api.fake_api_server import FakeApiServer
from support.api.issuer import AUDIENCE, ISSUER, Issuer
from support.api.sse import Listener, until
from support.ports import free_port

SNAPSHOTS = f"/api/environments/{o.ENVIRONMENT}/snapshots"
#: Seconds within which another replica serves a write: 1 where the processor is not shared with other tests.
ELSEWHERE = 5
#: Seconds for which a reader may take nothing.
STALL = 2
#: Bytes of a message; some events fill what the kernel and the server hold for a reader.
LARGE = 60_000


def stream_of(name: str) -> str:
    """The path of a Snapshot's stream."""
    return f"{SNAPSHOTS}/{o.uid_of(f'Snapshot/apps/{name}')}/progress"


class Replica:
    """A facade in a process of its own."""

    def __init__(self, folder: Path, kubeconfig: Path, issuer: Issuer) -> None:
        port, monitoring = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._metrics = f"http://127.0.0.1:{monitoring}/metrics"
        self._issuer = issuer
        env = {
            **os.environ,
            "OCORE_API_KUBECONFIG": str(kubeconfig),
            "OCORE_API_HTTP_HOST": "127.0.0.1",
            "OCORE_API_HTTP_PORT": str(port),
            "OCORE_API_MONITORING_PORT": str(monitoring),
            "OCORE_API_JWT_ISSUER": ISSUER,
            "OCORE_API_JWT_AUDIENCE": AUDIENCE,
            "OCORE_API_JWKS_FILE": str(issuer.write_jwks(folder)),
            "OCORE_API_STREAM_STALL_SECONDS": str(STALL),
        }
        self._log = (folder / f"{port}.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ocore_api"], env=env, stdout=self._log, stderr=self._log
        )

    def client(self) -> httpx.Client:
        """A client whose requests have a token."""
        return httpx.Client(base_url=self.url, headers=self.token(), timeout=20)

    def token(self) -> dict[str, str]:
        """The header with a token of the project's caller."""
        return self._issuer.bearer("alice", projects=[o.PROJECT], environments=[])

    def ready(self) -> bool:
        """Whether it serves."""
        assert self.process.poll() is None, Path(self._log.name).read_text()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        lines = httpx.get(self._metrics, timeout=10).text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    def end(self) -> None:
        """Ends it as the kubelet does."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self._log.close()


class Site:
    """An API server in a thread of its own, and two replicas."""

    def __init__(self, call: Callable[..., Any], server: FakeApiServer, start: Callable[[], Replica]) -> None:
        self._call = call
        self._server = server
        self._start = start
        self.first, self.second = start(), start()
        until(lambda: self.first.ready() and self.second.ready(), "two ready replicas", 90)

    def another(self) -> Replica:
        """One more replica, which is ready."""
        replica = self._start()
        until(replica.ready, "a ready replica", 90)
        return replica

    def put(self, obj: o.Object) -> None:
        """As the operator."""
        self._call(self._server.put, "snapshots", obj)

    def snapshots(self) -> int:
        """How many there are."""
        return len(self._server.objects["snapshots"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tmp_path = tmp_path_factory.mktemp("replicas")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = FakeApiServer()

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        async def work() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(work(), loop).result(20)

    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(20)
    replicas: list[Replica] = []
    try:
        call(server.put, "environments", o.environment())
        for name in ("moved", "stalled"):
            call(server.put, "snapshots", o.running(name, percent=10))
        cluster = {"name": "c", "cluster": {"server": server.url}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        config = {
            "clusters": [cluster],
            "users": [{"name": "u", "user": {}}],
            "contexts": [context],
            "current-context": "c",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
        issuer = Issuer()

        def start() -> Replica:
            replicas.append(Replica(tmp_path, path, issuer))
            return replicas[-1]

        yield Site(call, server, start)
    finally:
        for each in replicas:
            each.end()
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)


def test_a_write_at_one_replica_counts_at_the_other(site: Site) -> None:
    with site.first.client() as first, site.second.client() as second:
        for number in range(3):
            key = {"Idempotency-Key": f"key-{number}"}
            made = first.post(SNAPSHOTS, headers=key)
            assert made.status_code == 202, made.text
            began = time.monotonic()
            while second.get(made.headers["location"]).status_code != 200:
                assert time.monotonic() - began < ELSEWHERE, "the other replica does not serve the write"
                time.sleep(0.01)
            again = second.post(SNAPSHOTS, headers=key)
            assert (again.status_code, again.json()) == (202, made.json())
            assert again.headers["location"] == made.headers["location"]
            listed = first.get(f"{SNAPSHOTS}?limit=2").json()["snapshots"]
            assert made.headers["location"].endswith(listed[0]["id"]), "the one just taken is the first"
            assert second.get(f"{SNAPSHOTS}?limit=2").json()["snapshots"] == listed
    assert site.snapshots() == 2 + 3


def test_a_reader_that_stalls_until_the_buffers_are_full_harms_no_one(site: Site) -> None:
    """Neither another reader of that replica, nor the other replica, nor its memory."""
    path = stream_of("stalled")
    host, port = site.first.url.removeprefix("http://").split(":")
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((host, int(port)))
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {site.first.token()['Authorization']}\r\n\r\n"
        stuck.sendall(head.encode())
        readers = [Listener(each.client(), stream_of("stalled")) for each in (site.first, site.second)]
        for reader in readers:
            assert reader.event().data["percent"] == 10
        before = site.first.metric("process_resident_memory_bytes")
        end, number = time.monotonic() + 60, 0
        while site.first.metric("ocore_api_streams_dropped_total") < 1:
            assert time.monotonic() < end, "a reader that takes nothing was not dropped"
            number += 1
            obj = o.running("stalled", percent=10 + number % 80)
            obj["status"]["conditions"][0]["message"] = f"{number} " + "x" * LARGE
            site.put(obj)
            for reader in readers:
                while not reader.event().data["message"].startswith(f"{number} "):
                    pass
        assert site.first.metric("process_resident_memory_bytes") - before < 64 * 1024 * 1024
        site.put(o.complete("stalled"))
        for reader in readers:
            assert reader.rest()[-1].data["status"] == "completed"


def test_a_stream_continues_at_the_other_replica(site: Site) -> None:
    ending = site.another()
    stream = Listener(ending.client(), stream_of("moved"))
    begun = stream.event()
    ending.process.terminate()
    assert stream.rest() == []
    assert "this server is shutting down" in stream.comments
    until(lambda: ending.process.poll() is not None, "the end of the replica")
    other = Listener(site.second.client(), stream_of("moved"), begun.id)
    site.put(o.running("moved", percent=60))
    assert other.event().data["percent"] == 60, "what the client has is not sent again"
    site.put(o.complete("moved"))
    *_, last = other.rest()
    assert (last.data["status"], last.data["percent"]) == ("completed", 100)
    with site.second.client() as client:
        assert client.get(stream_of("moved"), headers={"Last-Event-ID": last.id}).status_code == 204
