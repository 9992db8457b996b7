"""Output and exit codes of the commands, over objects as the API server holds them."""

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import typer
from rich.console import Console

from ocore_cli import app, confirm, evidence, options, tables, waiting
from ocore_cli.display import LiveDisplay, PlainDisplay
from ocore_cli.errors import CliError, Unreachable
from ocore_cli.follow import follow
from ocore_cli.runs import Run, amounts, duration, run_of
from ocore_crds.kinds import ENVIRONMENT, ROLLBACK, SNAPSHOT, SNAPSHOT_STORE, Kind
from ocore_crds.resources.snapshot import Progress
from support.cli import BROKEN, DONE, NOW, FakeObjects, Object, at, condition, run, snapshot

DUMPING = snapshot(
    steps=[
        {"name": "Prepare", "state": "Done", "startedAt": at(-19), "completedAt": at(-17)},
        {"name": "DumpDatabase", "state": "Running", "startedAt": at(-17)},
    ],
    progress={
        "step": "DumpDatabase",
        "bytesDone": 3 * 1024**2,
        "bytesTotal": 6 * 1024**2,
        "percent": 25,
        "updatedAt": at(0),
    },
    conditions=[condition("Reconciling", message="dumping"), condition("Ready", "False")],
)


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


def console(terminal: bool = False) -> Console:
    """Whatever the TERM of who runs the tests."""
    return Console(file=io.StringIO(), width=120, force_terminal=terminal, _environ={"TERM": "xterm"})


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def follow_states(
    states: list[Object | Exception | None], timeout: float | None = 60, terminal: bool = False
) -> tuple[Run, str]:
    objects, out, clock = FakeObjects(snapshot=states), console(terminal), Clock()

    def read() -> Run | None:
        obj = objects.get(SNAPSHOT, "before")
        return run_of(SNAPSHOT, obj) if obj is not None else None

    display = LiveDisplay(out) if terminal else PlainDisplay(out)
    run = follow(read, display, timeout, clock=clock, sleep=clock.sleep, now=lambda: NOW + timedelta(seconds=clock.now))
    return run, text(out)


def test_a_log_gets_a_line_for_each_change() -> None:
    run, out = follow_states([snapshot("Pending"), DUMPING, DUMPING, DUMPING, DONE])
    assert run.outcome == "Complete"
    lines = [line.split("]")[1].split()[:2] for line in out.splitlines()]
    assert lines == [["Waiting", "the"], ["Prepare", "Done"], ["DumpDatabase", "Running"]]


def test_a_terminal_shows_all_steps_and_bytes() -> None:
    _, out = follow_states([DUMPING, DONE], terminal=True)
    assert "3.0 MiB of 6.0 MiB" in out
    assert "CopyFilestore" in out


def test_the_api_server_may_be_away_for_a_while() -> None:
    run, out = follow_states([DUMPING, Unreachable("gone"), Unreachable("gone"), DONE])
    assert run.outcome == "Complete"
    assert "gone; retrying" in out


def test_a_wait_ends_at_its_deadline_and_says_how_to_go_on() -> None:
    with pytest.raises(
        CliError, match=r"not terminal after a wait of 30.0 s \(phase Running: dumping\).*continues in the cluster"
    ):
        follow_states([DUMPING], timeout=30)


def test_a_deadline_holds_without_an_api_server() -> None:
    with pytest.raises(CliError, match="did not answer for 5"):
        follow_states([Unreachable("gone")], timeout=5)


def test_an_object_that_is_deleted_ends_the_wait() -> None:
    with pytest.raises(CliError, match="was deleted"):
        follow_states([DUMPING, None])


def test_failure_is_exit_code_1_with_the_message() -> None:
    out = console()
    with pytest.raises(typer.Exit) as ended:
        waiting.wait_for_end(FakeObjects(snapshot=[BROKEN]), SNAPSHOT, "before", None, out)
    assert ended.value.exit_code == 1
    assert "Failed AuthenticationFailed" in text(out)
    assert "the password is wrong: change the Secret [db]" in text(out)  # no markup of rich's
    assert text(out).count("the password is wrong") == 1


def test_success_says_what_came_out() -> None:
    out = console()
    waiting.wait_for_end(FakeObjects(snapshot=[DONE]), SNAPSHOT, "before", None, out)
    assert "Snapshot before is Complete after 12.0 s" in text(out)
    assert "stored 2.0 KiB, database 8.0 KiB, 3 files of 512 B" in text(out)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"fullFilestore": True, "filestore": {"claimName": "files", "layout": "Odoo"}}, ", full filestore, shows"),
        ({"fullFilestore": False, "base": {"name": "weekly", "id": "1"}}, ", differential to weekly, shows"),
        ({"fullFilestore": False, "base": {"id": "1-2"}}, ", differential to 1-2, shows"),
        ({"fullFilestore": True}, "3 files of 512 B, shows"),
    ],
)
def test_whether_it_is_a_differential(status: Object, says: str) -> None:
    assert says in run_of(SNAPSHOT, {**DONE, "status": {**DONE["status"], **status}}).result()


