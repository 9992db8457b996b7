"""When an object is probed, and the conditions after a probe."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.table import PROBE as PROBE_COMMAND
from ocore_crds.conditions import Condition
from ocore_crds.protocol import (
    DatabaseFacts,
    Failure,
    FilestoreFacts,
    Finding,
    ProbeResult,
    Result,
    StoreProbeResult,
)
from ocore_crds.reports.replication import Replication, ReplicationSlot
from ocore_crds.resources.environment import FileOwner
from ocore_operator.errors import Stalled, Waiting
from ocore_operator.frame.actions import Idle
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.observing.attempts import Answer, Done, Due, Failed, Series, Waits
from ocore_operator.jobs.slots.running import job_class
from ocore_operator.kube.resources import Object
from ocore_operator.probe_requests import ProbeRequests
from ocore_operator.readiness import plan_store, schedule
from ocore_operator.readiness.plan_environment import PROBE, final, need_filestore_to_propose_user, need_store
from ocore_operator.readiness.plan_probe import due_in, probe
from ocore_operator.readiness.verdict import found, probe_failed, unprobed
from ocore_operator.summarize import Stamp
from support.operator.catalogs import new_catalog
from support.operator.objects import (
    NOW,
    OTHER_UID,
    SETTINGS,
    UID,
    at,
    ended,
    environment,
    job,
    moment,
    obj,
    observation,
    pod,
    store,
)
from support.operator.readiness import inputs, world

RESULT = ProbeResult(
    database=DatabaseFacts(name="shop", server_version="17.2", server_major=17, size_bytes=10, used_bytes=30),
    filestore=FilestoreFacts(file_count=3, size_bytes=9, hard_links=True),
)
GRANT = Finding(reason=c.MISSING_GRANTS, message="ALTER ROLE shop CREATEDB;")
PASSWORD = Finding(reason=c.AUTHENTICATION_FAILED, message="the password of shop is wrong")


def condition(obj: Any, type_: str) -> Condition:
    got = c.find(obj.conditions, type_)
    assert got is not None
    return got


def ready(status: str, since: float, type_: str = c.READY) -> Condition:
    return Condition(type=type_, status=status, reason="X", last_transition_time=at(since))  # type: ignore[arg-type]


def due(seconds: float, conditions: tuple[Condition, ...], **changes: Any) -> float:
    fields: dict[str, Any] = {
        "probed": at(0),
        "began": at(-5),
        "current": True,
        "wanted": "",
        "outdated": "",
        **changes,
    }
    watched = (c.READY, c.ROLLBACK_READY)
    return schedule.due_in(SETTINGS, moment(seconds), conditions=conditions, watched=watched, **fields)


def test_row_86_without_a_user_an_environment_is_stalled() -> None:
    line, owner = "Set spec.jobs.runAsUser of the Environment to 1001.", FileOwner(run_as_user=1001)
    unknown = Finding(reason=c.JOB_USER_UNKNOWN, message=line)
    result = RESULT.model_copy(update={"blocking": (unknown,), "filestore": None, "file_owner": owner})
    status = found(environment(), result, (17,), began=at(0), now=at(0))
    for type_, value in ((c.STALLED, "True"), (c.READY, "False"), (c.ROLLBACK_READY, "False")):
        got = condition(status, type_)
        assert (got.status, got.reason) == (value, c.JOB_USER_UNKNOWN)
        assert line in got.message
    assert status.probe is not None
    assert status.probe.file_owner == owner
    # Without a filestore no file shows the user.
    need_filestore_to_propose_user(environment())
    with pytest.raises(Stalled, match="runAsUser and runAsGroup of Environment shop to 65532") as stalled:
        need_filestore_to_propose_user(environment({"filestore": None}))
    assert stalled.value.reason == c.JOB_USER_UNKNOWN


def test_what_is_well_is_probed_by_the_clock() -> None:
    assert due(0, (ready("True", 0),)) == SETTINGS.probe_interval
    assert due(SETTINGS.probe_interval, (ready("True", 0),)) <= 0


def test_what_was_never_probed_is_due() -> None:
    assert due(0, (), probed=None) == 0
    assert due(0, (ready("True", 0),), current=False) == 0


def test_who_asks_gets_a_probe_that_began_afterwards() -> None:
    assert due(1, (ready("False", 0),), wanted=at(1)) == 0
    assert due(1, (ready("False", 0),), wanted=at(-5)) > 0


@given(st.floats(0, 10**6))
def test_pauses_double_between_their_bounds(lasted: float) -> None:
    pause = schedule.backoff(at(lasted), at(0))
    assert schedule.BACKOFF_MIN <= pause <= schedule.BACKOFF_MAX
    assert due(0, (ready("True", 0), ready("False", -lasted, c.ROLLBACK_READY))) <= schedule.BACKOFF_MAX


def test_an_outage_of_five_minutes_is_probed_a_handful_of_times() -> None:
    now, count = 0.0, 0
    while now < 300:
        count += 1
        now += schedule.backoff(at(now), at(0))
    assert count <= 7


@given(st.integers(0, 100), st.one_of(st.none(), st.integers(0, 10**6)))
def test_every_probe_has_its_own_name(generation: int, probed: int | None) -> None:
    name = schedule.attempt_name(generation, at(probed) if probed is not None else None)
    assert len(name) == 8
    assert name != schedule.attempt_name(generation, at((probed or 0) + 1))
    assert name != schedule.attempt_name(generation + 1, at(probed) if probed is not None else None)


STORE = Finding(reason=c.STORE_NOT_WRITABLE, message="cannot create a file in claim://backups: Permission denied")


@pytest.mark.parametrize("has_remote", [False, True])
def test_row_75_a_store_that_the_user_cannot_write_prevents_snapshots(*, has_remote: bool) -> None:
    """And rollbacks, unless a remote copy can be read: a restore falls back to it."""
    catalog = new_catalog()
    if has_remote:
        far = {"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastTransitionTime": at(0)}
        made = obj("SnapshotStore", "far", {"s3": {"bucket": "far"}}, {"conditions": [far]})
        catalog.put("SnapshotStore", made)
    mine = environment({"remoteStoreRef": {"name": "far"}})
    status = PROBE.found(world(mine, catalog, seconds=3), RESULT.model_copy(update={"own_store": (STORE,)}), at(1))
    stalled, rollback = condition(status, c.STALLED), condition(status, c.ROLLBACK_READY)
    assert (condition(status, c.READY).status, stalled.reason) == ("False", c.STORE_NOT_WRITABLE)
    assert "Permission denied" in condition(status, c.READY).message
    assert (rollback.reason == c.STORE_NOT_WRITABLE) != has_remote


GONE = Finding(reason=c.DATABASE_NOT_FOUND, message="database shop does not exist; a Rollback creates it")


def test_row_39_a_missing_database_prevents_snapshots_and_not_rollbacks() -> None:
    facts = DatabaseFacts(name="shop", missing=True, server_version="17.2", server_major=17, used_bytes=30)
    folder = Finding(reason=c.FILESTORE_NOT_FOUND, message="no folder")
    result = ProbeResult(database=facts, creatable=(GONE, folder))
    status = found(environment(), result, (15, 17), began=at(1), now=at(3))
    assert (condition(status, c.READY).status, condition(status, c.READY).reason) == ("False", c.DATABASE_NOT_FOUND)
    assert "a Rollback creates it" in condition(status, c.READY).message
    rollback = condition(status, c.ROLLBACK_READY)
    assert rollback.status == "True"
    assert "creates what does not exist yet (DatabaseNotFound, FilestoreNotFound)" in rollback.message
    assert status.phase == "NotReady"
    assert status.probe is not None
    assert (status.probe.database_name, status.probe.server_major, status.probe.database_used_bytes) == ("shop", 17, 30)

    against = found(environment(), result.model_copy(update={"rollback": (GRANT,)}), (15, 17), began=at(1), now=at(3))
    assert condition(against, c.ROLLBACK_READY).reason == c.MISSING_GRANTS
    assert condition(against, c.READY).reason == c.DATABASE_NOT_FOUND


def test_nothing_in_the_way() -> None:
    status = found(environment(), RESULT, (15, 17), began=at(1), now=at(3))
    assert condition(status, c.READY).status == "True"
    assert condition(status, c.ROLLBACK_READY).status == "True"
    assert status.phase == "Ready"
    assert status.probe is not None
    assert (status.probe.started_at, status.probe.server_major, status.probe.database_used_bytes) == (at(1), 17, 30)


@pytest.mark.parametrize(
    ("admin", "reason"), [({}, c.HIDDEN_ONLY), ({"adminSecretRef": {"name": "admin"}}, c.SUCCEEDED)]
)
def test_without_an_administrator_a_copy_is_hidden_only(admin: dict[str, object], reason: str) -> None:
    database = {"secretRef": {"name": "db"}, "capacity": "10Gi", **admin}
    status = found(environment({"database": database}), RESULT, (17,), began=at(1), now=at(3))
    rollback = condition(status, c.ROLLBACK_READY)
    assert (rollback.status, rollback.reason) == ("True", reason)
    assert ("adminSecretRef" in rollback.message) == (reason == c.HIDDEN_ONLY)


def test_a_missing_grant_is_in_a_rollbacks_way_only() -> None:
    status = found(environment(), RESULT.model_copy(update={"rollback": (GRANT,)}), (17,), began=at(1), now=at(3))
    assert condition(status, c.READY).status == "True"
    rollback = condition(status, c.ROLLBACK_READY)
    assert (rollback.status, rollback.reason, rollback.message) == ("False", c.MISSING_GRANTS, GRANT.message)


def test_the_first_finding_gives_the_reason_and_all_give_the_message() -> None:
    result = RESULT.model_copy(update={"blocking": (PASSWORD,), "rollback": (GRANT,)})
    status = found(environment(), result, (17,), began=at(1), now=at(3))
    assert condition(status, c.READY).reason == c.AUTHENTICATION_FAILED
    rollback = condition(status, c.ROLLBACK_READY)
    assert rollback.reason == c.AUTHENTICATION_FAILED
    assert GRANT.message in rollback.message
    assert PASSWORD.message in rollback.message
    assert status.phase == "NotReady"


def test_replication_is_the_reason_only_where_nothing_else_is_missing() -> None:
    """A Rollback with allowReplicationLoss runs where it is the reason."""
    replicated = Finding(reason=c.REPLICATION_ACTIVE, message="slot s")
    facts = Replication(slots=(ReplicationSlot(name="s"),), missing_rights=("ALTER ROLE a REPLICATION;",))
    database = DatabaseFacts(name="shop", server_major=17, replication=facts)
    result = RESULT.model_copy(update={"rollback": (replicated,), "database": database})
    status = found(environment(), result, (17,), began=at(1), now=at(3))
    assert condition(status, c.READY).status == "True"
    assert condition(status, c.ROLLBACK_READY).reason == c.REPLICATION_ACTIVE
    assert status.probe is not None
    assert status.probe.replication == facts
    without = {"database": {"secretRef": {"name": "db"}}}
    status = found(environment(without), result, (17,), began=at(1), now=at(3))
    rollback = condition(status, c.ROLLBACK_READY)
    assert rollback.reason == c.CAPACITY_UNKNOWN
    assert "ReplicationActive: slot s" in rollback.message


@pytest.mark.parametrize("layout", ["Plain", "Odoo"])
@pytest.mark.parametrize("workloads", [[], None, [{"kind": "Deployment", "name": "shop"}]])
def test_row_126_plain_without_workloads_is_not_ready_for_a_rollback(
    layout: str, workloads: list[dict[str, str]] | None
) -> None:
    """Nothing would stop what writes to the folder that is replaced. Snapshots work."""
    spec = {"filestore": {"claimName": "files", "path": "x", "layout": layout}, "workloads": workloads}
    status = found(environment(spec), RESULT, (17,), began=at(1), now=at(3))
    rollback = condition(status, c.ROLLBACK_READY)
    assert condition(status, c.READY).status == "True"
    if layout == "Odoo" or workloads:
        assert rollback.reason != c.WRITERS_NOT_STOPPED
        return
    assert (rollback.status, rollback.reason) == ("False", c.WRITERS_NOT_STOPPED)
    assert "writes to claim files" in rollback.message


def test_a_capacity_that_is_missing_in_the_spec() -> None:
    status = found(environment({"database": {"secretRef": {"name": "db"}}}), RESULT, (17,), began=at(1), now=at(3))
    rollback = condition(status, c.ROLLBACK_READY)
    assert rollback.reason == c.CAPACITY_UNKNOWN
    assert "spec.database.capacity" in rollback.message
    assert condition(status, c.READY).status == "True"


def test_a_missing_capacity_is_proposed_from_the_measured_sizes() -> None:
    without = environment({"database": {"secretRef": {"name": "db"}}})
    facts = DatabaseFacts(name="shop", server_major=17, size_bytes=8 << 30, used_bytes=(12 << 30) + 1)
    status = found(without, RESULT.model_copy(update={"database": facts}), (17,), began=at(1), now=at(3))
    message = condition(status, c.ROLLBACK_READY).message
    assert "uses 12.0 GiB now, 8.0 GiB of it for shop: a rollback needs a volume of 34Gi or more" in message
    assert "enlarge it first" in message
    unmeasured = RESULT.model_copy(update={"database": facts.model_copy(update={"size_bytes": 0})})
    assert (
        "Gi or more"
        not in condition(found(without, unmeasured, (17,), began=at(1), now=at(3)), c.ROLLBACK_READY).message
    )


def test_a_configuration_that_cannot_be_stored_prevents_snapshots_only() -> None:
    lost = Finding(reason=c.CONFIG_NOT_FOUND, message="the configuration 'odoo.conf' is a symbolic link")
    status = found(environment(), RESULT.model_copy(update={"snapshots": (lost,)}), (17,), began=at(1), now=at(3))
    ready = condition(status, c.READY)
    assert (ready.status, ready.reason) == ("False", c.CONFIG_NOT_FOUND)
    assert condition(status, c.ROLLBACK_READY).status == "True"


def test_a_project_that_is_left_out_is_that_of_the_namespace() -> None:
    bare = environment({"projectId": None})
    assert final(bare, bare.status).project_id == naming.project_id(None, "shop")
    declared = environment()
    assert final(declared, declared.status).project_id == declared.spec.project_id


def test_a_server_without_a_mover() -> None:
    status = found(environment(), RESULT, (15,), began=at(1), now=at(3))
    assert condition(status, c.READY).reason == c.UNSUPPORTED_SERVER


def test_a_probe_that_failed_keeps_what_was_known() -> None:
    known = environment(status=found(environment(), RESULT, (17,), began=at(1), now=at(3)).wire())
    status = probe_failed(known, c.POD_NOT_STARTED, "no image", began=at(60), now=at(90))
    assert status.probe is not None
    assert (status.probe.server_major, status.probe.time) == (17, at(90))
    assert condition(status, c.READY).reason == c.POD_NOT_STARTED
    first = probe_failed(environment(), c.POD_NOT_STARTED, "no image", began=at(60), now=at(90))
    assert first.probe is not None


def test_what_a_probe_needs_is_missing() -> None:
    status = unprobed(environment(), Stalled(c.CLAIM_NOT_FOUND, "no claim"), Stamp(at(0), 1))
    assert condition(status, c.STALLED).reason == c.CLAIM_NOT_FOUND
    assert condition(status, c.ROLLBACK_READY).status == "False"


#: One that was never probed.
NEW = store(status={"storeId": None})


def answer(store_id: str) -> StoreProbeResult:
    return StoreProbeResult(store_id=store_id, checksums="Server", conditional_writes=True)


def test_a_store_is_known_by_its_id() -> None:
    status = plan_store.found(NEW, answer(UID), at(1), Stamp(at(3), 1))
    assert (status.store_id, status.phase, status.last_probe_time) == (UID, "Ready", at(1))
    again = plan_store.found(store(status=status.wire()), answer(UID), at(9), Stamp(at(12), 1))
    assert again.phase == "Ready"


def test_another_id_under_the_same_name_is_another_store() -> None:
    known = store(status=plan_store.found(NEW, answer(UID), at(1), Stamp(at(3), 1)).wire())
    status = plan_store.found(known, answer(OTHER_UID), at(9), Stamp(at(12), 1))
    assert condition(status, c.READY).reason == c.STORE_ID_CONFLICT
    assert status.store_id == UID
    assert OTHER_UID in condition(status, c.STALLED).message


def test_a_store_without_tls_is_ready_with_a_warning() -> None:
    for endpoint, warned in (("http://s3.shop:9000", True), ("https://s3.shop:9000", False), (None, False)):
        spec = {"s3": {"bucket": "snapshots", **({"endpoint": endpoint} if endpoint else {})}}
        status = plan_store.found(store(spec, {"storeId": None}), answer(UID), at(1), Stamp(at(3), 1))
        ready = condition(status, c.READY)
        assert ready.status == "True"
        assert ("spec.s3.endpoint is http://" in ready.message) == warned
        assert ("Use https://" in ready.message) == warned
        assert len(status.warnings) == warned


def test_a_store_that_refuses() -> None:
    status = plan_store.probe_failed(store(), c.STORE_ACCESS_DENIED, "403", at(1), Stamp(at(3), 1))
    assert (status.phase, condition(status, c.READY).reason) == ("NotReady", c.STORE_ACCESS_DENIED)


@pytest.mark.parametrize(
    ("reason", "stalled"),
    [
        (c.AUTHENTICATION_FAILED, True),
        (c.DATABASE_NOT_FOUND, True),
        (c.SECRET_INVALID, True),
        (c.TLS_FAILED, True),
        (c.FILESTORE_NOT_FOUND, True),
        (c.POD_NOT_STARTED, True),  # a Secret that does not exist, after the start deadline
        (c.DATABASE_UNREACHABLE, False),
        (c.FILESTORE_NOT_CREATED, False),
        (c.JOB_LOST, False),
        (c.JOB_REFUSED, False),
    ],
)
def test_row_40_what_a_person_must_change_is_stalled(reason: str, stalled: bool) -> None:
    """For kstatus a wrong password was InProgress without an end (issue 9, item 26). What may pass stays
    Reconciling."""
    finding = Finding(reason=reason, message="m.")
    for status in (
        found(environment(), RESULT.model_copy(update={"blocking": (finding,)}), (17,), began=at(1), now=at(3)),
        probe_failed(environment(), reason, "m.", began=at(1), now=at(3)),
    ):
        types = {x.type for x in status.conditions if x.status == "True"}
        assert types == {c.STALLED if stalled else c.RECONCILING}
        assert condition(status, c.READY).reason == reason
        assert status.phase == "NotReady"
        # The next probe finds it well.
        well = found(environment(status=status.wire()), RESULT, (17,), began=at(60), now=at(63))
        assert {x.type for x in well.conditions if x.status == "True"} == {c.READY, c.ROLLBACK_READY}


def test_one_of_several_findings_that_a_person_must_change_is_enough() -> None:
    passing = Finding(reason=c.DATABASE_UNREACHABLE, message="no answer")
    result = RESULT.model_copy(
        update={"blocking": (passing, Finding(reason=c.FILESTORE_NOT_FOUND, message="no folder"))}
    )
    status = found(environment(), result, (17,), began=at(1), now=at(3))
    assert condition(status, c.STALLED).reason == c.FILESTORE_NOT_FOUND
    assert "no answer" in condition(status, c.READY).message


def test_row_93_a_reason_is_in_a_condition_once() -> None:
    """`kubectl describe` and `kubectl ocore` print the reason and the message: "AuthenticationFailed:
    AuthenticationFailed: the password …"."""
    password = Finding(reason=c.AUTHENTICATION_FAILED, message="the password is wrong")
    result = RESULT.model_copy(
        update={
            "blocking": (Finding(reason=c.DATABASE_UNREACHABLE, message="no answer"), password),
            "rollback": (Finding(reason=c.MISSING_GRANTS, message="ALTER ROLE"),),
        }
    )
    status = found(environment(), result, (17,), began=at(1), now=at(3))
    for type_ in (c.READY, c.STALLED):
        given = condition(status, type_)
        assert given.reason == c.AUTHENTICATION_FAILED
        assert given.message == "the password is wrong.\nDatabaseUnreachable: no answer."
    given = condition(status, c.ROLLBACK_READY)
    assert given.reason == c.DATABASE_UNREACHABLE
    assert given.message == "no answer.\nAuthenticationFailed: the password is wrong.\nMissingGrants: ALTER ROLE."


