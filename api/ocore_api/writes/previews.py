"""Previews of rollbacks: Rollbacks with dryRun. The operator removes them after their end."""

from dataclasses import dataclass

from ocore_api.cache import Cache, PreviewEntry
from ocore_api.errors import Conflict
from ocore_api.writes import keys, rollbacks
from ocore_api.writes.client import Client, Object
from ocore_api.writes.refusals import translated
from ocore_api.writes.snapshots import OPEN
from ocore_crds import naming
from ocore_crds.resources.preview import NEVER
from ocore_kube.errors import AlreadyExists
from ocore_kube.types import ROLLBACKS

#: Seconds for the operator to end a preview.
TIMEOUT = 300
#: Previews of one environment that have not ended, at most: each is a Job.
MOST = 3


@dataclass(frozen=True)
class Previewed:
    """An accepted preview."""

    name: str
    id: str


async def start(client: Client, cache: Cache, request: rollbacks.Request, subject: str, key: str | None) -> Previewed:
    """Creates the preview in the namespace of the target, or finds the one that the same key has created before.

    Raises Problem: Conflict where the snapshot is not complete (SnapshotNotComplete), too many previews run
    (TooManyPreviews), or the target's namespace may not restore the snapshot; IdempotencyKeyReused.
    """
    identity = keys.identity("Preview", subject, request.environment.id, key)
    target, name = request.target, identity.name(request.target.name)
    metadata = {
        "namespace": target.namespace,
        "name": name,
        "annotations": {
            naming.ANNOTATION_TEMPORARY: "true",
            naming.ANNOTATION_REQUEST: keys.body_digest(request.body),
            naming.ANNOTATION_REQUESTED_AT: keys.now(),
        },
    }
    marked: Object = {"metadata": metadata, "spec": {"requestedBy": subject}}
    with translated():
        if identity.keyed and await client.get(ROLLBACKS, target.namespace, name) is not None:
            return _previewed(await rollbacks.before(client, marked))
        if sum(preview.status in OPEN for preview in cache.served.of(PreviewEntry, target.id)) >= MOST:
            raise Conflict(
                "TooManyPreviews", f"{MOST} previews for this environment have not ended. Wait for one of them."
            )
        spec = {
            **await rollbacks.restored(client, request),
            "requestedBy": subject,
            "dryRun": True,
            "timeoutSeconds": TIMEOUT,
            "notAfter": NEVER,
        }
        body = {"apiVersion": ROLLBACKS.api_version, "kind": ROLLBACKS.kind, "metadata": metadata, "spec": spec}
        try:
            made = await client.create(ROLLBACKS, body)
        except AlreadyExists:  # the same key at the same moment, on another replica
            made = await rollbacks.before(client, marked)
    cache.store.put("Rollback", made)
    return _previewed(made)


def _previewed(made: Object) -> Previewed:
    return Previewed(made["metadata"]["name"], made["metadata"]["uid"])
