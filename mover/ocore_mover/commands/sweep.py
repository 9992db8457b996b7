"""``sweep``: finds objects that no manifest names, and renews the locks of what one names. ``remove-orphans``: removes
exactly those that a sweep has reported.

An object below ``environments/<id>/snapshots/<id>/`` is an orphan if it is older than the limit, by the store's time,
and no manifest names it: neither its own snapshot's nor, for the packs of a full snapshot, one of a differential. The
key objects of a snapshot with a manifest are none. Below a folder without a manifest only if everything there is that
old: a snapshot that runs has no manifest yet. An environment with a manifest that cannot be read has no orphans,
because it is unknown what that names. Everything else in the store is foreign and never touched.
"""

import hashlib
import heapq
import json
import logging
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby, islice

from pydantic import ValidationError

from ocore_crds import conditions, failpoints, naming
from ocore_crds.commands.sweep import SweepRequest
from ocore_crds.model import UUID_PATTERN
from ocore_crds.reports import stored_contents as limits
from ocore_crds.reports.stored_contents import Orphan, OrphanReport, OrphansResult, RemovedOrphans
from ocore_mover import contents, manifests
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.manifests import StoredManifest
from ocore_mover.store.interface import ObjectInfo, Store, Upload
from ocore_mover.store.probe import store_id
from ocore_mover.workers import run_workers

log = logging.getLogger(__name__)

#: Bytes of a report at most: it has REPORT_OBJECTS keys of at most 1 KiB.
REPORT_BYTES = 16 * 1024 * 1024
UUID = UUID_PATTERN.strip("^$")
_PLACE = re.compile(f"environments/(?P<environment>{UUID})/snapshots/(?P<snapshot>{UUID})/.")
#: What a mover writes below an attempt.
_ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}/.+")


@dataclass
class _Found:
    """What a sweep has found so far. `orphans` holds REPORT_OBJECTS at most."""

    orphans: list[Orphan] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    uploads: int = 0
    manifests: int = 0
    unreadable: int = 0
    foreign: int = 0

    def add(self, orphan: Orphan) -> None:
        if len(self.orphans) < limits.REPORT_OBJECTS:
            self.orphans.append(orphan)
        if orphan.upload:
            self.uploads += 1
        else:
            self.objects += 1
            self.bytes += orphan.size


