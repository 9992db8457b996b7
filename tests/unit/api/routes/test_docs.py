"""`/docs`: everything that it needs is served by the facade, and nothing else is allowed."""

import gzip
import re
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from ocore_api import swagger_ui
from support.api.browser import BROWSER
from support.api.clients import modules
from support.api.filled import filled
from support.api.serving import Serving, serving

FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "start.js")
#: Seconds of the page's clock until its DOM is read; the browser waits for what it loads.
BUDGET = 10


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving(cache=filled()) as found:
        yield found


@pytest.fixture
def look(served: Serving, tmp_path: Path) -> tuple[str, str]:
    """The page's DOM, once its scripts have run, and what the browser has logged. No name resolves: nothing is loaded
    but from the facade's address."""
    done = subprocess.run(
        [
            *BROWSER,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--enable-logging=stderr",
            f"--virtual-time-budget={BUDGET * 1000}",
            "--dump-dom",
            f"{served.url}/docs",
        ],
        text=True,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


def test_the_page_shows_every_operation_in_chromium(look: tuple[str, str], served: Serving) -> None:
    dom, log = look
    with served.anonymous() as client:
        paths = client.get("/openapi.json").json()["paths"]
    summaries = [operation["summary"] for methods in paths.values() for operation in methods.values()]
    assert len([path for path in paths if path.startswith("/api/")]) == 10
    assert [s for s in summaries if s not in dom] == []
    assert "Authorize" in dom
    assert "Failed to load API definition" not in dom
    assert [line for line in log.splitlines() if "CONSOLE" in line] == [], "a refused or missing file is logged here"


def test_the_page_names_no_other_site_and_its_policy_allows_none(served: Serving) -> None:
    with served.anonymous() as client:
        answer = client.get("/docs")
        policy = answer.headers["content-security-policy"]
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "default-src 'none'" in policy
        assert re.findall(r"[a-z]+://", answer.text) == []
        loaded = re.findall(r'(?:src|href)="(docs/[^"]+)"', answer.text)
        assert {name.removeprefix("docs/") for name in loaded} == set(FILES)
        for name in loaded:
            plain = client.get(f"/{name}", headers={"Accept-Encoding": "identity"})
            assert plain.status_code == 200
            assert client.get(f"/{name}", headers={"Accept-Encoding": "gzip"}).content == plain.content
        assert client.get("/docs/other.js").json()["reason"] == "NotFound"


@pytest.mark.parametrize("name", FILES[:2])
def test_the_files_are_those_of_the_locked_package(name: str) -> None:
    """`make swagger-ui` copies them. npm has checked the package's hash."""
    kept = gzip.decompress((files(swagger_ui) / "dist" / f"{name}.gz").read_bytes())
    assert kept == (modules() / "swagger-ui-dist" / name).read_bytes()
