"""The next action of a SnapshotStore: a probe Job writes the store id, or reads the existing one, and finds what the
store can do. Pure."""

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, StoreProbeResult
from ocore_crds.resources.snapshotstore import SnapshotStoreStatus
from ocore_operator import summarize
from ocore_operator.encryption import need_recipients
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle
from ocore_operator.jobs.building import stores
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.kube.resources import Store
from ocore_operator.readiness.plan_probe import LastProbe, Probed, due_in, probe
from ocore_operator.readiness.world import StoreAction, StoreWorld
from ocore_operator.summarize import Stamp

#: Warnings of a probe that a status holds.
MAX_WARNINGS = 20


class StoreProbe(Probed[StoreWorld, SnapshotStoreStatus, StoreProbeResult]):
    """What is special about the probe of a SnapshotStore."""

    command = "probe-store"
    before_probe = (
        c.PROBING,
        c.NODE_NOT_RESPONDING,
        c.JOB_PENDING,
        c.WAITING_FOR_JOB_SLOT,
        c.CLAIM_NOT_FOUND,
        c.CLAIM_IN_USE,
        c.CONFIG_NOT_FOUND,
        c.JOB_USER_UNKNOWN,
        c.RECIPIENT_INVALID,
    )
    does = "A probe Job checks the store."
    result = StoreProbeResult

    def last_probe(self, status: SnapshotStoreStatus) -> LastProbe:
        """The status holds one time only: when the probe began."""
        return LastProbe(status.last_probe_time, status.last_probe_time, status.probed_generation)

    def wanted(self, world: StoreWorld) -> str:
        """Asked for directly, or by an operation whose Environment waits for this store."""
        if c.is_true(world.obj.status.conditions, c.READY):
            return world.requested
        return max((world.requested, *(waiting.created for waiting in world.operations)))

    def watched(self, status: SnapshotStoreStatus) -> tuple[str, ...]:
        """Ready."""
        return (c.READY,)

    def found(self, world: StoreWorld, result: StoreProbeResult, began: str) -> SnapshotStoreStatus:
        """See :func:`found`."""
        return found(world.obj, result, began, world.stamp)

    def failed(self, world: StoreWorld, failure: Failure, began: str) -> SnapshotStoreStatus:
        """See :func:`probe_failed`."""
        return probe_failed(world.obj, failure.reason, failure.message, began, world.stamp, retryable=failure.retryable)


PROBE = StoreProbe()


def decide(world: StoreWorld) -> StoreAction:
    """The next action."""
    try:
        return probe(PROBE, world, _inputs(world))
    except Outcome as end:  # nothing is stored before what the probe needs exists
        status = _with_phase(summarize.outcome(world.obj.status, end, world.stamp))
        return Idle(end.after if isinstance(end, Waiting) else None, status)


def needs_jobs(world: StoreWorld) -> bool:
    """Whether the next action depends on a Job: only then they are read."""
    try:
        _inputs(world)
    except Outcome:
        return False
    return due_in(PROBE, world) <= 0


def _inputs(world: StoreWorld) -> JobInputs:
    """Raises Outcome where something is missing."""
    if isinstance(world.needs, Outcome):
        raise world.needs
    need_user(world.needs)
    need_recipients(world.obj.spec.encryption, "SnapshotStore", world.obj.meta.name)
    return world.needs


def final(obj: Store, status: SnapshotStoreStatus) -> SnapshotStoreStatus:
    """With the fields that every status has: its URL."""
    return status.model_copy(update={"url": stores.of(obj).public_url(), "observed_generation": obj.meta.generation})


def need_user(job_inputs: JobInputs) -> None:
    """Raises Stalled(JobUserUnknown) where the store would be written as a user that no Environment's Jobs may have.
    Pure."""
    store = job_inputs.store
    if job_inputs.user_unknown and store.spec.access != "ReadOnly":
        raise Stalled(
            c.JOB_USER_UNKNOWN,
            f"The user that writes to the claim of SnapshotStore {store.meta.name} is unknown: no Environment with"
            f" storeRef {store.meta.name} names it. Create the Environment, or set its spec.jobs.runAsUser.",
        )


# --- the status after a probe, pure ----------------------------------------------------------------------------


def found(store: Store, result: StoreProbeResult, began: str, stamp: Stamp) -> SnapshotStoreStatus:
    """The store answered. A new store id means another place: the stored snapshots are elsewhere, so nothing is stored
    here."""
    known = store.status.store_id
    status = store.status.model_copy(update={"probed_generation": stamp.generation, "last_probe_time": began})
    if known is not None and known != result.store_id:
        message = (
            f"The store has the id {result.store_id}, but had {known} before: it is another store, or it was emptied."
            " Restore the previous store, or delete this SnapshotStore and create it again."
        )
        return _with_phase(summarize.outcome(status, Stalled(c.STORE_ID_CONFLICT, message), stamp))
    status = status.model_copy(
        update={"store_id": result.store_id, "checksums": result.checksums, "warnings": result.warnings[:MAX_WARNINGS]}
    )
    message = _message(result)
    for warning in stores.of(store).warnings():
        message += f" Warning: {warning}"
        status = status.model_copy(update={"warnings": (warning, *status.warnings)[:MAX_WARNINGS]})
    return _with_phase(summarize.ready(status, c.SUCCEEDED, message, stamp))


def _message(result: StoreProbeResult) -> str:
    if result.checksums is None:
        return "The store can be read. Nothing is written to it (access ReadOnly)."
    how = "checks the SHA-256 of what is written" if result.checksums == "Server" else "is read back after each write"
    return f"The store can be written and {how}."


def probe_failed(
    store: Store, reason: str, message: str, began: str, stamp: Stamp, *, retryable: bool = True
) -> SnapshotStoreStatus:
    """The probe failed, or the store refused."""
    status = store.status.model_copy(update={"probed_generation": stamp.generation, "last_probe_time": began})
    passes = c.may_pass(reason, retryable=retryable)
    return _with_phase(summarize.not_ready(status, reason, message, stamp, passes=passes))


def _with_phase(status: SnapshotStoreStatus) -> SnapshotStoreStatus:
    return status.model_copy(update={"phase": "Ready" if c.is_true(status.conditions, c.READY) else "NotReady"})
