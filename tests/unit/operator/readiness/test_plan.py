"""What an Environment and a SnapshotStore do next, by what was observed: tables of worlds. Pure."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import (
    DatabaseFacts,
    DeleteResult,
    Failure,
    FilestoreFacts,
    Finding,
    ProbeResult,
    ProofResult,
    StoreProbeResult,
)
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.outcome import POLL, Observation
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Environment
from ocore_operator.probe_requests import OtherProbe
from ocore_operator.readiness import plan_environment, plan_store, proof, schedule
from ocore_operator.readiness.plan_probe import duplicate
from ocore_operator.readiness.verdict import found
from ocore_operator.readiness.world import (
    EnvironmentAction,
    EnvironmentWorld,
    ReleaseLock,
    Start,
    StoreAction,
    StoreWorld,
)
from ocore_operator.summarize import Stamp
from support.operator import objects
from support.operator.catalogs import new_catalog
from support.operator.objects import OTHER_UID, SETTINGS, UID, at, environment, job, moment, obj, observation, pod
from support.operator.readiness import inputs, world
from support.operator.terminal_snapshot import RUNNING, said

RESULT = ProbeResult(
    database=DatabaseFacts(name="shop", server_version="17.2", server_major=17, schema_fingerprint="abc"),
    filestore=FilestoreFacts(file_count=3, size_bytes=9, hard_links=True),
)
READY = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": at(0)}
MISSING = Stalled(c.CLAIM_NOT_FOUND, "There is no claim files.")
SLOT = Waiting(c.WAITING_FOR_JOB_SLOT, "full", 5)
STAMP = Stamp(at(50), 1)
REFUSED = Failed(c.JOB_REFUSED, "not valid")


def seen(command: str, state: Any, attempt: str = "") -> Observation:
    """The first probe's Job, as its container says; None: there is none."""
    if state is None:
        return observation()
    name = job_name(command, UID, attempt or f"{schedule.attempt_name(1, None)}-1")
    container = state if isinstance(state, dict) else said(state)
    done = "" if "running" in container else "Failed" if isinstance(state, Failure) else "Complete"
    made = job(name, command, condition=done, activeDeadlineSeconds=300)
    return observation([made], {name: [pod(name, container)]})


def catalog(ready: str = "True") -> Catalog:
    known = new_catalog()
    known.put("SnapshotStore", obj("SnapshotStore", "store", {"s3": {}}, {"conditions": [{**READY, "status": ready}]}))
    return known


def owner(status: Any = None) -> Environment:
    return environment(status=status)


def known_world(mine: Environment, **observed: Any) -> EnvironmentWorld:
    needs = replace(inputs(mine), store=objects.store(status={"conditions": [READY]}))
    return world(mine, catalog(), seconds=60, **{"needs": needs, **observed})


def decided(state: Any = None, *, of: Environment | None = None, **observed: Any) -> EnvironmentAction:
    mine = of if of is not None else owner()
    return plan_environment.decide(known_world(mine, **{"seen": seen("probe", state), **observed}))


def reason(action: Any) -> str:
    found_ = c.find(action.status.conditions, c.READY)
    return found_.reason if found_ is not None else ""


def test_a_stale_lock_is_released_first() -> None:
    assert plan_environment.decide(world(owner(), stale_lock=True)) == ReleaseLock()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, Start),
        (RUNNING, Idle),
        (RESULT, Record),
        (DeleteResult(), Record),
        (Failure(reason=c.DATABASE_UNREACHABLE, message="no answer"), Record),
    ],
)
def test_a_first_probe_by_the_state_of_its_job(state: Any, expected: type) -> None:
    assert type(decided(state)) is expected


def test_row_102_a_probe_on_a_node_that_does_not_respond_says_what_to_do() -> None:
    """The next probe after it is due at once: it has found nothing."""
    waits = decided(RUNNING, seen=objects.on_a_lost_node(seen("probe", RUNNING)))
    assert isinstance(waits, Idle)
    assert reason(waits) == c.NODE_NOT_RESPONDING
    of_store = plan_store.decide(store_world(RUNNING, seen=objects.on_a_lost_node(seen("probe-store", RUNNING))))
    assert isinstance(of_store, Idle)
    assert reason(of_store) == c.NODE_NOT_RESPONDING
    for kind in (plan_environment.EnvironmentProbe, plan_store.StoreProbe):
        assert c.NODE_NOT_RESPONDING in kind.before_probe


