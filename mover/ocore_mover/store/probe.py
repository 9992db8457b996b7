"""A first look at a store: its id, whether it checks what is written, whether it honours If-None-Match."""

import json
import secrets
import uuid

from ocore_crds import conditions
from ocore_crds.naming import STORE_ID_KEY
from ocore_crds.protocol import StoreProbeResult

from ..errors import StoreError
from .base import Store
from .s3 import S3Store

FORMAT = "ocore-store"
#: Test objects of the first look; never part of a snapshot.
PROBE_PREFIX = ".ocore-probe/"


def probe_store(store: Store) -> StoreProbeResult:
    """Writes the store id where there is none, tries what the store checks, removes its test objects.

    Raises StoreError where the store cannot be written to, read from or deleted in; the reason says which.
    """
    identifier = _find_id(store) or _create_id(store)
    test = f"{PROBE_PREFIX}{secrets.token_hex(8)}"
    conditional = True
    with store.writer(test) as writer:
        writer.write(secrets.token_bytes(64))
        stored = writer.commit()
    try:
        for _ in store.read(stored):
            pass
        if all(found.key != test for found in store.list(PROBE_PREFIX)):
            raise StoreError(
                conditions.STORE_NOT_READY,
                f"{store.url} does not list what was just written; deletion would leave objects behind",
            )
        if isinstance(store, S3Store):
            conditional = store.honours_conditions(test)
    finally:
        store.delete([test])
    checks = not isinstance(store, S3Store) or store.server_checks(store.full_key(test))
    return StoreProbeResult(
        store_id=identifier,
        checksums="Server" if checks and isinstance(store, S3Store) else "ReadBack",
        conditional_writes=conditional,
        warnings=_warnings(store, checks, conditional),
    )


def _warnings(store: Store, checks: bool, conditional: bool) -> tuple[str, ...]:
    found = []
    if not checks:
        found.append(f"{store.url} does not check the SHA-256 of what it is given: every object is read back, slower")
    if not conditional:
        found.append(f"{store.url} ignores If-None-Match: two writers at the same instant could replace a manifest")
    return tuple(found)


def store_id(store: Store) -> str:
    """The id that stands in the store; raises StoreError (StoreNotReady) where nobody has probed it yet."""
    found = _find_id(store)
    if found is None:
        raise StoreError(
            conditions.STORE_NOT_READY,
            f"{store.url} has no {STORE_ID_KEY} yet: run probe-store once (the operator does that for a SnapshotStore)",
        )
    return found


def _find_id(store: Store) -> str | None:
    data = store.get(STORE_ID_KEY, limit=65536)
    if data is None:
        return None
    try:
        content = json.loads(data)
        identifier = str(uuid.UUID(content["id"]))
        ours = content["format"] == FORMAT
    except (ValueError, KeyError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise StoreError(
            conditions.STORE_ID_CONFLICT,
            f"{STORE_ID_KEY} in {store.url} is not this software's: choose another prefix, or remove it",
        )
    return identifier


def _create_id(store: Store) -> str:
    content = {"format": FORMAT, "formatVersion": 1, "id": str(uuid.uuid4())}
    store.put_if_absent(STORE_ID_KEY, json.dumps(content, indent=1).encode() + b"\n")
    return store_id(store)  # another Job's may have won
