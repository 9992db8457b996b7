"""The Secret with the identity that opens the newest full Snapshot and its differentials to Jobs (mode Current).

The operator makes 32 random bytes and forgets them: it may create and delete these Secrets, and read none. Each
Snapshot in the mode gets one, because a differential may become a full one in its Job. It is owned by the Snapshot::

    before the Job          created
    Failed, a differential,
    or no Job opens it      deleted before the terminal status is written
    a newer full one        deleted by the reconcile of this Snapshot (entries/full_snapshots.py finds it)
"""

import base64
import os

import structlog

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.text import age_keys
from ocore_kube.errors import AlreadyExists, Forbidden, Invalid
from ocore_kube.types import SECRETS
from ocore_operator.context import Context
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.jobs.building.job import owner_reference
from ocore_operator.kube.resources import Object, Snapshot

_log = structlog.get_logger()


async def create(ctx: Context, snapshot: Snapshot) -> None:
    """Creates the Snapshot's own Secret, where its mode needs one. Where that is refused, the Job finds none: then the
    snapshot is full and sealed, and says so."""
    found = snapshot.status.encryption
    if found is None or found.job_identity_secret is None:
        return
    try:
        await ctx.kube.create(SECRETS, secret_of(snapshot, found.job_identity_secret))
    except AlreadyExists:
        return  # of an earlier attempt
    except (Forbidden, Invalid) as error:
        message = (
            f"Secret {found.job_identity_secret} could not be created, so no Job can open this snapshot, and the next"
            f" one is full: {error.message}. Set the chart's value rbac.jobIdentities, or spec.encryption.mode: Sealed."
        )
        ctx.events.record(snapshot, "Warning", "JobIdentityRefused", message)


def secret_of(snapshot: Snapshot, name: str) -> Object:
    """A new Secret of this name, with an identity that no one knows."""
    line = age_keys.secret(os.urandom(age_keys.KEY_BYTES)) + "\n"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": snapshot.meta.namespace,
            "labels": {naming.LABEL_MANAGED_BY: naming.MANAGED_BY},
            "ownerReferences": [owner_reference(snapshot)],
        },
        "type": naming.JOB_IDENTITY_TYPE,
        "immutable": True,
        "data": {naming.JOB_IDENTITY_FILE: base64.b64encode(line.encode()).decode()},
    }


async def settled(ctx: Context, snapshot: Snapshot, status: SnapshotStatus) -> SnapshotStatus:
    """The terminal status, with the Secret that opens the Snapshot: its own, or that of its base. Its own is deleted
    before where it opens nothing."""
    made, found = snapshot.status.encryption, status.encryption
    if made is None or made.job_identity_secret is None:
        return status
    opened = found is not None and found.job_key is not None and c.outcome(status.conditions) != "Failed"
    if opened and status.base is None:
        return status
    await _delete(ctx, snapshot, made.job_identity_secret)
    base = status.base if opened else None
    known = ctx.catalog.of_id(SnapshotEntry, snapshot.meta.namespace, base.id) if base is not None else None
    held = known.pairing.held if known is not None else None
    return _with_secret(status, held.secret if held is not None else None)


async def ended(ctx: Context, snapshot: Snapshot) -> SnapshotStatus:
    """The status after a newer full Snapshot. The Secret is deleted before, by the Snapshot that it was made for."""
    own = naming.job_identity_secret(snapshot.meta.uid)
    if snapshot.status.encryption is not None and snapshot.status.encryption.job_identity_secret == own:
        await _delete(ctx, snapshot, own)
    return _with_secret(snapshot.status, None)


def _with_secret(status: SnapshotStatus, secret: str | None) -> SnapshotStatus:
    found = status.encryption
    if found is None:
        return status
    return status.model_copy(update={"encryption": found.model_copy(update={"job_identity_secret": secret})})


async def _delete(ctx: Context, snapshot: Snapshot, name: str) -> None:
    """Where that is refused, a person has to: the status names the Secret no more."""
    try:
        await ctx.kube.delete(SECRETS, snapshot.meta.namespace, name)
    except Forbidden as error:
        text = f"Secret {name} could not be deleted, and opens old snapshots: {error.message}. Delete it."
        ctx.events.record(snapshot, "Warning", "JobIdentityRefused", text)
    else:
        _log.info("Job identity deleted", namespace=snapshot.meta.namespace, name=snapshot.meta.name)
