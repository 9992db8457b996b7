"""The Job of a switch: when it switches, which way, and what it writes to the store about it. Without a server."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import conditions
from ocore_crds.commands.parts import SignalWait
from ocore_crds.commands.switch import RENAMED_WITHIN, SwitchRequest
from ocore_crds.protocol import Signal, SwitchResult
from ocore_mover import signals
from ocore_mover.commands import switch as module
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switch import SwitchRun, check_runs_once
from ocore_mover.commands.switcher import Switcher
from ocore_mover.database.switch.switch import IDLE_SECONDS
from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, MoverError, StoreError
from ocore_mover.rollback_records import RollbackRecords
from ocore_mover.signals import SignalFile, is_expired
from ocore_operator.rollback.plan_switch import ANSWER_SECONDS
from support.mover.filestore import ENVIRONMENT, ROLLBACK
from support.mover.records import run_of
from support.mover.switch_job import MARKS, NEVER, OTHER, SHORT, Goal, Job, Store


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(signals, "_POLL", 0.01)
    return Job(tmp_path)


MOVE = {"New": "forward", "Old": "back"}


def are_daemons() -> bool:
    """Whether the process can end while the store still does not answer."""
    return all(thread.daemon for thread in threading.enumerate() if thread.name == "record")


def test_row_137_it_renames_only_while_no_other_job_may_act(job: Job) -> None:
    """By its signal, or by its own deadline."""
    job.signal(20)
    job.run()
    assert job.latest == pytest.approx(time.time() + 20 + RENAMED_WITHIN, abs=30)
    assert RENAMED_WITHIN + IDLE_SECONDS < ANSWER_SECONDS
    for seconds in (300.0, None):
        job.token, job.latest, job.position = Token(seconds), None, "New"
        job.run(waits=False, back=True)
        assert job.latest == (pytest.approx(time.time() + seconds, abs=30) if seconds else None)


# --- at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("undo_to", [None, "Old", "New"])
def test_at_once(job: Job, undo_to: Goal | None) -> None:
    goal = undo_to or "New"
    job.position = OTHER[goal]
    assert job.run(waits=False, undo_to=undo_to).position == goal
    assert job.calls == ["repair", "prepare", MOVE[goal], "close"]
    assert [(step, state) for step, state, _ in job.lines.steps] == [("Switch", "Running"), ("Switch", "Done")]
    assert json.loads(job.lines.steps[-1][2]) == SwitchResult(position=goal).wire()
    assert ": " not in job.lines.steps[-1][2]
    assert job.store.written == []  # from a shell


@pytest.mark.parametrize("undo_to", [None, "Old", "New"])
def test_back_is_against_the_goal(job: Job, undo_to: Goal | None) -> None:
    job.position = undo_to or "New"
    goal = OTHER[job.position]
    assert job.run(waits=False, undo_to=undo_to, back=True).position == goal
    before = ["prepare_forward"] if goal == "New" else []
    assert job.calls == ["repair", *before, MOVE[goal], "close"]
    assert job.reported() == [("SwitchBack", "Running"), ("SwitchBack", "Done")]
    assert job.states() == ["switched-back"]


def test_a_switch_back_that_fails_is_not_recorded(job: Job) -> None:
    job.position = "New"
    job.fails["back"] = MoverError(conditions.SESSIONS_REMAIN, "a session stayed")
    with pytest.raises(MoverError):
        job.run(waits=False, back=True)
    assert job.lines.steps[-1] == ("SwitchBack", "Failed", "a session stayed")
    assert job.states() == []
    job.fails["back"] = Cancelled(conditions.CANCELLED, "stopped")
    with pytest.raises(Cancelled):
        job.run(waits=False, back=True)
    assert job.states() == []
    assert job.calls[-1] == "close"


# --- by signal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("undo_to", [None, "Old", "New"])
def test_by_signal(job: Job, undo_to: Goal | None) -> None:
    goal = undo_to or "New"
    job.position = OTHER[goal]
    job.ready_file.write_text("of an earlier container")
    job.on["repair"] = lambda: job.calls.append(f"ready: {job.ready_file.exists()}")
    job.on["prepare"] = job.signal
    job.on[MOVE[goal]] = lambda: job.calls.append(f"{job.states()}, ready: {job.ready_file.exists()}")
    assert job.run(undo_to=undo_to).position == goal
    assert job.calls == ["repair", "ready: False", "prepare", MOVE[goal], "['started'], ready: True", "close"]
    assert job.lines.waits == 1
    assert job.reported() == [("Switch", "Running"), ("Switch", "Done")]
    assert job.states() == ["started", "switched"]
    # Only an undo has no restore that has checked this.
    assert job.store.marks == ([("store", MARKS)] if undo_to is not None else [])


def test_without_a_record_and_a_ready_file(job: Job) -> None:
    job.signal()
    assert job.run(recorded=False, undo_to="New").position == "New"
    assert (job.states(), job.store.marks) == ([], [])
    request = SwitchRequest.model_construct(signal=SignalWait(signal_file=str(job.signal_file), wait=5))
    assert SwitchRun(Runtime(job.lines, job.token), cast(Switcher, job), request).run().position == "New"


def test_without_a_signal_it_ends_and_has_changed_nothing(job: Job) -> None:
    with pytest.raises(Cancelled, match="no signal arrived within 0 s") as raised:
        job.run(wait=0.05)
    assert (raised.value.reason, raised.value.retryable) == (conditions.DEADLINE_EXCEEDED, True)
    assert job.calls == ["repair", "prepare", "close"]
    assert job.states() == ["started"]


def test_a_signal_that_comes_later_is_obeyed(job: Job) -> None:
    timer = threading.Timer(0.1, job.signal)
    timer.start()
    assert job.run().position == "New"
    timer.join()


def test_a_store_that_does_not_confirm_the_start_refuses_the_switch(job: Job) -> None:
    job.signal()
    job.store.error = StoreError(conditions.STORE_UNREACHABLE, "no answer")
    with pytest.raises(StoreError):
        job.run()
    assert "forward" not in job.calls
    assert not job.ready_file.exists()
    assert job.lines.waits == 0


@pytest.mark.parametrize("patience", [0.0, NEVER])
def test_an_undo_does_not_depend_on_its_store(job: Job, monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    if patience:
        monkeypatch.setattr(module, "_STORE_SECONDS", 0.1)
        monkeypatch.setattr(module, "_OUTCOME_SECONDS", 0.1)
    job.signal()
    job.store.error = StoreError(conditions.STORE_UNREACHABLE, "no answer")
    job.store.patience = patience
    job.position = "New"
    assert job.run(undo_to="Old").position == "Old"
    assert job.store.marks[0] == ("marks", MARKS) if patience else job.store.marks[-1] == ("marks", MARKS)


def test_an_undo_waits_for_its_start_where_the_store_answers(job: Job) -> None:
    job.signal()
    job.store.patience = 0.2
    job.position = "New"
    job.on["back"] = lambda: job.calls.append(str(job.states()))
    job.run(undo_to="Old")
    assert "['started']" in job.calls


def test_outcomes_that_are_still_written_delay_the_end_by_a_few_seconds(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.signal()
    job.on["forward"] = lambda: setattr(job.store, "patience", 0.3)
    job.run()
    assert job.states() == ["started", "switched"]
    job.position, job.store.patience = "Old", 0.0
    monkeypatch.setattr(module, "_OUTCOME_SECONDS", 0.05)
    job.on["forward"] = lambda: setattr(job.store, "patience", NEVER)
    since = time.monotonic()
    job.run()
    assert time.monotonic() - since < SHORT
    assert job.states()[2:] == ["started"]
    assert are_daemons()


def test_an_outcome_that_the_store_refuses_is_lost(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    job.signal()
    job.on["forward"] = lambda: setattr(job.store, "error", RuntimeError("no answer"))
    assert job.run().position == "New"
    assert "outcome not written to the store" in caplog.messages


def test_after_a_restart_of_the_container_the_report_is_repeated(job: Job) -> None:
    job.position = "New"
    job.signal(-60)  # it may have expired since
    found = job.run()
    assert (found.position, found.failure) == ("New", None)
    assert job.calls == ["repair", "prepare", "close"]
    ((step, state, message),) = job.lines.steps
    assert (step, state, json.loads(message)) == ("Switch", "Done", found.wire())
    assert ": " not in message
    assert job.states() == ["started", "switched"]


# --- not switched ------------------------------------------------------------------------------------------------


def test_an_expired_signal_is_answered(job: Job) -> None:
    job.signal(-60)
    found = job.run()
    assert found.position == "Old"
    assert found.failure is not None
    assert (found.failure.reason, found.failure.retryable) == (conditions.SWITCH_FAILED, True)
    assert "expired 60." in found.failure.message
    assert "forward" not in job.calls
    assert job.store.written[1:] == [("not-switched", conditions.SWITCH_FAILED)]


@pytest.mark.parametrize("retryable", [False, True])
@pytest.mark.parametrize("reason", [
    conditions.SESSIONS_REMAIN, conditions.REPLICATION_ACTIVE, conditions.MISSING_GRANTS, conditions.NOT_NEUTRALIZED,
])  # fmt: skip
def test_a_reason_that_another_try_would_give_again_is_answered(job: Job, reason: str, *, retryable: bool) -> None:
    for goal in ("New", "Old"):
        job.store.written.clear()
        job.signal()
        job.position = OTHER[goal]
        job.fails[MOVE[goal]] = MoverError(reason, "why.", retryable=retryable)
        found = job.run(undo_to="Old" if goal == "Old" else None)
        assert found.position == OTHER[goal]
        assert found.failure is not None
        assert (found.failure.reason, found.failure.message, found.failure.retryable) == (reason, "why.", retryable)
        assert job.lines.steps[-1] == ("Switch", "Failed", "why.")
        assert job.store.written[1:] == [("not-switched", reason)]


def test_another_error_ends_the_container_which_is_started_again(job: Job) -> None:
    job.signal()
    job.fails["forward"] = MoverError(conditions.SWITCH_FAILED, "why")
    with pytest.raises(MoverError, match="why"):
        job.run()
    assert job.states() == ["started"]


@pytest.mark.parametrize("left", ["switched", "refusing"])
def test_an_environment_that_is_not_as_before_is_no_answer(job: Job, left: str) -> None:
    job.signal()
    job.fails["forward"] = MoverError(conditions.SESSIONS_REMAIN, "why")

    def change() -> None:
        job.position, job.accepting = ("New", True) if left == "switched" else ("Old", False)

    job.on["forward"] = change
    with pytest.raises(MoverError, match="why"):
        job.run()
    assert job.states() == ["started"]


@pytest.mark.parametrize("undo_to", [None, "Old", "New"])
@pytest.mark.parametrize("switched", [False, True])
def test_a_job_that_is_stopped_before_its_switch_has_not_switched(
    job: Job, undo_to: Goal | None, *, switched: bool
) -> None:
    goal = undo_to or "New"
    job.signal()
    job.fails[MOVE[goal]] = Cancelled(conditions.CANCELLED, "stopped")
    job.position = OTHER[goal]
    job.on[MOVE[goal]] = lambda: setattr(job, "position", goal if switched else job.position)
    with pytest.raises(Cancelled):
        job.run(undo_to=undo_to)
    assert job.states() == (["started"] if switched else ["started", "not-switched"])


def test_stopped_without_a_known_position_nothing_is_claimed(job: Job) -> None:
    job.signal()
    job.fails = {
        "forward": Cancelled(conditions.CANCELLED, "stopped"),
        "read_position": MoverError(conditions.DATABASE_UNREACHABLE, "no answer"),
    }
    with pytest.raises(Cancelled):
        job.run()
    assert job.states() == ["started"]


@pytest.mark.parametrize("error", [
    Cancelled(conditions.DEADLINE_EXCEEDED, "too late"), MoverError(conditions.CANCELLED, "of another kind"),
])  # fmt: skip
def test_only_a_job_that_is_stopped_says_that_it_has_not_switched(job: Job, error: MoverError) -> None:
    job.signal()
    job.fails["forward"] = error
    with pytest.raises(MoverError):
        job.run()
    assert job.states() == ["started"]


def test_stopped_before_its_start_is_recorded_it_records_nothing(job: Job) -> None:
    job.fails["prepare"] = Cancelled(conditions.CANCELLED, "stopped")
    with pytest.raises(Cancelled):
        job.run()
    assert job.states() == []


# --- an undo runs once -------------------------------------------------------------------------------------------


def test_an_undo_that_ran_is_refused(job: Job) -> None:
    job.signal()
    job.position = "New"
    job.store.error = MoverError(conditions.ALREADY_EXECUTED, "it ran")
    with pytest.raises(MoverError, match="it ran"):
        job.run(undo_to="Old")
    assert job.calls == ["repair", "close"]
    assert job.store.marks == [("store", MARKS)]


def test_without_its_store_the_marks_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, patience in ((StoreError(conditions.STORE_UNREACHABLE, "no answer"), 0.0), (None, NEVER)):
        if patience:
            monkeypatch.setattr(module, "_STORE_SECONDS", 0.1)
        store = Store()
        store.error, store.patience = error, patience
        since = time.monotonic()
        check_runs_once(cast(RollbackRecords, store), cast(Any, MARKS))
        assert ("marks", MARKS) in store.marks
        assert are_daemons()
        assert time.monotonic() - since < SHORT


# --- the signal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, b"", b" \n", b"\xff", b"{}", b"x", b'{"action":"Back","notAfter":1}'])
def test_what_is_no_signal(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "signal").write_bytes(text)
    assert SignalFile(SignalWait(signal_file=str(tmp_path / "signal")), "Switch").read() is None


def test_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "signal").write_text('\n{"action":"Switch","notAfter":1000}\n')
    found = SignalFile(SignalWait(signal_file=str(tmp_path / "signal")), "Switch").read()
    assert found == Signal(not_after=1000)
    for now, expired in ((999.0, False), (1000.0, False), (1000.1, True)):
        monkeypatch.setattr(module.time, "time", lambda now=now: now)
        assert is_expired(found) == expired


# --- the request -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "records"), [
    ({"signal": {"signalFile": "/s", "readyFile": "/r", "wait": 7}}, "required"),
    ({"signal": {"signalFile": "/s"}, "undoTo": "Old"}, "optional"),
    ({"now": True}, None),
    ({"now": True, "back": True}, "optional"),
    ({"now": True, "undoTo": "New"}, "optional"),
    ({"now": True, "back": True, "undoTo": "New"}, "optional"),
])  # fmt: skip
@pytest.mark.parametrize("missing", [None, "store", "record"])
def test_the_request(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], records: str | None, missing: str | None
) -> None:
    run = run_of(ROLLBACK, ENVIRONMENT).model_copy(update={"undoes": ROLLBACK})
    text = {
        "environmentId": ENVIRONMENT,
        "rollbackId": ROLLBACK,
        "filestore": {"claim": "/claim", "path": "files", "layout": "Plain"},
        "store": {"url": "file:///x"},
        "record": run.wire(),
        "allowReplicationLoss": True,
        "neutralized": True,
        **fields,
    }
    text.pop(missing or "", None)
    if missing == "store" and records == "required":
        with pytest.raises(ValueError, match="give --store with --record"):
            SwitchRequest.model_validate(text)
        return
    request = SwitchRequest.model_validate(text)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(module.opening, "store", lambda found, again: found.url)
    monkeypatch.setattr(module, "RollbackRecords", lambda store, found: ("required", store, found))
    monkeypatch.setattr(module.opening, "optional_records", lambda store, found: ("optional", store.url, found))
    monkeypatch.setattr(module.opening, "rollback_target", lambda *args, **named: (args, named))
    monkeypatch.setattr(module, "Switcher", lambda target, token: (target, token))
    monkeypatch.setattr(module, "SwitchRun", lambda *args: SimpleNamespace(run=lambda: seen.update(args=args)))
    runtime = SimpleNamespace(token="token")
    module.execute(cast(Runtime, runtime), request)
    given_runtime, (((of, rollback), named), token), asked, given = seen["args"]
    found = None if missing == "record" else request.record
    assert (given_runtime, of, rollback, token) == (runtime, request, ROLLBACK, "token")
    assert named == {
        "run": found, "allow_replication_loss": True, "undo_to": request.undo_to, "neutralized": True,
    }  # fmt: skip
    assert given == ((records, "file:///x", found) if records is not None and missing is None else None)
    assert asked is request
