"""`/ui`: the built page and what it needs to sign in. What the page does is tested in tests/unit/api/page."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from ocore_api.settings import Settings
from support.api.issuer import AUDIENCE
from support.api.serving import Serving, serving
from support.cluster.cluster import REPOSITORY

SCRIPT = "assets/page-AB12CD34.js"
PROVIDER = {"jwt_issuer": "https://login.example.org/realms/one", "ui_client_id": "page"}


def built(folder: Path) -> Path:
    """A folder as `make ui` makes it, and a file beside it that is none of the page's."""
    (folder / "ui/assets").mkdir(parents=True)
    (folder / "ui/index.html").write_text("<!doctype html><title>page</title>")
    (folder / "ui" / SCRIPT).write_text("start();\n" * 100)
    (folder / "ui/licenses.txt").write_text("MIT")
    (folder / "secret.txt").write_text("not of the page")
    return folder / "ui"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Serving]:
    with serving(ui=True, ui_folder=folder, **PROVIDER, ui_provider_origins=("https://token.example.org:8443",)) as s:
        yield s


@pytest.fixture
def client(served: Serving) -> Iterator[httpx.Client]:
    with served.anonymous() as found:
        yield found


def policy(answer: httpx.Response) -> dict[str, str]:
    """The directives of an answer's only Content-Security-Policy."""
    (text,) = answer.headers.get_list("content-security-policy")
    return dict((part.strip() + " ").split(" ", 1) for part in text.split(";"))


def settings(folder: Path, **values: Any) -> Settings:
    given = {"jwt_issuer": "https://login.example.org", "jwt_audience": AUDIENCE, "jwks_file": folder / "keys"}
    return Settings(ui=True, ui_folder=folder, **{**given, **values})


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/environments/1f0c", "/ui/a/b/c", "/ui/signed-in?code=x&state=y"])
def test_every_view_is_the_page(path: str, client: httpx.Client) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.text == "<!doctype html><title>page</title>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache", "else a browser would name the files of an older build"


def test_a_file_with_a_hash_in_its_name_is_kept_by_browsers(client: httpx.Client) -> None:
    script = client.get(f"/ui/{SCRIPT}")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-encoding"] == "gzip"
    plain = client.get(f"/ui/{SCRIPT}", headers={"Accept-Encoding": "identity"})
    assert plain.content == script.content == b"start();\n" * 100
    assert client.get("/ui/licenses.txt").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/ui", f"/ui/{SCRIPT}"])
def test_a_file_that_has_not_changed_is_not_sent_again(path: str, client: httpx.Client) -> None:
    tag = client.get(path).headers["etag"]
    again = client.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/ui", "/ui/x/y", f"/ui/{SCRIPT}", "/ui/config.json"])
def test_head(path: str, client: httpx.Client) -> None:
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    changing = ("date", "x-request-id")
    assert [h for h in head.headers.items() if h[0] not in changing] == [
        h for h in got.headers.items() if h[0] not in changing
    ]


