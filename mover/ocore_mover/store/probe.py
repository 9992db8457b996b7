"""Tests a store: its id, whether it checks what is written, whether it honours If-None-Match."""

import json
import logging
import secrets
import uuid

from ocore_crds import conditions
from ocore_crds.commands.probe_store import StoreProbeResult
from ocore_crds.naming import STORE_ID_KEY
from ocore_mover.errors import StoreError
from ocore_mover.store.interface import Guarantees, Store

log = logging.getLogger(__name__)

FORMAT = "ocore-store"
#: Prefix of test objects; never part of a snapshot.
PROBE_PREFIX = ".ocore-probe/"
MAX_ID_BYTES = 65536


def probe_store(store: Store) -> StoreProbeResult:
    """Writes the store id if the store has none, and tests what the store checks. Removes its test objects.

    In a bucket with versioning, an id that was hidden or overwritten is put back. Raises StoreError if writing,
    reading, listing or deleting fails; its reason names the failure.
    """
    known, lost = _known_id(store)
    found = store.guarantees(f"{PROBE_PREFIX}{secrets.token_hex(8)}")
    locks = store.check_lock(f"{PROBE_PREFIX}{secrets.token_hex(8)}")
    identifier = known or _create_id(store)
    store.lock((STORE_ID_KEY,))  # for as long as a snapshot that is taken now
    _try(store, f"{PROBE_PREFIX}{secrets.token_hex(8)}")
    _purge(store)
    return StoreProbeResult(
        store_id=identifier,
        checksums=found.checksums,
        conditional_writes=found.conditional_writes,
        warnings=(*lost, *locks, *_warnings(store, found)),
    )


def _known_id(store: Store) -> tuple[str | None, tuple[str, ...]]:
    """The store's id, and a warning where it was put back. None: it never had one."""
    known, kept = _find_id(store)
    if kept is None:
        return known, ()
    with store.writer(STORE_ID_KEY) as writer:
        writer.write(kept)
        writer.commit()
    return known, (_lost(store, "was put back from an older version"),)


def _find_id(store: Store) -> tuple[str | None, bytes | None]:
    """The store's id, and the contents of the older version that has it, where it was deleted or overwritten."""
    refused: StoreError | None = None
    try:
        known = _present_id(store)
    except StoreError as error:
        if error.reason not in (conditions.STORE_ID_CONFLICT, conditions.CORRUPT):
            raise
        known, refused = None, error
    if known is not None:
        return known, None
    kept = store.older(STORE_ID_KEY, lambda data: _parsed(data) is not None, limit=MAX_ID_BYTES)
    if kept is None and refused is not None:
        raise refused
    return (_parsed(kept), kept) if kept is not None else (None, None)


def _lost(store: Store, what: str) -> str:
    return (
        f"{STORE_ID_KEY} in {store.url} was deleted or overwritten, and {what}. If no one of you did that, replace the"
        " bucket's key: it was stolen."
    )


def read_store(store: Store) -> StoreProbeResult:
    """As :func:`probe_store`, without writing: reads the id and lists. Raises StoreError, also where the store has no
    id yet."""
    identifier = store_id(store)
    _, kept = _find_id(store)
    if kept is not None:  # no listing shows it
        return StoreProbeResult(store_id=identifier, warnings=(_lost(store, "is read from an older version"),))
    if all(found.key != STORE_ID_KEY for found in store.list(STORE_ID_KEY)):
        raise StoreError(
            conditions.STORE_NOT_READY,
            f"{store.url} does not list {STORE_ID_KEY}, which exists. Allow the credentials to list the bucket below"
            " the prefix.",
        )
    return StoreProbeResult(store_id=identifier)


def _purge(store: Store) -> None:
    """With versioning, the test objects of each probe would stay as versions. The store is ready whether they can be
    removed or not."""
    try:
        store.purge(PROBE_PREFIX)
    except StoreError as error:
        log.warning("versions of test objects not removed", extra={"error": error.message})


def _try(store: Store, key: str) -> None:
    """Writes, reads, lists and deletes."""
    with store.writer(key) as writer:
        writer.write(secrets.token_bytes(64))
        stored = writer.commit()
    try:
        for _ in store.read(stored):
            pass
        if all(found.key != key for found in store.list(PROBE_PREFIX)):
            raise StoreError(
                conditions.STORE_NOT_READY,
                f"{store.url} does not list an object that was just written. Deletion would leave objects behind.",
            )
    finally:
        store.delete([key])


def _warnings(store: Store, found: Guarantees) -> tuple[str, ...]:
    warnings = []
    if found.checksums == "ReadBack" and store.local_root is None:
        warnings.append(
            f"{store.url} does not check the SHA-256 of uploads. Every object is read back, which is slower."
        )
    if not found.conditional_writes:
        warnings.append(f"{store.url} ignores If-None-Match. Two simultaneous writers could replace a manifest.")
    return tuple(warnings)


def store_id(store: Store) -> str:
    """The store's id. Raises StoreError StoreNotReady if probe-store has not written it yet."""
    found = read_id(store)
    if found is None:
        raise StoreError(
            conditions.STORE_NOT_READY,
            f"{store.url} has no {STORE_ID_KEY} yet. Run probe-store once (the operator runs it for a SnapshotStore).",
        )
    return found


def read_id(store: Store) -> str | None:
    """The store's id, in a bucket with versioning also where it was deleted or overwritten; None where it has none.
    Raises StoreError StoreIdConflict where the object is not ours."""
    return _find_id(store)[0]


def _present_id(store: Store) -> str | None:
    data = store.get(STORE_ID_KEY, limit=MAX_ID_BYTES)
    if data is None:
        return None
    identifier = _parsed(data)
    if identifier is None:
        raise StoreError(
            conditions.STORE_ID_CONFLICT,
            f"{STORE_ID_KEY} in {store.url} was not written by ocore-snapshots. Choose another prefix, or delete the"
            " object.",
        )
    return identifier


def _parsed(data: bytes) -> str | None:
    """The id in the object; None where ocore-snapshots did not write it."""
    try:
        content = json.loads(data)
        identifier = str(uuid.UUID(content["id"]))
        ours = content["format"] == FORMAT
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return identifier if ours else None


def _create_id(store: Store) -> str:
    content = {"format": FORMAT, "formatVersion": 1, "id": str(uuid.uuid4())}
    store.put_if_absent(STORE_ID_KEY, json.dumps(content, indent=1).encode() + b"\n")
    return store_id(store)  # another Job may have been faster
