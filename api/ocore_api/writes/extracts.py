"""Extracts: created. The operator removes what they have made."""

from dataclasses import dataclass
from typing import Any

from ocore_api.cache import Cache, EnvironmentEntry, ExtractEntry, SnapshotEntry
from ocore_api.errors import Conflict
from ocore_api.writes import keys
from ocore_api.writes.client import Client, Object
from ocore_api.writes.refusals import translated
from ocore_api.writes.rollbacks import complete
from ocore_api.writes.snapshots import OPEN, being_deleted, same_request
from ocore_crds import naming
from ocore_kube.errors import AlreadyExists
from ocore_kube.types import EXTRACTS

#: Extracts of one environment that have not ended, at most: each is a Job.
MOST = 5


@dataclass(frozen=True)
class Created:
    """An accepted Extract."""

    name: str
    id: str


async def create(
    client: Client,
    cache: Cache,
    environment: EnvironmentEntry,
    snapshot: SnapshotEntry,
    spec: dict[str, Any],
    subject: str,
    key: str | None,
) -> Created:
    """Creates the Extract in the namespace of the Snapshot, or finds the one that the same key has created before.

    Raises Problem: Conflict where the snapshot is not complete (SnapshotNotComplete), or too many extracts run
    (TooManyExtracts); IdempotencyKeyReused.
    """
    identity = keys.identity("Extract", subject, environment.id, key)
    body = {
        "apiVersion": EXTRACTS.api_version,
        "kind": EXTRACTS.kind,
        "metadata": {
            "namespace": snapshot.namespace,
            "name": identity.name(environment.name),
            "annotations": {
                naming.ANNOTATION_REQUEST: keys.body_digest({"snapshotId": snapshot.id, **spec}),
                naming.ANNOTATION_REQUESTED_AT: keys.now(),
            },
        },
        "spec": {**spec, "snapshotRef": {"name": snapshot.name}, "requestedBy": subject},
    }
    with translated():
        made = await _before(client, body) if identity.keyed else None
        if made is None:
            if sum(extract.status in OPEN for extract in cache.served.of(ExtractEntry, environment.id)) >= MOST:
                raise Conflict(
                    "TooManyExtracts", f"{MOST} extracts of this environment have not ended. Wait for one of them."
                )
            await complete(client, snapshot)
            try:
                made = await client.create(EXTRACTS, body)
            except AlreadyExists as error:  # the same key at the same moment, on another replica
                made = await _before(client, body)
                if made is None:
                    raise being_deleted() from error
    cache.store.put(EXTRACTS.kind, made)
    return Created(made["metadata"]["name"], made["metadata"]["uid"])


async def _before(client: Client, body: Object) -> Object | None:
    """The object that a request with the same key has created; None: there is none. Raises IdempotencyKeyReused where
    it is not of such a request."""
    metadata = body["metadata"]
    found = await client.get(EXTRACTS, metadata["namespace"], metadata["name"])
    if found is not None and "deletionTimestamp" in found["metadata"]:
        raise being_deleted()
    if found is not None and not same_request(found, body):
        raise keys.reused()
    return found