@pytest.mark.parametrize(
    ("reason", "retryable", "stalled"),
    [
        (c.STORE_ACCESS_DENIED, False, True),
        (c.BUCKET_NOT_FOUND, False, True),
        (c.STORE_NOT_WRITABLE, False, True),
        (c.SECRET_INVALID, False, True),
        (c.STORE_UNREACHABLE, True, False),
        (c.STORE_NOT_READY, True, False),
        # The bucket of another region, a CA that is missing: no retry helps.
        (c.STORE_UNREACHABLE, False, True),
        (c.JOB_REFUSED, False, False),
    ],
)
def test_row_40_a_wrong_key_or_bucket_is_stalled(reason: str, *, retryable: bool, stalled: bool) -> None:
    status = plan_store.probe_failed(store(), reason, "m.", at(1), Stamp(at(3), 1), retryable=retryable)
    assert {x.type for x in status.conditions if x.status == "True"} == {c.STALLED if stalled else c.RECONCILING}
    with pytest.raises(Stalled if stalled else Waiting, match=r"m\."):
        need_store(store(status=status.wire()))


def test_a_store_that_was_never_probed_is_waited_for() -> None:
    with pytest.raises(Waiting, match="not been probed"):
        need_store(store())


def test_a_store_that_is_only_read() -> None:
    """Ready, by its id alone. An Environment cannot write to it, however ready it is."""
    spec = {"s3": {"bucket": "snapshots", "endpoint": "https://s3"}, "access": "ReadOnly"}
    status = plan_store.found(store(spec, {"storeId": None}), StoreProbeResult(store_id=UID), at(1), Stamp(at(3), 1))
    assert (status.store_id, status.phase, status.checksums) == (UID, "Ready", None)
    assert "Nothing is written to it" in condition(status, c.READY).message
    with pytest.raises(Stalled, match="sourceStoreRef") as end:
        need_store(store(spec, status.wire()))
    assert end.value.reason == c.STORE_READ_ONLY
    need_store(store({**spec, "access": "ReadWrite"}, status.wire()))


