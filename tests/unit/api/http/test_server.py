"""Connections and the end of the server."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.server import ServerState

from ocore_api.http import server
from ocore_api.http.server import MAX_HEAD, PIPELINED, SLICE, sliced
from support.api.issuer import AUDIENCE, ISSUER, Issuer
from support.api.serving import Serving, serving
from support.ports import free_port

from .routes_of_tests import with_routes


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)
    return found


def connect(served: Serving) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def rest(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("start", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_arrive_ends_the_connection(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with serving() as served, connect(served) as connection:
        connection.sendall(start)
        assert rest(connection) == b""


def test_a_second_head_that_does_not_arrive_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with serving() as served, connect(served) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /heal")
        assert b"HTTP/1.1" not in rest(connection)


def test_a_request_that_takes_longer_than_a_head_may_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    with serving(extend=with_routes) as served, served.client() as client:
        assert client.get("/api/slow").json() == "done"
        assert client.get("/api/slow").json() == "done"


def test_a_head_that_is_too_large_ends_the_connection() -> None:
    with serving() as served, connect(served) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        try:
            while sent < 50 * MAX_HEAD:
                connection.sendall(b"x-a: " + b"y" * 1000 + b"\r\n")
                sent += 1000
        except OSError:
            pass
        assert sent < 50 * MAX_HEAD
        assert rest(connection)[:12] in (b"", b"HTTP/1.1 400")


def test_row_84_requests_that_are_sent_ahead_end_the_connection() -> None:
    """60 of these connections cost 450 MiB."""
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving() as served:
        with connect(served) as connection:
            connection.sendall(request * 1000)
            received = b""
            with suppress(ConnectionResetError):
                while received.count(b"HTTP/1.1 200 ") < 100 and (part := connection.recv(65_536)):
                    received += part
            assert received.count(b"HTTP/1.1 200 ") <= PIPELINED
        with connect(served) as connection:
            connection.sendall(request * (PIPELINED - 1))
            received = b""
            while received.count(b"HTTP/1.1 200 ") < PIPELINED - 1:
                received += connection.recv(65_536)


def is_paused(state: ServerState) -> bool:
    """Whether an answer waits for its client."""
    return any(each.flow.write_paused for each in set(state.connections))  # type: ignore[union-attr]


def read_nothing(state: ServerState, connection: socket.socket) -> None:
    """Sends a request when the one before is answered, until an answer waits: a client that sends ahead is dropped for
    that."""
    sent = 0

    def paused() -> bool:
        nonlocal sent
        if state.total_requests == sent:  # the kernel has taken all answers
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            sent += 1
        return is_paused(state)

    until(paused)


def test_row_84_a_client_that_never_reads_is_dropped() -> None:
    with serving(stream_stall_seconds=0.3) as served, connect(served) as connection:
        assert served.server is not None
        state = served.server.server_state
        read_nothing(state, connection)
        until(lambda: not state.connections)


def test_row_84_a_large_answer_is_written_in_slices() -> None:
    sent: list[dict[str, Any]] = []
    body = bytes(range(256)) * 1000

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body[:10], "more_body": True})
        await send({"type": "http.response.body", "body": body})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(sliced(app)({}, None, send))
    bodies = [m for m in sent if m["type"] == "http.response.body"]
    assert b"".join(m["body"] for m in bodies) == body[:10] + body
    assert max(len(m["body"]) for m in bodies) == SLICE
    assert [m.get("more_body", False) for m in bodies] == [*([True] * (len(bodies) - 1)), False]


def get(connection: socket.socket, path: str = "/healthz") -> bytes:
    """Asks, and returns the start of the answer; empty where the connection was dropped."""
    with suppress(OSError):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return connection.recv(65_536)[:12]
    return b""


def test_row_84_connections_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    monkeypatch.setattr(server, "HEAD_SECONDS", 60)
    with serving(max_streams=1) as served, ExitStack() as opened:
        idle = [opened.enter_context(connect(served)) for _ in range(6)]
        until(lambda: served.server is not None and len(served.server.server_state.connections) == 3, 10)
        assert [rest(each) for each in idle[:3]] == [b""] * 3


def test_row_84_clients_that_only_keep_connections_open_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """They need no token. Those that wait the longest for a request go first; one that is being answered stays."""
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    answers: list[int] = []
    with serving(extend=with_routes, max_streams=1) as served, ExitStack() as opened, served.client() as client:
        thread = threading.Thread(target=lambda: answers.append(client.get("/api/slow").status_code))
        thread.start()
        until(lambda: served.server is not None and served.server.server_state.tasks)
        first, second = (opened.enter_context(connect(served)) for _ in range(2))
        assert get(second) == get(first) == b"HTTP/1.1 200"
        third = opened.enter_context(connect(served))
        assert get(third) == b"HTTP/1.1 200"
        assert rest(second) == b""
        assert get(first) == b"HTTP/1.1 200"
        thread.join(20)
    assert answers == [200]


def test_row_84_a_client_that_reads_no_answer_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    with serving(max_streams=1) as served, ExitStack() as opened:
        assert served.server is not None
        state = served.server.server_state
        read_nothing(state, opened.enter_context(connect(served)))
        for _ in range(2):
            assert get(opened.enter_context(connect(served))) == b"HTTP/1.1 200"
        until(lambda: not is_paused(state), 10)


def test_row_84_clients_of_the_api_take_no_connection_of_the_kubelet(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the facade."""
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    monkeypatch.setattr(server, "MONITORING", 1)
    with serving(max_streams=1) as served, ExitStack() as opened:
        clients = [opened.enter_context(connect(served)) for _ in range(2)]
        assert [get(each) for each in clients] == [b"HTTP/1.1 200"] * 2
        kubelet = served.monitoring_url.removeprefix("http://").split(":")
        for _ in range(2):
            with socket.create_connection((kubelet[0], int(kubelet[1])), timeout=20) as probe:
                assert get(probe) == b"HTTP/1.1 200"
        assert [get(each) for each in clients] == [b"HTTP/1.1 200"] * 2


