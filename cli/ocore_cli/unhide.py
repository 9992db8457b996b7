"""``kubectl ocore unhide``: makes what was stored the newest version again, after someone has deleted or overwritten
objects in a bucket with versioning. It runs outside of the cluster, with the caller's own keys, and deletes nothing.

A restore finds these versions without that (docs/decisions/0224-the-version-that-was-stored.md). What reads the newest
ones only does not: imports, checks of a remote copy, other tools, rules that expire old versions.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from ocore_crds import naming
from ocore_crds.kinds import SNAPSHOT, SNAPSHOT_STORE
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.resources.snapshotstore import SnapshotStoreSpec
from ocore_crds.stored.manifest import ENCRYPTED_VERSION, AnyManifest, Manifest, OuterManifest, StoredObject
from ocore_crds.stored.object_versions import Candidates
from ocore_crds.text.age_keys import recipient_problem
from ocore_crds.text.quantity import counted, human

from . import s3
from .certificates import ca_of
from .errors import CliError, Refused
from .objects import Objects, needed
from .selection import Access
from .stored import has_data
from .versions import Bucket, Version

#: Bytes of a manifest, and of an object without a digest, at most.
_MANIFEST, _SMALL = 256 * 1024 * 1024, 64 * 1024


@dataclass(frozen=True)
class _Hidden:
    """A version to make the newest one again."""

    version: Version
    why: str


@dataclass
class _Candidates(Candidates[Version]):
    """Those that fit. Without a newest one it is a delete marker, or something else."""

    deleted: bool = False

    def add_fitting(self, version: Version, fits: Callable[[Version], bool]) -> None:
        if version.newest:
            self.deleted = version.marker
        if not version.marker and fits(version):
            self.add(version)

    def hidden(self, version: Version) -> _Hidden | None:
        """None where it is the newest one."""
        return None if version is self.newest else _Hidden(version, "deleted" if self.deleted else "overwritten")


@dataclass
class _Found:
    """Of the snapshots that were searched."""

    hidden: list[_Hidden] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # keys of objects of which no version fits
    known: set[str] = field(default_factory=set)  # keys of manifests that were searched


def run(
    objects: Objects, console: Console, notes: Console, store: str, names: Sequence[str], access: Access, *, apply: bool
) -> bool:
    """Shows what is deleted or overwritten, and with `apply` writes it again. Returns whether everything was found.
    Raises CliError; what was written until then stays, and the command can be repeated."""
    snapshots = _chosen(objects, store, names)
    bucket = _bucket(objects, store, access)
    found, corrupt = _Found(), []
    for name, status in snapshots:
        before = len(found.hidden)
        _search(bucket, found, status.manifest_key or "", status.manifest_sha256 or "")
        for each in found.hidden[before:]:
            console.print(f"{name}  {each.version.key}  {human(each.version.size)}  {each.why}", soft_wrap=True)
            if apply:
                bucket.make_newest(each.version)
        if status.phase == "Corrupt" and len(found.hidden) > before:
            corrupt.append(name)
    for key in found.lost:
        notes.print(Text(f"{key}: no version has the bytes that were stored", style="red"), soft_wrap=True)
    total = f"{counted(len(found.hidden), 'object')} ({human(sum(each.version.size for each in found.hidden))})"
    if found.hidden and not apply:
        console.print(f"{total} would be written again. Nothing was written: add --apply", soft_wrap=True)
    else:
        console.print(f"{total} written again, of {counted(len(snapshots), 'snapshot')}", soft_wrap=True)
    if corrupt and apply:
        text = f"Have every byte of the Corrupt ones read again: kubectl ocore verify NAME ({', '.join(corrupt)})"
        notes.print(Text(text, style="yellow"), soft_wrap=True)
    return not found.lost


def _chosen(objects: Objects, store: str, names: Sequence[str]) -> list[tuple[str, SnapshotStatus]]:
    """The named Snapshots; none: all of the namespace that have data in the store. Raises CliError."""
    listed = [needed(objects, SNAPSHOT, name) for name in names] or list(objects.list(SNAPSHOT))
    found = []
    for obj in listed:
        name, status = obj["metadata"]["name"], SnapshotStatus.model_validate(obj.get("status") or {})
        if has_data(obj, status, store):
            found.append((name, status))
        elif names:
            raise Refused(f"Snapshot {name} has no data in SnapshotStore {store}, or is being deleted")
    if not found:
        raise Refused(f"no Snapshot of this namespace has data in SnapshotStore {store}")
    return found


def _bucket(objects: Objects, store: str, access: Access) -> Bucket:
    spec = SnapshotStoreSpec.model_validate(needed(objects, SNAPSHOT_STORE, store)["spec"], extra="ignore")
    if spec.s3 is None:
        raise Refused(f"SnapshotStore {store} is on a claim, which keeps no versions")
    keys = s3.credentials(os.environ, access.credentials_file)
    return Bucket(spec.s3, keys, ca_of(objects, spec.s3, access.ca_file), access.endpoint)


def _search(bucket: Bucket, found: _Found, key: str, sha256: str) -> None:
    """Adds what is hidden of a snapshot, and of the full one that it needs."""
    if key in found.known:
        return
    found.known.add(key)
    candidates = _Candidates()
    for version in bucket.versions(key):
        if version.key == key:
            candidates.add_fitting(version, lambda each: each.size <= _MANIFEST)
    for version in candidates.ordered():
        data = b"".join(bucket.read(version))
        if hashlib.sha256(data).hexdigest() == sha256:
            break
    else:
        found.lost.append(key)
        return
    manifest = _parsed(key, data)
    if manifest.base is not None:
        _search(bucket, found, manifest.base.manifest_key, manifest.base.manifest_sha256)
        found.hidden += _marker(bucket, manifest, manifest.base.snapshot_id)
    # The manifest comes last: a snapshot that an import can see is whole.
    found.hidden += [*_objects(bucket, found, key, manifest), *filter(None, [candidates.hidden(version)])]


def _marker(bucket: Bucket, manifest: AnyManifest, base_id: str) -> Iterator[_Hidden]:
    """What protects the full snapshot of a differential from a deletion, where it is hidden. It has no contents."""
    ids = manifest.identity
    key, candidates = naming.dependents_prefix(ids.environment_id, base_id) + ids.snapshot_id, _Candidates()
    for version in bucket.versions(key):
        candidates.add_fitting(version, lambda each: each.key == key and each.size <= _SMALL)
    if candidates.newest is None and candidates.oldest:
        yield _Hidden(candidates.oldest[-1], "deleted")


def _parsed(key: str, data: bytes) -> AnyManifest:
    """Of a manifest whose digest is known."""
    try:
        encrypted = json.loads(data).get("formatVersion") == ENCRYPTED_VERSION
        return (OuterManifest if encrypted else Manifest).model_validate_json(data)
    except (ValidationError, ValueError, AttributeError) as error:
        raise CliError(f"{key} cannot be read by this version of kubectl ocore: update it") from error


def _objects(bucket: Bucket, found: _Found, manifest_key: str, manifest: AnyManifest) -> Iterator[_Hidden]:
    """Those of the snapshot's own that are hidden."""
    prefix, wanted = manifest_key.rpartition("/")[0] + "/", {obj.key: obj for obj in manifest.objects()}
    versions: dict[str, _Candidates] = {key: _Candidates() for key in wanted}
    for version in bucket.versions(prefix):
        if (obj := wanted.get(version.key)) is not None:
            versions[version.key].add_fitting(version, lambda each, size=obj.size: each.size == size)  # type: ignore[misc]
        elif _has_no_digest(version.key, manifest):
            versions.setdefault(version.key, _Candidates()).add_fitting(version, lambda each: each.size <= _SMALL)
    for key, candidates in versions.items():
        if not candidates.ordered():
            found.lost.append(key)
            continue
        stored = _stored(bucket, wanted, key, candidates)
        if stored is None:
            found.lost.append(key)
        elif (hidden := candidates.hidden(stored)) is not None:
            yield hidden


def _has_no_digest(key: str, manifest: AnyManifest) -> bool:
    """Whether it is a key object or the signature, which the manifest does not name. Of the key objects of others, who
    can write to the bucket can add any number."""
    ids = manifest.identity.environment_id, manifest.identity.snapshot_id
    recipient = key.removeprefix(naming.keys_prefix(*ids)).removesuffix(".age")
    return key in (
        naming.signature_key(*ids, manifest.attempt),
        naming.key_object(*ids, manifest.attempt),
    ) or not recipient_problem(recipient)


def _stored(bucket: Bucket, wanted: Mapping[str, StoredObject], key: str, candidates: _Candidates) -> Version | None:
    """The version that was stored; None: none of them. What is written again is compared before that."""
    newest, different = candidates.newest, {version.etag: version for version in reversed(candidates.ordered())}
    if newest is not None and len(different) == 1:
        return newest  # nothing to write: compared when it is read
    if (obj := wanted.get(key)) is not None:
        return next((each for each in reversed(different.values()) if bucket.sha256(each) == obj.sha256), None)
    oldest = candidates.oldest[-1]
    return newest if newest is not None and bucket.sha256(newest) == bucket.sha256(oldest) else oldest