@pytest.mark.parametrize(("began", "generation", "taken"), [(at(51), 1, True), (at(50), 1, False), (at(51), 2, False)])
def test_what_a_rollbacks_job_has_found_counts_like_a_probe(began: str, generation: int, *, taken: bool) -> None:
    """Where it is newer than the last one, and of the present spec. The verdict is by the same rules."""
    probed = found(owner(), RESULT, SETTINGS.mover_majors, began=at(50), now=at(50))
    worse = RESULT.model_copy(update={"blocking": (Finding(reason=c.MISSING_GRANTS, message="ALTER ROLE"),)})
    action = decided(of=owner(probed), other_probe=OtherProbe(worse, began, generation))
    assert isinstance(action, Record) is taken
    if isinstance(action, Record):
        assert (reason(action), action.job) == (c.MISSING_GRANTS, "")
        assert action.status.probe is not None
        assert (action.status.probe.started_at, action.status.probe.time) == (began, at(60))


def test_a_probe_starts_with_the_age_of_the_last_one() -> None:
    action = decided()
    assert isinstance(action, Start)
    assert (action.command, action.since, action.then.seconds) == ("probe", at(0), POLL)
    assert reason(action.then) == c.PROBING


def test_the_job_of_a_result_is_removed_and_that_of_a_failure_stays() -> None:
    done, failed = decided(RESULT), decided(Failure(reason=c.DATABASE_UNREACHABLE, message="no answer"))
    assert isinstance(done, Record)
    assert isinstance(failed, Record)
    assert (done.job, failed.job) == (job_name("probe", UID, f"{schedule.attempt_name(1, None)}-1"), "")
    assert reason(failed) == c.DATABASE_UNREACHABLE


@pytest.mark.parametrize(
    ("needs", "after"),
    [
        (MISSING, None),
        (Waiting(c.STORE_NOT_FOUND, "There is no SnapshotStore store.", 7), 7),
        (duplicate(owner(), catalog().put("Environment", objects.environment_object())), None),
    ],
)
def test_nothing_starts_while_something_is_missing(needs: Outcome, after: float | None) -> None:
    action = decided(needs=needs)
    assert isinstance(action, Idle)
    assert (reason(action), action.seconds) == (needs.reason, after)


def test_a_store_that_is_not_ready_is_waited_for() -> None:
    action = decided(needs=inputs())
    assert isinstance(action, Idle)
    assert (reason(action), action.seconds) == (c.STORE_NOT_READY, plan_environment.STORE_PAUSE)


@pytest.mark.parametrize(("refusal", "why"), [(SLOT, c.WAITING_FOR_JOB_SLOT), (REFUSED, c.JOB_REFUSED)])
def test_a_first_probe_that_is_refused_is_the_reason(refusal: Outcome, why: str) -> None:
    action = decided(refused={"probe": refusal})
    assert isinstance(action, Idle)
    assert reason(action) == why
    assert action.seconds == (5 if refusal is SLOT else schedule.BACKOFF_MIN)


def probed(seconds: float = 0, *, requested: str = "") -> Environment:
    """One whose probe ended then, without a finding. `requested`: since when its sizes are."""
    annotations = {naming.ANNOTATION_PROBE_REQUESTED: requested} if requested else {}
    mine = environment({"database": {"secretRef": {"name": "db"}, "capacity": "10Gi"}}, annotations=annotations)
    return mine.with_status(found(mine, RESULT, (15, 17), began=at(seconds), now=at(seconds)))


def proven(*, requested: str = "") -> Environment:
    """One whose probe and proof ended at 0."""
    mine = probed(requested=requested)
    result = ProofResult(schema_fingerprint="abc")
    return mine.with_status(proof.recorded(mine.status, result, image=SETTINGS.image(17), now=at(0)))


def test_a_periodic_probe_that_must_wait_keeps_the_verdict() -> None:
    mine = probed(60 - SETTINGS.probe_interval)
    action = decided(of=mine, refused={"probe": SLOT, "prove": SLOT})
    assert isinstance(action, Idle)
    assert (action.status, action.seconds) == (mine.status, 5)


