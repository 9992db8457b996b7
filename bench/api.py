"""Figures of the REST facade: reads of 20 of 10,000 Snapshots beside nginx, time until it is ready, memory with 10,000
and 50,000 Snapshots.

Run by `make bench` with a cluster of its own. The facade is a process of its own, as in the image; the API server is
the real one. wrk and nginx are Debian's, unpacked, not installed. nginx serves the same bytes in the same run, with one
worker process.

`--fake`: a small server on this machine plays the API server. For trying it out without a cluster.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import httpx
import yaml
from figures import Figure, limit, table, write

from ocore_kube import types
from ocore_kube.transport import Transport, connect
from support.api import objects as o
from support.api.fake_api_server import FakeApiServer
from support.api.issuer import AUDIENCE, ISSUER, Issuer
from support.cluster.cluster import Cluster
from support.operator.many import Api, apply_crds, together
from support.ports import free_port

#: Environments that the Snapshots belong to.
ENVIRONMENTS = 20
SECONDS, CONNECTIONS = 10, 32
#: Requests per second that are wanted.
WANTED = 5000.0


def environment_id(number: int) -> str:
    """The id of an Environment."""
    return o.uid_of(f"bench environment {number}")


def environments(namespace: str) -> Iterator[o.Object]:
    """The Environments, with a status."""
    for n in range(ENVIRONMENTS):
        files = {"claimName": "files", "path": f"data/shop-{n}", "layout": "Plain"}
        found = o.environment(f"shop-{n}", environment_id(n), namespace=namespace)
        found["spec"] |= {"id": environment_id(n), "filestore": files}
        found["status"] |= {"observedGeneration": 1}
        yield found


def snapshots(namespace: str, begin: int, end: int) -> Iterator[o.Object]:
    """Complete Snapshots of real size, with recoveryEvidence."""
    for n in range(begin, end):
        place = n % ENVIRONMENTS
        origin = o.source(environment_id(place), name=f"shop-{place}")
        found = o.complete(
            f"shop-{place}-{n}",
            {"environmentRef": {"name": f"shop-{place}"}},
            of=origin,
            created=n * 60,
            namespace=namespace,
        )
        found["status"]["recoveryEvidence"] = o.evidence_of(found)
        yield found


# --- the API server -------------------------------------------------------------------------------------------------


class Real:
    """A namespace of the real API server."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster()
        apply_crds(self.cluster)
        self.namespace = self.cluster.namespace("bench-api")
        self.kubeconfig = Path(self.cluster.env["KUBECONFIG"])

    def add(self, objects: Iterator[o.Object]) -> None:
        """Creates the objects with their statuses."""

        async def work() -> None:
            transport = Transport(await connect(self.kubeconfig), timeout=60, program="bench")
            api = Api(transport)
            try:
                while batch := [obj for _, obj in zip(range(1000), objects, strict=False)]:
                    await together(self._create(api, obj) for obj in batch)
            finally:
                await transport.close()

        asyncio.run(work())

    async def _create(self, api: Api, obj: o.Object) -> None:
        meta = {k: obj["metadata"][k] for k in ("name", "namespace")}
        await api.create(types.OURS[obj["kind"]], {**obj, "metadata": meta}, obj["status"])

    def close(self) -> None:
        """Deletes the namespace."""
        self.cluster.delete("Namespace", self.namespace)


