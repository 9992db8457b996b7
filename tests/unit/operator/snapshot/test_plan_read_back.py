"""What is decided where a person asks to have a Snapshot read again: `ocore.dev/verify-requested`."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.naming import ANNOTATION_VERIFY_REQUESTED
from ocore_crds.protocol import Failure, VerifyResult
from ocore_crds.resources.restore_test import run_of
from ocore_operator import damage, sources
from ocore_operator.errors import Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot.entry import idle
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.plan_read_back import AGAIN_PAUSE
from ocore_operator.snapshot.world import StartVerify, World
from support.operator.objects import at, moment, snapshot_object, started
from support.operator.remote_copies import DONE as COPIED
from support.operator.remote_copies import copy
from support.operator.terminal_snapshot import FAILURE, RUNNING, condition, job_named, said, terminal, world

WHOLE = VerifyResult(objects=2, bytes_read=9)
DIFFERS = Failure(reason=c.CORRUPT, message="a differs")
RUN = run_of("verify", "now")


def asked(*conditions: Object, text: str = "now", corrupt: bool = True, **fields: Any) -> Snapshot:
    snap = terminal("Complete", *conditions, **fields)
    if corrupt:
        snap = snap.with_status(damage.corrupt(snap, "a differs", moment(70)))
    return replace(snap, meta=replace(snap.meta, annotations={ANNOTATION_VERIFY_REQUESTED: text}))


def following(found: World) -> Snapshot:
    """The Snapshot with the status that is recorded next."""
    action = decide(found)
    assert isinstance(action, (Record, Idle)), action
    assert action.status is not None
    return found.snapshot.with_status(action.status)


def job(number: int, how: Object) -> dict[str, Object]:
    return {job_named("verify", number): how}


def result(snap: Snapshot) -> tuple[str | None, str]:
    assert snap.status.read_back is not None
    return snap.status.read_back.result, snap.status.read_back.message


def status(snap: Snapshot, type_: str) -> tuple[str, str]:
    found = c.find(snap.status.conditions, type_)
    return (found.status, found.reason) if found is not None else ("", "")


def test_row_154_objects_that_were_put_back_make_it_usable_again() -> None:
    snap = asked()
    assert status(snap, c.VERIFIED) == ("False", c.CORRUPT)
    snap = following(world(snap))
    assert decide(world(snap)) == StartVerify(1, requested=True)
    snap = following(world(snap, job(1, RUNNING)))
    assert (snap.status.phase, status(snap, c.VERIFIED)) == ("Corrupt", ("False", c.CORRUPT))
    snap = following(world(snap, job(1, said(WHOLE))))
    assert (snap.status.phase, result(snap)[0], sources.is_damaged(snap)) == ("Complete", "Matched", False)
    assert status(snap, c.READY) == ("True", c.SUCCEEDED)
    assert status(snap, c.STALLED) == ("", "")
    over = decide(world(snap, job(1, said(WHOLE))))
    assert isinstance(over, Idle)
    assert over.seconds is None


@pytest.mark.parametrize("corrupt", [True, False])
def test_bytes_that_differ_are_found_each_time(corrupt: bool) -> None:
    snap = following(world(asked(condition("Verified"), corrupt=corrupt)))
    snap = following(world(snap, job(1, said(DIFFERS))))
    assert (snap.status.phase, *result(snap)) == ("Corrupt", "Differs", "a differs.")


def test_row_154_the_result_of_an_earlier_check_is_no_answer() -> None:
    """It read the bytes before they were put back, or before they were changed."""
    for earlier in (said(DIFFERS), said(WHOLE)):
        snap = following(world(asked(), job(1, earlier)))
        assert result(snap)[0] is None
        assert decide(world(snap, job(1, earlier))) == StartVerify(2, requested=True)


def test_row_154_a_request_in_a_loop_starts_one_job_at_a_time_with_a_pause() -> None:
    snap = following(world(asked()))
    busy = replace(snap, meta=replace(snap.meta, annotations={ANNOTATION_VERIFY_REQUESTED: "later"}))
    waits = following(world(busy, job(1, RUNNING)))
    assert waits.status.read_back is not None
    assert waits.status.read_back.run == RUN
    ended = following(world(busy, job(1, said(DIFFERS)), seconds=200))
    pause = decide(world(ended, job(1, said(DIFFERS)), seconds=210))
    assert isinstance(pause, Idle)
    assert pause.seconds == AGAIN_PAUSE - 10
    again = following(world(ended, job(1, said(DIFFERS)), seconds=200 + AGAIN_PAUSE))
    assert again.status.read_back is not None
    assert (again.status.read_back.run, again.status.read_back.attempt) == (run_of("verify", "later"), 2)


def test_the_check_of_spec_verify_ends_first() -> None:
    snap = asked(condition("Verified", status="Unknown"), corrupt=False, spec={"verify": "Full"})
    running = following(world(snap, job(1, RUNNING)))
    assert (running.status.read_back, status(running, c.VERIFIED)) == (None, ("Unknown", c.VERIFYING))
    assert following(world(snap, job(1, said(WHOLE)))).status.read_back is not None
    waits = decide(world(asked(condition("Verified"), corrupt=False), job(1, RUNNING)))
    assert isinstance(waits, Idle)


def test_a_store_that_does_not_answer_is_asked_again() -> None:
    snap = following(world(asked(), job(6, said(DIFFERS))))
    waits = following(world(snap, job(7, said(FAILURE)), seconds=61))
    assert result(waits) == (None, "It could not be read; retrying: the store does not answer.")
    assert decide(world(waits, job(7, said(FAILURE)), seconds=63)) == StartVerify(8, requested=True)
    assert isinstance(decide(world(waits, job(9, said(FAILURE)), seconds=63)), Idle)


def test_what_prevents_the_start_is_reported() -> None:
    snap = following(world(asked()))
    for refusal, pause in ((Waiting(c.WAITING_FOR_JOB_SLOT, "10 Jobs run", 5.0), 5.0), (Stalled("X", "no"), 30.0)):
        waits = decide(world(snap, refusal=refusal))
        assert isinstance(waits, Idle)
        assert waits.seconds == pause
        assert waits.status is not None
        assert result(snap.with_status(waits.status))[0] is None
        assert status(snap.with_status(waits.status), c.VERIFIED) == ("False", c.CORRUPT)


def test_row_154_only_the_own_store_is_judged() -> None:
    """With a whole remote copy it is Ready all the time. Where retention has deleted the own data nothing is read, and
    the copy is not called damaged."""
    copied = following(world(asked(remote=COPIED)))
    assert status(copied, c.READY) == ("True", c.REMOTE_COPY_ONLY)
    still = following(world(copied, job(1, said(DIFFERS))))
    assert (still.status.phase, status(still, c.READY)) == ("Complete", ("True", c.REMOTE_COPY_ONLY))
    whole = following(world(copied, job(1, said(WHOLE))))
    assert status(whole, c.READY) == ("True", c.SUCCEEDED)
    only = copy("Completed", attempts=1, storeId="far", only=True, localDeletedAt=at(90))
    gone = following(world(asked(condition("Verified"), corrupt=False, remote=only)))
    gone = following(world(gone))
    assert result(gone)[0] == "NotRead"
    assert (gone.status.phase, status(gone, c.VERIFIED)) == ("Complete", ("True", "X"))


def test_a_differential_follows_its_full_one() -> None:
    """While that is corrupt, its own bytes say nothing."""
    snap = asked(condition("Verified", c.BASE_CORRUPT, "False"), corrupt=False)
    snap = snap.with_status(snap.status.model_copy(update={"phase": "Corrupt"}))
    snap = following(world(following(world(snap))))
    assert (snap.status.phase, result(snap)[0]) == ("Corrupt", "NotRead")


def raw(phase: str, how: str = "Complete", **status: Any) -> Object:
    full = started(phase=phase, completedAt=at(60), observedGeneration=1, conditions=[condition(how)], **status)
    return snapshot_object({}, full, annotations={ANNOTATION_VERIFY_REQUESTED: "now"})


def test_a_request_is_open_until_it_is_answered() -> None:
    answered = {"run": RUN, "attempt": 1, "result": "Differs", "message": "", "endedAt": at(0)}
    assert not idle(raw("Complete"))
    assert not idle(raw("Corrupt"))
    assert idle(raw("Corrupt", readBack=answered))
    assert not idle(raw("Corrupt", readBack={**answered, "run": "older"}))
    reading = raw("Corrupt", readBack={"run": RUN, "attempt": 1})
    assert not idle(reading)
    reading["metadata"]["annotations"] = {}
    assert not idle(reading)
    assert idle(raw("Failed", "Failed"))