def test_requests_are_remembered_until_the_object_is_gone() -> None:
    requests = ProbeRequests()
    key = environment().key
    requests.ask(key, at(5))
    requests.ask(key, at(1))
    assert requests.wanted(key) == at(5)
    requests.expire(key, at(7))
    requests.expire(key, at(1))
    assert (requests.wanted(key), requests.outdated(key)) == (at(5), at(7))
    requests.forget(key)
    assert (requests.wanted(key), requests.outdated(key)) == ("", "")
    assert NOW


#: Seconds from its creation until Kubernetes ends a probe's Job.
DEADLINE = SETTINGS.start_deadline + 120
MESSAGE = Result(ok=True, payload=RESULT, time=at(0)).termination_message()
REPORTED = Result(
    ok=False, failure=Failure(reason=c.DATABASE_UNREACHABLE, message="no answer", retryable=True), time=at(0)
).termination_message()


def evicted(name: str) -> Object:
    return pod(name, {"waiting": {}}, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")


def not_created(name: str) -> Object:
    state = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "runc create failed: connection reset"}}
    return pod(name, state, phase="Failed")


def unscheduled(name: str) -> Object:
    found_ = pod(
        name, {}, phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "no node"}]
    )
    del found_["spec"]["nodeName"]
    return found_


def current(*pods: Object, seconds: float = 60) -> Answer[ProbeResult]:
    """What follows where these pods were seen, each of one attempt after the other."""
    series = Series(PROBE_COMMAND, UID, ProbeResult, "The probe", "a-", patient=True)
    names = [series.job(n) for n in range(1, len(pods) + 1)]
    found_ = [{**p, "metadata": {**p["metadata"], "name": f"{n}-x"}} for p, n in zip(pods, names, strict=True)]
    jobs = [job(n, "probe", activeDeadlineSeconds=DEADLINE) for n in names]
    seen = observation(jobs, dict(zip(names, ([p] for p in found_), strict=True)), seconds=seconds)
    return series.next(seen, seen.now, partial(schedule.again, PROBE_COMMAND))