class Sweep:
    """Finds the orphans of one store, environment by environment."""

    def __init__(self, runtime: Runtime, store: Store, *, before: float) -> None:
        """`before`: seconds since the epoch; what is newer is not an orphan."""
        self._token = runtime.token
        self._store = runtime.guarded(store)
        self._before = before

    def run(self, report_id: str) -> OrphansResult:
        """Lists the whole store. With a report id the list is written into the store, for a removal."""
        found = _Found()
        unfinished = {environment_id for environment_id, _ in self._uploads}
        for environment_id in merge(contents.environments(self._store), sorted(unfinished)):
            for orphan in self.environment(environment_id, found):
                found.add(orphan)
        report = self._write(report_id, found) if report_id else ""
        times = [each.modified for each in found.orphans]
        return OrphansResult(
            objects=found.objects,
            bytes=found.bytes,
            uploads=found.uploads,
            oldest=_text(min(times)) if times else None,
            examples=tuple(each.key for each in found.orphans[: limits.EXAMPLES]),
            more=found.objects + found.uploads > len(found.orphans),
            manifests=found.manifests,
            unreadable=found.unreadable,
            foreign=found.foreign,
            report=report,
        )

    def _write(self, report_id: str, found: _Found) -> str:
        """Writes the list and returns its SHA-256; without an orphan there is none, and an earlier one is deleted."""
        key = naming.orphans_key(report_id)
        if not found.orphans:
            self._store.delete([key])
            return ""
        report = OrphanReport(store_id=store_id(self._store), before=self._before, objects=tuple(found.orphans))
        data = json.dumps(report.wire(), ensure_ascii=True).encode() + b"\n"
        with self._store.writer(key) as writer:
            writer.write(data)
            return writer.commit().sha256

    def environment(self, environment_id: str, found: _Found | None = None) -> Iterator[Orphan]:
        """The orphans of one environment. Counts in `found` where that is given."""
        count = found if found is not None else _Found()
        needed = self.needed_of_bases(environment_id, count)
        if needed is None:
            return
        unfinished = sorted(snapshot_id for each, snapshot_id in self._uploads if each == environment_id)
        for snapshot_id in merge(contents.snapshots(self._store, environment_id), unfinished):
            yield from self.snapshot(environment_id, snapshot_id, needed, count)

    @cached_property
    def _uploads(self) -> dict[tuple[str, str], list[Upload]]:
        """Unfinished uploads by environment and snapshot, in one listing: a folder that has nothing else is not listed
        as one. Some of them, where there are more than a report holds."""
        found: dict[tuple[str, str], list[Upload]] = {}
        for upload in islice(self._store.uploads(contents.ENVIRONMENTS), limits.REPORT_OBJECTS):
            if match := _PLACE.match(upload.key):
                found.setdefault((match["environment"], match["snapshot"]), []).append(upload)
        return found

    def needed_of_bases(self, environment_id: str, count: "_Found") -> frozenset[str] | None:
        """Keys that the differentials of the environment need of full snapshots; None where a manifest cannot be
        read."""
        needed: set[str] = set()
        unreadable = 0
        for snapshot_id in contents.snapshots(self._store, environment_id):
            self._token.check()
            manifest = contents.read(self._store, environment_id, snapshot_id)
            if isinstance(manifest, MoverError):
                unreadable += 1
            elif manifest is not None:
                count.manifests += 1
                own = {obj.key for obj in manifest.manifest.objects()}
                needed.update(obj.key for obj in manifest.manifest.needed() if obj.key not in own)
        count.unreadable += unreadable
        return frozenset(needed) if not unreadable else None

    def snapshot(
        self, environment_id: str, snapshot_id: str, needed: frozenset[str], count: _Found
    ) -> Iterator[Orphan]:
        """The orphans of one snapshot's folder. `needed`: keys that count as named."""
        prefix = naming.snapshot_prefix(environment_id, snapshot_id)
        manifest = contents.read(self._store, environment_id, snapshot_id)
        if isinstance(manifest, MoverError):
            return
        named = needed | _named(manifest, environment_id, snapshot_id)
        unnamed = [naming.dependents_prefix(environment_id, snapshot_id)]  # they go with the full snapshot
        if manifest is not None:
            unnamed.append(naming.keys_prefix(environment_id, snapshot_id))
        old: list[Orphan] = []
        for info in self._store.list(prefix):
            if info.key in named or info.key.startswith(tuple(unnamed)):
                continue
            if not _ours(info, prefix):
                count.foreign += 1
            elif info.modified < self._before:
                if len(old) <= limits.REPORT_OBJECTS:
                    old.append(Orphan(key=info.key, size=info.size, modified=info.modified))
            elif manifest is None:
                return  # something here is young: a snapshot may run
        for upload in self._uploads.get((environment_id, snapshot_id), ()):
            if upload.modified < self._before:
                old.append(Orphan(key=upload.key, size=0, modified=upload.modified, upload=upload.id))
            elif manifest is None:
                return
        yield from old


def merge(one: Iterable[str], two: Iterable[str]) -> Iterator[str]:
    """Two sorted listings as one, each name once."""
    return (name for name, _ in groupby(heapq.merge(one, two)))


def _named(manifest: StoredManifest | None, environment_id: str, snapshot_id: str) -> frozenset[str]:
    """What the snapshot's own manifest names, with itself and its state; nothing where there is none."""
    if manifest is None:
        return frozenset()
    own = (obj.key for obj in manifest.manifest.objects())
    return frozenset(
        (
            manifest.key,
            naming.state_key(environment_id, snapshot_id),
            *own,
            *manifest.manifest.signature_keys(),
        )
    )


def _ours(info: ObjectInfo, prefix: str) -> bool:
    """Whether the key has the layout of a snapshot's objects."""
    rest = info.key.removeprefix(prefix)
    return rest in ("manifest.json", "state.json") or _ATTEMPT.fullmatch(rest) is not None


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sweep(runtime: Runtime, store: Store, *, older_than: float, report_id: str) -> OrphansResult:
    """One sweep. `older_than`: seconds."""
    return Sweep(runtime, store, before=time.time() - older_than).run(report_id)


