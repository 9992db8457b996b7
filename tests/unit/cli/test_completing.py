"""``kubectl_complete-ocore``: what kubectl's completion asks of a plugin."""

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ocore_cli import completing
from ocore_cli.completing import proposals
from ocore_cli.errors import CliError
from support.cluster.cluster import REPOSITORY


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sna"], ["snapshot"]),
        (["get", "osnap", "-o", "na"], ["name"]),
        (["snapshot", "--by"], ["--by-policy"]),
        (["pin", "--la"], ["--label"]),
        (["snapshot", "--none"], []),
    ],
)
def test_commands_options_and_choices_are_proposed(words: list[str], wanted: list[str]) -> None:
    assert [line.partition("\t")[0] for line in proposals(words)] == wanted


def test_an_empty_word_proposes_every_command_with_its_help() -> None:
    found = dict(line.split("\t", 1) for line in proposals([""]))
    assert {"snapshot", "rollback", "doctor", "init", "get"} <= set(found)
    assert "list" not in found  # hidden: kubectl has no such word
    assert all(found.values())


def test_the_program_ends_as_kubectl_wants_it() -> None:
    """The last line is cobra's directive: without it kubectl proposes nothing."""
    env = {**os.environ, "PATH": f"{REPOSITORY}/cli:{os.environ['PATH']}"}
    done = subprocess.run(
        ["kubectl_complete-ocore", "doc"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    first, last = done.stdout.splitlines()
    assert first.startswith("doctor\t")
    assert last == ":4"


class Listed:
    """The API server's names, and how it was reached."""

    made: ClassVar[list[tuple[object, ...]]] = []

    def __init__(self, *arguments: object, interactive: bool) -> None:
        assert not interactive
        self.made.append(arguments)
        self.namespace = "shop"

    def read(self, path: str, *_: object) -> dict[str, Any]:
        rows = [{"cells": [f"{path.rpartition('/')[2]}-{n}"]} for n in (1, 2)]
        return {"columnDefinitions": [{"name": "Name", "format": "name"}], "rows": rows}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["rollback", ""], ["snapshots-1", "snapshots-2"]),
        (["rollback", "--wait", "-n", "x", "snapshots-2"], ["snapshots-2"]),
        (["cp", "snapshots-1:a", ""], []),
        (["snapshot", "env"], ["environments-1", "environments-2"]),
        (["undo", ""], ["rollbacks-1", "rollbacks-2"]),
        (["rollback", "snapshots-1", "--into", "e"], ["environments-1", "environments-2"]),
        (["watch", "orb/"], ["orb/rollbacks-1", "orb/rollbacks-2"]),
        (["get", "osnap", ""], ["snapshots-1", "snapshots-2"]),
        (["get", "oenv/environments-"], ["oenv/environments-1", "oenv/environments-2"]),
    ],
)
def test_names_of_objects_are_proposed(words: list[str], wanted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Listed.made.clear()
    monkeypatch.setattr(completing, "Objects", Listed)
    assert [line.partition("\t")[0] for line in proposals(words)] == wanted
    assert len(Listed.made) <= 1
    assert all(each == (None, None, "x" if "-n" in words else None, completing.SECONDS) for each in Listed.made)


def test_without_an_api_server_nothing_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise CliError("no kubeconfig")

    monkeypatch.setattr(completing, "Objects", refused)
    assert proposals(["rollback", ""]) == []


def test_a_server_of_names_that_never_answers_ends_with_the_deadline(tmp_path: Path) -> None:
    """The resolver of the C library goes on after a signal: for a minute, here."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:2\n")
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://api.cluster.example:6443"}}],
        "users": [{"name": "x", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    code = (
        "import socket; silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); silent.bind(('127.0.0.1', 53))\n"
        "from ocore_cli import completing; completing.main()"
    )
    script = 'ip link set lo up && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script, str(tmp_path),
         sys.executable, "-c", code, "rollback", "--kubeconfig", f"{tmp_path}/config", ""],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()) == (0, [":4"]), done.stderr


@pytest.mark.parametrize("silent", ["server", "plugin"])
def test_what_never_answers_ends_with_the_only_deadline(silent: str, tmp_path: Path) -> None:
    """However many kinds are asked for. The plugin must not ask a person, although one is at the terminal. It ends
    with the completion."""
    plugin = tmp_path / "plugin"
    status = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}'
    last = f"echo '{status}'" if silent == "server" else "exec sleep 600"
    plugin.write_text(
        f"#!/bin/sh\necho $$ >>{tmp_path}/runs\n"
        f"test -t 0 && echo terminal >>{tmp_path}/runs\necho $KUBERNETES_EXEC_INFO >{tmp_path}/info\n{last}\n"
    )
    plugin.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, and says nothing
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
        cluster = {"server": f"https://127.0.0.1:{server.getsockname()[1]}"}
        (tmp_path / "config").write_text(
            json.dumps(
                {
                    "current-context": "x",
                    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                    "clusters": [{"name": "x", "cluster": cluster}],
                    "users": [{"name": "x", "user": user}],
                }
            )
        )
        code = (
            "import signal; from ocore_cli import completing; completing.SECONDS = 5.0; completing.main()\n"
            "assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)"
        )
        terminal, inside = pty.openpty()
        done = subprocess.run(
            [sys.executable, "-c", code, "get", "--kubeconfig", f"{tmp_path}/config", ""],
            stdin=inside, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        os.close(terminal)
        os.close(inside)
    assert done.stdout.splitlines()[-1] == ":4"
    (run,) = (tmp_path / "runs").read_text().split()
    assert json.loads((tmp_path / "info").read_text())["spec"] == {"interactive": False}
    with pytest.raises(ProcessLookupError):
        os.kill(int(run), 0)