@pytest.mark.parametrize("lost", [evicted, not_created])
def test_one_probe_that_is_lost_is_no_verdict(lost: Callable[[str], Object]) -> None:
    """It says nothing about the environment: another one follows, twice."""
    assert isinstance(second := current(lost("p")), Due)
    assert second.number == 2
    done = current(lost("p"), pod("p", ended(MESSAGE), phase="Succeeded"))
    assert isinstance(done, Done)
    assert done.number == 2
    assert isinstance(third := current(lost("p"), lost("p")), Due)
    assert third.number == 3
    assert isinstance(current(lost("p"), lost("p"), lost("p")), Failed)


def test_what_the_probe_reports_is_the_verdict() -> None:
    failed = current(pod("p", ended(REPORTED, 1), phase="Failed"))
    assert isinstance(failed, Failed)
    assert failed.failure.reason == c.DATABASE_UNREACHABLE


def test_a_slow_autoscaler_is_waited_for_until_the_jobs_deadline() -> None:
    waits = current(unscheduled("p"), seconds=SETTINGS.start_deadline + 5)
    assert isinstance(waits, Waits)
    assert waits.reason == c.JOB_PENDING
    assert "has not started yet" in waits.message
    assert isinstance(current(unscheduled("p"), seconds=DEADLINE - 10), Failed)
    wrong_image = pod("p", {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}, phase="Pending")
    assert isinstance(current(wrong_image, seconds=SETTINGS.start_deadline + 5), Failed)