def remove(runtime: Runtime, store: Store, *, report_id: str, sha256: str) -> RemovedOrphans:
    """Removes what the report lists, each object checked again. Raises MoverError OrphansChanged where the store has
    another report.

    A killed removal is repeated with the same report: what is gone counts as kept.
    """
    guarded = runtime.guarded(store)
    report = _report(guarded, report_id, sha256)
    listed = {(each.key, each.upload): each for each in report.objects}
    found = Sweep(runtime, store, before=report.before)
    removed = RemovedOrphans()
    places = dict.fromkeys(tuple(each.key.split("/")[1:4:2]) for each in report.objects)
    # A pack that no manifest named when this set was read cannot become needed: a differential's base has a manifest
    # that names its packs.
    needed = {environment_id: found.needed_of_bases(environment_id, _Found()) for environment_id, _ in places}
    for environment_id, snapshot_id in places:
        others = needed[environment_id]
        if others is None:
            continue
        # Listed and compared with the manifest just before the deletion.
        still = [
            each
            for each in found.snapshot(environment_id, snapshot_id, others, _Found())
            if listed.get((each.key, each.upload)) == each
        ]
        if still:
            removed = _delete(guarded, naming.snapshot_prefix(environment_id, snapshot_id), still, removed)
    return removed.model_copy(update={"kept": len(report.objects) - removed.objects - removed.uploads})


def _delete(store: Store, prefix: str, orphans: list[Orphan], removed: RemovedOrphans) -> RemovedOrphans:
    objects = [each for each in orphans if not each.upload]
    store.delete([each.key for each in objects])
    failpoints.hit("orphans-some-removed")
    uploads = [each for each in orphans if each.upload and store.discard(Upload(each.key, each.upload, each.modified))]
    store.purge(prefix)
    return removed.model_copy(
        update={
            "objects": removed.objects + len(objects),
            "bytes": removed.bytes + sum(each.size for each in objects),
            "uploads": removed.uploads + len(uploads),
        }
    )


def _report(store: Store, report_id: str, sha256: str) -> OrphanReport:
    """The report whose SHA-256 was named. Its keys are only compared with what is found again."""
    key = naming.orphans_key(report_id)
    data = store.get(key, limit=REPORT_BYTES)
    if data is None or hashlib.sha256(data).hexdigest() != sha256:
        raise MoverError(
            conditions.ORPHANS_CHANGED,
            f"{key} in {store.url} is not the report {sha256[:12]}…: a later sweep has replaced it. Read the new one in"
            " status.orphans and name that.",
        )
    try:
        report = OrphanReport.model_validate_json(data)
    except ValidationError as error:
        raise Corrupt(f"{key} in {store.url} is not a report that this version can read") from error
    if report.store_id != store_id(store):
        raise Corrupt(f"{key} in {store.url} is the report of another store")
    return report.model_copy(update={"objects": tuple(o for o in report.objects if _PLACE.match(o.key))})


def renew_locks(runtime: Runtime, store: Store) -> int:
    """Extends the locks of all snapshots whose manifests can be listed and read. Returns the number of objects. Raises
    StoreError where one is refused, after all others."""
    guarded, renewed, refused = runtime.guarded(store), list[int](), list[MoverError]()

    def work(some: Iterator[tuple[str, str]]) -> None:
        for environment_id, snapshot_id in some:
            runtime.token.check()
            try:
                renewed.append(manifests.renew_lock(guarded, environment_id, snapshot_id, readers=contents.READERS))
            except MoverError as error:
                if error.reason not in (*contents.UNREADABLE, conditions.STORE_ACCESS_DENIED):
                    raise
                if error.reason not in contents.UNREADABLE:
                    refused.append(error)
                log.warning("lock not renewed", extra={"snapshot": snapshot_id, "error": error.message})

    run_workers(contents.READERS, contents.after(guarded, dict.fromkeys(contents.environments(guarded), ""), ""), work)
    if refused:
        raise refused[0]
    return sum(renewed)


def execute(runtime: Runtime, request: SweepRequest) -> OrphansResult:
    """As :func:`sweep`, after locks were renewed where that is asked for."""
    store = opening.store(request.store)
    renewed = renew_locks(runtime, store) if request.renew_locks else 0
    found = sweep(runtime, store, older_than=request.older_than, report_id=request.report_id or "")
    return found.model_copy(update={"locks_renewed": renewed})
