"""The commands of kubectl's habits."""

import json
import re
from typing import Any

import pytest
import typer
import yaml

from ocore_cli import confirm, manage, options
from ocore_cli.errors import CliError, Denied, Refused, TimedOut
from ocore_crds.kinds import SNAPSHOT, SNAPSHOT_POLICY
from support.cli import DONE, FakeObjects, Object, condition, run

NAME = "a-name-that-is-longer-than-any-terminal-of-eighty-columns-is-wide-and-must-not-be-broken-into-two-lines"
PATH = "/apis/ocore.dev/v1alpha1/namespaces/shop/snapshots"


def table(*rows: tuple[str, ...]) -> Object:
    columns = [
        {"name": "Name", "format": "name"},
        {"name": "Phase"},
        {"name": "Reason", "priority": 1},
        {"name": "Age"},
    ]
    return {
        "columnDefinitions": columns,
        "rows": [{"cells": list(row), "object": {"metadata": {"namespace": "shop"}}} for row in rows],
    }


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> FakeObjects:
    objects = FakeObjects(snapshot=[DONE])
    monkeypatch.setattr(options, "Objects", lambda *_: objects)
    monkeypatch.setattr(manage, "pause", lambda _: None)
    return objects


def test_lists_have_the_columns_of_kubectl_and_whole_names(
    cli: FakeObjects, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.paths[PATH] = table((NAME, "Complete", "Succeeded", "2d"), ("b", "Failed", "DumpFailed", "1d"))
    assert run("get", "osnap") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "PHASE", "AGE"],
        [NAME, "Complete", "2d"],
        ["b", "Failed", "1d"],
    ]
    assert run("list", "snapshots", "-o", "wide") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [NAME, "Complete", "Succeeded", "2d"]
    cli.paths["/apis/ocore.dev/v1alpha1/snapshots"] = table(("b", "Failed", "x", "1d"))
    assert run("get", "osnap", "-A") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["NAMESPACE", "shop"]


def test_a_list_of_nothing_says_so(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    cli.paths[PATH] = table()
    assert run("get", "snapshots.ocore.dev") == 0
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "No snapshots in namespace shop.\n")
    with pytest.raises(CliError, match="snapshot nowhere does not exist"):
        run("get", "osnap/nowhere")
    with pytest.raises(typer.BadParameter):
        run("get", "pods")