def test_open_requests_end_before_the_server_does() -> None:
    answers: list[int] = []
    with serving(extend=with_routes) as served, served.client() as client:
        thread = threading.Thread(target=lambda: answers.append(client.get("/api/slow").status_code))
        thread.start()
        until(lambda: served.server is not None and served.server.server_state.tasks)
        served.stop()
        thread.join(20)
    assert answers == [200]


def test_streams_end_at_once_when_the_server_stops() -> None:
    with serving(extend=with_routes, shutdown_seconds=60) as served, served.client() as client:
        with client.stream("GET", "/api/stream") as answer:
            parts = answer.iter_text()
            assert next(parts) == ": open\n\n"
            assert served.facade.streams.count == 1
            started = time.monotonic()
            served.stop()
            assert "".join(parts) == "event: final\n\n"
        assert time.monotonic() - started < 30, "it has 60 s"
        until(lambda: served.facade.streams.count == 0)
        assert served.facade.not_ready() == ["the server is shutting down"]


def test_a_stream_is_no_slow_request_in_the_metrics() -> None:
    with serving(extend=with_routes) as served, served.client() as client:
        with client.stream("GET", "/api/stream") as answer:
            parts = answer.iter_text()
            assert next(parts) == ": open\n\n"
            assert "ocore_api_streams 1.0" in served.metrics()
            served.call(served.facade.at_shutdown[-1])
            assert list(parts) == ["event: final\n\n"]
        text = until(lambda: (t := served.metrics()) and 'route="/api/stream",status="200"} 1.0' in t and t)
        assert "ocore_api_streams 0.0" in text
        assert 'ocore_api_request_seconds_count{method="GET",route="/api/stream"} 0.0' in text


def test_a_stream_beyond_the_limit_is_refused() -> None:
    with (
        serving(extend=with_routes, max_streams_per_subject=1) as served,
        served.client() as client,
        client.stream("GET", "/api/stream") as answer,
    ):
        parts = answer.iter_text()
        assert next(parts) == ": open\n\n"
        refused = client.get("/api/stream")
        assert (refused.status_code, refused.json()["reason"]) == (429, "TooManyStreams")
        served.call(served.facade.at_shutdown[-1])


# --- the program --------------------------------------------------------------------------------------------

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""


def program(tmp_path: Path, **settings: str) -> subprocess.Popen[str]:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    variables = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "JWKS_FILE": str(Issuer().write_jwks(tmp_path)),
        "HTTP_HOST": "127.0.0.1",
        "MONITORING_PORT": "0",
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "ocore_api"],
        env={**os.environ, **{f"OCORE_API_{k}": v for k, v in variables.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    port = free_port()
    process = program(tmp_path, HTTP_PORT=str(port))
    try:

        def healthy() -> bool:
            assert process.poll() is None, process.communicate()[1]
            try:
                return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(healthy)
        process.send_signal(number)
        _, logged = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, logged
    assert all(line.startswith("{") for line in logged.splitlines()), logged
    assert re.search(r'"event": "Shutting down"', logged)


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    process = program(tmp_path, JWT_ISSUER="", HTTP_PORT="none")
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2
    assert "OCORE_API_JWT_ISSUER: " in said
    assert "OCORE_API_HTTP_PORT: " in said
    assert "Traceback" not in said