@pytest.mark.parametrize(
    ("replicas", "refused", "says"),
    [
        (1, 0.0382, "the application was down for 4.0 s, the database refused connections for 38 ms of that"),
        # Found by an inspection: no Job has seen how long it was. 0.0 s would not be true.
        (1, None, "the application was down for 4.0 s, shop_prev"),
        # Nothing was stopped.
        (0, 0.42, "on the snapshot, the database refused connections for 420 ms, shop_prev"),
    ],
)
def test_a_rollback_says_how_long_the_application_was_down(replicas: int, refused: float | None, says: str) -> None:
    rollback = {
        "metadata": {"name": "back", "namespace": "shop", "creationTimestamp": at(-20)},
        "spec": {"snapshotRef": {"name": "before"}},
        "status": {
            "phase": "Complete",
            "completedAt": at(0),
            "position": "New",
            "refusedSeconds": refused,
            "workloads": [{"kind": "Deployment", "name": "shop", "replicas": replicas}],
            "quiescedAt": at(-6),
            "readyAt": at(-2),
            "undoUntil": at(86400),
            "previousDatabase": "shop_prev_1a2b3c4d",
            "conditions": [condition("Complete", reason="Succeeded")],
        },
    }
    out = console()
    waiting.wait_for_end(FakeObjects(rollback=[rollback]), ROLLBACK, "back", None, out)
    assert says in text(out)
    assert "shop_prev_1a2b3c4d is kept until" in text(out)
    del rollback["status"]["previousDatabase"]
    rollback["status"] |= {"liveMissing": True, "liveDatabase": "shop"}
    out = console()
    waiting.wait_for_end(FakeObjects(rollback=[rollback]), ROLLBACK, "back", None, out)
    assert "database shop did not exist and was created" in text(out)
    assert "is kept until" not in text(out)


def test_nothing_to_watch() -> None:
    with pytest.raises(CliError, match="snapshot nowhere does not exist in namespace shop"):
        waiting.wait_for_end(FakeObjects(), SNAPSHOT, "nowhere", None, console())


def waited(states: list[Object | Exception | None]) -> float:
    """Seconds after which a wait without a timeout gives up."""
    objects, clock = FakeObjects(snapshot=states), Clock()

    def read() -> Run | None:
        obj = objects.get(SNAPSHOT, "before")
        return run_of(SNAPSHOT, obj) if obj is not None else None

    def now() -> datetime:
        return NOW + timedelta(seconds=clock.now)

    with pytest.raises(CliError):
        follow(read, PlainDisplay(console()), None, clock=clock, sleep=clock.sleep, now=now)
    return clock.now


RUNNING = [condition("Reconciling", message="dumping")]
QUEUED = snapshot("Pending", conditions=[condition("Reconciling", reason="WaitingForOperation", message="waits")])


def test_a_wait_lasts_until_the_deadline_and_90_seconds() -> None:
    """60 s that the operator has (docs/decisions/0004), 30 s for a clock that differs."""
    assert waited([snapshot(deadline=at(500), conditions=RUNNING)]) == pytest.approx(590, abs=0.01)


def test_a_deadline_that_moves_is_followed() -> None:
    """A rollback's deadline is set again when the switchover has its signal."""
    first = snapshot(deadline=at(200), conditions=RUNNING)
    assert waited([first, first, snapshot(deadline=at(2000), conditions=RUNNING)]) == pytest.approx(2090, abs=0.01)


def test_a_deadline_in_the_past_gets_90_seconds() -> None:
    """An operator that was away continues after the deadline."""
    assert waited([snapshot(deadline=at(-500), conditions=RUNNING)]) == pytest.approx(90, abs=0.01)


def test_before_it_is_observed_the_timeout_counts_from_its_creation() -> None:
    assert waited([snapshot("Pending")]) == pytest.approx(300 - 20 + 90, abs=0.01)
    unset = {**snapshot("Pending"), "spec": {}}
    assert waited([unset]) == pytest.approx(3600 - 20 + 90, abs=0.01)
    assert run_of(ROLLBACK, unset).timeout == 7200


def test_a_queued_operation_is_waited_for() -> None:
    """What it waits for has its own deadline: no limit, however long the queue is."""
    assert waited([QUEUED] * 5000 + [snapshot(deadline=at(2600), conditions=RUNNING)]) == pytest.approx(2690, abs=0.01)


def test_a_queued_operation_without_an_api_server_ends_the_wait() -> None:
    assert waited([QUEUED, QUEUED, Unreachable("gone")]) == pytest.approx(600, abs=1)
    assert waited([Unreachable("gone")]) == pytest.approx(600, abs=0.01)