def test_row_88_attachments_outside_the_filestore_are_in_the_message() -> None:
    database = RESULT.database
    assert database is not None
    result = RESULT.model_copy(update={"database": database.model_copy(update={"outside_attachments": 3})})
    ready = c.find(found(environment(), result, (17,), began=at(0), now=at(0)).conditions, c.READY)
    assert ready is not None
    assert ready.status == "True"
    assert "3 or more attachments are outside the filestore, and in no snapshot" in ready.message


@pytest.mark.parametrize(
    ("asks", "requested", "expected"),
    [("", "", False), ("Snapshot", "", False), ("Rollback", "", True), ("", at(-100), False), ("", at(100), True)],
)
def test_row_124_a_probe_that_a_rollback_waits_for_has_another_pool(asks: str, requested: str, expected: bool) -> None:
    catalog = new_catalog()
    if asks:
        spec = {"environmentRef": {"name": "shop"}, "snapshotRef": {"name": "before"}}
        catalog.put(asks, obj(asks, "back", spec, {"environmentName": "shop"}))
    seen = world(environment(status={"probe": {"time": at(0), "generation": 1}}), catalog, requested=requested)
    assert PROBE.asked(seen) == expected
    made = JobBuilder(SETTINGS, inputs(), "1").probe(asked=expected)
    assert job_class(made) == ("asked" if expected else "light")
    assert naming.ANNOTATION_OF_OPERATION not in made["spec"]["template"]["metadata"]["annotations"]


