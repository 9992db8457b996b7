"""The record of a rollback in the store: which earlier run prevents another, and that a record is written once."""

import uuid
from pathlib import Path

import pytest

from ocore_crds import naming
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.rollback_record import RecordState, RollbackRecord, RollbackRun
from ocore_mover.database.position import REMEMBERED, Mark, RollbackMark
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.rollback_records import RollbackRecords
from ocore_mover.store.folder import FolderStore
from ocore_mover.store.interface import Store
from support.mover.records import run_of

ENVIRONMENT = "6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01"
ROLLBACK = "9c7d1f0a-1111-4222-8333-444455556666"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path)


def again(run: RollbackRun) -> RollbackRun:
    """The same Rollback, created again from Git on a rebuilt cluster: its uid is another one, its id (spec.id) is
    not."""
    return run.model_copy(update={"uid": str(uuid.uuid4()), "attempt": str(uuid.uuid4())})


def attempt(run: RollbackRun) -> RollbackRun:
    return run.model_copy(update={"attempt": str(uuid.uuid4())})


def refusal(store: Store, run: RollbackRun, *marks: RollbackMark) -> str:
    try:
        RollbackRecords(store, run).check(marks)
    except MoverError as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([], ""),
        (["restored"], ""),
        (["restored", "started"], "OutcomeUnknown"),
        (["started", "not-switched"], ""),
        (["started", "switched"], "AlreadyExecuted"),
        (["switched"], "AlreadyExecuted"),
        (["started", "switched", "switched-back"], "SwitchedBack"),
        (["started", "not-switched", "switched"], "AlreadyExecuted"),
    ],
)
def test_row_32_what_an_earlier_run_left_decides(store: Store, written: list[RecordState], expected: str) -> None:
    first = run_of(ROLLBACK, ENVIRONMENT)
    for state in written:
        RollbackRecords(store, first).write(state)
    assert refusal(store, again(first)) == expected
    # The same object continues: another attempt of its restore.
    assert refusal(store, attempt(first)) == ""


def test_row_32_only_the_same_name_spec_and_environment(store: Store) -> None:
    first = run_of(ROLLBACK, ENVIRONMENT)
    RollbackRecords(store, first).write("switched")
    mark = RollbackMark.of(first, "Switched")
    for change in ({"name": "to-tuesday"}, {"spec_hash": "f" * 32}, {"environment_id": str(uuid.uuid4())}):
        assert refusal(store, again(first).model_copy(update=change), mark) == ""
    assert refusal(store, again(first)) == "AlreadyExecuted"


@pytest.mark.parametrize("state", ["started", "switched", "not-switched"])
def test_row_32_the_database_decides_an_open_start(store: Store, state: RecordState) -> None:
    first = run_of(ROLLBACK, ENVIRONMENT)
    RollbackRecords(store, first).write("started")
    RollbackRecords(store, first).write(state)
    assert refusal(store, again(first), RollbackMark.of(first, "Switched")) == "AlreadyExecuted"
    assert refusal(store, again(first), RollbackMark.of(first, "SwitchedBack")) == "SwitchedBack"


def test_row_32_the_database_alone_remembers(store: Store) -> None:
    first = run_of(ROLLBACK, ENVIRONMENT)
    assert refusal(store, again(first), RollbackMark.of(first, "Switched")) == "AlreadyExecuted"
    assert refusal(store, first, RollbackMark.of(first, "Switched")) == ""


def test_attempts_of_one_run_are_judged_together(store: Store) -> None:
    """A switch Job that was lost, then one that switched back."""
    first = run_of(ROLLBACK, ENVIRONMENT)
    RollbackRecords(store, first).write("started")
    RollbackRecords(store, first).write("switched")
    second = attempt(first)
    RollbackRecords(store, second).write("started")
    RollbackRecords(store, second).write("switched-back")
    assert refusal(store, again(first)) == "SwitchedBack"


def test_every_attempt_that_started_must_have_ended(store: Store) -> None:
    first = run_of(ROLLBACK, ENVIRONMENT)
    RollbackRecords(store, first).write("started")
    second = attempt(first)
    RollbackRecords(store, second).write("started")
    RollbackRecords(store, second).write("not-switched")
    with pytest.raises(MoverError, match=f"rollback to-monday .*{first.uid}/{first.attempt}/started.json") as raised:
        RollbackRecords(store, again(first)).check(())
    assert (raised.value.reason, raised.value.retryable) == ("OutcomeUnknown", False)
    assert "under another name" in raised.value.message


def key_of(run: RollbackRun, state: str) -> str:
    return naming.rollback_record_key(
        run.environment_id, run.name, run.spec_hash, run.uid, run.attempt, state
    )  # fmt: skip


def test_a_record_is_written_once_with_its_evidence(store: Store) -> None:
    run = run_of(ROLLBACK, ENVIRONMENT)
    RollbackRecords(store, run).write("restored", Evidence(proven=("the dump is whole",)))
    first = store.get(key_of(run, "restored"))
    assert first is not None
    record = RollbackRecord.model_validate_json(first)
    assert (record.run, record.state, record.evidence) == (run, "restored", Evidence(proven=("the dump is whole",)))
    RollbackRecords(store, run).write("restored")
    assert store.get(key_of(run, "restored")) == first


@pytest.mark.parametrize("other", [b"torn", b"run"])
def test_a_record_of_another_run_is_a_conflict(store: Store, other: bytes) -> None:
    run = run_of(ROLLBACK, ENVIRONMENT)
    if other == b"run":
        foreign = RollbackRecord(state="started", run=again(run), time="2026-01-01T00:00:00Z")
        other = foreign.model_dump_json(by_alias=True).encode()
    assert store.put_if_absent(key_of(run, "started"), other)
    with pytest.raises(MoverError) as raised:
        RollbackRecords(store, run).write("started")
    assert raised.value.reason == "RecordConflict"


def test_a_record_is_read_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (b"", None):
        monkeypatch.setattr(store, "get", lambda key, found=found: found)
        with pytest.raises(Corrupt, match="reads back other bytes"):
            RollbackRecords(store, run_of(ROLLBACK, ENVIRONMENT)).write("started")


def test_a_record_that_cannot_be_read_prevents_a_second_run(store: Store) -> None:
    run = run_of(ROLLBACK, ENVIRONMENT)
    assert store.put_if_absent(key_of(run, "switched"), b"torn")
    assert store.put_if_absent(key_of(run, "unknown"), b"{}")
    assert refusal(store, again(run)) == "AlreadyExecuted"


def test_the_comment_remembers_the_last_fifty() -> None:
    marks = [RollbackMark.of(run_of(ROLLBACK, ENVIRONMENT, name=f"r{n}"), "Switched") for n in range(REMEMBERED + 5)]
    mark = Mark(ROLLBACK, True, "the user's comment")
    for each in marks:
        mark = Mark(ROLLBACK, True, "the user's comment").remembering(mark, each)
    assert mark.rollbacks == tuple(marks[-REMEMBERED:])
    assert Mark.parse(mark.text()) == mark
    # A switch back replaces the outcome of its own run only.
    back = RollbackMark(marks[-1].name, marks[-1].spec_hash, marks[-1].uid, ENVIRONMENT, "SwitchedBack")
    assert Mark("", False, "").remembering(mark, back).rollbacks == (*marks[-REMEMBERED:-1], back)


def test_a_line_that_is_no_mark_stays_the_users() -> None:
    text = "ocore.rollback=to-monday Switched"
    assert Mark.parse(text) == Mark(comment=text)
