"""The real operator as a process of the test's own, restricted to the test's namespaces, and a proxy that cuts it
off."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from support.cluster.cluster import REPOSITORY, Cluster, unique, wait_for
from support.operator.moved_clock import VARIABLE, MovedClock
from support.ports import free_port


class Proxy:
    """A TCP proxy in front of a server. What it does to connections can be changed while they are open; another
    `target` is that of new ones."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.refusing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """All connections break."""
        for pair in self._pairs:
            for end in pair:
                with_suppressed(lambda end=end: end.shutdown(socket.SHUT_RDWR))  # ends the pumps, which close it
        self._pairs.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        while True:
            try:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
            except OSError:
                break
        for end in (source, sink):
            with_suppressed(end.close)


def with_suppressed(close: object) -> None:
    """Closes what may be closed already."""
    try:
        close()  # type: ignore[operator]
    except OSError:
        return


class OperatorProcess:
    """One operator. Its log is kept for the report of a failed test."""

    def __init__(
        self, cluster: Cluster, namespaces: list[str], folder: Path, clock: MovedClock | None = None, **settings: object
    ) -> None:
        """`settings`: OCORE_… in small letters."""
        self.cluster = cluster
        self._clock = clock
        self.port = free_port()
        self._log = folder / f"{unique('operator')}.log"
        self._settings = {
            "namespaces": ",".join(namespaces),
            "namespace": namespaces[0],
            "http_port": self.port,
            "lease_name": "test-operator",
            "failpoint_marks": folder,
            "allow_failpoints": "true",
            **settings,
        }
        self._settings.setdefault("kubeconfig", cluster.env["KUBECONFIG"])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> "OperatorProcess":
        """Starts it; waits until it leads and has listed everything."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("OCORE_")}
        env |= {f"OCORE_{k.upper()}": str(v) for k, v in self._settings.items()}
        env["PYTHONPATH"] = f"{REPOSITORY}/crds:{REPOSITORY}/kube:{REPOSITORY}/operator"
        module = "ocore_operator"
        if self._clock is not None:
            module = "support.operator.moved_clock"
            env |= {VARIABLE: str(self._clock.file), "PYTHONPATH": f"{env['PYTHONPATH']}:{REPOSITORY}/tests"}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", module], env=env, stderr=log, stdout=log)
        if wait:
            self.ready()
        return self

    def ready(self, timeout: float = 90) -> None:
        wait_for(f"operator ready; log: {self._log}", lambda: self.get("/readyz") == (200, "ok"), timeout)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer; 0 where nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def exit_code(self, timeout: float = 60) -> int:
        """Waits for its end."""
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self) -> None:
        """Whatever state it is in."""
        if self.process is None or self.process.poll() is not None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def kill(self) -> None:
        """`kill -9`: nothing is released."""
        self.send(signal.SIGKILL)
        self.exit_code()

    def log(self) -> str:
        return self._log.read_text()


def kubeconfig_through(cluster: Cluster, proxy: Proxy, folder: Path) -> Path:
    """A kubeconfig that goes through the proxy."""
    loaded = yaml.safe_load(Path(cluster.env["KUBECONFIG"]).read_text())
    for each in loaded["clusters"]:
        each["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(loaded))
    return path


def api_address(cluster: Cluster) -> tuple[str, int]:
    """Host and port of the API server."""
    loaded = yaml.safe_load(Path(cluster.env["KUBECONFIG"]).read_text())
    host, _, port = loaded["clusters"][0]["cluster"]["server"].removeprefix("https://").partition(":")
    return host, int(port)


def sleep_until(moment: float) -> None:
    """Until a moment of time.monotonic(): for tests whose subject is that time passes."""
    time.sleep(max(moment - time.monotonic(), 0))
