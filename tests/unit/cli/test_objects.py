"""What the plugin asks the API server, where the answer must not stop it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from ocore_cli.errors import CliError, Denied, NotInstalled, Refused, Unreachable
from ocore_cli.manage import TABLE
from ocore_cli.objects import Objects, needed
from ocore_crds.kinds import SNAPSHOT
from support.cli import run
from support.ports import free_port


def kubeconfig(tmp_path: Path, port: int) -> str:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_an_unknown_user_is_left_out(tmp_path: Path) -> None:
    """The operation itself reports that the API server cannot be reached."""
    assert Objects(kubeconfig(tmp_path, free_port()), None, "shop").user() == ""


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server on loopback; its port."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def pages(count: int, size: int, asked: list[tuple[str, str]]) -> Iterator[int]:
    """An API server that prints so many objects in pages; its port. Path and Accept of each request are noted."""

    class Handler(_Quiet):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Accept"]))
            start = int(self.path.partition("continue=")[2] or 0)
            rows = [{"cells": ["Complete", f"s{n}"]} for n in range(start, min(start + size, count))]
            more = {"continue": str(start + size)} if start + size < count else {}
            columns = [{"name": "Phase", "format": ""}, {"name": "Name", "format": "name"}]
            body = json.dumps({"columnDefinitions": columns, "rows": rows, "metadata": more}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as port:
        yield port


@pytest.mark.parametrize(("scope", "where"), [(("-n", "shop"), "namespaces/shop/"), (("-A",), "")])
def test_names_are_listed_in_pages_without_the_objects(
    scope: tuple[str, ...], where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str]] = []
    with pages(5, 2, asked) as port:
        assert run("get", "osnap", "-o", "name", *scope, "--kubeconfig", kubeconfig(tmp_path, port)) == 0
    assert capsys.readouterr().out.splitlines() == [f"snapshot.ocore.dev/s{n}" for n in range(5)]
    assert [accept for _, accept in asked] == [TABLE] * 3
    begin = f"/apis/ocore.dev/v1alpha1/{where}snapshots?limit=500&includeObject=None"
    assert all(path.startswith(begin) for path, _ in asked)


@contextmanager
def echo(status: int, asked: list[tuple[str, str, str, object]]) -> Iterator[int]:
    """An API server that notes method, path, type and body of each request, and answers with the body; its port."""

    class Handler(_Quiet):
        def _answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, self.headers["Content-Type"], json.loads(data or "null")))
            answer = {"message": "it is so", "status": {"userInfo": {"username": "ann"}}}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of the base class

    with serving(Handler) as port:
        yield port


def test_what_a_write_asks_for(tmp_path: Path) -> None:
    asked: list[tuple[str, str, str, object]] = []
    body = {"metadata": {"name": "a"}, "spec": {"verify": "Full"}}
    with echo(201, asked) as port:
        objects = Objects(kubeconfig(tmp_path, port), None, "shop")
        objects.create(SNAPSHOT, body)
        objects.apply(SNAPSHOT, body)
        objects.patch(SNAPSHOT, "a/../b", {"spec": {}})
        objects.delete(SNAPSHOT, "a")
        assert objects.user() == "ann"
    where = "/apis/ocore.dev/v1alpha1/namespaces/shop/snapshots"
    json_, all_ = "application/json", "fieldValidation=Strict"
    owner = f"fieldManager=kubectl-ocore&force=false&{all_}"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    assert asked == [
        ("POST", f"{where}?{all_}", json_, body),
        ("PATCH", f"{where}/a?{owner}", "application/apply-patch+yaml", body),
        ("PATCH", f"{where}/a%2F..%2Fb", "application/merge-patch+json", {"spec": {}}),
        ("DELETE", f"{where}/a", json_, None),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json_, review),
    ]


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, Denied), (409, Refused), (422, Refused), (401, CliError), (503, Unreachable), (404, NotInstalled)],
)
def test_what_a_refusal_becomes(status: int, error: type[CliError], tmp_path: Path) -> None:
    with echo(status, []) as port:
        objects = Objects(kubeconfig(tmp_path, port), None, "shop")
        assert objects.user() == ""
        with pytest.raises(error):
            objects.apply(SNAPSHOT, {"metadata": {"name": "a"}})


def test_who_may_not_ask_what_is_served_reads_that_the_object_does_not_exist(tmp_path: Path) -> None:
    class Handler(_Quiet):
        def do_GET(self) -> None:
            self.send_response(404 if "/snapshots/" in self.path else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Handler) as port:
        objects = Objects(kubeconfig(tmp_path, port), None, "shop")
        with pytest.raises(CliError, match="snapshot a does not exist in namespace shop"):
            needed(objects, SNAPSHOT, "a")


def test_a_missing_crd_is_named_by_every_command(tmp_path: Path) -> None:
    """And not an object that does not exist, nor the namespace."""
    commands = (
        ("snapshot", "a"),
        ("rollback", "a"),
        ("get", "osnap"),
        ("describe", "osnap/a"),
        ("status",),
        ("watch", "osnap/a"),
    )

    class Handler(_Quiet):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - names of the base class

    with serving(Handler) as port:
        config = kubeconfig(tmp_path, port)
        for command in commands:
            with pytest.raises(
                NotInstalled, match=r"the CRD .*\.ocore\.dev is not installed\. Install the chart first"
            ):
                run(*command, "-n", "shop", "--kubeconfig", config)
        with pytest.raises(NotInstalled):
            Objects(config, None, "shop").create(SNAPSHOT, {"metadata": {"name": "a"}})
