"""SnapshotStore: a probe Job writes the store id or reads the one that is there, and says what the store can do."""

from ocore_crds import conditions as c
from ocore_crds.protocol import StoreProbeResult
from ocore_crds.snapshotstore import SnapshotStoreStatus
from ocore_operator import clock, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.jobs import build, inputs
from ocore_operator.jobs.parts import public_url
from ocore_operator.kube import resources
from ocore_operator.kube.client import CLAIMS, CONFIG_MAPS, STORES
from ocore_operator.kube.resources import Key, Store
from ocore_operator.readiness import probe, schedule
from ocore_operator.readiness.probe import Probe

#: Reasons that say something of what the probe needs or how far it is: once they are mended, it is probed at once.
BEFORE_PROBE = (c.PROBING, c.WAITING_FOR_JOB_SLOT, c.CLAIM_NOT_FOUND, c.CLAIM_IN_USE, c.CONFIG_NOT_FOUND)


async def reconcile(ctx: Context, key: Key) -> float | None:
    """One look at a SnapshotStore; seconds until the next one."""
    obj = await ctx.kube.get(STORES, key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
        ctx.probes.forget(key)
        return None
    ctx.catalog.put("SnapshotStore", obj)
    store = resources.store(obj)
    if store.meta.deleted is not None:
        return None
    now = clock.text(ctx.now())
    after: float | None
    try:
        status, after = await _look(ctx, store)
    except Outcome as end:
        status = summarize.outcome(store.status, end, now=now, generation=store.meta.generation)
        status, after = _phase(status), end.after if isinstance(end, Waiting) else None
    status = status.model_copy(update={"url": public_url(store), "observed_generation": store.meta.generation})
    await summarize.write(ctx, store, status)
    old, new = (c.find(s.conditions, c.READY) for s in (store.status, status))
    if new is not None and (old is None or (old.status, old.reason) != (new.status, new.reason)):
        _wake(ctx, store)
    return after


def _wake(ctx: Context, store: Store) -> None:
    """The Environments that store into it."""
    for entry in ctx.catalog.of_kind("Environment", store.meta.namespace):
        if entry.store == store.meta.name:
            ctx.queue.add(entry.key)


async def _look(ctx: Context, store: Store) -> tuple[SnapshotStoreStatus, float | None]:
    namespace, spec, status = store.meta.namespace, store.spec, store.status
    if spec.claim is not None:
        await inputs.need(ctx, CLAIMS, namespace, spec.claim.claim_name, c.CLAIM_NOT_FOUND, "spec.claim")
    if spec.s3 is not None and spec.s3.ca_bundle is not None:
        await inputs.need(ctx, CONFIG_MAPS, namespace, spec.s3.ca_bundle.name, c.CONFIG_NOT_FOUND, "spec.s3.caBundle")
    due = schedule.due_in(
        ctx.settings,
        ctx.now(),
        probed=status.last_probe_time,
        began=status.last_probe_time,
        current=_current(store),
        wanted=_wanted(ctx, store),
        conditions=status.conditions,
        watched=(c.READY,),
    )
    if due > 0:
        return status, due
    return await _probe(ctx, store)


def _current(store: Store) -> bool:
    ready = c.find(store.status.conditions, c.READY)
    if ready is None or ready.reason in BEFORE_PROBE:
        return False
    return store.status.probed_generation == store.meta.generation


def _wanted(ctx: Context, store: Store) -> str:
    """Since when an operation waits for this store to be ready."""
    if c.is_true(store.status.conditions, c.READY):
        return ctx.probes.wanted(store.key)
    wanted = ctx.probes.wanted(store.key)
    for entry in ctx.catalog.of_kind("Environment", store.meta.namespace):
        if entry.store == store.meta.name:
            for waiting in ctx.catalog.operations(store.meta.namespace, entry.key.name):
                wanted = max(wanted, waiting.created)
    return wanted


async def _probe(ctx: Context, store: Store) -> tuple[SnapshotStoreStatus, float | None]:
    """A probe is due."""
    job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
    attempt = schedule.attempt_name(store.meta.generation, store.status.last_probe_time)
    now = clock.text(ctx.now())
    return await probe.look(
        ctx,
        Probe(
            owner=store,
            status=store.status,
            job=build.probe_store(ctx.settings, job_inputs, attempt=attempt),
            does="A probe Job writes to the store and reads from it.",
            current=_current(store),
            result=StoreProbeResult,
            found=lambda result, began: found(store, result, began=began, now=now),
            broken=lambda reason, message, began: broken(store, reason, message, began=began, now=now),
        ),
    )


# --- what a probe makes of the status, pure --------------------------------------------------------------------


def found(store: Store, result: StoreProbeResult, *, began: str, now: str) -> SnapshotStoreStatus:
    """The store answered. Another id than before means another place: what was stored is elsewhere, so nothing is stored here."""
    generation, known = store.meta.generation, store.status.store_id
    status = store.status.model_copy(update={"probed_generation": generation, "last_probe_time": began})
    if known is not None and known != result.store_id:
        conflict = Stalled(
            c.STORE_ID_CONFLICT,
            f"The store has the id {result.store_id}; it was {known} before: this is another store, or it was emptied. Put the old one back, or "
            "delete this SnapshotStore and create it again.",
        )
        return _phase(summarize.outcome(status, conflict, now=now, generation=generation))
    status = status.model_copy(
        update={"store_id": result.store_id, "checksums": result.checksums, "warnings": result.warnings[:20]}
    )
    how = "checks the SHA-256 of what is written" if result.checksums == "Server" else "is read back after each write"
    message = f"The store can be written and {how}."
    return _phase(summarize.ready(status, c.SUCCEEDED, message, now=now, generation=generation))


def broken(store: Store, reason: str, message: str, *, began: str, now: str) -> SnapshotStoreStatus:
    """The probe failed, or the store refused."""
    status = store.status.model_copy(update={"probed_generation": store.meta.generation, "last_probe_time": began})
    return _phase(summarize.not_ready(status, reason, message, now=now, generation=store.meta.generation))


def _phase(status: SnapshotStoreStatus) -> SnapshotStoreStatus:
    return status.model_copy(update={"phase": "Ready" if c.is_true(status.conditions, c.READY) else "NotReady"})
