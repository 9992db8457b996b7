"""The REST step of the demo: its issuer is one that the facade trusts, and a stream that fails makes the demo fail."""

import asyncio
import base64
import io
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from rich.console import Console

from demo_run import __main__ as demo_main
from demo_run.output import Output, StepFailed
from demo_run.rest import SUBJECT, VALUES, Issuer, Rest
from ocore_api.auth import SCOPES, Authenticator
from ocore_api.settings import Settings

PROJECT = "6a1c3a52-6f3e-4bb0-9a55-0c7f3a1b2c3d"
EVENT = {
    "id": "r",
    "status": "running",
    "step": "Switch",
    "percent": 40,
    "bytesDone": 4,
    "bytesTotal": 10,
    "message": "",
}


def test_the_facade_trusts_the_demos_tokens(tmp_path: Path) -> None:
    """With the values of rest.yaml and the key of the ConfigMap."""
    values = yaml.safe_load(VALUES.read_text())["api"]["jwt"]
    issuer = Issuer()
    by_kind = {o["kind"]: o for o in issuer.objects()}
    assert by_kind["ConfigMap"]["metadata"]["name"] == values["jwks"]["configMap"]["name"]
    keys = tmp_path / "jwks.json"
    keys.write_text(by_kind["ConfigMap"]["data"]["jwks.json"])
    settings = Settings(jwt_issuer=values["issuer"], jwt_audience=tuple(values["audience"]), jwks_file=keys)
    caller = asyncio.run(Authenticator(settings).authenticate(f"Bearer {issuer.token(PROJECT)}"))
    assert (caller.subject, caller.projects, caller.scopes) == (SUBJECT, {PROJECT}, SCOPES)
    assert "d" not in json.loads(by_kind["ConfigMap"]["data"]["jwks.json"])["keys"][0]  # the private part


def test_another_run_signs_with_the_same_key() -> None:
    first = Issuer()
    assert Issuer(first.pem).jwk == first.jwk
    assert Issuer().jwk != first.jwk


class FakeKube:
    """A cluster where the demo is, or is not."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        self.key = base64.b64encode(Issuer().pem).decode()
        self.applied = list[str]()

    def get(self, *_: str) -> Any:
        return self.shop

    def run(self, *command: str, stdin: str | None = None) -> str:
        self.applied += [stdin] if stdin else []
        return json.dumps({"data": {"key.pem": self.key}}) if "get" in command else ""


def test_a_key_of_another_kind_is_replaced() -> None:
    """A demo cluster of an earlier checkout has a key on an elliptic curve."""
    kube = FakeKube(None)
    assert Issuer.install(kube).pem == base64.b64decode(kube.key)  # type: ignore[arg-type]
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    kube.key = base64.b64encode(subprocess.run(command, check=True, capture_output=True).stdout).decode()
    issuer = Issuer.install(kube)  # type: ignore[arg-type]
    header = jwt.get_unverified_header(issuer.token(PROJECT))
    assert (header["alg"], issuer.jwk["kty"]) == ("RS256", "RSA")
    (applied,) = [json.loads(given) for given in kube.applied[1:]]
    assert issuer.pem.decode() in [o.get("stringData", {}).get("key.pem") for o in applied["items"]]


def test_a_token_for_the_page_names_the_shops_project(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube({"spec": {"projectId": PROJECT}})
    monkeypatch.setattr(demo_main, "cluster_environment", dict)
    monkeypatch.setattr(demo_main, "Kube", lambda *_, **__: kube)
    assert demo_main.main(["--token"]) == 0
    claims = jwt.decode(capsys.readouterr().out.strip(), options={"verify_signature": False})
    assert (claims["projects"], claims["sub"]) == ([PROJECT], SUBJECT)
    kube.shop = None
    assert demo_main.main(["--token"]) == 1
    assert "run `make demo` first" in capsys.readouterr().out


class Facade:
    """Answers what a test wants. `authorizations` has what was sent."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"Location": "/api/x/7"}, b"{}"
        self.authorizations: list[str | None] = []
        self.bodies: list[bytes] = []
        self.url = ""


@pytest.fixture
def facade() -> Iterator[Facade]:
    state = Facade()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.authorizations.append(self.headers["Authorization"])
            state.bodies.append(self.rfile.read(int(self.headers["Content-Length"] or 0)))
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(state.body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Tests need no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def rest(facade: Facade) -> Rest:
    output = Output(ci=True, steps=12)
    output.console = Console(file=io.StringIO(), width=200)
    return Rest(output, facade.url, "t.o.k")


def printed(rest: Rest) -> str:
    assert isinstance(rest.output.console.file, io.StringIO)
    return rest.output.console.file.getvalue()


def stream(*events: dict[str, Any]) -> bytes:
    return b"retry: 1000\n\n" + b"".join(
        f"id: 1-a\nevent: rollback-progress\ndata: {json.dumps(EVENT | e)}\n\n".encode() for e in events
    )


def test_a_request_has_the_token_and_shows_none_of_it(facade: Facade, rest: Rest) -> None:
    facade.status, facade.body = 202, b'{"deploymentId": "d"}'
    assert rest.request("POST", "/x", {"snapshotId": "s"}) == ({"deploymentId": "d"}, "/api/x/7")
    assert facade.authorizations == ["Bearer t.o.k"]
    assert json.loads(facade.bodies[0]) == {"snapshotId": "s"}
    assert "t.o.k" not in printed(rest)
    assert "curl -X POST" in printed(rest)


def test_a_refused_request_fails_with_the_answer(facade: Facade, rest: Rest) -> None:
    facade.status, facade.body = 409, b'{"detail": "an operation runs"}'
    with pytest.raises(StepFailed, match=r"409 .*an operation runs"):
        rest.request("GET", "/x")


def test_a_stream_is_shown_until_its_end(facade: Facade, rest: Rest) -> None:
    facade.body = stream({}, {"message": "still"}, {"status": "completed", "percent": 100})
    assert rest.follow("/x")["status"] == "completed"
    assert printed(rest).count("rollback-progress: running Switch 40 %, 4 of 10 bytes") == 1
    assert facade.authorizations == ["Bearer t.o.k"]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, stream({}, {"status": "failed", "message": "disk full"}), "disk full"),
        (200, stream({}), "no final event"),
        (404, b'{"detail": "No deployment"}', "No deployment"),
    ],
)
def test_a_stream_without_success_fails(facade: Facade, rest: Rest, status: int, body: bytes, words: str) -> None:
    facade.status, facade.body = status, body
    with pytest.raises(StepFailed, match=words):
        rest.follow("/x")
