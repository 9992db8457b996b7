"""When the newest snapshot of an environment is tested by a restore, and what the policy's status says of it. Pure.

The policy records slot and Snapshot first, then enters the request in the Snapshot's status, whose own reconcile runs
the Job. So a crash at any point repeats a step and never a test: the slot and the policy's uid name the request, and
the Snapshot remembers what it has answered.
"""

import hashlib
import json
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.resources.restore_test import RestoreTestRequest, RestoreTests, run_of
from ocore_crds.resources.snapshotpolicy import PolicyRestoreTest, SnapshotPolicySpec, SnapshotPolicyStatus
from ocore_crds.rules import cron
from ocore_crds.rules.cron import Schedule, ScheduleError
from ocore_operator import clock, summarize
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.frame.actions import Note, Record
from ocore_operator.kube.resources import Policy
from ocore_operator.policy.world import Action, RequestTest, World
from ocore_operator.summarize import Stamp


def decide(world: World) -> Action | None:
    """The next action for the test restores; None: nothing is to be done now. The Environment exists."""
    policy = world.policy
    if policy is None or world.environment_id is None:
        return None
    tests = wanted(policy.spec)
    status = _scheduled(policy, tests, world.now)
    if status != policy.status:
        return Record(status)
    if tests is None:
        return None
    try:
        schedule = schedule_of(world, tests)
    except ScheduleError as error:
        return _record(policy, _invalid(policy, str(error), world.now))
    test = policy.status.restore_test
    if test is not None and test.result is None:
        return _under_way(world, policy, test)
    return _next(world, policy, schedule)


def wanted(spec: SnapshotPolicySpec) -> RestoreTests | None:
    """The policy's settings; None where it asks for no test restores."""
    return spec.verify if spec.verify is not None and spec.verify.restore else None


def schedule_of(world: World, tests: RestoreTests) -> Schedule:
    """When they are due. Raises ScheduleError."""
    spec = world.spec
    return cron.parse(tests.schedule, spec.time_zone, cron.spread(world.environment_id or "", spec.spread_minutes))


def following(world: World) -> datetime | None:
    """When the next one is due; None: never, or its schedule is invalid."""
    tests = wanted(world.spec)
    if tests is None or world.spec.suspend:
        return None
    try:
        schedule = schedule_of(world, tests)
    except ScheduleError:
        return None
    slot = schedule.next(world.now)
    return schedule.begin(slot) if slot is not None else None


def with_results(status: SnapshotPolicyStatus, world: World) -> SnapshotPolicyStatus:
    """The status with the times: of the newest test that succeeded, of a slot or not, and of the next one."""
    succeeded = [e.proved_at for e in world.snapshots]
    last = max((t for t in (*succeeded, status.last_restore_test_time) if t), default=None)
    due = following(world)
    update = {"last_restore_test_time": last, "next_restore_test_time": clock.text(due) if due is not None else None}
    return status.model_copy(update=update)


# --- the schedule ------------------------------------------------------------------------------------------------


