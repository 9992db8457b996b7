"""Row 135: the Environment was deleted before its Rollback. What the Rollback kept is removed without it, but nothing
that another Environment uses by then."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import CleanupResult, Failure, SwitchResult
from ocore_crds.resources.rollback import JobsStatus, RollbackStatus, RollbackTarget
from ocore_kube.types import CLAIMS
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.jobs.building import request_parts
from ocore_operator.jobs.building.job import Volumes
from ocore_operator.kube import resources
from ocore_operator.rollback import building, orphan
from ocore_operator.rollback.observe import Observed
from ocore_operator.rollback.transitions import change, stamp
from ocore_operator.rollback.world import Do, JobView, OperationLock, StartJob, World
from support.operator import objects
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.rollback_model import START
from support.operator.rollback_objects import time_at
from support.operator.rollback_seen import altered_environment
from support.operator.terminal_rollback import FREE, VIEW, WINDOW, complete, decide, recorded

ENVIRONMENT = objects.environment({"database": {"secretRef": {"name": "db"}, "tls": {"mode": "require"}}})
TARGET = RollbackTarget.of(ENVIRONMENT.spec, ENVIRONMENT.status)
JOBS = JobsStatus.of(ENVIRONMENT.spec, ENVIRONMENT.status)
GONE = replace(FREE, environment=None)
#: Another one of the same name: its database is another one, or `used_by` says so.
OTHER = altered_environment(VIEW, id="z")
REPLACED = replace(FREE, environment=OTHER, lock=OperationLock("Other", "Snapshot t", START))
CLEANUP = Do(StartJob("cleanup-previous", 1), before="operator-rollback-cleanup")


def kept(**changes: object) -> RollbackStatus:
    """In its undo window, with what a cleanup needs."""
    return complete(environment_name="shop", target=TARGET, jobs=JOBS, **changes)


def cleaning(**changes: object) -> RollbackStatus:
    return change(kept(), **{"cleanup_attempt": 1, "undo_until": stamp(START)} | changes)


@pytest.mark.parametrize("world", [GONE, REPLACED], ids=["deleted", "replaced"])
def test_row_135_what_is_kept_is_removed_without_the_environment(world: World) -> None:
    """At the end of the undo window, or when the Rollback is deleted. There is no lock to take."""
    assert not isinstance(decide(kept(), world, WINDOW - 1), Record)
    begun = recorded(decide(kept(), world, WINDOW))
    assert (begun.residue, begun.cleanup_attempt) == ("Pending", 1)
    assert recorded(decide(kept(), replace(world, deleting=True), 10)).cleanup_attempt == 1
    assert decide(cleaning(), world, 10) == CLEANUP
    job = JobView("cleanup", 1, "j", ended=True, payload=CleanupResult(databases_dropped=("shop_prev_0a1b2c3d",)))
    assert recorded(decide(cleaning(), replace(world, jobs=(job,)), 10)).residue == "None"


@pytest.mark.parametrize("lacks", ["target", "jobs", "position"])
def test_row_135_nothing_is_removed_where_the_status_has_too_little(lacks: str) -> None:
    """The position of a server that is lost is not looked for without end: the Environment is deleted to end that."""
    assert recorded(decide(cleaning(**{lacks: None}), GONE, 10)).residue == "Unknown"


@pytest.mark.parametrize("world", [GONE, REPLACED], ids=["deleted", "replaced"])
def test_row_135_nothing_is_removed_that_another_environment_has(world: World) -> None:
    used = replace(world, used_by="Environment shop2 has the database of Secret db now")
    for status in (kept(), cleaning()):
        end = recorded(decide(status, used, WINDOW))
        assert end.residue == "Unknown"
        assert "shop2 has the database of Secret db" in next(s.message for s in end.steps if s.name == "Cleanup")


def test_row_135_nothing_is_removed_beside_a_rollback_that_runs() -> None:
    waits = decide(cleaning(), replace(GONE, under_way="r2"), 10)
    assert isinstance(waits, Wait)
    assert "Rollback r2" in waits.message


def test_row_135_a_deletion_is_not_held_longer_than_one_attempt() -> None:
    """Secret and claim are often deleted together with Environment and Rollback."""
    failure = Failure(reason=c.DATABASE_UNREACHABLE, message="no answer")
    failed = replace(GONE, jobs=(JobView("cleanup", 1, "j", ended=True, failure=failure),))
    assert recorded(decide(cleaning(), failed, 10)).residue == "Pending"
    assert recorded(decide(cleaning(), replace(failed, deleting=True), 10)).residue == "Unknown"


def test_row_135_another_environment_is_not_written_to() -> None:
    """The position was changed by hand: the Environment that has the name now remembers nothing of this rollback."""
    status = cleaning(position="Old", position_read_began=stamp(START), inspect_attempt=1)
    job = JobView("inspect", 1, "i", ended=True, payload=SwitchResult(position="New", live_database="shop"))
    world = replace(REPLACED, environment=OTHER, executed=False, jobs=(job,))
    assert recorded(decide(status, world, 5)).position == "New"


def rollback(status: RollbackStatus) -> resources.Rollback:
    return resources.rollback(objects.obj("Rollback", "back", {"snapshotRef": {"name": "s"}}, status.wire()))


def test_row_135_the_status_has_what_the_jobs_need() -> None:
    status = change(kept(), environment_id=ENVIRONMENT.id)
    found = orphan.remembered(rollback(status))
    assert found is not None
    assert (found.id, found.meta.name, found.meta.namespace) == (ENVIRONMENT.id, "shop", "shop")
    assert RollbackTarget.of(found.spec, found.status) == TARGET
    assert JobsStatus.of(found.spec, found.status) == JOBS
    for admin in (True, False):
        built, wanted = Volumes(), Volumes()
        assert request_parts.database(built, found, admin=admin) == request_parts.database(
            wanted, ENVIRONMENT, admin=admin
        )
    assert orphan.remembered(rollback(change(status, jobs=None))) is None


def test_row_135_the_cleanup_job_is_built_from_it() -> None:
    """Also where another Environment has the name: the Job never uses that one's connection or claim."""
    status = change(cleaning(), environment_id=ENVIRONMENT.id)
    other = objects.environment({"database": {"secretRef": {"name": "db2"}}}, uid=objects.OTHER_UID)
    api = ApiServer()
    claim = {"metadata": {"name": TARGET.claim_name, "namespace": "shop"}, "spec": {"accessModes": ["ReadWriteMany"]}}
    api.put(CLAIMS, claim)
    ctx: Any = SimpleNamespace(kube=api.client(), now=lambda: time_at(0), settings=objects.SETTINGS)
    jobs = []
    for environment in (ENVIRONMENT, None, other):
        seen = Observed(rollback(status), status, replace(GONE, environment=environment))
        jobs.append(asyncio.run(building.job_of(ctx, seen, StartJob("cleanup-previous", 1))))
    own, deleted, replaced = jobs
    assert deleted == replaced
    assert ENVIRONMENT.id in str(deleted)
    assert objects.OTHER_UID not in str(deleted)
    pods = [job["spec"]["template"]["spec"]["volumes"] for job in (own, deleted)]
    assert pods[0] == pods[1]


