"""SnapshotStore: a probe Job writes the store id, or reads the existing one, and finds what the store can do."""

from functools import partial

from ocore_crds import conditions as c
from ocore_crds.commands.table import PROBE_STORE
from ocore_crds.protocol import Failure, StoreProbeResult
from ocore_crds.snapshotstore import SnapshotStoreSpec, SnapshotStoreStatus
from ocore_kube.types import CLAIMS, CONFIG_MAPS, STORES
from ocore_operator import summarize
from ocore_operator.context import Context
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import operations
from ocore_operator.errors import Outcome, Stalled
from ocore_operator.jobs import build, inputs
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.jobs.parts import public_url
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, Store
from ocore_operator.readiness import probed
from ocore_operator.readiness.probed import BuildJob, LastProbe, ProbedKind
from ocore_operator.summarize import Stamp

#: Warnings of a probe that a status holds.
MAX_WARNINGS = 20


#: For people; the store works without it.
UNENCRYPTED = (
    "spec.s3.endpoint is http://: snapshots cross the network unencrypted, and anyone in its path can read or change"
    " them. Use https://."
)


class StoreKind(ProbedKind[SnapshotStoreSpec, SnapshotStoreStatus, StoreProbeResult]):
    """What is special about a SnapshotStore."""

    resource = STORES
    before_probe = (
        c.PROBING,
        c.WAITING_FOR_JOB_SLOT,
        c.CLAIM_NOT_FOUND,
        c.CLAIM_IN_USE,
        c.CONFIG_NOT_FOUND,
        c.JOB_USER_UNKNOWN,
    )
    does = "A probe Job checks the store."
    command = PROBE_STORE
    result = StoreProbeResult

    def parse(self, obj: Object) -> Store:
        """The SnapshotStore."""
        return resources.store(obj)

    async def references(self, ctx: Context, obj: Store) -> BuildJob:
        """The claim and the CA bundle exist, and the user that writes to the claim is known."""
        namespace, spec = obj.meta.namespace, obj.spec
        if spec.claim is not None:
            await inputs.need(ctx, CLAIMS, namespace, spec.claim.claim_name, c.CLAIM_NOT_FOUND, "spec.claim")
        if spec.s3 is not None and spec.s3.ca_bundle is not None:
            name = spec.s3.ca_bundle.name
            await inputs.need(ctx, CONFIG_MAPS, namespace, name, c.CONFIG_NOT_FOUND, "spec.s3.caBundle")

        job_inputs = await inputs.load_for_store(ctx, namespace, obj)
        need_user(job_inputs)

        async def job(attempt: str) -> Object:
            return build.probe_store(ctx.settings, job_inputs, attempt=attempt)

        return job

    def last_probe(self, status: SnapshotStoreStatus) -> LastProbe:
        """The status holds one time only: when the probe began."""
        return LastProbe(status.last_probe_time, status.last_probe_time, status.probed_generation)

    def wanted(self, ctx: Context, obj: Store) -> str:
        """Asked for directly, or by an operation whose Environment waits for this store."""
        wanted = ctx.probes.wanted(obj.key)
        if c.is_true(obj.status.conditions, c.READY):
            return wanted
        for entry in ctx.catalog.of_kind(EnvironmentEntry, obj.meta.namespace):
            if entry.store == obj.meta.name:
                for waiting in operations(ctx.catalog, obj.meta.namespace, entry.key.name):
                    wanted = max(wanted, waiting.created)
        return wanted

    def watched(self, status: SnapshotStoreStatus) -> tuple[str, ...]:
        """Ready."""
        return (c.READY,)

    def found(self, ctx: Context, obj: Store, result: StoreProbeResult, began: str) -> SnapshotStoreStatus:
        """See :func:`found`."""
        return found(obj, result, began, Stamp.of(obj.meta, ctx.now()))

    def probe_failed(self, ctx: Context, obj: Store, failure: Failure, began: str) -> SnapshotStoreStatus:
        """See :func:`probe_failed`."""
        stamp = Stamp.of(obj.meta, ctx.now())
        return probe_failed(obj, failure.reason, failure.message, began, stamp, retryable=failure.retryable)

    def unprobed(self, obj: Store, end: Outcome, stamp: Stamp) -> SnapshotStoreStatus:
        """Nothing is stored before what the probe needs exists."""
        return _with_phase(summarize.outcome(obj.status, end, stamp))

    def final(self, obj: Store, status: SnapshotStoreStatus) -> SnapshotStoreStatus:
        """With its URL."""
        return status.model_copy(update={"url": public_url(obj), "observed_generation": obj.meta.generation})

    def wake(self, ctx: Context, obj: Store, new: SnapshotStoreStatus) -> None:
        """The Environments that store into it."""
        if probed.verdict(obj.status.conditions, c.READY) == probed.verdict(new.conditions, c.READY):
            return
        for entry in ctx.catalog.of_kind(EnvironmentEntry, obj.meta.namespace):
            if entry.store == obj.meta.name:
                ctx.queue.add(entry.key)


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
    if store.spec.s3 is not None and (store.spec.s3.endpoint or "").startswith("http://"):
        message += f" Warning: {UNENCRYPTED}"
        status = status.model_copy(update={"warnings": (UNENCRYPTED, *status.warnings)[:MAX_WARNINGS]})
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


reconcile = partial(probed.reconcile, StoreKind())