def test_a_failure_is_printed_once() -> None:
    """The conditions Failed, Stalled and Ready and the failed step all have the message."""
    message = "pg_dump exited with code 1: increase spec.scratch.size"
    failed = snapshot(
        "Failed",
        completedAt=at(-8),
        conditions=[
            condition("Failed", reason="DumpFailed", message=message),
            condition("Ready", "False", "DumpFailed", message),
            condition("Stalled", reason="DumpFailed", message=message),
        ],
        steps=[
            {"name": "DumpDatabase", "state": "Failed", "startedAt": at(-19), "completedAt": at(-8), "message": message}
        ],
    )
    for terminal in (False, True):
        out = console(terminal)
        with pytest.raises(typer.Exit):
            waiting.wait_for_end(FakeObjects(snapshot=[failed]), SNAPSHOT, "before", None, out)
        assert text(out).count("pg_dump exited") == 1
        assert "DumpDatabase" in text(out)


def test_the_message_of_another_failed_step_is_shown() -> None:
    """Leftovers of a Complete rollback are in no condition."""
    step = {"name": "Cleanup", "state": "Failed", "startedAt": at(-19), "completedAt": at(-8), "message": "drop it"}
    _, out = follow_states([{**DONE, "status": {**DONE["status"], "steps": [step]}}])
    assert "drop it" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["osnap/a"], (SNAPSHOT, "a")),
        (["orb/a"], (ROLLBACK, "a")),
        (["snapshot.ocore.dev/a"], (SNAPSHOT, "a")),
        (["rollbacks/a"], (ROLLBACK, "a")),
        (["Rollback", "a"], (ROLLBACK, "a")),
        (["orb", "a"], (ROLLBACK, "a")),
    ],
)
def test_references(words: list[str], expected: tuple[Kind, str]) -> None:
    assert options.reference(words, (SNAPSHOT, ROLLBACK)) == expected


@pytest.mark.parametrize("words", [["a"], ["oenv/a"], ["osnap/"], ["osnap/a/b"], ["osnap", "a", "b"]])
def test_wrong_references(words: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match=r"write snapshot/NAME \(osnap/NAME\) or rollback/NAME \(orb/NAME\)"):
        options.reference(words, (SNAPSHOT, ROLLBACK))


def test_short_names_are_accepted(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("watch", "osnap/before") == 0
    assert run("watch", "snapshot", "before") == 0
    assert run("rollback", "osnap/before", "--yes", "--name", "back") == 0
    assert run("snapshot", "oenv/shop", "--name", "after") == 0
    made = [body["spec"] for _, body in cli.created]
    assert made[0]["snapshotRef"] == {"name": "before"}
    assert made[1]["environmentRef"] == {"name": "shop"}
    with pytest.raises(typer.BadParameter, match="write snapshot/NAME"):
        run("rollback", "orb/before")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeObjects]:
    """The commands over these objects instead of a cluster's."""
    objects = FakeObjects(snapshot=[DONE], environment=[{"metadata": {"name": "shop"}}])
    monkeypatch.setattr(options, "Objects", lambda *_: objects)
    return objects