def test_row_135_who_has_the_database_or_the_filestore_now() -> None:
    catalog, mine = new_catalog(), rollback(change(kept(), environment_id=ENVIRONMENT.id))
    assert orphan.used_by(catalog, mine, None) == ""

    def found(spec: dict[str, Any], environment: resources.Environment | None = None) -> str:
        known = new_catalog()
        known.put("Environment", objects.environment_object(spec, name="other", uid=objects.OTHER_UID))
        return orphan.used_by(known, mine, environment)

    elsewhere = {"claimName": "other", "path": "x", "layout": "Odoo"}
    apart = {"database": {"secretRef": {"name": "db2"}}, "filestore": elsewhere}
    assert found(apart) == ""
    assert "Secret db" in found({"filestore": elsewhere})
    assert f"claim {TARGET.claim_name}" in found({"database": {"secretRef": {"name": "db2"}}})
    assert found({}, ENVIRONMENT) == "", "its own Environment, whose lock it takes"
    assert orphan.used_by(catalog, rollback(change(kept(), residue="None")), None) == ""


def test_row_135_a_rollback_that_has_not_ended_is_waited_for() -> None:
    catalog, mine = new_catalog(), rollback(change(kept(), environment_id=ENVIRONMENT.id))
    spec, status = {"snapshotRef": {"name": "s"}}, {"phase": "Running", "environmentName": "shop", "stage": "Switch"}
    assert orphan.under_way(catalog, mine, None) == ""
    catalog.put("Rollback", objects.obj("Rollback", "back", spec, status))
    assert orphan.under_way(catalog, mine, None) == "", "itself"
    catalog.put("Rollback", objects.obj("Rollback", "r2", spec, status, uid=objects.OTHER_UID))
    assert orphan.under_way(catalog, mine, None) == "r2"
    assert orphan.under_way(catalog, mine, ENVIRONMENT) == ""