def test_formats_for_programs(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    cli.others["snapshot"] = [DONE]
    cli.paths[PATH] = table(("before", "Complete", "Succeeded", "2d"))
    assert run("get", "osnap", "-o", "name") == 0
    assert capsys.readouterr().out == "snapshot.ocore.dev/before\n"
    assert run("get", "osnap/before", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == DONE
    assert run("get", "osnap", "-o", "yaml") == 0
    assert yaml.safe_load(capsys.readouterr().out)["items"] == [DONE]


def test_watch_prints_what_changes(
    cli: FakeObjects, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = [
        table(("a", "Running", "", "1s"), ("b", "Failed", "", "1s")),
        table(("a", "Complete", "", "2s"), ("b", "Failed", "", "2s")),
    ]

    def paused(_: float) -> None:
        if not states:
            raise KeyboardInterrupt
        cli.paths[PATH] = states.pop(0)

    monkeypatch.setattr(manage, "pause", paused)
    paused(0)
    assert run("get", "osnap", "--watch") == 130
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["NAME", "PHASE"], ["a", "Running"], ["b", "Failed"], ["a", "Complete"],
    ]  # fmt: skip


def test_changes(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    cli.states["snapshot"] = [DONE]
    for arguments in (
        ("pin", "osnap/a", "--label", "why"),
        ("unpin", "a"),
        ("suspend", "oenv/shop"),
        ("resume", "shop"),
        ("verify", "a"),
    ):
        assert run(*arguments) == 0
    *changed, (_, _, read) = cli.patched
    assert changed == [
        (SNAPSHOT, "a", {"spec": {"pin": {"label": "why"}}}),
        (SNAPSHOT, "a", {"spec": {"pin": None}}),
        (SNAPSHOT_POLICY, "shop", {"spec": {"suspend": True}}),
        (SNAPSHOT_POLICY, "shop", {"spec": {"suspend": False}}),
    ]
    assert [*read["metadata"]["annotations"]] == ["ocore.dev/verify-requested"]
    assert "snapshot.ocore.dev/a pinned" in capsys.readouterr().out
    with pytest.raises(typer.BadParameter):
        run("pin", "orb/a")


def test_a_deletion_says_what_becomes_of_the_data(
    cli: FakeObjects, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CliError, match="add --yes"):
        run("delete", "osnap/before")
    monkeypatch.setattr(confirm, "is_interactive", lambda: True)
    monkeypatch.setattr(confirm, "answer", lambda *_: "other")
    with pytest.raises(Refused, match="not deleted"):
        run("delete", "osnap/before")
    assert cli.deleted == []
    assert "Its data stays in the store" in capsys.readouterr().out
    cli.states["snapshot"] = [{**DONE, "spec": {**DONE["spec"], "deletionPolicy": "Delete"}}]
    monkeypatch.setattr(confirm, "answer", lambda *_: "before")
    assert run("delete", "osnap", "before") == 0
    assert "Its data in the store is deleted with it" in capsys.readouterr().out
    assert cli.deleted == [(SNAPSHOT, "before")]
    assert run("delete", "osnap/before", "--yes") == 0
    with pytest.raises(typer.BadParameter):
        run("delete", "oenv/shop", "--yes")


def test_a_deletion_says_until_when_the_store_keeps_the_bytes(
    cli: FakeObjects, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its own store and of the one that has its copy. What is imported and not taken over stays."""
    monkeypatch.setattr(confirm, "is_interactive", lambda: True)
    monkeypatch.setattr(confirm, "answer", lambda *_: "other")

    def said(*stores: Any, **status: Any) -> str:
        spec = {**DONE["spec"], "deletionPolicy": "Delete"}
        cli.states["snapshot"] = [{**DONE, "spec": spec, "status": {**DONE["status"], **status}}]
        cli.states["snapshotstore"] = list(stores)
        with pytest.raises(Refused):
            run("delete", "osnap/before")
        return capsys.readouterr().out

    locked: Object = {"spec": {"s3": {"lock": {"mode": "Governance", "days": 40}}}}
    unlocked: Object = {"spec": {"s3": {}}}
    far = {"storeName": "far", "state": "Completed"}
    text = said(unlocked, locked, storeName="main", remote=far)
    assert "But SnapshotStore far locks objects for 40 days" in text
    assert re.search(r"until \d{4}-\d\d-\d\d at the latest", text)
    assert "SnapshotStore main" not in text
    assert "RetainedByStore" not in said(unlocked, storeName="main", remote={**far, "storeName": "main"})
    assert "main cannot be read: what it locks stays" in said(Denied("403"), storeName="main")
    assert "lock" not in said(None, storeName="main")
    assert "Its data stays in the store: it was imported" in said(locked, storeName="main", imported={"at": "x"})
    assert "is deleted with it" in said(unlocked, storeName="main", imported={"at": "x", "takenOver": True})


@pytest.mark.parametrize(("result", "code"), [("Matched", 0), ("Differs", 1), ("NotRead", 1)])
def test_verify_waits_for_the_result(
    cli: FakeObjects, capsys: pytest.CaptureFixture[str], result: str, code: int
) -> None:
    """Whatever an earlier check has found: the Snapshot may be Verified."""
    verified = condition("Verified", "True", "Succeeded")

    def read(**fields: Any) -> dict[str, Any]:
        found = {"run": "1", "attempt": 1, "message": "9 Jobs run.", **fields}
        return {**DONE, "status": {**DONE["status"], "conditions": [verified], "readBack": found}}

    asked = {**DONE, "metadata": {**DONE["metadata"], "annotations": {"ocore.dev/verify-requested": "now"}}}
    cli.states["snapshot"] = [DONE, asked, read(), read(result=result, message="a differs.")]
    assert run("verify", "before", "--wait") == code
    assert ("a differs." in capsys.readouterr().out) == (code == 1)
    cli.states["snapshot"] = [read()]
    with pytest.raises(TimedOut, match="not verified after 3 s: 9 Jobs run"):
        run("verify", "before", "--wait", "--timeout", "3")


def test_what_failed_is_not_read(cli: FakeObjects) -> None:
    cli.states["snapshot"] = [{**DONE, "status": {"phase": "Failed"}}]
    with pytest.raises(CliError, match="has failed: it has no data"):
        run("verify", "before")
    cli.states["snapshot"] = [DONE, {**DONE, "status": {"phase": "Failed"}}]
    with pytest.raises(CliError, match="has failed: it has no data"):
        run("verify", "before", "--wait")
    assert len(cli.patched) == 1


def test_logs_and_description(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CliError, match="has no pod"):
        run("logs", "osnap/before")
    cli.paths["/api/v1/namespaces/shop/pods"] = {"items": [{"metadata": {"name": "p"}}]}
    cli.texts["/api/v1/namespaces/shop/pods/p/log"] = "dumped\x1b[2J\n"
    assert run("logs", "osnap/before") == 0
    assert capsys.readouterr().out == "# pod/p\ndumped\\x1b[2J\n"
    cli.paths["/api/v1/namespaces/shop/events"] = {
        "items": [{"type": "Normal", "reason": "Started", "message": "it began"}]
    }
    assert run("describe", "osnap/before") == 0
    out = capsys.readouterr().out
    for words in (
        "Snapshot shop/before: Complete",
        "  environmentRef:",
        "Complete=True Succeeded",
        "Started: it began",
    ):
        assert words in out


def test_version_needs_no_cluster(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def none(*_: object) -> None:
        raise CliError("cannot read the kubeconfig")

    monkeypatch.setattr(options, "Objects", none)
    assert run("version") == 0
    assert capsys.readouterr().out.startswith("kubectl ocore ")
