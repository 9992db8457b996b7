"""Evidence: what was required, what was proven and what is missing, as sentences that a person can check."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ocore_crds.stored.manifest import Evidence, FilestoreArtifact, Manifest
from ocore_crds.text.quantity import human
from ocore_mover.filestore import layouts
from ocore_mover.store.interface import Store

if TYPE_CHECKING:
    from ocore_mover.database.restore.check import Checked
    from ocore_mover.filestore.unpack import Restored
    from ocore_mover.manifests import StoredManifest


def of_snapshot(
    manifest: Manifest,
    store: Store,
    attachments: int,
    warnings: Sequence[str],
    *,
    incomplete: Sequence[str] = (),
    quiesced: bool = False,
    recipients: Sequence[str] = (),
) -> Evidence:
    """Evidence of a snapshot whose objects are all stored. `attachments`: number of files that the dumped database
    names. `incomplete`: what keeps the snapshot from being a clean success. `recipients`: that it is encrypted to."""
    checked = (
        "written to the volume and read back"
        if store.local_root is not None
        else "checked by the store as it was written"
    )
    required: list[str] = []
    proven: list[str] = []
    missing: list[str] = []
    database, filestore, config = manifest.database, manifest.filestore, manifest.config
    if database is not None:
        required.append(f"database {database.name}: every table at one point in time")
        proven.append(
            f"database dump: {len(database.files)} files, {human(sum(f.size for f in database.files))}, SHA-256 of each"
            f" {checked}"
        )
        proven.append(
            f"database dump: pg_dump {database.client_version} ended with exit code 0 at the exported snapshot, and"
            " every table of its table of contents has its data file"
        )
    if filestore is not None:
        layout = layouts.of(filestore.layout)
        required.append(layout.required)
        proven.append(
            f"filestore: {filestore.file_count} files, {human(filestore.size_bytes)} in {len(filestore.packs)}"
            f" packs{_in_base(filestore)}, SHA-256 of each pack {checked}"
        )
        if filestore.base is not None:
            proven.append(
                f"filestore: differential on snapshot {filestore.base.snapshot_id}: its manifest had SHA-256"
                f" {filestore.base.manifest_sha256} and its {len(filestore.base.packs)} packs their sizes when this"
                " snapshot was published"
            )
        proven.extend(layout.proven(attachments, len(filestore.missing)))
        missing.extend(filestore.missing[:100])
    if quiesced:
        required.append("quiesce: the workloads are stopped while database and filestore are frozen")
        proven.append("quiesce: the operator had stopped the workloads, and started them after the freeze")
    if config is not None:
        required.append(f"configuration: the file {config.path}" if config.path else "configuration: every key")
        stored = f"the file {config.path}" if config.path else f"{config.file_count} keys"
        proven.append(f"configuration: {stored}, SHA-256 {checked}")
    if recipients:
        required.append("encryption: every object with contents")
        proven.append(f"encryption: every object is an age file, which the identities of {', '.join(recipients)} open")
    if manifest.signature is not None:
        found = manifest.signature
        proven.append(
            f"signature: the manifest names its place in the environment, {found.sequence}, and {found.signer}"
        )
    proven.append("store: every object was found with its size before the manifest was written")
    return Evidence(
        required=tuple(required),
        proven=tuple(proven),
        missing=tuple(missing),
        warnings=tuple(warnings),
        incomplete=tuple(incomplete),
    )


def _in_base(filestore: FilestoreArtifact) -> str:
    return f" and {len(filestore.base.packs)} of the base" if filestore.base is not None else ""


def recovered(stored: "StoredManifest", store: Store) -> tuple[str, ...]:
    """A warning where older versions of the snapshot's objects are read."""
    if not stored.recovered:
        return ()
    return (
        f"{len(stored.recovered)} objects in {store.url} were deleted or overwritten, the first is"
        f" {stored.recovered[0]}. Older versions have the right bytes and were read. If no one of you did that, replace"
        " the bucket's key. Put the versions back before the store removes them.",
    )


def of_verification(
    stored: "StoredManifest", store: Store, bytes_read: int, *, warnings: Iterable[str] = ()
) -> Evidence:
    """Evidence of a snapshot whose bytes were read again."""
    manifest = stored.manifest
    objects = len(manifest.needed())
    base = manifest.base
    packs = (
        f", {len(base.packs)} packs of the base, snapshot {base.snapshot_id}, among them" if base is not None else ""
    )
    return Evidence(
        required=("every byte of every object",),
        proven=(f"{objects} objects, {human(bytes_read)} read again{packs}, size and SHA-256 as in the manifest",),
        warnings=(*recovered(stored, store), *warnings),
    )


def with_source(found: Evidence, manifest: Manifest, store: Store) -> Evidence:
    """Evidence of a restored copy of another environment."""
    identity = manifest.identity
    line = (
        f"source: environment {identity.environment_name} (id {identity.environment_id}) of project"
        f" {identity.project_id}, read from {store.url}; the manifest has the SHA-256 of the Snapshot"
    )
    return found.model_copy(update={"proven": (line, *found.proven)})


def of_restore(
    manifest: Manifest, checked: "Checked | None", restored: "Restored | None", named: int, warnings: Iterable[str]
) -> Evidence:
    """Evidence of a restored copy. `named`: number of files that the restored database names."""
    proven: list[str] = []
    required: list[str] = []
    if manifest.database is not None and checked is not None:
        required.append("restored database: loaded without an error, indexes valid, extensions present")
        proven.append(f"dump: {len(manifest.database.files)} files, SHA-256 of each checked before pg_restore read it")
        proven.extend(checked.proven)
    if manifest.filestore is not None and restored is not None:
        required.append("filestore: every file of the snapshot")
        proven.append(
            f"filestore: {restored.files_added} files added ({human(restored.bytes_added)}), {restored.files_checked}"
            f" existed and were correct, {restored.files_replaced} existed, were wrong and were replaced"
        )
        packs, digest = restored.packs, layouts.of(manifest.filestore.layout).algorithm.replace("sha", "SHA-")
        proven.append(
            f"packs: {packs.whole} read whole, SHA-256 of each checked; {packs.in_part} read in part"
            f" ({human(packs.bytes_in_part)}), {digest} of each restored file checked"
        )
        if layouts.of(manifest.filestore.layout).names_in_database:
            proven.append(
                f"attachments: all {named} files that the restored database names are in the filestore or were known to"
                " be lost"
            )
    return Evidence(
        required=tuple(required),
        proven=tuple(proven),
        missing=manifest.filestore.missing[:100] if manifest.filestore is not None else (),
        warnings=(*warnings, *(checked.warnings if checked is not None else ())),
    )