# --- what a person asks for -------------------------------------------------------------------------------------------


def asked_in(request: str, ready: str = "False", *, now: float = 100, began: float = 50, ended: float = 60) -> Any:
    """Seconds until a probe that is asked for, of an Environment that was probed last from 50 to 60."""
    status = {
        "probe": {"time": at(ended), "startedAt": at(began), "generation": 1},
        "conditions": [
            Condition(type=t, status=ready, reason="X", last_transition_time=at(0)).wire()  # type: ignore[arg-type]
            for t in (c.READY, c.ROLLBACK_READY)
        ],
    }
    owner = environment(status=status, annotations={naming.ANNOTATION_PROBE_REQUESTED: request})
    seen = world(owner, seconds=now)
    due = PROBE.asked_in(seen)
    assert due is None or due_in(PROBE, seen) <= due, "it is what decides"
    return due


def test_an_environment_that_was_repaired_is_probed_when_a_person_asks() -> None:
    assert asked_in(at(100)) <= 0
    assert asked_in(at(51)) <= 0
    assert asked_in(at(50)) is None, "a probe has begun since"
    assert asked_in(at(100), ready="True") is None, "one that is ready is measured"
    assert [asked_in(text) for text in ("", "now", "2026-12-01T00:00:00")] == [None] * 3


