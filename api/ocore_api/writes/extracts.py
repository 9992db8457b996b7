"""Extracts: created. The operator removes what they have made."""

from typing import Any

from ocore_api.cache import Cache, EnvironmentEntry, ExtractEntry, SnapshotEntry
from ocore_api.errors import Problem
from ocore_api.views.values import Resource
from ocore_api.writes import keys
from ocore_api.writes.client import Client
from ocore_api.writes.creation import OPEN, Creation, create, earlier
from ocore_api.writes.rollbacks import complete
from ocore_kube.types import EXTRACTS

#: Extracts of one environment that have not ended, at most: each is a Job.
MOST = 5


async def extract(
    client: Client,
    cache: Cache,
    environment: EnvironmentEntry,
    snapshot: SnapshotEntry,
    spec: dict[str, Any],
    subject: str,
    key: str | None,
) -> Resource:
    """Creates the Extract in the namespace of the Snapshot, or finds the one that the same key has created before.

    Raises Problem where the snapshot is not complete (SnapshotNotComplete), or too many extracts run
    (TooManyExtracts); IdempotencyKeyReused.
    """
    identity = keys.identity("Extract", subject, environment.id, key)
    wanted = Creation(
        EXTRACTS, snapshot.namespace, identity.name(environment.name), subject, {"snapshotId": snapshot.id, **spec}
    )
    found = await earlier(client, cache, wanted) if identity.keyed else None
    if found is not None:
        return found
    if sum(each.status in OPEN for each in cache.served.of(ExtractEntry, environment.id)) >= MOST:
        raise Problem("TooManyExtracts", f"{MOST} extracts of this environment have not ended. Wait for one of them.")
    await complete(client, snapshot)
    return await create(client, cache, wanted, {**spec, "snapshotRef": {"name": snapshot.name}})