def test_other_methods_and_files_have_no_answer(client: httpx.Client) -> None:
    posted = client.post("/ui/x")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")
    assert client.get("/ui/assets/page-00000000.js").json()["reason"] == "NotFound"
    assert client.get("/uix").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/ui/../secret.txt",
        "/ui/..%2fsecret.txt",
        "/ui/%2e%2e/secret.txt",
        "/ui/assets/../../secret.txt",
        "/ui/assets/..%2f..%2fsecret.txt",
        "/ui/assets/%2e%2e%5c..%5csecret.txt",
        "/ui/{folder}/secret.txt",
        "/ui//{folder}/secret.txt",
        "/ui/assets/%00",
    ],
)
def test_row_108_no_path_leaves_the_folder(path: str, folder: Path, served: Serving) -> None:
    """As raw bytes: clients normalise paths."""
    address = served.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=10) as connection:
        asked = path.format(folder=str(folder.parent).lstrip("/"))
        connection.sendall(f"GET {asked} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"not of the page" not in answer
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 200"))


def test_row_108_the_page_allows_only_itself_and_the_provider(client: httpx.Client) -> None:
    for path in ("/ui", "/ui/x/y", f"/ui/{SCRIPT}", "/ui/config.json", "/ui/assets/none"):
        answer = client.get(path)
        found = policy(answer)
        assert found.pop("connect-src") == "'self' https://login.example.org https://token.example.org:8443 "
        assert found == {
            "default-src": "'none' ",
            **dict.fromkeys(("script-src", "style-src", "img-src", "font-src"), "'self' "),
            **dict.fromkeys(("base-uri", "form-action", "frame-ancestors", "trusted-types"), "'none' "),
            "require-trusted-types-for": "'script' ",
        }
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin-allow-popups"
    assert policy(client.get("/api/who"))["default-src"] == "'none' "


def test_without_a_provider_the_page_connects_to_the_api_only(folder: Path) -> None:
    with serving(ui=True, ui_folder=folder) as served, served.anonymous() as client:
        assert policy(client.get("/ui"))["connect-src"] == "'self' "
        assert client.get("/ui/config.json").json() == {"oidc": None, "pastedToken": True}


def test_the_page_learns_how_to_sign_in_and_no_secret(client: httpx.Client) -> None:
    answer = client.get("/ui/config.json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "oidc": {"issuer": PROVIDER["jwt_issuer"], "clientId": "page", "scopes": ["openid"], "token": "access"},
        "pastedToken": True,
    }


def test_the_page_is_not_in_the_openapi_document(client: httpx.Client) -> None:
    assert [p for p in client.get("/openapi.json").json()["paths"] if p.startswith("/ui")] == []


def test_its_files_are_limited_and_counted(folder: Path) -> None:
    limits = {"page_rate_per_second": 0.01, "page_rate_burst": 3}
    with serving(ui=True, ui_folder=folder, **limits) as served, served.anonymous() as client:
        assert [client.get("/ui/x").status_code for _ in range(4)] == [200, 200, 200, 429]
        metrics = served.metrics()
    assert 'ocore_api_requests_total{method="GET",route="/ui/{name:path}",status="200"} 3.0' in metrics


def test_row_133_failed_requests_of_others_do_not_keep_the_page_from_its_users(folder: Path) -> None:
    """Behind a proxy that is not in `trusted_proxies` all users have one address. 80 requests a second without a token
    left 44 of 60 loads of the page without a file."""
    limits = {"anonymous_rate_per_second": 0.001, "anonymous_rate_burst": 1}
    with serving(ui=True, ui_folder=folder, **limits) as served, served.anonymous() as client:
        assert [client.get("/api/who").status_code for _ in range(80)] == [401] + [429] * 79
        for path in ("/ui", "/ui/config.json", f"/ui/{SCRIPT}"):
            assert client.get(path).status_code == 200


def test_row_133_loads_of_the_page_do_not_make_the_facade_look_ill(folder: Path) -> None:
    """A load balancer asks for its health from the same address as it sends the users: it would send no one here."""
    limits = {"page_rate_per_second": 0.001, "page_rate_burst": 3}
    with serving(ui=True, ui_folder=folder, **limits) as served, served.anonymous() as client:
        assert [client.get("/ui").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_row_108_the_page_is_off_unless_it_is_asked_for() -> None:
    with serving() as served, served.anonymous() as client:
        for path in ("/ui", "/ui/config.json", f"/ui/{SCRIPT}"):
            assert client.get(path).json()["reason"] == "NotFound"


def test_without_the_built_files_the_facade_does_not_start(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(REPOSITORY / p) for p in ("crds", "kube", "api")),
        "OCORE_API_UI": "true",
        "OCORE_API_UI_FOLDER": str(tmp_path),
        "OCORE_API_JWT_ISSUER": "https://login.example.org",
        "OCORE_API_JWT_AUDIENCE": AUDIENCE,
        "OCORE_API_JWKS_FILE": "keys",
    }
    done = subprocess.run([sys.executable, "-m", "ocore_api"], env=env, text=True, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert f"{tmp_path}/index.html does not exist" in done.stderr
    assert "make ui" in done.stderr


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"ui_pasted_token": False}, "OCORE_API_UI_CLIENT_ID or OCORE_API_UI_PASTED_TOKEN"),
        ({"ui_client_id": "page", "ui_scopes": "profile"}, "lacks `openid`"),
        ({"ui_client_id": "page", "jwt_issuer": "http://login.example.org"}, "https://"),
        ({"ui_client_id": "page", "jwt_issuer": "our issuer"}, "https://"),
        ({"ui_client_id": "page", "jwt_issuer": "https://a.example.org; script-src *"}, "https://"),
        ({"ui_provider_origins": "https://a.example.org; script-src *"}, "an origin is"),
        ({"ui_provider_origins": "https://*"}, "an origin is"),
        ({"ui_provider_origins": "https://a.example.org/path"}, "an origin is"),
    ],
)
def test_a_wrong_setting_says_what_to_do(values: dict[str, Any], why: str, folder: Path) -> None:
    with pytest.raises(ValidationError, match=why):
        settings(folder, **values)


def test_for_tests_a_provider_may_speak_http(folder: Path) -> None:
    found = settings(folder, ui_client_id="page", jwt_issuer="http://localhost:9998/", jwks_allow_http=True)
    assert found.issuer_origin == "http://localhost:9998"