class Fake:
    """A server on this machine that plays the API server, in a thread."""

    namespace = "bench"

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._server = FakeApiServer()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self._loop).result(10)
        self.kubeconfig = folder / "kubeconfig"
        name = "fake"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": name,
                    "clusters": [{"name": name, "cluster": {"server": self._server.url}}],
                    "users": [{"name": name, "user": {}}],
                    "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                }
            )
        )

    def add(self, objects: Iterator[o.Object]) -> None:
        """Creates the objects."""

        async def work() -> None:
            for obj in objects:
                self._server.put(types.OURS[obj["kind"]].plural, obj)

        asyncio.run_coroutine_threadsafe(work(), self._loop).result(600)

    def close(self) -> None:
        """Ends it."""

        async def work() -> None:
            await self._server.__aexit__()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(work(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)


# --- the facade -----------------------------------------------------------------------------------------------------


class Facade:
    """`python -m ocore_api`. A context manager."""

    def __init__(self, server: Real | Fake, folder: Path) -> None:
        self.issuer = Issuer()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ready = 0.0
        self._log = (folder / "facade.log").open("ab")
        self._env = {
            **os.environ,
            "OCORE_API_KUBECONFIG": str(server.kubeconfig),
            "OCORE_API_NAMESPACES": server.namespace,
            "OCORE_API_HTTP_HOST": "127.0.0.1",
            "OCORE_API_HTTP_PORT": str(self.port),
            "OCORE_API_MONITORING_PORT": "0",
            "OCORE_API_JWT_ISSUER": ISSUER,
            "OCORE_API_JWT_AUDIENCE": AUDIENCE,
            "OCORE_API_JWKS_FILE": str(self.issuer.write_jwks(folder)),
            "OCORE_API_RATE_PER_SECOND": "1000000",
            "OCORE_API_RATE_BURST": "1000000",
        }
        # As in the image, the program is compiled before it starts: without settings it ends when it is imported.
        bare = {k: v for k, v in self._env.items() if not k.startswith("OCORE_API_")}
        subprocess.run([sys.executable, "-m", "ocore_api"], env=bare, check=False, capture_output=True)

    def __enter__(self) -> "Facade":
        with httpx.Client() as client:  # making one takes longer than the request
            return self._started(client)

    def _started(self, client: httpx.Client) -> "Facade":
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ocore_api"], env=self._env, stdout=self._log, stderr=self._log
        )
        while time.monotonic() < begin + 300:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{self.url}/readyz").status_code == 200:
                    self.ready = time.monotonic() - begin
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"the facade is not ready; see {self._log.name}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def memory(self) -> float:
        """Largest resident memory so far, in MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1000

    @property
    def token(self) -> str:
        """The headers of a caller who sees the project."""
        return self.issuer.bearer(projects=[o.PROJECT], environments=[])["Authorization"]


# --- load -------------------------------------------------------------------------------------------------------------


def load(wrk: Path, url: str, token: str, seconds: int) -> tuple[float, float]:
    """Requests per second, and the 99th percentile of the time of one, in milliseconds. Raises where an answer was no
    success."""
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-H", f"Authorization: {token}", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    rate, tail = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert rate is not None
    assert tail is not None
    return float(rate[1]), float(tail[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail[2]]


@contextlib.contextmanager
def nginx(binary: Path, folder: Path, content: bytes) -> Iterator[str]:
    """nginx with one worker, which serves the bytes."""
    root, port = folder / "nginx", free_port()
    root.mkdir()
    (root / "page.json").write_bytes(content)
    config = root / "nginx.conf"
    config.write_text(
        f"{'user root; ' if os.geteuid() == 0 else ''}daemon off; worker_processes 1; pid {root}/pid; error_log"
        f" {root}/error.log;\nevents {{ worker_connections 256; }}\nhttp {{ access_log off; keepalive_requests 1000000;"
        f" client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n fastcgi_temp_path {root}/f; uwsgi_temp_path"
        f" {root}/u; scgi_temp_path {root}/s; default_type application/json;\n server {{ listen 127.0.0.1:{port}; root"
        f" {root}; }} }}\n"
    )
    process = subprocess.Popen([binary, "-p", root, "-c", config], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/page.json"
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url).content == content:
                    break
            if time.monotonic() > deadline:
                raise RuntimeError((root / "error.log").read_text())
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def figures(
    folder: Path, tools: Path, server: Real | Fake, count: int, most: int, seconds: int, runs: int
) -> list[Figure]:
    """All figures. `tools`: where wrk and nginx are unpacked; `count` Snapshots for the reads, `most` for the
    memory."""
    os.environ["LD_LIBRARY_PATH"] = ":".join(str(p) for p in tools.glob("usr/lib/*-linux-gnu"))
    server.add(environments(server.namespace))
    server.add(snapshots(server.namespace, 0, count))
    rates, tails, theirs, their_tails = [], [], [], []
    with Facade(server, folder) as facade:
        url = f"{facade.url}/api/environments/{environment_id(1)}/snapshots?limit=20"
        page = httpx.get(url, headers={"Authorization": facade.token}).raise_for_status().content
        assert len(json.loads(page)["snapshots"]) == 20
        ready, memory = facade.ready, facade.memory()
        with nginx(tools / "usr/sbin/nginx", folder, page) as peer:
            for _ in range(runs):
                rate, tail = load(tools / "usr/bin/wrk", url, facade.token, seconds)
                rates, tails = [*rates, rate], [*tails, tail]
                rate, tail = load(tools / "usr/bin/wrk", peer, facade.token, seconds)
                theirs, their_tails = [*theirs, rate], [*their_tails, tail]
        memory = max(memory, facade.memory())
    print(f"{len(page):,} bytes a page; requests per second: {rates}, nginx: {theirs}", file=sys.stderr)
    server.add(snapshots(server.namespace, count, most))
    with Facade(server, folder) as facade:
        many_ready, many = facade.ready, facade.memory()
    name = f"REST: {count:,} Snapshots"
    each = [1e6 / rate for rate in rates]
    return [
        Figure(
            f"{name}: one of 20 rows, {CONNECTIONS} connections",
            "µs each",
            each,
            f"{WANTED:g} requests/s",
            1e6 / WANTED,
            [1e6 / rate for rate in theirs],
            "nginx, the same bytes",
        ),
        Figure(f"{name}: 99th percentile", "ms", tails, "at most 10 ms", 10, their_tails, "nginx"),
        limit(f"{name}: ready after start", [ready], 5, "s"),
        limit(f"{name}: largest resident memory", [memory], 200, "MB"),
        limit(f"REST: {most:,} Snapshots: ready after start", [many_ready], 25, "s"),
        limit(f"REST: {most:,} Snapshots: largest resident memory", [many], 300, "MB"),
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="Snapshots for the reads")
    parser.add_argument("--most", type=int, default=50_000, help="Snapshots for the memory")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of one load")
    parser.add_argument("--runs", type=int, default=3, help="of the load")
    parser.add_argument("--fake", action="store_true", help="play the API server; no cluster is needed")
    parser.add_argument(
        "--tools", type=Path, required=True, help="folder where wrk and nginx are unpacked (make bench-tools)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ocore-bench-api-") as name:
        folder = Path(name)
        server: Any = Fake(folder) if options.fake else Real(folder)
        try:
            found = figures(folder, options.tools, server, options.count, options.most, options.seconds, options.runs)
        finally:
            server.close()
    print(table(found))
    if options.json is not None:
        write(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