def test_what_a_person_asks_for_has_a_pause() -> None:
    assert asked_in(at(62), now=62, ended=60) == schedule.PAUSE - 2
    assert asked_in(at(160), now=100) == 60
    assert asked_in("9999-12-31T23:59:59Z") == schedule.HORIZON


def test_a_probe_that_cannot_be_created_says_why_to_what_waits_for_it() -> None:
    """The last verdict stays, and the Rollback that waits reads the reason."""
    quota = "Job probe-1 was refused: exceeded quota: small. Increase the ResourceQuota."
    owner = environment(
        status={
            "probe": {"time": at(0), "generation": 1},
            "conditions": [Condition(type=c.READY, status="True", reason="X", last_transition_time=at(0)).wire()],
        }
    )
    seen = world(owner, seconds=100, requested=at(50), refused={"probe": Waiting(c.JOB_REFUSED, quota, 10)})
    step = probe(PROBE, seen, inputs(owner))
    assert isinstance(step, Idle)
    assert step.why == quota
    requests = ProbeRequests()
    requests.explain(owner.key, step.why)
    assert requests.why(owner.key) == quota
    requests.explain(owner.key, "")
    assert requests.why(owner.key) == ""


def test_a_pod_that_a_quota_refuses_is_named_to_what_waits_for_the_probe() -> None:
    pending = PROBE.probing(world(environment()), "pods is forbidden: exceeded quota: small.", c.JOB_PENDING)
    assert pending.why == "pods is forbidden: exceeded quota: small."
    assert PROBE.probing(world(environment()), PROBE.does).why == ""


@pytest.mark.parametrize(("reason", "shown"), [(c.JOB_REFUSED, True), (c.WAITING_FOR_JOB_SLOT, False)])
def test_a_quota_that_keeps_an_old_verdict_is_shown_in_its_place(reason: str, shown: bool) -> None:
    """What was wrong may be repaired, and no probe can find that out."""
    status = {
        "probe": {"time": at(0), "generation": 1},
        "conditions": [Condition(type=c.READY, status="False", reason="X", last_transition_time=at(0)).wire()],
    }
    refused = {"probe": Waiting(reason, "exceeded quota: small. Increase the ResourceQuota.", 10)}
    seen = world(environment(status=status), seconds=9999, refused=refused)
    if shown:
        with pytest.raises(Waiting, match="quota: small"):
            probe(PROBE, seen, inputs())
    else:
        step = probe(PROBE, seen, inputs())
        assert isinstance(step, Idle)
        assert condition(step.status, c.READY).reason == "X"
