"""The web process as a client sees it: the real program, its own process, over HTTP."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from demo_app import page
from demo_app.database import connect, neutralize
from demo_app.load import Load, LoadPlan
from demo_app.settings import Settings, SettingsError, read_secret
from demo_app.targets import HttpTarget, TargetError
from support.demo import APP, Postgres, Process, web_process


def order(state: str = "draft", **changes: Any) -> bytes:
    """The body of a new order with one attachment."""
    attachment = {"name": "a.txt", "mimetype": "text/plain", "data": base64.b64encode(b"hello").decode()}
    return json.dumps(
        {"partner": "Ready Mat", "amount": "12.50", "state": state, "attachments": [attachment], **changes}
    ).encode()


def test_orders_and_attachments(web: Process, settings: Settings) -> None:
    status, made = web.json("/api/orders", order("sale"))
    assert status == 201
    assert made["attachments"][0]["file_size"] == 5
    status, attachment = web.json("/api/attachments?name=b.bin", b"\x00\x01")
    assert status == 201
    assert (settings.filestore / attachment["store_fname"]).read_bytes() == b"\x00\x01"
    state = web.json("/api/state")[1]
    assert state["orders"] == {"count": 1, "confirmed": 1, "revenue": "12.50", "last_id": made["id"]}
    assert state["attachments"]["count"] == 2
    assert state["attachments"]["missing"] == 0
    assert state["filestore"] == {"files": 2, "waiting_for_gc": 2}
    assert state["database"]["rollback_id"] is None
    assert state["acting"] == {"mail_servers": 1, "jobs": 1, "payment_providers": 1, "neutralized": False}
    first = web.json(f"/api/orders?up_to={made['id']}")[1]
    assert first["confirmed"] == 1
    assert web.json("/api/orders", order("draft"))[0] == 201
    assert web.json(f"/api/orders?up_to={made['id']}")[1] == first


def test_a_neutralised_copy_shows(web: Process, settings: Settings) -> None:
    assert b"neutralised" not in web.request("/part")[2]
    with connect(settings) as connection:
        neutralize(connection)
    assert web.json("/api/state")[1]["acting"] == {
        "mail_servers": 0,
        "jobs": 0,
        "payment_providers": 0,
        "neutralized": True,
    }
    assert b"neutralised" in web.request("/part")[2]


def test_a_draft_can_be_deleted_and_its_file_collected(web: Process, settings: Settings) -> None:
    made = web.json("/api/orders", order())[1]
    assert web.json(f"/api/orders/{made['id']}", method="DELETE")[0] == 200
    assert web.json(f"/api/orders/{made['id']}", method="DELETE")[0] == 404
    status, report = web.json("/api/gc", b"")
    assert (status, report["removed"]) == (200, 1)
    assert web.json("/api/state")[1]["filestore"]["files"] == 0


def test_a_missing_file_shows(web: Process, settings: Settings) -> None:
    made = web.json("/api/orders", order())[1]
    (settings.filestore / made["attachments"][0]["store_fname"]).unlink()
    deadline = time.monotonic() + 10  # the count is a few seconds old at most
    while web.json("/api/state")[1]["attachments"]["missing"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert b"named by a row, not there" in web.request("/")[2]


#: Path, body, method → status, part of the message.
BAD: tuple[tuple[str, bytes | None, str | None, int, str], ...] = (
    ("/nowhere", None, None, 404, "no GET /nowhere"),
    ("/api/orders", b"{", None, 400, "send JSON"),
    ("/api/orders", b"[]", None, 400, "send JSON"),
    ("/api/orders", order(amount="NaN"), None, 400, "amount"),
    ("/api/orders", order(amount="-1"), None, 400, "amount"),
    ("/api/orders", order(state="lost"), None, 400, "draft or sale"),
    ("/api/orders", order(partner="a\0b"), None, 400, "NUL"),
    ("/api/orders", order(attachments=[{"name": "x", "data": "?"}]), None, 400, "base64"),
    ("/api/orders", None, None, 400, "up_to"),
    ("/api/orders/x", None, "DELETE", 400, "number"),
    ("/api/orders/1", None, "DELETE", 404, "no order 1"),
)


def test_bad_requests_are_told_what_to_do(web: Process) -> None:
    for path, body, method, status, message in BAD:
        found, answer = web.json(path, body, method)
        assert (found, message in answer["error"]) == (status, True), (path, body, answer)


def test_a_confirmed_order_is_a_conflict(web: Process) -> None:
    made = web.json("/api/orders", order("sale"))[1]
    status, answer = web.json(f"/api/orders/{made['id']}", method="DELETE")
    assert status == 409
    assert "confirmed" in answer["error"]


def test_a_body_without_length_or_too_large_is_refused(web: Process) -> None:
    status, _, _ = web.request("/api/attachments", b"x", **{"Content-Length": str(64 * 1024 * 1024)})
    assert status == 413


def test_nothing_of_the_data_becomes_markup(web: Process) -> None:
    web.json("/api/orders", order(partner="<script>alert(1)</script>"))
    status, headers, body = web.request("/")
    text = body.decode()
    assert status == 200
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<title>Shop &lt;&quot;&amp;&quot;&gt;</title>" in text
    nonce = headers["Content-Security-Policy"].split("'nonce-")[1].split("'")[0]
    assert f'<script nonce="{nonce}">' in text
    assert "http://" not in text.replace(web.url, "")
    assert "https://" not in text  # nothing from outside


def test_probes_follow_database_and_filestore(web: Process, settings: Settings, server: Postgres) -> None:
    """Not ready while connections are refused, ready again automatically; alive all the time."""
    name = settings.connection_parameters()["dbname"]
    assert web.json("/readyz") == (200, {"ready": True})
    with server.connect() as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
        status, headers, body = web.request("/readyz")
        assert status == 503
        assert headers["Retry-After"] == "1"
        assert "not currently accepting connections" in json.loads(body)["error"]
        assert web.request("/healthz")[0] == 200
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert web.json("/readyz")[0] == 200
    settings.filestore.rename(settings.filestore.with_name("gone"))
    status, answer = web.json("/readyz")
    assert status == 503
    assert "mount the claim" in answer["error"]


def test_it_is_not_ready_without_what_it_requires(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_REQUIRE", "demo.marker")
    with web_process(settings) as web:
        assert web.json("/readyz")[0] == 503
        from demo_app.database import connect

        with connect(settings) as connection:
            connection.execute("INSERT INTO ir_config_parameter (key, value) VALUES ('demo.marker', '1')")
        assert web.json("/readyz")[0] == 200


def test_it_ends_soon_after_sigterm(web: Process) -> None:
    """With kept connections open and requests running, whose answers still come."""
    url = web.url
    target = HttpTarget(url)
    assert target.request("GET", "/readyz")[0] == 200  # this connection stays open
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(20) == 0, "an idle connection is not waited for"
    with pytest.raises(TargetError):
        target.request("GET", "/readyz")


def test_the_load_measures_downtime_at_the_port(settings: Settings) -> None:
    """The web process is killed and started again under load; the outage is seen, the load continues."""
    with web_process(settings) as web:
        port = web.url.rpartition(":")[2]
        events: list[str] = []
        load = Load(
            HttpTarget(web.url),
            LoadPlan(seconds=30, rate=100, gc_seconds=0.5, seed=2),
            events.append,
            probe=HttpTarget(web.url, 1.0),
        )
        thread = threading.Thread(target=load.run)
        thread.start()
        _until(lambda: load.report.orders > 20)
        web.process.kill()
        web.process.wait(10)
        _until(lambda: any('"down"' in e for e in events))
    again = subprocess.Popen(
        [sys.executable, "-m", "demo_app", "serve", "--host", "127.0.0.1", "--port", port,
         "--database", str(settings.database), "--filestore", str(settings.filestore)],
        env={**os.environ, "PYTHONPATH": str(APP)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until(lambda: bool(load.report.outages))
        before = load.report.orders
        _until(lambda: load.report.orders > before + 10)
    finally:
        load.stop.set()
        thread.join(10)
        again.kill()
        again.wait(10)
    assert len(load.report.outages) == 1
    assert 0 < load.report.outages[0]["seconds"] < 20
    assert json.loads(events[-1])["event"] == "report"


def _until(predicate: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_secret_of_cloudnativepg_or_a_uri(tmp_path: Path) -> None:
    for key, value in {"host": "db", "port": "5433", "dbname": "shop", "username": "u", "password": "p\n"}.items():
        (tmp_path / key).write_text(value)
    assert read_secret(tmp_path) == {"host": "db", "port": "5433", "dbname": "shop", "user": "u", "password": "p"}
    (tmp_path / "uri").write_text("postgresql://u:p%40@db:5434/shop")
    assert read_secret(tmp_path)["password"] == "p@"
    (tmp_path / "uri").unlink()
    (tmp_path / "dbname").unlink()
    with pytest.raises(SettingsError, match="lacks dbname"):
        read_secret(tmp_path)
    with pytest.raises(SettingsError, match="mount"):
        read_secret(tmp_path / "nowhere")


def test_commands_say_what_is_wrong(tmp_path: Path, settings: Settings) -> None:
    """Exit code 2 and a message; 1 where a file is missing; 0 where all is well."""

    def run(*arguments: str, **env: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "demo_app", *arguments],
            env={**os.environ, "PYTHONPATH": str(APP), **env}, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    where = ("--database", str(settings.database), "--filestore", str(settings.filestore))
    code, text = run("check")
    assert (code, "DEMO_FILESTORE is not set" in text) == (2, True)
    code, text = run("check", "--filestore", str(tmp_path), "--database", str(tmp_path / "none"))
    assert (code, "mount the database's Secret" in text) == (2, True)
    code, text = run("check", *where, "--dbname", "nowhere")
    assert (code, "does not exist" in text) == (2, True)
    code, text = run("load", *where, "--seconds", "5", "--rate", "20", "--writers", "1")
    assert code == 0, text
    assert run("check", *where)[0] == 0
    code, text = run("damage", *where)
    assert json.loads(text)["files_unlinked"] > 0
    code, text = run("check", *where)
    assert (code, json.loads(text)["missing"] > 0) == (1, True)
    code, text = run("gc", "--all", *where)
    assert (code, json.loads(text)["checked"] > 0) == (0, True)
    code, text = run("load", *where, "--writers", "0")
    assert (code, "writers: 1 to 100" in text) == (2, True)


def test_sizes_for_people() -> None:
    assert [page._bytes(n) for n in (0, 1023, 1024, 1536 * 1024, 3 * 1024**3)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 MiB", "3.0 GiB",
    ]  # fmt: skip