def test_the_proof_follows_a_probe_and_the_next_reconcile_is_that_of_its_job() -> None:
    action = decided(of=probed())
    assert isinstance(action, Start)
    assert (action.command, action.inputs.server_major, action.then.seconds) == ("prove", 17, POLL)


def test_between_two_probes_it_waits_for_the_earliest_time() -> None:
    """The proof is repeated a day after it, and a probe comes each hour."""
    mine = proven()
    assert decided(of=mine) == Idle(SETTINGS.probe_interval - 60, mine.status)


def test_what_is_out_of_date_is_renewed_a_minute_later() -> None:
    mine = proven()
    assert decided(of=mine, outdated=at(50)) == Idle(schedule.RENEWAL - 10, mine.status)
    action = decided(of=mine, outdated=at(50), now=moment(50 + schedule.RENEWAL))
    assert isinstance(action, Start)
    assert action.command == "probe"


@pytest.mark.parametrize(
    ("of", "observed", "expected"),
    [
        (owner(), {}, True),
        (owner(), {"needs": MISSING}, False),
        (owner(), {"needs": inputs()}, False),
        (proven(), {}, False),
        (proven(), {"requested": at(1)}, True),
        (proven(), {"now": moment(SETTINGS.probe_interval)}, True),
        (probed(), {}, True),
        (proven(requested=at(29)), {}, True),
    ],
)
def test_jobs_are_read_where_one_may_be_wanted(of: Environment, observed: dict[str, Any], expected: bool) -> None:
    """The first probe, another one that is due or requested, a proof, and sizes that are requested."""
    assert plan_environment.needs_jobs(known_world(of, **observed)) is expected


# --- SnapshotStore ---------------------------------------------------------------------------------------------------


FOUND = plan_store.found(objects.store(), StoreProbeResult(store_id=OTHER_UID), at(30), STAMP).wire()


def store_world(state: Any = None, *, status: Any = None, **observed: Any) -> StoreWorld:
    known = objects.store(status=status)
    fields: dict[str, Any] = {
        "needs": inputs(),
        "seen": seen("probe-store", state),
        "now": moment(60),
        "settings": SETTINGS,
        **observed,
    }
    return StoreWorld(obj=known, **fields)


def store_decided(state: Any = None, **observed: Any) -> StoreAction:
    return plan_store.decide(store_world(state, **observed))


@pytest.mark.parametrize(
    ("state", "expected", "why"),
    [
        (None, Start, ""),
        (RUNNING, Idle, c.PROBING),
        (StoreProbeResult(store_id=OTHER_UID, checksums="Server"), Record, c.SUCCEEDED),
        (Failure(reason=c.STORE_ACCESS_DENIED, message="403"), Record, c.STORE_ACCESS_DENIED),
    ],
)
def test_a_stores_first_probe_by_the_state_of_its_job(state: Any, expected: type, why: str) -> None:
    action = store_decided(state)
    assert type(action) is expected
    assert isinstance(action, Start) or reason(action) == why


def test_a_store_waits_for_what_its_probe_needs() -> None:
    action = store_decided(needs=MISSING)
    assert isinstance(action, Idle)
    assert (reason(action), action.status.phase) == (c.CLAIM_NOT_FOUND, "NotReady")


def test_an_operation_that_waits_for_the_store_makes_a_probe_due() -> None:
    failed = plan_store.probe_failed(objects.store(), c.STORE_UNREACHABLE, "no answer", at(50), STAMP).wire()
    waiting = new_catalog().put("Snapshot", objects.snapshot_object(creationTimestamp=at(55)))
    for status, expected in ((FOUND, Idle), (failed, Start)):
        assert type(store_decided(status=status, operations=(waiting,))) is expected


@pytest.mark.parametrize(
    ("status", "observed", "expected"),
    [
        (None, {}, True),
        (None, {"needs": MISSING}, False),
        (FOUND, {}, False),
        (FOUND, {"requested": at(40)}, True),
        (FOUND, {"now": moment(30 + SETTINGS.probe_interval)}, True),
    ],
)
def test_a_stores_jobs_are_read_where_a_probe_is_due(status: Any, observed: dict[str, Any], expected: bool) -> None:
    assert plan_store.needs_jobs(store_world(status=status, **observed)) is expected
