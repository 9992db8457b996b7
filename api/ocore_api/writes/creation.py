"""What a request creates: once for each Idempotency-Key."""

from dataclasses import dataclass

from ocore_api.cache import Cache
from ocore_api.errors import Problem
from ocore_api.views.values import Resource
from ocore_api.writes import keys
from ocore_api.writes.client import Client, Object
from ocore_crds import naming
from ocore_kube.errors import AlreadyExists
from ocore_kube.types import Type

#: Statuses of an operation that has not ended.
OPEN = ("pending", "running")


@dataclass(frozen=True)
class Creation:
    """An object that a request asks for. `request`: the parsed body, for the comparison of two requests with one
    key."""

    type: Type
    namespace: str
    name: str
    subject: str
    request: Object

    @property
    def annotations(self) -> dict[str, str]:
        """What every object of the facade has: which request it is of, and when it was asked for."""
        return {
            naming.ANNOTATION_REQUEST: keys.body_digest(self.request),
            naming.ANNOTATION_REQUESTED_AT: keys.now(),
        }


async def create(
    client: Client, cache: Cache, wanted: Creation, spec: Object, annotations: dict[str, str] | None = None
) -> Resource:
    """Creates the object, or finds the one that the same key has created before. Clients read it at once."""
    metadata = {
        "namespace": wanted.namespace,
        "name": wanted.name,
        "annotations": {**wanted.annotations, **(annotations or {})},
    }
    body = {
        "apiVersion": wanted.type.api_version,
        "kind": wanted.type.kind,
        "metadata": metadata,
        "spec": {**spec, "requestedBy": wanted.subject},
    }
    try:
        made = await client.create(wanted.type, body)
    except AlreadyExists as error:  # the same key at the same moment, on another replica
        found = await earlier(client, cache, wanted)
        if found is None:
            raise _being_deleted() from error
        return found
    cache.store.put(wanted.type.kind, made)
    return Resource(made)


async def earlier(client: Client, cache: Cache, wanted: Creation) -> Resource | None:
    """The object that a request with the same key has created; None where there is none. It may have ended by now; once
    it is deleted, the key counts again.

    Raises Problem while it is being deleted (BeingDeleted), IdempotencyKeyReused where it is of another request.
    """
    found = await client.get(wanted.type, wanted.namespace, wanted.name)
    if found is None:
        return None
    if "deletionTimestamp" in found["metadata"]:
        raise _being_deleted()
    need_same_request(found, wanted.subject, wanted.request)
    cache.store.put(wanted.type.kind, found)
    return Resource(found)


def need_same_request(found: Object, subject: str, request: Object) -> None:
    """Raises IdempotencyKeyReused unless the object is of this request of this subject."""
    digest = (found["metadata"].get("annotations") or {}).get(naming.ANNOTATION_REQUEST)
    same_subject = (found.get("spec") or {}).get("requestedBy") == subject
    if not (same_subject and digest == keys.body_digest(request)):
        raise keys.reused()


def _being_deleted() -> Problem:
    return Problem(
        "BeingDeleted", "What this Idempotency-Key created is being deleted. Repeat the request, or send another key."
    )
