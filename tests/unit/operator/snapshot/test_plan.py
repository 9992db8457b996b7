"""What is decided for a Snapshot before it starts, and where an action could not be carried out."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.frame.actions import Record, SetFinalizer, Wait
from ocore_operator.snapshot.plan import PROBE_SECONDS, decide
from ocore_operator.snapshot.world import Begin, GiveUp, Start
from support.operator.objects import snapshot, started
from support.operator.pending_snapshot import FINALIZERS, WAIT, loaded, ready, world


def test_the_finalizer_comes_before_anything_is_stored_and_then_a_status() -> None:
    assert decide(world(snapshot())) == SetFinalizer(present=True)
    first = decide(world(snapshot(finalizers=FINALIZERS)))
    assert isinstance(first, Record)
    assert first.status.phase == "Pending"
    assert c.is_true(first.status.conditions, c.RECONCILING)


def test_it_begins_in_a_ready_environment() -> None:
    assert decide(world()) == Begin()


def test_a_duplicate_fails_and_stores_nothing() -> None:
    decision = decide(world(elder="shop/first"))
    assert isinstance(decision, GiveUp)
    assert (decision.failure.reason, decision.stored) == (c.DUPLICATE_ID, False)
    assert "shop/first" in decision.failure.message


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"environment": None, "inputs": None}, c.ENVIRONMENT_NOT_FOUND),
        ({"inputs": None, "missing": Stalled(c.CLAIM_NOT_FOUND, "no claim")}, c.CLAIM_NOT_FOUND),
    ],
)
def test_what_is_missing_is_waited_for_and_then_a_failure(fields: dict[str, Any], reason: str) -> None:
    early = decide(world(seconds=WAIT - 2, **fields))
    assert isinstance(early, Wait)
    assert (early.reason, early.seconds) == (reason, 2)
    late = decide(world(seconds=WAIT, **fields))
    assert isinstance(late, GiveUp)
    assert (late.failure.reason, late.stored) == (reason, False)


def test_an_environment_that_was_not_ready_before_gets_a_probe_first() -> None:
    """The verdict is older than the Snapshot: a new probe is asked for, within a limit."""
    old = ready("False", c.DATABASE_UNREACHABLE, probed=-9)
    decision = decide(world(environment=old))
    assert isinstance(decision, Wait)
    assert (decision.reason, decision.wake) == (c.WAITING_FOR_ENVIRONMENT, old.key)
    late = decide(world(environment=old, seconds=PROBE_SECONDS))
    assert isinstance(late, GiveUp)
    assert late.failure.reason == c.ENVIRONMENT_NOT_READY


def test_a_probe_after_its_creation_decides() -> None:
    decision = decide(world(environment=ready("False", c.DATABASE_UNREACHABLE, probed=0)))
    assert isinstance(decision, GiveUp)
    assert decision.failure.reason == c.DATABASE_UNREACHABLE
    running = decide(world(environment=ready("False", c.PROBING, probed=0)))
    assert isinstance(running, Wait)


@pytest.mark.parametrize("reason", [c.DUPLICATE_ID, c.DUPLICATE_TARGET])
def test_what_no_probe_decides_fails_at_once(reason: str) -> None:
    """A second Environment with the same id or the same database is not probed: waiting for a probe would take the
    whole limit."""
    decision = decide(world(environment=ready("False", reason, probed=-9)))
    assert isinstance(decision, GiveUp)
    assert decision.failure.reason == reason


def test_of_the_store_the_stores_own_probe_decides() -> None:
    refused = ready("False", c.STORE_NOT_READY, probed=0)
    assert isinstance(decide(world(environment=refused, inputs=loaded(-9, "False", c.STORE_UNREACHABLE))), Wait)
    assert isinstance(decide(world(environment=refused, inputs=loaded(0, "False", c.STORE_UNREACHABLE))), GiveUp)


@pytest.mark.parametrize("store", [("True", c.SUCCEEDED), ("False", c.PROBING), ("False", c.JOB_PENDING)])
def test_an_environment_that_has_not_seen_its_new_store_ready_is_waited_for(store: tuple[str, str]) -> None:
    """docs/recovery.md, "Loss of a bucket": a SnapshotStore is created and named in storeRef, and a snapshot follows at
    once. The Environment has seen the store while it was probed."""
    refused = ready("False", c.STORE_NOT_READY, probed=0)
    decision = decide(world(environment=refused, inputs=loaded(0, *store)))
    assert isinstance(decision, Wait)
    assert decision.wake == refused.key


def test_ready_for_another_spec_is_not_ready() -> None:
    assert isinstance(decide(world(environment=replace(ready(), meta=replace(ready().meta, generation=2)))), Wait)


def test_a_refused_action_is_waited_for_or_ends_it() -> None:
    busy = Waiting(c.WAITING_FOR_OPERATION, "another one is first", 10)
    assert decide(world(refusal=busy)) == Wait(10, c.WAITING_FOR_OPERATION, "another one is first")
    running = snapshot({}, started(), finalizers=FINALIZERS)
    assert decide(world(running)) == Start(1)
    for refusal in (Failed(c.JOB_REFUSED, "malformed"), Stalled(c.STORE_NOT_FOUND, "no store")):
        decision = decide(world(running, refusal=refusal))
        assert isinstance(decision, GiveUp)
        assert (decision.failure.reason, decision.stored) == (refusal.reason, False)
    second = snapshot({}, started(attempt=2), finalizers=FINALIZERS)
    decision = decide(world(second, refusal=Failed(c.JOB_REFUSED, "malformed")))
    assert isinstance(decision, GiveUp)
    assert decision.stored
