"""What is refused before anything is changed, with a message that says what to do."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources.preview import NEVER
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.resources.workloads import Target
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Record, SetLock, Wait
from ocore_operator.kube import resources
from ocore_operator.rollback import observe, plan, plan_preflight
from ocore_operator.rollback import world as v
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.snapshot_and_environment import taken_of
from ocore_operator.rollback.transitions import stamp
from ocore_operator.workloads import scale
from support.operator import objects
from support.operator.jobs import rollback
from support.operator.rollback_changed import decided, environment, ready, snapshot
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ROLLBACK_ID, START, Model


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (snapshot(complete=False, failed=True), c.SNAPSHOT_NOT_COMPLETE, "Choose one that is Complete"),
        (snapshot(broken="bytes differ."), c.VERIFICATION_FAILED, "bytes differ"),
        (lambda w: replace(w, source=replace(w.source, corrupt_base="full")), c.VERIFICATION_FAILED,
         "full, the full Snapshot that it needs, is corrupt"),
        (snapshot(project_id="other"), c.OTHER_PROJECT, "stays within a project"),
        (snapshot(project_id="0"), c.OTHER_PROJECT, "stays within a project"),
        (environment(rollback_ready=False), c.ENVIRONMENT_NOT_READY, "its condition RollbackReady is not True"),
        (
            environment(not_ready_reason=c.DUPLICATE_TARGET, not_ready_message="as shop2", probed_at=None),
            c.DUPLICATE_TARGET,
            "as shop2",
        ),
        (snapshot(environment_id="other"), c.OTHER_ENVIRONMENT, "has id"),
        (snapshot(server_major=18), c.UNSUPPORTED_SERVER, "PostgreSQL 18"),
        (environment(capacity=None), c.CAPACITY_UNKNOWN, "spec.database.capacity"),
        (environment(capacity=2 * 10**9), c.INSUFFICIENT_CAPACITY, "476.8 MiB"),
        (environment(rollback_ready=False, not_ready_reason=c.MISSING_GRANTS, not_ready_message="ALTER ROLE"),
         c.MISSING_GRANTS, "ALTER ROLE"),
        (lambda w: replace(w, duplicate_of="elder"), c.DUPLICATE_ID, "elder"),
        (lambda w: replace(w, deleting=True), c.CANCELLED, "deleted"),
    ],
)  # fmt: skip
def test_refused_at_once(change: Callable[[v.World], v.World], reason: str, says: str) -> None:
    _, status = decided(change)
    assert (status.phase, status.failure_reason) == ("Failed", reason)
    assert says in (status.failure_message or "")
    # Nothing was touched, so nothing is left.
    assert (status.residue, status.attempt, status.started_at) == ("None", 0, None)


@pytest.mark.parametrize(
    ("change", "reason", "waits"),
    [
        (lambda w: replace(w, snapshot=None), c.SNAPSHOT_NOT_FOUND, c.WAITING_FOR_SNAPSHOT),
        (lambda w: replace(w, environment=None), c.ENVIRONMENT_NOT_FOUND, c.WAITING_FOR_ENVIRONMENT),
        (environment(id=None), c.ENVIRONMENT_NOT_FOUND, c.WAITING_FOR_ENVIRONMENT),
        (snapshot(complete=False), c.SNAPSHOT_NOT_COMPLETE, c.WAITING_FOR_SNAPSHOT),
        (
            lambda w: replace(w, workloads=(replace(w.workloads[0], exists=False),)),
            c.WORKLOAD_NOT_FOUND,
            c.WAITING_FOR_ENVIRONMENT,
        ),
    ],
)
def test_what_is_missing_may_come_for_a_minute(change: Callable[[v.World], v.World], reason: str, waits: str) -> None:
    waiting = at_second(59.9, change)
    assert isinstance(waiting, Wait)
    assert waiting.reason == waits
    late = at_second(60, change)
    assert isinstance(late, Record)
    assert late.status.failure_reason == reason


def at_second(seconds: float, change: Callable[[v.World], v.World], *, locked: bool = False) -> v.Action:
    """What is decided so many seconds after the rollback was first observed, or after it took the operation lock."""
    model = ready()
    world = model.see(model.time).world
    assert model.status.queued_at is not None
    since = world.lock.since if locked else parse(model.status.queued_at)
    assert since is not None
    now = since + timedelta(seconds=seconds)
    return plan.decide(model.status, model.spec, change(world), ROLLBACK_ID, now)


def unprobed(asked: bool, watched: float) -> Callable[[v.World], v.World]:
    """No probe has ended since the lock was taken; this operator observes it since so many seconds after that."""

    def change(world: v.World) -> v.World:
        assert world.lock.since is not None
        since = world.lock.since + timedelta(seconds=watched)
        return environment(probed_at=None)(replace(world, probe_asked=asked, watched_since=since))

    return change


def test_a_probe_has_three_minutes_in_which_this_operator_observes_it() -> None:
    assert at_second(180, unprobed(asked=False, watched=-60), locked=True) == v.Do(v.AskProbe())
    waiting = at_second(180, unprobed(asked=True, watched=-60), locked=True)
    assert isinstance(waiting, Wait)
    assert waiting.reason == c.WAITING_FOR_ENVIRONMENT
    late = at_second(181, unprobed(asked=True, watched=-60), locked=True)
    assert isinstance(late, Record)
    assert late.status.failure_reason == c.ENVIRONMENT_NOT_READY
    assert "ended within 180 s: see the Jobs with" in (late.status.failure_message or "")
    # An operator that was away has not seen it for that long.
    assert isinstance(at_second(190, unprobed(asked=True, watched=10), locked=True), Wait)
    assert isinstance(at_second(191, unprobed(asked=True, watched=10), locked=True), Record)


def test_a_probe_that_cannot_run_is_waited_for_with_the_reason() -> None:
    """A full quota of pods read "Waiting for a probe", without more."""
    quota = "Job probe-1 was refused: exceeded quota: small. Increase the ResourceQuota."

    def change(world: v.World) -> v.World:
        return replace(unprobed(asked=True, watched=-60)(world), probe_waits=quota)

    waiting = at_second(100, change, locked=True)
    assert isinstance(waiting, Wait)
    assert waiting.message == f"Waiting for a probe of environment shop: {quota}"
    late = at_second(181, change, locked=True)
    assert isinstance(late, Record)
    assert quota in (late.status.failure_message or "")


def test_a_probe_that_began_with_the_lock_counts() -> None:
    begun = at_second(9, lambda w: environment(probed_at=w.lock.since)(w), locked=True)
    assert isinstance(begun, Record)
    assert begun.status.stage == "Restore"


def refused(change: Callable[[v.World], v.World], *, probed: bool | None = True, **spec: object) -> list[str]:
    """All reasons, as a preview lists them."""
    model = ready()
    wanted = type(model.spec).model_validate({**model.spec.wire(), **spec})
    found = plan_preflight.refusals(wanted, change(model.see(model.time).world), model.now(), probed=probed)
    return [refusal.reason for refusal in found]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (lambda w: replace(w, snapshot=None, environment=None), [c.SNAPSHOT_NOT_FOUND]),
        (lambda w: environment(project_id="other")(replace(w, snapshot=None)), [c.SNAPSHOT_NOT_FOUND]),
        (lambda w: snapshot(project_id="other")(replace(w, environment=None)), [c.ENVIRONMENT_NOT_FOUND]),
        # What it was taken of is not known yet.
        (snapshot(complete=False, project_id="other", environment_id="other"), [c.SNAPSHOT_NOT_COMPLETE]),
        (lambda w: snapshot(environment_id="other")(environment(id=None)(w)), [c.ENVIRONMENT_NOT_FOUND]),
        (snapshot(project_id="other", environment_id="other"), [c.OTHER_PROJECT, c.OTHER_ENVIRONMENT]),
        (lambda w: replace(w, executed_before=True, duplicate_of="elder"), [c.ALREADY_EXECUTED, c.DUPLICATE_ID]),
    ],
)
def test_a_preview_lists_what_is_known_of_what_exists(change: Callable[[v.World], v.World], reasons: list[str]) -> None:
    assert refused(change) == reasons


@pytest.mark.parametrize(
    ("probed", "reason", "reasons"),
    [
        (True, c.MISSING_GRANTS, [c.MISSING_GRANTS, c.INSUFFICIENT_CAPACITY]),
        (None, c.MISSING_GRANTS, []),
        (False, c.MISSING_GRANTS, [c.ENVIRONMENT_NOT_READY]),
        (True, c.CAPACITY_UNKNOWN, [c.CAPACITY_UNKNOWN, c.INSUFFICIENT_CAPACITY]),
        (True, c.DUPLICATE_TARGET, [c.DUPLICATE_TARGET]),
        (None, c.DUPLICATE_TARGET, [c.DUPLICATE_TARGET]),
    ],
)
def test_a_preview_lists_what_a_probe_has_found(probed: bool | None, reason: str, reasons: list[str]) -> None:
    change = environment(rollback_ready=False, not_ready_reason=reason, capacity=2 * 10**9)
    assert refused(change, probed=probed) == reasons
    assert c.SNAPSHOT_NOT_FOUND in refused(lambda w: replace(change(w), snapshot=None), probed=probed)
    assert refused(lambda w: replace(w, environment=None), probed=probed) == [c.ENVIRONMENT_NOT_FOUND]


def test_what_a_proof_has_found_is_warned_of() -> None:
    """The newest proof of a restore in this environment failed: it blocks nothing."""
    assert decided(lambda w: w)[1].warnings == ()
    (warning,) = decided(environment(proof_failed="The copy had no tables."))[1].warnings
    assert (warning.reason, warning.message) == (c.PROOF_FAILED, "The copy had no tables.")


def test_warnings_need_neither_the_snapshot_nor_the_environment() -> None:
    model = ready()
    world = workload(ready_replicas=1)(model.see(model.time).world)
    for change in ({"snapshot": None}, {"environment": None}, {}):
        found = plan_preflight.found_warnings(model.spec, replace(world, **change))  # type: ignore[arg-type]
        assert [w.reason for w in found] == [c.WORKLOAD_NOT_READY]


def test_a_snapshot_that_does_not_exist_is_named() -> None:
    late = at_second(60, lambda w: replace(w, snapshot=None))
    assert isinstance(late, Record)
    assert "There is no Snapshot s1 in this namespace" in (late.status.failure_message or "")


def test_a_target_that_does_not_exist_is_named_as_such() -> None:
    absent: Callable[[v.World], v.World] = lambda w: replace(w, environment=None)  # noqa: E731
    plain = decided(absent, later=61)[1].failure_message or ""
    assert "of which snapshot s1 was taken, does not exist. Create it." in plain
    named = decided(absent, later=61, targetEnvironmentRef={"name": "shop"})[1].failure_message or ""
    assert "the target, does not exist in this namespace" in named


def test_row_37_replication_refuses_unless_its_loss_is_allowed() -> None:
    replicated = environment(
        rollback_ready=False, not_ready_reason=c.REPLICATION_ACTIVE, not_ready_message="slot s (pgoutput, active)"
    )
    assert decided(replicated)[1].failure_reason == c.REPLICATION_ACTIVE
    assert "slot s (pgoutput, active)" in (decided(replicated)[1].failure_message or "")
    assert decided(replicated, allowReplicationLoss=True)[1].stage == "Restore"
    newer = environment(rollback_ready=False, not_ready_reason=c.UNSUPPORTED_SERVER, not_ready_message="14")
    assert decided(newer, allowReplicationLoss=True)[1].failure_reason == c.UNSUPPORTED_SERVER
    # What is also missing still refuses it: another finding comes first, or the capacity is too small.
    other = environment(rollback_ready=False, not_ready_reason=c.MISSING_GRANTS, not_ready_message="ALTER ROLE")
    assert decided(other, allowReplicationLoss=True)[1].failure_reason == c.MISSING_GRANTS
    full = environment(rollback_ready=False, not_ready_reason=c.REPLICATION_ACTIVE, capacity=2 * 10**9)
    assert decided(full, allowReplicationLoss=True)[1].failure_reason == c.INSUFFICIENT_CAPACITY


def test_a_loss_that_is_allowed_needs_the_rights_for_it() -> None:
    lacking = environment(
        rollback_ready=False, not_ready_reason=c.REPLICATION_ACTIVE, replication_rights=("ALTER ROLE a REPLICATION;",)
    )
    status = decided(lacking, allowReplicationLoss=True)[1]
    assert status.failure_reason == c.MISSING_GRANTS
    assert "ALTER ROLE a REPLICATION;" in (status.failure_message or "")


def test_refused_after_its_time() -> None:
    assert decided(lambda w: w, notAfter="2026-01-01T00:00:00Z")[1].failure_reason == c.EXPIRED
    assert decided(lambda w: w, notAfter="2027-01-01T00:00:00Z")[1].stage == "Restore"
    assert decided(lambda w: w, notAfter=NEVER)[1].failure_reason == c.EXPIRED
    now = stamp(ready().now())
    assert decided(lambda w: w, notAfter=now)[1].stage == "Restore"
    assert decided(lambda w: w, later=1, notAfter=now)[1].failure_reason == c.EXPIRED


def test_a_preview_is_past_its_time_unless_that_is_never() -> None:
    """`never` is for operators that do not know dryRun: they must not run it."""
    assert refused(lambda w: w, dryRun=True, notAfter=NEVER) == []
    assert refused(lambda w: w, dryRun=True, notAfter="2025-01-01T00:00:00Z") == [c.EXPIRED]


def test_the_same_rollback_again_does_nothing() -> None:
    """Also where the snapshot is gone and it is past its time: it ran, and that is well."""
    action, status = decided(lambda w: replace(w, executed_before=True, snapshot=None), notAfter="2026-01-01T00:00:00Z")
    assert isinstance(action, Record)
    assert (status.phase, status.residue, status.switched_at) == ("Complete", "None", None)


def test_a_probe_from_before_the_lock_does_not_count() -> None:
    """Another operation may have filled the disk since. The restore's Job probes again; where the last probe has found
    anything, a Job of its own does."""
    old = environment(probed_at=START - timedelta(seconds=1), snapshot_ready=False)
    action, _ = decided(old)
    assert action == v.Do(v.AskProbe())


def test_exactly_full_is_not_too_full() -> None:
    assert decided(environment(capacity=25 * 10**8))[1].stage == "Restore"
    assert decided(environment(capacity=25 * 10**8 - 1))[1].failure_reason == c.INSUFFICIENT_CAPACITY


def test_the_space_is_for_a_database() -> None:
    none = environment(capacity=None, has_database=False, server_major=0)
    assert decided(lambda w: snapshot(server_major=None, database_bytes=0)(none(w)))[1].stage == "Restore"
    assert decided(lambda w: snapshot(database_bytes=0)(environment(capacity=None)(w)))[1].stage == "Restore"


def test_a_newer_server_takes_an_older_dump() -> None:
    assert decided(snapshot(server_major=13))[1].stage == "Restore"


def test_no_workload_is_fine() -> None:
    assert decided(lambda w: replace(w, workloads=()))[1].stage == "Restore"


def restoring(reason: str) -> tuple[v.Action, RollbackStatus]:
    """What is decided once the restore Job has ended with this reason."""
    model = Model()
    operator = Operator(model)
    for _ in range(50):
        seen, action = operator.decide()
        if isinstance(action, v.Do) and isinstance(action.effect, v.StartJob):
            break
        if not operator.act(seen, action):
            model.advance(1, 1)
    failure = Failure(reason=reason, message="A rollback r has run before.", retryable=False)
    job = v.JobView(kind="restore", attempt=1, name="restore-1", ended=True, failure=failure)
    world = replace(model.see(model.time).world, jobs=(job,))
    action = plan.decide(model.status, model.spec, world, ROLLBACK_ID, model.now())
    return action, action.status if isinstance(action, Record) else model.status


def leftovers_of(status: RollbackStatus) -> tuple[object, ...]:
    return status.residue, status.position, status.restored_database, status.previous_database, status.switched_at


def test_row_32_a_record_of_an_earlier_run_ends_it_and_nothing_is_removed() -> None:
    """Where spec.id is set, the earlier run's databases have this rollback's names: a cleanup would drop what users may
    still need."""
    action, status = restoring(c.ALREADY_EXECUTED)
    assert (status.stage, status.phase) == ("Ended", "Complete")
    assert leftovers_of(status) == ("None", None, None, None, None)
    assert isinstance(action, Record)
    assert action.notes[0].reason == c.ALREADY_EXECUTED
    assert {step.state for step in status.steps} == {"Skipped"}
    ended = summarized(status, generation=1, deleting=False, reason="", message="", now=START)
    complete = c.find(ended.conditions, c.COMPLETE)
    assert complete is not None
    assert (complete.status, complete.reason) == ("True", c.ALREADY_EXECUTED)


@pytest.mark.parametrize("reason", [c.SWITCHED_BACK, c.OUTCOME_UNKNOWN])
def test_row_32_a_record_without_success_refuses_it_and_nothing_is_removed(reason: str) -> None:
    action, status = restoring(reason)
    assert (status.stage, status.failure_reason) == ("Abort", reason)
    assert isinstance(action, Record)
    assert action.notes[0].type == "Warning"
    model = ready()
    for _ in range(5):
        world = replace(model.see(model.time).world, jobs=())
        action = plan.decide(status, model.spec, world, ROLLBACK_ID, model.now())
        if not isinstance(action, Record):
            break
        status = action.status
    assert (status.stage, status.phase, status.failure_reason) == ("Ended", "Failed", reason)
    assert leftovers_of(status) == ("None", None, None, None, None)
    assert action == v.Do(SetLock(held=False))


def workload(**changes: object) -> Callable[[v.World], v.World]:
    """The first of the workloads with these changes."""

    def change(world: v.World) -> v.World:
        first, *others = world.workloads
        return replace(world, workloads=(replace(first, **changes), *others))  # type: ignore[arg-type]

    return change


def taken_with(**changes: object) -> Callable[[v.World], v.World]:
    """A snapshot of image shop:1 at commit c1, and a workload and a ConfigMap as then but for the changes."""

    def change(world: v.World) -> v.World:
        then = snapshot(image="shop:1", commit="c1", config_sha256="aa")(world)
        now = workload(image=changes.get("image", "shop:1"), commit=changes.get("commit", "c1"))(then)
        return replace(now, config_name="shop-config", config_sha256=str(changes.get("config", "aa")))

    return change


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (taken_with(image="shop:2"), c.OTHER_VERSION, "was taken with image shop:1; Deployment w0 has image shop:2"),
        (taken_with(commit="c2"), c.OTHER_VERSION, "was taken with commit c1; Deployment w0 has commit c2"),
        (taken_with(image="shop:2", commit="c2"), c.OTHER_VERSION,
         "image shop:1, commit c1; Deployment w0 has image shop:2, commit c2"),
        (taken_with(config="bb"), c.OTHER_VERSION, "ConfigMap shop-config has changed since snapshot s1"),
        (workload(ready_replicas=1), c.WORKLOAD_NOT_READY,
         "Deployment w0 is not available to begin with: 1 of 2 replicas are ready (CrashLoopBackOff)."),
        (workload(replicas=0, ready_replicas=0), c.WORKLOAD_NOT_READY,
         "Deployment w0 is scaled to 0 replicas to begin with"),
        (environment(workloads_given=False), c.WORKLOADS_NOT_GIVEN, "so nothing is stopped. Sessions are ended"),
        (workload(paused=True), c.WORKLOAD_PAUSED, "Deployment w0 is paused (spec.paused). It is stopped and started"),
    ],
)  # fmt: skip
def test_row_41_what_blocks_nothing_is_said_before_it_starts(
    change: Callable[[v.World], v.World], reason: str, says: str
) -> None:
    """A Deployment that was broken before was stopped, switched and switched back without a word (issue 9, item 25)."""
    action, status = decided(change)
    assert isinstance(action, Record)
    assert status.stage == "Restore"
    assert [w.reason for w in status.warnings] == [reason]
    assert says in status.warnings[0].message
    assert ("Warning", reason) in [(n.type, n.reason) for n in action.notes]
    shown = summarized(status, generation=1, deleting=False, reason="", message="", now=START)
    found = c.find(shown.conditions, c.PREFLIGHT_WARNINGS)
    assert found is not None
    assert (found.status, found.reason, found.message) == ("True", reason, status.warnings[0].message)


@pytest.mark.parametrize(("workloads", "reasons"), [(None, [c.WORKLOADS_NOT_GIVEN]), ([], []), ([{"name": "w"}], [])])
def test_an_environment_without_the_field_workloads_is_warned_of(workloads: object, reasons: list[str]) -> None:
    """`workloads: []` says on purpose that nothing is to be stopped."""
    given = objects.environment({"workloads": workloads}).spec.workloads is not None
    _, status = decided(environment(workloads_given=given))
    assert [w.reason for w in status.warnings] == reasons


@pytest.mark.parametrize(
    "change",
    [
        taken_with(),
        taken_with(image="", commit="", config=""),  # no workload names them now
        lambda w: snapshot(image="", commit="", config_sha256="")(taken_with()(w)),  # an earlier version took it
    ],
)
def test_what_is_the_same_or_unknown_is_not_warned_of(change: Callable[[v.World], v.World]) -> None:
    _, status = decided(change)
    assert (status.stage, status.warnings) == ("Restore", ())
    shown = summarized(status, generation=1, deleting=False, reason="", message="", now=START)
    assert c.find(shown.conditions, c.PREFLIGHT_WARNINGS) is None


def test_what_is_compared_is_observed() -> None:
    source = {"environmentId": "e", "environmentName": "shop", "environmentType": "production", "projectId": "p"}
    taken = {"source": {**source, "image": "shop:1", "commitSha": "c1", "configSha256": "aa"}}
    recorded = taken_of(objects.snapshot(status=taken))
    assert (recorded.image, recorded.commit_sha, recorded.config_sha256) == ("shop:1", "c1", "aa")
    pod = {
        "metadata": {"annotations": {"ocore.dev/commit-sha": "c2"}},
        "spec": {"containers": [{"name": "shop", "image": "shop:2"}]},
    }
    deployment = {
        "metadata": {"name": "shop", "generation": 1, "resourceVersion": "1"},
        "spec": {"selector": {}, "template": pod},
    }
    seen = scale.view(Target("Deployment", "shop"), deployment, [], commit="c2")
    assert (seen.image, seen.commit) == ("shop:2", "c2")
    # The ConfigMap is read from the start. What only a preview reads, its first status does not show: the world is read
    # again.
    begun = rollback().with_status(RollbackStatus())
    assert observe._reads(begun) == observe._reads(begun.with_status(RollbackStatus(stage="Preflight")))
    preview = replace(begun, spec=begun.spec.model_copy(update={"dry_run": True}))
    assert observe._reads(preview) != observe._reads(preview.with_status(RollbackStatus(stage="Preview")))


@pytest.mark.parametrize(
    ("stage", "config", "read"),
    [(None, True, True), ("Preflight", True, True), ("Restore", True, False), ("Preflight", False, False)],
)
def test_the_config_map_is_read_until_the_preflight_only(stage: str | None, *, config: bool, read: bool) -> None:
    class Kube:
        async def get(self, *_: object) -> dict[str, object]:
            return {"data": {"app.conf": "x"}}

    class Context:
        kube = Kube()

    spec = {"config": {"configMapRef": {"name": "shop-config"}}} if config else {"config": None}
    rollback = resources.rollback(
        {
            "metadata": {
                "name": "r",
                "namespace": "ns",
                "uid": ROLLBACK_ID,
                "resourceVersion": "1",
                "creationTimestamp": objects.NOW,
            },
            "spec": {"snapshotRef": {"name": "s1"}},
            "status": {"stage": stage},
        }
    )
    name, digest = asyncio.run(observe._config(Context(), rollback, objects.environment(spec)))  # type: ignore[arg-type]
    assert (name == "shop-config", len(digest) == 64) == (read, read)


def test_row_88_a_preview_says_what_a_snapshot_lacks() -> None:
    """Words of a manifest: bounded. Also that its application is in the middle of an upgrade."""
    _, status = decided(
        snapshot(incomplete=("3 attachments are elsewhere", *("x" * 4000 for _ in range(9))), unfinished_modules=2)
    )
    assert [w.reason for w in status.warnings] == [c.FILES_NOT_INCLUDED, c.UPGRADE_IN_PROGRESS]
    lacks, upgrade = status.warnings
    assert "3 attachments are elsewhere." in lacks.message
    assert len(lacks.message) < 1000
    assert "2 modules were to be installed, upgraded or removed" in upgrade.message
    _, status = decided(snapshot())
    assert status.warnings == ()