def schedule_hash(spec: SnapshotPolicySpec, tests: RestoreTests) -> str:
    """Digest of the fields that decide when snapshots are tested."""
    fields = {
        "schedule": list(tests.schedule),
        "timeZone": spec.time_zone,
        "spreadMinutes": spec.spread_minutes,
        "suspend": spec.suspend,
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _scheduled(policy: Policy, tests: RestoreTests | None, now: datetime) -> SnapshotPolicyStatus:
    """The schedule is as it is now: from the policy's creation, or from the change that is seen now. So nothing is
    tested because of a change."""
    status = policy.status
    if tests is None:
        if status.restore_test_hash is None:
            return status
        bare = summarize.without(status, c.RESTORE_TEST_SUCCEEDED)
        gone = {"restore_test_hash": None, "restore_tests_from": None, "restore_test": None}
        return bare.model_copy(update={**gone, "next_restore_test_time": None})
    digest = schedule_hash(policy.spec, tests)
    if status.restore_test_hash == digest:
        return status
    first = status.restore_test_hash is None and policy.meta.generation == 1
    since = policy.meta.created if first else clock.text(now)
    return status.model_copy(update={"restore_test_hash": digest, "restore_tests_from": since})


def _invalid(policy: Policy, message: str, now: datetime) -> SnapshotPolicyStatus:
    text = message.replace("spec.schedule", "spec.verify.schedule")
    status = summarize.with_condition(
        policy.status, c.RESTORE_TEST_SUCCEEDED, "False", c.SCHEDULE_INVALID, text, Stamp.of(policy.meta, now)
    )
    return status.model_copy(update={"next_restore_test_time": None})


# --- slots -------------------------------------------------------------------------------------------------------


def _next(world: World, policy: Policy, schedule: Schedule) -> Action | None:
    """Records the newest slot that is due, with the Snapshot to test: at most one, however long the operator did not
    run."""
    status, stamp = policy.status, Stamp.of(policy.meta, world.now)
    slot = due(world, schedule, status)
    if slot is None:
        return None
    run = run_of(policy.meta.uid, slot.isoformat())
    late = (world.now - schedule.begin(slot)).total_seconds()
    limit = policy.spec.starting_deadline_seconds
    if limit is not None and late > limit:
        text = f"The test restore of {clock.text(slot)} is left out: it could not begin for {limit} s."
        left_out = PolicyRestoreTest(slot=clock.text(slot), run=run, result="LeftOut")
        return Record(
            status.model_copy(update={"restore_test": left_out}), (Note("Warning", "MissedRestoreTest", text),)
        )
    newest = candidate(world)
    if newest is None:
        text = (
            "No Complete snapshot of the environment exists that could be tested. The test restore begins once there is"
            " one."
        )
        return _record(
            policy,
            summarize.with_condition(status, c.RESTORE_TEST_SUCCEEDED, "Unknown", c.SNAPSHOT_NOT_FOUND, text, stamp),
        )
    begun = PolicyRestoreTest(slot=clock.text(slot), run=run, snapshot=newest.key.name)
    return Record(_running(status.model_copy(update={"restore_test": begun}), newest, stamp))


def due(world: World, schedule: Schedule, status: SnapshotPolicyStatus) -> datetime | None:
    """The slot that a test restore is due for. None: none."""
    if world.spec.suspend or status.restore_tests_from is None:
        return None
    done = clock.parse(status.restore_test.slot) if status.restore_test is not None else None
    return schedule.due(world.now, clock.parse(status.restore_tests_from), done)


def candidate(world: World) -> SnapshotEntry | None:
    """The newest good Snapshot: the order is that of the points in time that they show."""
    able = [e for e in world.snapshots if e.good and not e.deleting]
    return max(able, key=lambda e: (e.completed, e.age_order), default=None)


def _under_way(world: World, policy: Policy, test: PolicyRestoreTest) -> Action | None:
    """The slot that was recorded, until its test has ended; later slots wait. None: its Snapshot is being tested."""
    entry = next((e for e in world.snapshots if e.key.name == test.snapshot), None)
    if entry is not None and entry.restore is not None and test.run in entry.restore.answered:
        return Record(with_results(_ended(policy, test, entry, world.now), world))
    if entry is None or entry.deleting or entry.phase != "Complete":
        return _another(world, policy, test)
    if entry.restore is None or entry.restore.requested != test.run:
        return RequestTest(entry.key, RestoreTestRequest(run=test.run, slot=test.slot))
    return None


def _another(world: World, policy: Policy, test: PolicyRestoreTest) -> Action | None:
    """The Snapshot was deleted, or was found to be corrupt, before its test: the slot goes to the newest of the
    others."""
    newest = candidate(world)
    if newest is None:
        return None  # the next Snapshot is tested
    status = policy.status.model_copy(update={"restore_test": test.model_copy(update={"snapshot": newest.key.name})})
    return Record(_running(status, newest, Stamp.of(policy.meta, world.now)))


def _running(status: SnapshotPolicyStatus, entry: SnapshotEntry, stamp: Stamp) -> SnapshotPolicyStatus:
    """The verdict of an earlier test stays until this one has ended."""
    found = c.find(status.conditions, c.RESTORE_TEST_SUCCEEDED)
    if found is not None and found.status != "Unknown":
        return status
    text = f"Snapshot {entry.key.name} is being tested."
    return summarize.with_condition(status, c.RESTORE_TEST_SUCCEEDED, "Unknown", c.TESTING, text, stamp)


def _ended(policy: Policy, test: PolicyRestoreTest, entry: SnapshotEntry, now: datetime) -> SnapshotPolicyStatus:
    restore, name, stamp = entry.restore, entry.key.name, Stamp.of(policy.meta, now)
    ok = restore is not None and restore.status == "True"
    status = policy.status.model_copy(
        update={"restore_test": test.model_copy(update={"result": "Succeeded" if ok else "Failed"})}
    )
    if ok:
        text = f"Snapshot {name} was restored as a test. `kubectl ocore certificate {name}` prints the certificate."
        return summarize.with_condition(status, c.RESTORE_TEST_SUCCEEDED, "True", c.SUCCEEDED, text, stamp)
    reason = (restore.reason if restore is not None else "") or c.FAILED
    text = f"The test restore of Snapshot {name} failed ({reason}): see its condition RestoreTested."
    return summarize.with_condition(status, c.RESTORE_TEST_SUCCEEDED, "False", reason, text, stamp)


def _record(policy: Policy, status: SnapshotPolicyStatus) -> Record[SnapshotPolicyStatus] | None:
    """None where the status says so already."""
    return Record(status) if status != policy.status else None
