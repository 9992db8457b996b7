"""A small typed client over the transport: create, apply without force, merge patch, delete. Raises
ocore_kube.errors."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ocore_api.cache import Entry
from ocore_api.errors import Problem
from ocore_api.http.refusals import field_conflicts
from ocore_api.managed import MANAGER, applied_spec
from ocore_kube.errors import ApiError, Conflict
from ocore_kube.pages import pages
from ocore_kube.transport import APPLY_PATCH, MERGE_PATCH, Transport, no_answer
from ocore_kube.types import Type

Object = dict[str, Any]

#: Field manager of a SnapshotPolicy that GET creates. Another one: its apply must never remove what MANAGER has
#: applied.
MANAGER_DEFAULTS = "ocore-api-defaults"
#: Objects in one page of a list.
PAGE = 100
#: Attempts at an apply with a resourceVersion. The operator writes statuses, which move it.
ATTEMPTS = 8


class Client:
    """Of one request to the facade. A 404 means None. `seconds`: for all requests to the API server together, from now
    on; beyond, Unavailable is raised. The transport's limit is one of a single attempt, and it repeats reads."""

    def __init__(self, transport: Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._ends = asyncio.get_running_loop().time() + seconds

    async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
        """The object as the API server has it now; None if it does not exist."""
        return await self._or_none("GET", type_.path(namespace, name))

    async def list(self, type_: Type, namespace: str, keep: Callable[[Object], bool]) -> list[Object]:
        """The objects of the namespace that `keep` wants, page by page: a tenant decides how many there are, and how
        large."""

        async def ask(query: Mapping[str, str], most: int) -> Object:
            return await self._ask("GET", type_.path(namespace), query=query, most=most)

        return [obj async for answer in pages(ask, {}, PAGE) for obj in filter(keep, answer["items"])]

    async def create(self, type_: Type, obj: Object) -> Object:
        """Raises AlreadyExists. An unknown field is an error: an older CRD would drop it."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        return await self._ask("POST", type_.path(obj["metadata"]["namespace"]), query=query, body=obj)

    async def apply(self, type_: Type, metadata: Object, spec: Object, *, manager: str = MANAGER) -> Object:
        """Server-side apply WITHOUT force. Raises Conflict where another manager owns a field with another value, and
        where a `uid` or `resourceVersion` in `metadata` is not that of the live object."""
        body = {"apiVersion": type_.api_version, "kind": type_.kind, "metadata": metadata, "spec": spec}
        query = {"fieldManager": manager, "force": "false", "fieldValidation": "Strict"}
        path = type_.path(metadata["namespace"], metadata["name"])
        return await self._ask("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)

    async def apply_with_owned(self, type_: Type, live: Object, given: Object) -> Object | None:
        """Applies `given` together with the fields of the spec that MANAGER has applied before: an apply removes what
        it leaves out. Read again where the object changed in between. None where it is gone, or another object has its
        name. Raises Conflict as `apply`."""
        meta = live["metadata"]
        for attempt in range(ATTEMPTS):
            metadata = {k: live["metadata"][k] for k in ("namespace", "name", "uid", "resourceVersion")}
            try:
                return await self.apply(type_, metadata, {**applied_spec(live, MANAGER), **given})
            except Conflict as error:
                if field_conflicts(error) or attempt == ATTEMPTS - 1:
                    raise
            read = await self.get(type_, meta["namespace"], meta["name"])
            if read is None or read["metadata"]["uid"] != meta["uid"]:
                return None
            live = read
        raise AssertionError("unreachable")

    async def merge_patch(self, type_: Type, namespace: str, name: str, patch: Object) -> Object | None:
        """RFC 7386; None where the object does not exist. With metadata.uid in the patch: raises Conflict where another
        object has the name."""
        query = {"fieldManager": MANAGER}
        path = type_.path(namespace, name)
        return await self._or_none("PATCH", path, query=query, body=patch, content_type=MERGE_PATCH)

    async def delete(
        self, type_: Type, namespace: str, name: str, *, uid: str, version: str | None = None, dry_run: bool = False
    ) -> bool:
        """False where no object of that name exists. Raises Conflict where it has another uid, or another
        resourceVersion than `version`; Forbidden where admission refuses."""
        body: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid} if version is None else {"uid": uid, "resourceVersion": version},
        }
        if dry_run:
            body["dryRun"] = ["All"]
        return await self._or_none("DELETE", type_.path(namespace, name), body=body) is not None

    async def _ask(self, method: str, path: str, **options: Any) -> Object:
        try:
            async with asyncio.timeout_at(self._ends):
                return await self._transport.request(method, path, **options)
        except TimeoutError:
            raise no_answer(self._seconds) from None

    async def _or_none(self, method: str, path: str, **options: Any) -> Object | None:
        try:
            return await self._ask(method, path, **options)
        except ApiError as error:
            if error.status == 404:
                return None
            raise


async def read_live(client: Client, type_: Type, entry: Entry, *, deleting: bool = True) -> Object:
    """The object of an entry as the API server has it now. Raises Problem (NotFound) where it was deleted, or another
    object has its name; where it is being deleted, unless `deleting`."""
    found = await client.get(type_, entry.namespace, entry.name)
    if (
        found is None
        or found["metadata"]["uid"] != entry.uid
        or ("deletionTimestamp" in found["metadata"] and not deleting)
    ):
        raise gone(entry)
    return found


async def patch_live(client: Client, type_: Type, entry: Entry, patch: Object) -> Object:
    """The object of an entry with the merge patch. Raises Problem (NotFound) where it was deleted, or another object
    has its name."""
    metadata = {**patch.get("metadata", {}), "uid": entry.uid}
    try:
        found = await client.merge_patch(type_, entry.namespace, entry.name, {**patch, "metadata": metadata})
    except Conflict:  # another object has the name now
        found = None
    if found is None:
        raise gone(entry)
    return found


def gone(entry: Entry) -> Problem:
    """The object of an entry was deleted."""
    return Problem("NotFound", f"No {entry.noun} {entry.id} is visible to this caller.")