def test_snapshot_creates_one(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("snapshot", "shop", "--name", "before", "--verify", "--quiesce") == 0
    kind, body = cli.created[0]
    assert kind is SNAPSHOT
    assert body["metadata"] == {"name": "before", "namespace": "shop"}
    assert body["spec"]["environmentRef"] == {"name": "shop"}
    assert body["spec"]["verify"] == "Full"
    assert body["spec"]["quiesce"] is True
    SNAPSHOT.spec.model_validate(body["spec"])
    assert "follow it: kubectl ocore watch snapshot/before -n shop" in capsys.readouterr().out


def test_how_long_it_is_kept_is_said_where_it_is_made(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the REST API and of a policy expire by the policy's rules; a person's own do not, unless asked for."""
    assert run("snapshot", "shop") == 0
    assert "the rules of the SnapshotPolicy do not apply to it" in capsys.readouterr().out
    assert "retention" not in cli.created[0][1]["spec"]
    assert run("snapshot", "shop", "--by-policy") == 0
    assert "do not apply" not in capsys.readouterr().out
    spec = cli.created[1][1]["spec"]
    assert (spec["retention"], spec["deletionPolicy"]) == ("Policy", "Delete")


@pytest.mark.parametrize(("option", "kind"), [("--into", "environment"), ("--source-store", "snapshotstore")])
def test_nothing_is_created_for_a_target_that_does_not_exist(cli: FakeObjects, option: str, kind: str) -> None:
    cli.states[kind] = [None]
    for command in (("rollback", "before", "--yes"), ("preview", "before")):
        with pytest.raises(CliError, match=f"{kind} nowhere does not exist in namespace shop"):
            run(*command, option, "nowhere")
    assert cli.created == []


def test_a_rollback_that_its_preflight_refused_has_its_own_exit_code() -> None:
    steps = [{"name": "Preflight", "state": "Failed", "message": "no space"}]
    refused = {
        "metadata": {"name": "back", "namespace": "shop", "creationTimestamp": at(-3)},
        "spec": {},
        "status": {
            "phase": "Failed",
            "completedAt": at(0),
            "steps": steps,
            "conditions": [condition("Failed", reason="NoSpace")],
        },
    }
    for state, code in (("Failed", 3), ("Done", 1)):
        steps[0]["state"] = state
        with pytest.raises(typer.Exit) as ended:
            waiting.wait_for_end(FakeObjects(rollback=[refused]), ROLLBACK, "back", None, out := console())
        assert ended.value.exit_code == code
        assert "What to do: kubectl ocore explain NoSpace" in text(out)


def test_rollback_creates_one_and_waits(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    done = {**DONE, "spec": {}, "metadata": {**DONE["metadata"], "name": "back"}}
    cli.states["rollback"] = [done]
    assert run("rollback", "before", "--yes", "--wait", "--undo-window", "60") == 0
    kind, body = cli.created[0]
    assert kind is ROLLBACK
    assert body["metadata"]["name"].startswith("back-to-before-")
    ROLLBACK.spec.model_validate(body["spec"])
    assert body["spec"]["undoWindowSeconds"] == 60
    assert "is Complete" in capsys.readouterr().out


def test_a_rollback_with_a_safety_snapshot_and_the_image(cli: FakeObjects) -> None:
    assert run("rollback", "before", "--safety-snapshot", "--restore-image", "WaitForGit", "--yes") == 0
    spec = cli.created[0][1]["spec"]
    assert (spec["createSafetySnapshot"], spec["restoreImage"]) == (True, "WaitForGit")
    ROLLBACK.spec.model_validate(spec)
    assert run("rollback", "before", "--yes") == 0
    assert cli.created[1][1]["spec"] == {"snapshotRef": {"name": "before"}, "requestedBy": "ann"}
    assert run("rollback", "before", "--yes", "--identity-secret", "drawer") == 0
    assert cli.created[2][1]["spec"]["identitySecretRef"] == {"name": "drawer"}


def test_a_copy_of_a_snapshot_of_another_namespace(cli: FakeObjects) -> None:
    cli.states["snapshot"] = [CliError("not allowed to read snapshots in namespace production")]
    cli.states["snapshotstore"] = [{"metadata": {"name": "copy"}}]
    options = (
        "--into",
        "oenv/staging",
        "--snapshot-namespace",
        "production",
        "--source-store",
        "copy",
        "--neutralize",
        "Always",
    )
    assert run("rollback", "before", *options, "--yes") == 0
    spec = cli.created[0][1]["spec"]
    assert spec["snapshotRef"] == {"name": "before", "namespace": "production"}
    assert (spec["targetEnvironmentRef"], spec["sourceStoreRef"]) == ({"name": "staging"}, {"name": "copy"})
    assert spec["neutralize"] == "Always"
    ROLLBACK.spec.model_validate(spec)


def test_a_copy_asks_for_the_name_of_the_environment_that_is_replaced(
    cli: FakeObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "ocore_cli.confirm.ask", lambda _objects, _console, environment, _spec: asked.append(environment)
    )
    assert run("rollback", "before", "--into", "staging") == 0
    assert run("rollback", "before") == 0
    assert asked == ["staging", "shop"]


def test_a_snapshot_of_another_namespace_needs_a_target(cli: FakeObjects) -> None:
    for command in (("rollback", "before", "--yes"), ("preview", "before")):
        with pytest.raises(typer.BadParameter, match="needs --into"):
            run(*command, "--snapshot-namespace", "production")
    assert cli.created == []


def test_rollback_to_what_is_not_complete_is_refused(cli: FakeObjects) -> None:
    cli.states["snapshot"] = [BROKEN]
    with pytest.raises(CliError, match="is Failed, not Complete"):
        run("rollback", "before")
    cli.states["snapshot"] = [None]
    with pytest.raises(CliError, match="snapshot before does not exist"):
        run("rollback", "before")
    assert cli.created == []


def finished_rollback(**status: Any) -> Object:
    return {
        "metadata": {"name": "back", "namespace": "shop", "creationTimestamp": at(-60)},
        "spec": {"snapshotRef": {"name": "before"}},
        "status": {
            "phase": "Complete",
            "conditions": [condition("Complete", reason="Succeeded")],
            "position": "New",
            "residue": "Pending",
            "previousDatabase": "shop_prev_1",
            "switchedAt": at(-30),
            "undoUntil": at(86400),
            **status,
        },
    }


def test_undo_creates_one_and_waits(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    ended = finished_rollback(
        position="New",
        restoredDatabase="shop_prev_1",
        previousDatabase="shop_rb_1",
        undo={"rollbackName": "back", "rollbackId": "x", "namesId": "x", "to": "Old"},
    )
    cli.states["rollback"] = [finished_rollback(), ended]
    assert run("undo", "orb/back", "--yes", "--wait", "--undo-window", "60") == 0
    kind, body = cli.created[0]
    assert kind is ROLLBACK
    assert body["metadata"]["name"].startswith("undo-back-")
    ROLLBACK.spec.model_validate(body["spec"])
    assert body["spec"]["undo"] == {"rollbackRef": {"name": "back"}}
    assert (body["spec"]["undoWindowSeconds"], "snapshotRef" in body["spec"]) == (60, False)
    said = capsys.readouterr().out
    assert "rollback back is undone" in said
    assert "shop_rb_1 is kept until" in said


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (None, "does not exist in namespace shop"),
        (
            {"conditions": [condition("Reconciling")], "phase": "Resuming"},
            "is Resuming, not finished: to stop it, delete it",
        ),
        ({"undoneBy": "u1", "residue": "None"}, "was undone by u1 already: to go forth again, undo u1"),
        ({"switchedAt": None}, "has nothing to undo"),
        ({"undoUntil": None}, "has nothing to undo"),
        ({"residue": "None"}, "its undo window ended at"),
        ({"undoUntil": at(-1)}, "its undo window ended at"),
    ],
)
def test_what_cannot_be_undone_is_refused(cli: FakeObjects, state: Object | None, says: str) -> None:
    cli.states["rollback"] = [finished_rollback(**state) if state is not None else None]
    with pytest.raises(CliError, match=says):
        run("undo", "back")
    assert cli.created == []


@pytest.mark.parametrize(("typed", "created"), [("shop", 1), ("", 0), ("y", 0)])
def test_row_69_an_undo_shows_what_is_set_aside_and_asks(
    typed: str, created: int, cli: FakeObjects, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.states["rollback"] = [finished_rollback(switchedAt=at(-3 * 3600), environmentName="shop")]
    monkeypatch.setattr(confirm, "is_interactive", lambda: True)
    monkeypatch.setattr(confirm, "answer", lambda *_: typed)
    if created:
        assert run("undo", "back", "--undo-window", "7200") == 0
    else:
        with pytest.raises(CliError, match=r"not undone: .* is not 'shop'"):
            run("undo", "back", "--undo-window", "7200")
    assert sum("undo" in body["spec"] for _, body in cli.created) == created
    said = " ".join(capsys.readouterr().out.split())
    assert "what shop had before rollback back" in said
    assert "for 3 h 0" in said
    assert "kept for 2 h 00 min, then it is deleted" in said


def test_row_69_a_script_says_that_it_means_an_undo(cli: FakeObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.states["rollback"] = [finished_rollback()]
    monkeypatch.setattr(confirm, "is_interactive", lambda: False)
    with pytest.raises(CliError, match="add --yes to undo without a question"):
        run("undo", "back")
    assert cli.created == []


def test_an_undo_that_did_not_switch_and_a_rollback_that_was_undone() -> None:
    undo = {"rollbackName": "back", "rollbackId": "x", "namesId": "x", "to": "Old"}
    failed = finished_rollback(position="Old", undo=undo, undoUntil=None, residue="None")
    assert run_of(ROLLBACK, failed).result().startswith("rollback back is not undone")
    undone = finished_rollback(
        phase="SwitchedBack", position="Old", undoneBy="u1", restoredDatabase="shop_rb_1", residue="None"
    )
    assert run_of(ROLLBACK, undone).result() == "the environment runs on its previous data, undone by rollback u1"


def test_snapshot_of_an_unknown_environment_is_refused(cli: FakeObjects) -> None:
    cli.states["environment"] = [None]
    with pytest.raises(CliError, match="environment nowhere does not exist in namespace shop"):
        run("snapshot", "nowhere")


def test_status_shows_what_exists_and_the_remedy() -> None:
    objects = FakeObjects()
    probe = {"time": at(0), "generation": 1, "serverMajor": 17, "databaseBytes": 1024, "filestoreFiles": 7}
    objects.others = {
        ENVIRONMENT.singular: [
            {
                "metadata": {"name": "shop", "namespace": "shop"},
                "spec": {"type": "production"},
                "status": {
                    "probe": probe,
                    "conditions": [
                        condition("Ready", reason="Succeeded"),
                        condition("RollbackReady", "False", "MissingGrants", "ALTER ROLE shop CREATEDB;"),
                    ],
                },
            }
        ],
        SNAPSHOT_STORE.singular: [
            {"metadata": {"name": "backups", "namespace": "shop"}, "status": {"url": "s3://bucket/shop"}}
        ],
        SNAPSHOT.singular: [DUMPING, DONE, BROKEN],
    }
    out = console()
    tables.show_status(objects, out)
    shown = text(out)
    assert "MissingGrants" in shown
    assert "ALTER ROLE shop CREATEDB;" in shown
    assert "s3://bucket/shop" in shown
    assert shown.count("snapshot before") == 1  # only what runs
    assert "DumpDatabase" in shown
    assert " s ago" in shown
    assert "password" not in shown  # a failed snapshot is terminal


def test_status_of_nothing() -> None:
    out = console()
    tables.show_status(FakeObjects(), out)
    assert "No environments and no stores in namespace shop." in text(out)
    assert "No operation is running." in text(out)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.44, "0.4 s"), (59.9, "59.9 s"), (247, "4 min 07 s"), (3720, "1 h 02 min")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_amounts() -> None:
    progress = Progress(step="CopyFilestore", files_done=3, files_total=9, bytes_done=2048, updated_at=at(0))
    assert amounts(progress) == "2.0 KiB, 3 of 9 files"


CORRUPT = snapshot(
    "Corrupt",
    completedAt=at(-8),
    conditions=[
        condition("Complete", reason="Succeeded"),
        condition("Ready", "False", "Corrupt", "pack 3 differs. Use another Snapshot."),
        condition("Stalled", "True", "Corrupt", "pack 3 differs. Use another Snapshot."),
        condition("Verified", "False", "Corrupt", "pack 3 differs. Use another Snapshot."),
    ],
)


def test_status_names_a_corrupt_snapshot_once_and_does_not_count_it() -> None:
    objects, out = FakeObjects(), console()
    objects.others = {
        "environment": [
            {"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"type": "production"}, "status": {}}
        ],
        "snapshot": [CORRUPT],
    }
    tables.show_status(objects, out)
    assert "snapshot before: Stalled Corrupt" in text(out)
    assert text(out).count("pack 3 differs") == 1
    row = next(line for line in text(out).splitlines() if line.startswith("shop "))
    assert row.rstrip().endswith("none")


def test_status_counts_the_copies_in_the_remote_store() -> None:
    objects, out = FakeObjects(), console()
    shop = {"type": "production", "remoteStoreRef": {"name": "far"}}
    copy = {"storeName": "far", "requestedAt": "2026-01-01T00:00:00Z"}
    states = ("Completed", "Completed", "Copying", "Failed")
    objects.others = {
        "environment": [{"metadata": {"name": "shop", "namespace": "shop"}, "spec": shop, "status": {}}],
        "snapshot": [
            CORRUPT
            | {"metadata": CORRUPT["metadata"] | {"name": f"s{n}"}, "status": {"remote": copy | {"state": state}}}
            for n, state in enumerate(states)
        ],
    }
    tables.show_status(objects, out)
    assert "2 copied, 1 pending, 1 failed" in text(out)


def test_row_91_status_shows_a_snapshot_that_only_its_copy_restores() -> None:
    objects, out = FakeObjects(), console()
    ready = condition("Ready", "True", "RemoteCopyOnly", "Restorable from the remote copy in far only: pack 3 differs.")
    found = [
        ready if each["type"] == "Ready" else each
        for each in CORRUPT["status"]["conditions"]
        if each["type"] != "Stalled"
    ]
    objects.others = {
        "environment": [
            {"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"type": "production"}, "status": {}}
        ],
        "snapshot": [CORRUPT | {"status": CORRUPT["status"] | {"conditions": found, "phase": "Complete"}}],
    }
    tables.show_status(objects, out)
    assert "snapshot before: Ready RemoteCopyOnly" in text(out)
    assert "Restorable from the remote copy in far only" in text(out)


def test_row_92_environments_of_one_name_in_two_namespaces() -> None:
    objects, out = FakeObjects(), console()
    copy = {"storeName": "far", "requestedAt": "2026-01-01T00:00:00Z", "state": "Completed"}
    spec = {"type": "production", "remoteStoreRef": {"name": "far"}}
    bad = condition("Ready", "False", "AuthenticationFailed", "the password is wrong.")
    objects.others = {
        "environment": [
            {"metadata": {"name": "shop", "namespace": each}, "spec": spec, "status": {"conditions": [bad]}}
            for each in ("one", "two")
        ],
        "snapshot": [
            CORRUPT
            | {"metadata": CORRUPT["metadata"] | {"namespace": "one"}, "status": {**DONE["status"], "remote": copy}},
        ],
    }
    tables.show_status(objects, out, everywhere=True)
    rows = {line.split()[0]: line for line in text(out).splitlines() if line.startswith(("one ", "two "))}
    assert "1 copied" in rows["one"]
    assert "ago" in rows["one"]
    assert "0 copied" in rows["two"]
    assert rows["two"].rstrip().endswith("none")
    assert "environment one/shop: Ready" in text(out)
    assert "environment two/shop: Ready" in text(out)


def test_row_91_a_rollback_says_which_copy_it_has_read() -> None:
    status = {"position": "New", "evidence": {"proven": ["source: the data in the Snapshot's own store"]}}
    meta = {"name": "back", "namespace": "shop", "creationTimestamp": at(-20)}
    own = {"metadata": meta, "spec": {"snapshotRef": {"name": "before"}}, "status": status}
    remote = {"storeName": "far", "reason": "Corrupt", "message": "a differs."}
    copy = own | {"status": status | {"remote": remote, "evidence": {"proven": ["source: the remote copy in far"]}}}
    assert "it was read from the snapshot's own store" in run_of(ROLLBACK, own).result()
    assert "it was read from the remote copy in far" in run_of(ROLLBACK, copy).result()
    for obj, expected in (
        (own, "source: the data in the Snapshot's own store"),
        (copy, "source: the remote copy in far"),
    ):
        out = console()
        evidence.show(FakeObjects(rollback=[obj]), out, ROLLBACK, "back", "text")
        assert expected in text(out)


def test_a_corrupt_snapshot_with_a_whole_remote_copy_is_restorable() -> None:
    ready = [c if c["type"] != "Ready" else c | {"status": "True"} for c in CORRUPT["status"]["conditions"]]
    obj = CORRUPT | {"status": CORRUPT["status"] | {"conditions": ready, "phase": "Complete"}}
    assert not run_of(SNAPSHOT, CORRUPT).restorable
    assert run_of(SNAPSHOT, obj).restorable


def test_a_corrupt_snapshot_is_not_rolled_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "Objects", lambda *_: FakeObjects(snapshot=[CORRUPT]))
    with pytest.raises(CliError, match="snapshot before is Corrupt: pack 3 differs"):
        app.rollback(app.Restore(), options.Cluster(), "before")


def test_a_message_is_printed_once_for_all_conditions_that_repeat_it() -> None:
    """RollbackReady repeats what blocks a snapshot, and adds its own (issue 9, item 27)."""
    objects, out = FakeObjects(), console()
    both = "AuthenticationFailed: the password is wrong.\nCapacityUnknown: set spec.database.capacity."
    objects.others["environment"] = [
        {
            "metadata": {"name": "shop", "namespace": "shop"},
            "spec": {"type": "production"},
            "status": {
                "conditions": [
                    condition("Ready", "False", "AuthenticationFailed", "the password is wrong."),
                    condition("RollbackReady", "False", "AuthenticationFailed", both),
                    condition("Stalled", "True", "AuthenticationFailed", "the password is wrong."),
                ]
            },
        }
    ]
    tables.show_status(objects, out)
    assert text(out).count("the password is wrong.") == 1
    assert "environment shop: Stalled AuthenticationFailed" in text(out)
    assert "set spec.database.capacity." in text(out)


@pytest.mark.parametrize("terminal", [False, True])
def test_what_the_preflight_found_is_shown_once_while_it_runs(*, terminal: bool) -> None:
    message = "Snapshot before was taken with image shop:1; Deployment shop has image shop:2."
    rollback = {
        "metadata": {"name": "back", "namespace": "shop", "creationTimestamp": at(-20)},
        "spec": {"snapshotRef": {"name": "before"}},
        "status": {
            "phase": "Restoring",
            "warnings": [{"reason": "OtherVersion", "message": message}],
            "conditions": [
                condition("Reconciling"),
                condition("PreflightWarnings", reason="OtherVersion", message=message),
            ],
        },
    }
    out = console(terminal)
    display = LiveDisplay(out) if terminal else PlainDisplay(out)
    with display:
        for _ in range(3):
            display.show(run_of(ROLLBACK, rollback))
    assert "Snapshot before was taken with image shop:1" in text(out)
    assert terminal or text(out).count("taken with") == 1
    objects, out = FakeObjects(), console()
    objects.others["rollback"] = [rollback]
    tables.show_status(objects, out)
    assert "rollback back: PreflightWarnings OtherVersion" in text(out)


def test_a_failed_step_does_not_print_the_whole_failure_before_the_end_does() -> None:
    """Not ready, then switched back: the message was printed with the step and again with the failure (issue 9, item
    27)."""
    why = (
        "Not ready within 300 s (readyTimeoutSeconds): Deployment shop has 0 of 2 replicas ready: "
        + "pod shop-1 waits."
        + " pod shop-1 waits." * 7
    )
    step = {"name": "HealthCheck", "state": "Failed", "startedAt": at(-9), "completedAt": at(-5), "message": why}
    obj = {
        "metadata": {"name": "back", "namespace": "shop", "creationTimestamp": at(-20)},
        "spec": {"snapshotRef": {"name": "before"}},
        "status": {"phase": "SwitchingBack", "steps": [step], "conditions": [condition("Reconciling")]},
    }
    failed = [
        condition(t, reason="SwitchedBack", message=f"{why} It was switched back.") for t in ("Failed", "Stalled")
    ]
    failed.append(condition("Ready", "False", "SwitchedBack", f"{why} It was switched back."))
    ended = {**obj, "status": {**obj["status"], "phase": "Failed", "completedAt": at(0), "conditions": failed}}
    out = console()
    with pytest.raises(typer.Exit):
        waiting.wait_for_end(FakeObjects(rollback=[obj, obj, obj, ended]), ROLLBACK, "back", None, out)
    (step_line,) = [line for line in text(out).splitlines() if "HealthCheck" in line]
    assert step_line.endswith("…")
    assert len(step_line) < 170
    assert text(out).count("pod shop-1 waits. It was") == 1
    assert text(out).count("It was switched back.") == 1


def test_what_a_snapshot_warns_of_is_shown() -> None:
    warning = "the ConfigMap holds what looks like secrets: odoo.conf line 2 (admin_passwd)"
    done = {**DONE, "status": {**DONE["status"], "evidence": {"warnings": [warning]}}}
    out = console()
    waiting.wait_for_end(FakeObjects(snapshot=[done]), SNAPSHOT, "before", None, out)
    assert text(out).count(f"{warning}.") == 1


PROVEN: Object = {
    "operation": "snapshot",
    "status": "completed",
    "reason": "Succeeded",
    "progress": {
        "step": "Publish",
        "done": 2,
        "required": 2,
        "steps": {"Prepare": "Done", "Publish": "Done", "Verify": "Failed"},
    },
    "requiredSteps": ["Prepare", "Publish"],
    "optionalFailedSteps": ["Verify"],
    "artifactChecksums": {"manifest": "ab" * 32},
    "artifactPaths": {"manifest": "environments/e/snapshots/s/manifest.json"},
    "remoteCopyState": "none",
    "canWriteCleanSuccess": True,
    "whyGreen": ["All 2 required steps are done."],
}


def test_evidence_shows_what_the_operator_recorded(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    cli.states["snapshot"] = [{**DONE, "status": {**DONE["status"], "recoveryEvidence": PROVEN}}]
    assert run("evidence", "osnap/before", "--check") == 0
    out = capsys.readouterr().out
    assert "Snapshot before: clean success (completed, Succeeded)" in out
    assert "All 2 required steps are done." in out
    assert "environments/e/snapshots/s/manifest.json" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["Publish", "✓", "Done", "yes"] in rows
    assert ["Verify", "✗", "Failed", "no"] in rows
    assert "Steps that failed and are not required: Verify" in out


def test_evidence_as_json_has_every_field(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    cli.states["snapshot"] = [{**DONE, "status": {**DONE["status"], "recoveryEvidence": PROVEN}}]
    assert run("evidence", "snapshot", "before", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert PROVEN.items() <= found.items()
    assert found["missingSteps"] == found["missingEvidence"] == found["blockingSteps"] == found["whyNotGreen"] == []


@pytest.mark.parametrize("state", [DUMPING, BROKEN])
def test_evidence_of_what_is_not_recorded_yet_is_derived(
    cli: FakeObjects, capsys: pytest.CaptureFixture[str], state: Object
) -> None:
    """A new object, or one of an older operator."""
    cli.states["snapshot"] = [state]
    assert run("evidence", "osnap/before") == 0
    out = capsys.readouterr().out
    assert "Snapshot before: no clean success" in out
    assert "Step Publish is not done (Pending)." in out
    assert run("evidence", "osnap/before", "--check") == 1


def test_evidence_of_a_rollback(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    cli.states["rollback"] = [
        {"metadata": {"name": "back"}, "spec": {"snapshotRef": {"name": "before"}}, "status": {"phase": "Restoring"}}
    ]
    assert run("evidence", "orb/back", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["operation"], found["status"], found["canWriteCleanSuccess"]) == ("rollback", "running", False)


def test_evidence_of_what_does_not_exist(cli: FakeObjects) -> None:
    with pytest.raises(CliError, match="rollback back does not exist in namespace shop"):
        run("evidence", "orb/back")
    with pytest.raises(typer.BadParameter, match="write snapshot/NAME"):
        run("evidence", "oenv/shop")


@pytest.mark.parametrize("clean", [True, False])
def test_a_wait_says_where_a_complete_operation_is_no_clean_success(clean: bool) -> None:
    found = {**PROVEN, "canWriteCleanSuccess": clean}
    done = {**DONE, "status": {**DONE["status"], "recoveryEvidence": found}}
    out = console()
    waiting.wait_for_end(FakeObjects(snapshot=[done]), SNAPSHOT, "before", None, out)
    assert ("kubectl ocore evidence snapshot/before -n shop shows why" in text(out)) == (not clean)


def test_a_safety_snapshot_is_shown_with_its_point_in_time() -> None:
    obj = finished_rollback(safetySnapshotName="back-safety-1", safetySnapshotAt="2026-01-01T00:00:00Z")
    found = run_of(ROLLBACK, obj)
    assert "safety snapshot back-safety-1 shows 2026-01-01T00:00:00Z" in found.result()


def test_the_steps_of_a_rollback_are_those_of_its_status() -> None:
    """With those that its spec asks for, in their order."""
    names = ("Preflight", "SafetySnapshot", "RestoreDatabase", "Switch", "RestoreImage", "Resume")
    obj = finished_rollback(steps=[{"name": n, "state": "Done"} for n in names])
    assert tuple(s.name for s in run_of(ROLLBACK, obj).steps) == names
