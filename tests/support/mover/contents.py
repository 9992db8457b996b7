"""Snapshots in a store without a database: manifests with one small object each, as a mover would have written them."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from ocore_crds import naming
from ocore_crds.stored.manifest import (
    ConfigArtifact,
    DatabaseArtifact,
    Evidence,
    FilestoreArtifact,
    FilestoreBase,
    Identity,
    Manifest,
    StoredObject,
    format_version,
)
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover import manifests, states
from ocore_mover.manifests import StoredManifest
from ocore_mover.store import Store

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
PROJECT = "33333333-3333-4333-8333-333333333333"
START = datetime(2026, 1, 1, tzinfo=UTC)


def snapshot_id(number: int) -> str:
    """An id for each number; their order is not that of the numbers."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def put(store: Store, key: str, data: bytes = b"x") -> StoredObject:
    """Writes an object."""
    with store.writer(key) as writer:
        writer.write(data)
        return writer.commit()


def dumped(
    *files: StoredObject, raw_bytes: int, compression: Literal["pg_dump", "external-zstd"] = "pg_dump"
) -> DatabaseArtifact:
    """A dump that consists of the files."""
    return DatabaseArtifact(
        name="shop", size_bytes=1000, server_version="17.1", server_major=17, client_version="17.1", encoding="UTF8",
        collate="C", ctype="C", compression=compression, raw_bytes=raw_bytes, files=files,
    )  # fmt: skip


def of_production(
    environment_id: str, snapshot_id: str, *, time: str, store_id: str, attempt: str = "a1", **artifacts: Any
) -> Manifest:
    """The manifest of a production snapshot with these artifacts."""
    identity = Identity(
        environment_id=environment_id,
        environment_name="shop",
        environment_type="production",
        project_id=environment_id,
        snapshot_id=snapshot_id,
    )
    return Manifest(
        store_id=store_id,
        attempt=attempt,
        identity=identity,
        started_at=time,
        consistent_at=time,
        completed_at=time,
        **artifacts,
    )


def at(hours: float) -> str:
    """The time so many hours after START."""
    return (START + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def manifest(
    number: int,
    *,
    environment_id: str = ENVIRONMENT,
    project_id: str = PROJECT,
    name: str = "",
    trigger: str = "Scheduled",
    base: FilestoreBase | None = None,
    config: StoredObject | None = None,
    packs: tuple[StoredObject, ...] = (),
    index: StoredObject | None = None,
) -> Manifest:
    """The manifest of the snapshot with that number, taken so many hours after START."""
    snapshot = snapshot_id(number)
    prefix = naming.attempt_prefix(environment_id, snapshot, "a1")
    filestore = None
    if index is not None:
        filestore = FilestoreArtifact(layout="Odoo", file_count=1, size_bytes=1, index=index, packs=packs, base=base)
    return Manifest(
        format_version=format_version(filestore),
        store_id="44444444-4444-4444-8444-444444444444",
        attempt="a1",
        identity=Identity(
            environment_id=environment_id,
            environment_name="shop",
            environment_type="production",
            project_id=project_id,
            namespace="shop",
            snapshot_id=snapshot,
            snapshot_name=name or f"snapshot-{number}",
            trigger=trigger,
            requested_by="someone@example.com",
            deployment_id="55555555-5555-4555-8555-555555555555",
        ),
        started_at=at(number),
        consistent_at=at(number + 0.01),
        completed_at=at(number + 0.02),
        filestore=filestore,
        config=ConfigArtifact(
            archive=config or StoredObject(key=f"{prefix}config.tar", size=1, sha256="0" * 64), file_count=1
        ),
        evidence=Evidence(required=("config",), proven=("config",)),
    )


def add(
    store: Store,
    number: int,
    *,
    state: StoredState | None = None,
    base: StoredManifest | None = None,
    full: bool = False,
    **fields: object,
) -> StoredManifest:
    """Stores a snapshot. `base`: it is a differential of that one, which was stored with `full`."""
    environment_id = str(fields.get("environment_id", ENVIRONMENT))
    prefix = naming.attempt_prefix(environment_id, snapshot_id(number), "a1")
    more: dict[str, object] = {}
    if full or base is not None:
        more["index"] = put(store, f"{prefix}filestore/index.jsonl.zst")
    if full:
        more["packs"] = (put(store, f"{prefix}filestore/pack-0.tar"), put(store, f"{prefix}filestore/pack-1.tar"))
    if base is not None and base.manifest.filestore is not None:
        more["base"] = FilestoreBase(
            snapshot_id=base.manifest.identity.snapshot_id,
            manifest_key=base.key,
            manifest_sha256=base.sha256,
            packs=base.manifest.filestore.packs[:1],
        )
    found = manifest(number, config=put(store, f"{prefix}config.tar"), **fields, **more)  # type: ignore[arg-type]
    if state is not None:
        states.write(store, environment_id, snapshot_id(number), state)
    return manifests.write(store, found)


def raw(found: Manifest) -> bytes:
    """The bytes of a manifest, for one that is damaged."""
    return json.dumps(found.wire(), indent=1).encode() + b"\n"
