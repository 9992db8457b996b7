"""A rollback that renamed databases ends: what the last probe found is of before or of the middle. The next one begins
at once where the Environment is not ready, and else a minute later: the next operation's own probe may come first."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.conditions import Condition
from ocore_crds.protocol import CleanupResult, Failure, ProbeResult, Result
from ocore_crds.resources.environment import Operation
from ocore_kube.types import ENVIRONMENTS
from ocore_operator.frame.actions import SetLock
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key
from ocore_operator.probe_requests import ProbeRequests
from ocore_operator.readiness import observe as readiness
from ocore_operator.readiness import schedule
from ocore_operator.rollback import building, effects, observe
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.world import World
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.jobs import job_inputs
from support.operator.objects import (
    OTHER_UID,
    SETTINGS,
    at,
    ended,
    environment,
    environment_object,
    job,
    moment,
    obj,
    observation,
    pod,
)

SHOP = Key("Environment", "shop", "shop")
STARTED = {"id": OTHER_UID, "environmentName": "shop", "stage": "Ended", "phase": "Complete", "startedAt": at(0)}
#: The probe ran while the database did not exist.
NOT_FOUND = Condition(
    type=c.READY, status="False", reason=c.DATABASE_NOT_FOUND, message="gone.", last_transition_time=at(0)
)


def released(status: dict[str, Any]) -> tuple[ProbeRequests, list[Key]]:
    """Requests for probes, and what was queued, after the rollback has released its lock at second 100."""
    api, queued = ApiServer(), []
    lock = Operation(kind="Rollback", name="r1", uid=OTHER_UID, since=at(0))
    api.put(ENVIRONMENTS, environment_object(status={"operation": lock.wire()}))
    found = resources.rollback(obj("Rollback", "r1", {"snapshotRef": {"name": "s1"}}, status, uid=OTHER_UID))
    environment = resources.environment(api.read(ENVIRONMENTS, SHOP.namespace, SHOP.name))
    seen = observe.Observed(found, found.status, seen_world(environment, found))
    requests = ProbeRequests()
    ctx: Any = SimpleNamespace(
        kube=api.client(), catalog=new_catalog(), now=lambda: moment(100), probes=requests,
        queue=SimpleNamespace(add=queued.append),
    )  # fmt: skip
    asyncio.run(effects.carry_out(ctx, seen, Memory(), SetLock(held=False)))
    return requests, queued


def seen_world(environment: resources.Environment, found: resources.Rollback) -> World:
    return SimpleNamespace(environment=environment, environment_name="shop", lock=observe.lock_view(environment, found))  # type: ignore[return-value]


def due(outdated: str, *, ready: bool = False, began: float = 80, now: float = 100) -> float:
    """Seconds until the next probe; the last one took three seconds."""
    conditions = () if ready else (NOT_FOUND,)
    return schedule.due_in(
        SETTINGS, moment(now), probed=at(began + 3), began=at(began), current=True, wanted="", outdated=outdated,
        conditions=conditions, watched=(c.READY,),
    )  # fmt: skip


@pytest.mark.parametrize("switched", [{"switchedAt": at(90)}, {}])
def test_row_93_after_a_switch_the_environment_is_probed_at_once(switched: dict[str, Any]) -> None:
    """Also where the switch failed: a probe may have run while the databases had other names."""
    requests, queued = released({**STARTED, "quiescedAt": at(70), **switched})
    assert SHOP in queued
    assert due(requests.outdated(SHOP)) <= 0 < due("")


def test_one_that_is_ready_is_probed_a_minute_later_or_by_the_next_operation() -> None:
    """Its application has just started. The next operation has a probe of its own, which may begin before that."""
    requests, queued = released({**STARTED, "quiescedAt": at(70), "completedAt": at(95)})
    outdated = requests.outdated(SHOP)
    assert SHOP in queued
    assert due(outdated, ready=True) == schedule.RENEWAL - 5
    assert due(outdated, ready=True, now=95 + schedule.RENEWAL) <= 0
    assert due(outdated, ready=True, began=96) == due("", ready=True, began=96) > schedule.RENEWAL
    # The one by the clock is not put off.
    late = 83 + SETTINGS.probe_interval - 1
    assert due(at(late), ready=True, now=late) == 1
    requests.forget(SHOP)
    assert requests.outdated(SHOP) == ""


@pytest.mark.parametrize(
    ("phase", "completed_at", "again"),
    [("Complete", at(75), False), ("Complete", at(82), True), ("Failed", at(75), True)],
)
def test_a_cleanup_is_followed_by_a_probe_where_none_has_begun_since_the_end(
    phase: str, completed_at: str, again: bool
) -> None:
    """A cleanup removes what was kept; but after a failure it may have found the databases elsewhere."""
    requests, queued = released({**STARTED, "quiescedAt": at(70), "phase": phase, "completedAt": completed_at})
    assert SHOP in queued
    assert (due(requests.outdated(SHOP)) <= 0) is again


def test_a_rollback_that_ended_before_the_switch_asks_for_no_probe() -> None:
    requests, _ = released(STARTED)
    assert requests.outdated(SHOP) == ""


def test_the_environments_reconcile_reads_both_requests() -> None:
    api, requests = ApiServer(), ProbeRequests()
    api.put(ENVIRONMENTS, environment_object())
    requests.ask(SHOP, at(3))
    requests.expire(SHOP, at(5))
    ctx: Any = SimpleNamespace(
        kube=api.client(), catalog=new_catalog(), settings=SETTINGS, now=lambda: moment(9), probes=requests
    )
    world = asyncio.run(readiness.environment(ctx, SHOP))
    assert world is not None
    assert (world.requested, world.outdated) == (at(3), at(5))


# --- a probe in the Job of a cleanup or of a read of the position ------------------------------------------------


def joins(spec: Any = None, used: Any = None, **status: Any) -> bool:
    """Whether a probe follows. `spec`: of the Environment now; `used`: that the Job is built from."""
    given = {**STARTED, "quiescedAt": at(70), **status}
    back = resources.rollback(obj("Rollback", "r1", {"snapshotRef": {"name": "s1"}}, given, uid=OTHER_UID))
    now = environment(spec)
    seen = observe.Observed(back, back.status, seen_world(now, back))
    return building.may_probe(seen, job_inputs(environment=environment(used if used is not None else spec)))


OTHER_SECRET = {"database": {"secretRef": {"name": "other"}, "capacity": "10Gi"}}


def test_a_probe_follows_where_the_job_is_of_the_environment_as_it_is() -> None:
    assert joins()
    assert not joins(used=OTHER_SECRET), "what the rollback has restored is elsewhere"
    assert not joins({"database": {"cnpg": {"cluster": "pg"}}}), "a probe reads the Cluster again"
    assert not joins(quiescedAt=None), "its own restore has just probed"


def test_what_the_probe_has_found_is_read_with_the_result_of_the_job() -> None:
    for then, expected in (
        (Result(ok=True, payload=ProbeResult(), time=at(9)), ProbeResult()),
        (Result(ok=False, failure=Failure(reason=c.DATABASE_UNREACHABLE, message="x"), time=at(9)), None),
        (None, None),
    ):
        result = Result(ok=True, payload=CleanupResult(), then=then, time=at(9))
        done = pod("j", ended(result.termination_message()))
        view = observe.job_view(observation([job("j")], {"j": [done]}), "j", "cleanup", 1)
        assert view is not None
        assert (view.ended, view.payload, view.probe) == (True, CleanupResult(), expected)
