"""Snapshot settings of an environment: its SnapshotPolicy, which has its name."""

from typing import Any

from ocore_api.cache import Cache, EnvironmentEntry
from ocore_api.errors import Problem
from ocore_api.writes.client import MANAGER_DEFAULTS, Client, Object
from ocore_kube.types import POLICIES


async def read(client: Client, cache: Cache, environment: EnvironmentEntry) -> tuple[Object, bool]:
    """The SnapshotPolicy of the environment, and whether it was created by this call, with the default of every
    field."""
    known = cache.policy_of(environment)
    if known is not None:
        return known, False
    found, made = await _read_or_create(client, environment)
    cache.store.put(POLICIES.kind, found)
    return found, made


async def _read_or_create(client: Client, environment: EnvironmentEntry) -> tuple[Object, bool]:
    live = await client.get(POLICIES, environment.namespace, environment.name)
    if live is not None:
        return live, False
    metadata = {"namespace": environment.namespace, "name": environment.name}
    spec = {"environmentRef": {"name": environment.name}}
    return await client.apply(POLICIES, metadata, spec, manager=MANAGER_DEFAULTS), True


async def update(client: Client, cache: Cache, environment: EnvironmentEntry, given: dict[str, Any]) -> Object:
    """Applies the given fields of the spec without force, and returns the SnapshotPolicy. Fields that are not given
    stay as they are.

    Raises Problem: FieldOwned where another client has set another value.
    """
    live, _ = await _read_or_create(client, environment)
    changed = await client.apply_with_owned(POLICIES, live, given) if given else live
    if changed is None:
        raise Problem("Conflict", "The SnapshotPolicy was deleted at the same moment. Repeat the request.")
    cache.store.put(POLICIES.kind, changed)
    return changed
