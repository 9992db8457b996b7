"""``list-manifests``: one page of the snapshots that a store has for the given environments, and then of their
rollbacks, as lines of the log."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from ocore_crds.commands.list_manifests import ListManifestsRequest
from ocore_crds.reports import stored_contents as limits
from ocore_crds.reports.store_listing import StoredRollback, StoredSnapshot
from ocore_crds.reports.stored_contents import ForeignEnvironment, ManifestsResult, SkippedManifest
from ocore_crds.stored.manifest import Identity
from ocore_crds.text.sentences import shortened
from ocore_mover import contents, manifests, rollback_history, snapshot_results, states
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.errors import MoverError
from ocore_mover.store.interface import Store
from ocore_mover.store.probe import store_id

#: Folders that are read before the page's size is checked again, and folders of one page at most: most may have no
#: manifest.
BATCH = 64
PAGE_FOLDERS = 20_000
#: Begins the position of a page that has rollbacks only. It is behind every id.
ROLLBACKS = "rollbacks/"
#: Characters of a reason in the result.
_REASON = 160


class _Incomplete(SkippedManifest):
    """A manifest that names objects which are not there."""


class ListManifests:
    """One run of the command."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        wanted: Mapping[str, str],
        position: str,
        signers: Sequence[str] = (),
        *,
        hidden: bool = False,
    ) -> None:
        """`wanted`: environment id → project id. `position`: the result's `next` of the page before; empty: the first
        page. `signers`: a snapshot that none of these keys has signed is skipped. `hidden`: also finds what was
        deleted and overwritten."""
        self._runtime = runtime
        self._store = runtime.guarded(store)
        self._wanted = wanted
        self._position = position
        self._signers = signers
        self._hidden = hidden
        self._lines: list[str] = []
        self._skipped: list[SkippedManifest] = []
        self._skipped_count = self._incomplete = 0
        self._size = 0
        self._rollbacks = self._open = self._older = 0

    def run(self) -> ManifestsResult:
        """Raises MoverError where the store does not answer: an unreadable manifest is counted and named."""
        identifier = store_id(self._store)
        foreign, count = self._foreign() if not self._position else ((), 0)
        following = self._page()
        digest = hashlib.sha256("".join(f"{line}\n" for line in sorted(self._lines)).encode()).hexdigest()
        return ManifestsResult(
            store_id=identifier,
            listed=len(self._lines),
            lines_sha256=digest,
            next=following,
            skipped=self._skipped_count,
            incomplete=self._incomplete,
            skipped_examples=tuple(self._skipped),
            foreign=foreign,
            foreign_environments=count,
            rollbacks=self._rollbacks,
            rollbacks_open=self._open,
            rollbacks_older=self._older,
        )

    def _page(self) -> str:
        """Emits the lines of the page; returns where the next one begins, or an empty text."""
        if not self._position.startswith(ROLLBACKS):
            following = self._snapshots()
            if following:
                return following
            if self._size > limits.PAGE_BYTES // 4:  # an environment's rollbacks must fit beside
                return ROLLBACKS
        return self._finished(self._position.removeprefix(ROLLBACKS) if self._position.startswith(ROLLBACKS) else "")

    def _finished(self, after: str) -> str:
        """The rollbacks of the environments behind `after`, until the page is full."""
        for environment_id in sorted(each for each in self._wanted if each > after):
            history = rollback_history.read(self._store, environment_id, limits.PAGE_ROLLBACKS)
            self._open += history.open
            self._older += history.older
            for key, why in history.unreadable.items():
                self._skip(_skipped(key, why))
            project = self._wanted[environment_id]
            for line, found in zip(history.ended, rollback_history.of_project(history.ended, project), strict=True):
                if isinstance(found, str):
                    self._skip(_skipped(f"{environment_id}/rollbacks/{line.run.name}", found))
                else:
                    self._emit(found)
                    self._rollbacks += 1
            if self._is_full():
                return ROLLBACKS + environment_id if environment_id != max(self._wanted) else ""
        return ""

    def _emit(self, line: StoredSnapshot | StoredRollback) -> None:
        self._lines.append(self._runtime.reporter.emit(line))
        self._size += len(self._lines[-1])

    def _is_full(self) -> bool:
        return len(self._lines) >= limits.PAGE_SNAPSHOTS or self._size >= limits.PAGE_BYTES

    def _snapshots(self) -> str:
        folders = contents.after(self._store, self._wanted, self._position, hidden=self._hidden)
        looked = 0
        with ThreadPoolExecutor(contents.READERS, thread_name_prefix="manifests") as pool:
            while batch := tuple(islice(folders, BATCH)):
                for found in pool.map(lambda place: self._read(*place), batch):
                    if isinstance(found, SkippedManifest):
                        self._incomplete += isinstance(found, _Incomplete)
                        self._skip(found)
                    elif found is not None:
                        self._emit(found)
                looked += len(batch)
                if self._is_full() or looked >= PAGE_FOLDERS:
                    return "/".join(batch[-1])
        return ""

    def _read(self, environment_id: str, snapshot_id: str) -> StoredSnapshot | SkippedManifest | None:
        found = contents.read(self._store, environment_id, snapshot_id, signers=self._signers, hidden=self._hidden)
        if found is None:
            return None
        key = f"{environment_id}/{snapshot_id}"
        if isinstance(found, MoverError):
            return _skipped(key, found.message)
        project = found.manifest.identity.project_id
        if project != self._wanted[environment_id]:
            return _skipped(key, f"it is of project {project}, and the Environment of {self._wanted[environment_id]}")
        missing = manifests.missing_object(self._store, found.manifest)
        if missing:
            return _Incomplete(**_skipped(key, missing).model_dump())
        state = states.readable(self._store, environment_id, snapshot_id)
        line = StoredSnapshot(result=snapshot_results.of(found, state=state)).fitting()
        return line if line is not None else _skipped(key, "its manifest has more to report than a listing holds")

    def _skip(self, found: SkippedManifest) -> None:
        self._skipped_count += 1
        if len(self._skipped) < limits.SKIPPED_NAMED:
            self._skipped.append(found)

    def _foreign(self) -> tuple[tuple[ForeignEnvironment, ...], int]:
        """The environments in the store that are not wanted: some of them with what an Environment would need, and how
        many there are."""
        present = contents.environments(self._store, hidden=self._hidden)
        others = (each for each in present if each not in self._wanted)
        named = tuple(self._named(each) for each in islice(others, limits.FOREIGN_NAMED))
        with_snapshots = tuple(each for each in named if each.snapshots)
        rest = sum(1 for _ in islice(others, contents.FOREIGN_COUNTED))
        return with_snapshots, len(with_snapshots) + rest

    def _named(self, environment_id: str) -> ForeignEnvironment:
        found, count = contents.first_of(self._store, environment_id, hidden=self._hidden)
        identity = found.manifest.identity if found is not None else None
        return ForeignEnvironment(
            environment_id=environment_id,
            project_id=identity.project_id if identity is not None else "",
            name=shortened(identity.environment_name, 63) if isinstance(identity, Identity) else "",
            snapshots=count,
        )


def _skipped(key: str, reason: str) -> SkippedManifest:
    return SkippedManifest(key=key, reason=shortened(reason, _REASON))


def execute(runtime: Runtime, request: ListManifestsRequest) -> ManifestsResult:
    """As :meth:`ListManifests.run`."""
    store, signers = opening.store(request.store), request.store.signers
    return ListManifests(runtime, store, request.environments, request.after, signers, hidden=request.hidden).run()
