"""The request of a Job: a document in the environment, checked by the model of its command."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from ocore_crds.commands import request_transport
from ocore_crds.commands.parts import StoreAccess
from ocore_crds.commands.probe_store import ProbeStoreRequest
from ocore_crds.commands.table import COMMANDS
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_mover import command_line
from ocore_mover.__main__ import run_document
from ocore_mover.commands import opening
from support.mover.beside import ENVIRONMENT, call
from support.mover.site import Site

UUID = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"
POD = "7d0b5a53-2222-4333-8444-555566667777"


def started(command: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The program as a Job's container starts it."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", "ocore_mover", command], env=environment, capture_output=True, text=True, check=False
    )


def test_a_job_runs_its_command_by_the_document(tmp_path: Path) -> None:
    request = ProbeStoreRequest(store=StoreAccess(url=tmp_path.as_uri()))
    done = started("probe-store", request_transport.variables(request))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["payload"]["kind"] == "probe-store"


IDS = {"environmentId": UUID, "snapshotId": UUID}


@pytest.mark.parametrize(
    ("command", "document", "words"),
    [
        ("probe-store", {"store": {"url": "file:///x"}, "newer": 1}, "newer: Extra inputs are not permitted"),
        ("probe-store", {"store": {"url": "file:///x", "s3": {"newer": 1}}}, "store.s3.newer: Extra inputs"),
        ("probe-store", {}, "store: Field required"),
        ("probe-store", {"store": {"url": "ftp://x"}}, "ftp://x: a store's URL is"),
        ("verify", {"store": {"url": "file:///x"}, **IDS, "snapshotId": "no"}, "snapshotId: 'no' is not a valid UUID"),
        ("verify", {"store": {"url": "file:///x"}, **IDS, "jobs": 0}, "jobs: Input should be greater than or equal"),
        ("measure", {}, "request: give --database, --claim or both"),
        ("nonsense", {}, "the only argument is the name of a command: probe, "),
    ],
)
def test_a_document_that_does_not_fit_names_the_field(
    command: str, document: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 without a result, as for a wrong option. The termination message has the same text."""
    message = tmp_path / "termination-log"
    message.touch()
    assert run_document([command], json.dumps(document), message) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert message.read_text() == said.err.rstrip("\n")


def test_outside_of_a_pod_no_termination_message_is_made(tmp_path: Path) -> None:
    assert run_document(["probe-store"], "{}", tmp_path / "none") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_document_and_options_do_not_go_together() -> None:
    assert run_document(["probe-store", "--store-read-only"], '{"store":{"url":"file:///x"}}') == 2


def test_the_pods_uid_separates_two_writers(site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pods of one Job: a retry of the kubelet, or a node that was thought lost."""
    call("probe-store", "--store", tmp_path.as_uri())
    site_any.sql("CREATE TABLE t AS SELECT 1")
    arguments = (
        "snapshot", "--store", tmp_path.as_uri(), "--database", str(site_any.secret), "--environment-id", ENVIRONMENT,
        "--scratch", str(tmp_path), "--attempt", "0b0f4b5e-2", "--snapshot-id",
    )  # fmt: skip
    assert call(*arguments, UUID).result["payload"]["attempt"] == "0b0f4b5e-2"
    monkeypatch.setenv("OCORE_POD_UID", POD)
    assert call(*arguments, POD).result["payload"]["attempt"] == f"0b0f4b5e-2-{POD}"


def test_the_record_of_a_rollback_names_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = dict.fromkeys(("uid", "rollbackId", "environmentId", "snapshotId"), UUID)
    record = RollbackRun.model_validate({"name": "back", "specHash": "0" * 32, "attempt": "0", **ids})
    assert opening.run_of(record) == record
    monkeypatch.setenv("OCORE_POD_UID", POD)
    found = opening.run_of(record)
    assert found is not None
    assert found.attempt == POD
    assert opening.run_of(None) is None


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_takes_and_reports_what_its_row_says(name: str) -> None:
    row = COMMANDS[name]
    hints = get_type_hints(importlib.import_module(f"ocore_mover.commands.{name.replace('-', '_')}").execute)
    assert hints["request"] is row.request
    assert set(get_args(hints["return"]) or (hints["return"],)) == set(row.results)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_field_is_one_option(name: str) -> None:
    found = tuple(command_line.leaves(COMMANDS[name].request))
    names = [leaf.name for leaf in found]
    assert len(set(names)) == len(names)
    assert len({leaf.path for leaf in found}) == len(found)
    assert all(leaf.field.description for leaf in found), "people read it by --help"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["probe-store", "--s3-region", "eu"], "--store: Field required"),
        (["verify", "--store", "file:///x", "--environment-id", UUID, "--snapshot-id", "no"], "--snapshot-id: 'no' is"),
        (["snapshot", "--store", "file:///x", "--database", "/x", "--environment-id", UUID, "--snapshot-id", UUID,
          "--identity", '{"environmentId":"no"}'], "--identity: environmentId: 'no' is not a valid UUID"),
        (["list-manifests", "--store", "file:///x", "--environment", UUID], "--environment: "),
        (["prove", "--database", "/x", "--environment-id", UUID, "--scratch", "/nowhere"], "--scratch: /nowhere is"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = call(*arguments)
    assert done.code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
