"""What a start of ``kubectl ocore`` loads. Models are built when their module is imported, and took most of a start."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

import pytest

from ocore_cli import app, selection
from ocore_crds.kinds import KINDS
from ocore_crds.reports.extracted import TableFormat
from ocore_crds.resources.rollback import RollbackSpec

#: Runs the program, and prints the modules that it has loaded in the end as a JSON line.
PROGRAM = """if True:
    import contextlib, io, json, sys
    from ocore_cli.__main__ import main
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main()
    print(json.dumps(sorted(sys.modules)))
"""
#: The models, and what needs them. Typer itself loads pydantic to read options.
MODELS = {"ocore_crds.model", "ocore_crds.conditions", "ocore_cli.runs", "ocore_cli.diagnosis"}
#: The client of the API server, which help and completion of commands do not ask.
CLIENT = {"urllib3", "ocore_cli.transport"}
LIST = {
    "columnDefinitions": [{"name": "Name", "format": "name"}],
    "rows": [{"cells": ["before"], "object": {"metadata": {"namespace": "shop"}}}],
}
#: Commands that print nothing of a status, and the completion of names for those that do.
LISTS = (
    ("get", "osnap"),
    ("get", "osnap", "-A"),
    ("get", "osnap", "-o", "name"),
    ("__complete", "rollback", ""),
    ("__complete", "cp", ""),
    ("__complete", "certificate", ""),
    ("__complete", "get", "osnap/"),
)


class Handler(BaseHTTPRequestHandler):
    """An API server that has one object of each kind."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        data = json.dumps(LIST).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "x", "user": {}}],
    }
    path = tmp_path_factory.mktemp("kubeconfig") / "config"
    path.write_text(json.dumps(config))
    yield path
    server.shutdown()
    server.server_close()


def loaded(*arguments: str, kubeconfig: str = "/dev/null") -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={"KUBECONFIG": kubeconfig, "PYTHONPATH": ":".join(sys.path)},
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("rollback", "--help"), ("__complete", "ro"), ("__complete", "snapshot", "--by")],
    ids=" ".join,
)
def test_help_and_commands_load_neither_models_nor_a_client(arguments: tuple[str, ...]) -> None:
    assert loaded(*arguments) & (MODELS | CLIENT) == set()


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_a_list_loads_no_models(arguments: tuple[str, ...], kubeconfig: Path) -> None:
    """Completion of names, too: a person waits for it at each TAB."""
    modules = loaded(*arguments, kubeconfig=str(kubeconfig))
    assert "urllib3" in modules  # it has asked
    assert modules & MODELS == set()


def test_status_loads_the_kinds_that_it_shows() -> None:
    modules = loaded("status")
    kinds = {kind.singular for kind in KINDS if f"ocore_crds.resources.{kind.singular}" in modules}
    assert kinds == {"environment", "snapshotstore", "snapshot", "rollback"}
    assert "ocore_crds.protocol" not in modules  # the models of all commands of the mover


def test_the_values_of_options_are_those_of_the_models() -> None:
    """They are written twice, because an option must not load the models."""
    assert get_args(selection.TableFormat) == get_args(TableFormat)
    for option, field in ((app.Neutralize, "neutralize"), (app.RestoreImage, "restore_image")):
        assert set(get_args(option)) == set(get_args(RollbackSpec.model_fields[field].annotation))
