"""A rollback that renamed databases ends: what the last probe found is of before or of the middle, so the next one
begins at once."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.conditions import Condition
from ocore_crds.environment import Operation
from ocore_kube.types import ENVIRONMENTS
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key
from ocore_operator.probe_requests import ProbeRequests
from ocore_operator.readiness import schedule
from ocore_operator.rollback import effects, observe
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.world import ReleaseLock, World
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import OTHER_UID, SETTINGS, at, environment_object, moment, obj

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
    seen = observe.Observed(found, found.status, seen_world(environment, found), environment, None)
    requests = ProbeRequests()
    ctx: Any = SimpleNamespace(
        kube=api.client(), catalog=new_catalog(), now=lambda: moment(100), probes=requests,
        queue=SimpleNamespace(add=queued.append),
    )  # fmt: skip
    asyncio.run(effects.carry_out(ctx, seen, Memory(), ReleaseLock()))
    return requests, queued


def seen_world(environment: resources.Environment, found: resources.Rollback) -> World:
    return SimpleNamespace(environment_name="shop", lock=observe.lock_view(environment, found))  # type: ignore[return-value]


def due(wanted: str) -> float:
    """Seconds until the next probe at second 100; the last one ran from second 80 to 83."""
    return schedule.due_in(
        SETTINGS, moment(100), probed=at(83), began=at(80), current=True, wanted=wanted, conditions=(NOT_FOUND,),
        watched=(c.READY,),
    )  # fmt: skip


@pytest.mark.parametrize("switched", [{"switchedAt": at(90)}, {}])
def test_row_93_after_a_switch_the_environment_is_probed_at_once(switched: dict[str, Any]) -> None:
    """Also where the switch failed: a probe may have run while the databases had other names."""
    requests, queued = released({**STARTED, "quiescedAt": at(70), **switched})
    assert SHOP in queued
    assert due(requests.wanted(SHOP)) <= 0 < due("")


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
    assert (due(requests.wanted(SHOP)) <= 0) is again


def test_a_rollback_that_ended_before_the_switch_asks_for_no_probe() -> None:
    requests, _ = released(STARTED)
    assert requests.wanted(SHOP) == ""
