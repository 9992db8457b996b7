"""The program as a process against an API server: signals, exit codes, pages. The server is a few lines of HTTP."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from ocore_cli import interrupts
from ocore_cli.objects import PAGE, Objects
from ocore_crds.kinds import SNAPSHOT
from support.cli import DONE, Object, condition, snapshot

BASE = "/apis/ocore.dev/v1alpha1/namespaces/shop"
RUNNING = snapshot("Running", conditions=[condition("Reconciling", message="dumping")])
PREVIEWING: Object = {
    "metadata": {"name": "preview-before-x", "namespace": "shop"},
    "spec": {"snapshotRef": {"name": "before"}, "dryRun": True},
    "status": {"phase": "Previewing", "conditions": [condition("Reconciling")]},
}


class Api(ThreadingHTTPServer):
    """Answers GET from `objects` by path, lists in pages, and remembers every other request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, Any] = {}
        self.lists: dict[str, list[Object]] = {}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append(f"GET {url.path}")
        if url.path in self.server.lists:
            query = parse_qs(url.query)
            start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
            items = self.server.lists[url.path]
            more = {"continue": str(start + limit)} if start + limit < len(items) else {}
            self._answer(200, {"metadata": more, "items": items[start : start + limit]})
        elif url.path in self.server.objects:
            self._answer(200, self.server.objects[url.path])
        else:
            self._answer(404, {"message": "not found"})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(f"POST {path}")
        if path.endswith("/rollbacks"):
            self._answer(201, PREVIEWING)
        else:
            self._answer(201, body)

    def do_DELETE(self) -> None:
        self.server.asked.append(f"DELETE {urlsplit(self.path).path}")
        self._answer(200, {})


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kubeconfig(api: Api, tmp_path: Path) -> Path:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


#: Those that end a command of a user who has left or has had enough.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def default_signals() -> None:
    """What starts the tests may ignore some, as nohup does, and a process that is started inherits that."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def start(kubeconfig: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    return subprocess.Popen(
        [sys.executable, "-m", "ocore_cli", *arguments],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        preexec_fn=default_signals,
    )  # fmt: skip


def until(api: Api, request: str) -> None:
    limit = time.monotonic() + 60
    while sum(request == asked for asked in api.asked) < 2:
        assert time.monotonic() < limit, api.asked
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_wait_says_that_the_operation_continues(api: Api, kubeconfig: Path, number: int) -> None:
    api.objects[f"{BASE}/snapshots/before"] = RUNNING
    process = start(kubeconfig, "watch", "osnap/before")
    until(api, f"GET {BASE}/snapshots/before")
    process.send_signal(number)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130, text
    assert "continues in the cluster. Follow it: kubectl ocore watch snapshot/before -n shop." in text
    assert "Traceback" not in text


@pytest.mark.parametrize("number", ENDING)
def test_a_preview_that_is_ended_by_a_signal_is_removed(api: Api, kubeconfig: Path, number: int) -> None:
    api.objects[f"{BASE}/rollbacks/preview-before-x"] = PREVIEWING
    process = start(kubeconfig, "preview", "before")
    until(api, f"GET {BASE}/rollbacks/preview-before-x")
    process.send_signal(number)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130, text
    assert f"DELETE {BASE}/rollbacks/preview-before-x" in api.asked
    assert "Traceback" not in text


def test_a_wait_that_is_over_has_its_own_exit_code(api: Api, kubeconfig: Path) -> None:
    api.objects[f"{BASE}/snapshots/before"] = RUNNING
    process = start(kubeconfig, "watch", "osnap/before", "--timeout", "1")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 4, text


def test_lists_are_read_in_pages(api: Api, kubeconfig: Path) -> None:
    api.lists[f"{BASE}/snapshots"] = [{"metadata": {"name": f"s{n}"}} for n in range(2 * PAGE + 1)]
    found = Objects(str(kubeconfig), None, None).list(SNAPSHOT)
    assert [obj["metadata"]["name"] for obj in found] == [f"s{n}" for n in range(2 * PAGE + 1)]
    assert api.asked.count(f"GET {BASE}/snapshots") == 3
    assert found != [DONE]


def test_a_signal_whose_exception_was_dropped_ends_the_next_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_received", [])
    interrupts.pause(0)
    with pytest.raises(KeyboardInterrupt):
        interrupts._interrupt(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        interrupts.pause(60)
