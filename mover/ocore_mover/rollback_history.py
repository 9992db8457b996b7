"""The rollbacks of an environment that have ended, from their records in the store: what an import makes Rollback
resources of.

What a store holds may have been written by anyone who has its keys. A record counts only where its contents name its
key, and it is read with a limit.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import get_args

from pydantic import ValidationError

from ocore_crds import conditions, naming
from ocore_crds.reports.store_listing import StoredRollback
from ocore_crds.stored.rollback_record import RecordedOutcome, RecordState, RollbackRecord
from ocore_mover import contents
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store.interface import ObjectInfo, Store

#: Bytes of one object of a record. The evidence may name files.
RECORD_BYTES = 1024 * 1024
#: Runs of one environment that are looked at, the newest ones by the store's time.
RUNS = 10_000

_KEY = re.compile(r"(?P<name>[^/]+)/(?P<hash>[^/]+)/(?P<uid>[^/]+)/(?P<attempt>[^/]+)/(?P<state>[^/]+)\.json")


@dataclass
class _Run:
    """The objects of one Rollback object: those of its attempts."""

    newest: float = 0.0
    #: State → attempt → key.
    keys: dict[str, dict[str, ObjectInfo]] = field(default_factory=dict)

    def add(self, state: str, attempt: str, info: ObjectInfo) -> None:
        self.newest = max(self.newest, info.modified)
        self.keys.setdefault(state, {})[attempt] = info

    def outcome(self) -> RecordedOutcome | None:
        """How it ended; None: it has not, or the end is not recorded. As ``rollback_records`` decides it."""
        if "switched-back" in self.keys:
            return "SwitchedBack"
        if "switched" in self.keys:
            return "Switched"
        started, stopped = self.keys.get("started", {}), self.keys.get("not-switched", {})
        return "NotSwitched" if stopped and started.keys() <= stopped.keys() else None

    def key(self, state: str) -> str | None:
        """The key of its newest object of that state."""
        found = self.keys.get(state, {}).values()
        return max(found, key=lambda info: (info.modified, info.key)).key if found else None


@dataclass(frozen=True)
class History:
    """Of one environment."""

    #: Those that ended, the newest first; as many as were asked for.
    ended: tuple[StoredRollback, ...]
    open: int
    older: int
    #: Key → why it does not count.
    unreadable: Mapping[str, str]


def read(store: Store, environment_id: str, limit: int) -> History:
    """The newest `limit` rollbacks of the environment that have ended. Raises StoreError where the store does not
    answer."""
    runs = sorted(_runs(store, environment_id).values(), key=lambda run: run.newest, reverse=True)
    ended = [run for run in runs if run.outcome() is not None]
    found: list[StoredRollback] = []
    unreadable: dict[str, str] = {}
    with ThreadPoolExecutor(contents.READERS, thread_name_prefix="records") as pool:
        for each in pool.map(lambda run: _read(store, environment_id, run), ended[:RUNS]):
            if isinstance(each, StoredRollback):
                found.append(each)
            else:
                unreadable |= each
    found.sort(key=lambda each: (each.ended_at, each.run.uid), reverse=True)
    older = len(ended) - len(ended[:RUNS]) + len(found[limit:])
    return History(tuple(found[:limit]), len(runs) - len(ended), older, unreadable)


def _runs(store: Store, environment_id: str) -> dict[tuple[str, str, str], _Run]:
    """By name, hash of the spec, and uid."""
    prefix = f"{contents.ENVIRONMENTS}{environment_id}/rollbacks/"
    runs: dict[tuple[str, str, str], _Run] = {}
    for info in store.list(prefix):
        match = _KEY.fullmatch(info.key.removeprefix(prefix))
        if match is not None and match["state"] in get_args(RecordState):
            run = runs.setdefault((match["name"], match["hash"], match["uid"]), _Run())
            run.add(match["state"], match["attempt"], info)
    return runs


def _read(store: Store, environment_id: str, run: _Run) -> StoredRollback | dict[str, str]:
    """What is known of a run that has ended; which of its objects cannot be read."""
    outcome = run.outcome()
    keys = [
        key for state in ("restored", "started", "switched", "switched-back", "not-switched") if (key := run.key(state))
    ]
    records: dict[str, RollbackRecord] = {}
    for key in keys:
        try:
            record = _record(store, environment_id, key)
        except Corrupt as error:
            return {key: error.message}
        records[record.state] = record
    # The last one knows most: how far the rollback was when its Job was created.
    times = sorted(record.time for record in records.values())
    last = max(records.values(), key=lambda record: (record.run.rollback is not None, record.time), default=None)
    if outcome is None or last is None:
        return {}
    restored, switched, stopped = (records.get(state) for state in ("restored", "switched", "not-switched"))
    line = StoredRollback(
        outcome=outcome,
        run=last.run,
        began_at=times[0],
        switched_at=switched.time if switched is not None else None,
        ended_at=max(
            (r.time for r in records.values() if r.state in ("switched", "switched-back", "not-switched")),
            default=times[-1],
        ),
        evidence=restored.evidence if restored is not None else None,
        failure=stopped.failure if stopped is not None and outcome == "NotSwitched" else None,
    ).fitting()
    return line if line is not None else {keys[-1]: "it has more to report than a listing holds"}


def _record(store: Store, environment_id: str, key: str) -> RollbackRecord:
    """The object. Raises Corrupt where it is not the record that its key names, StoreError where the store does not
    answer."""
    try:
        data = store.get(key, limit=RECORD_BYTES)
    except StoreError as error:
        if error.reason != conditions.CORRUPT:
            raise
        raise Corrupt(f"{key} is larger than {RECORD_BYTES} bytes") from error
    try:
        record = RollbackRecord.model_validate_json(data or b"")
    except (ValidationError, RecursionError) as error:
        raise Corrupt(f"{key} is not a record that this version can read") from error
    run = record.run
    own = naming.rollback_record_key(environment_id, run.name, run.spec_hash, run.uid, run.attempt, record.state)
    if run.environment_id != environment_id or own != key:
        raise Corrupt(f"{key} is the record of another rollback")
    return record


def of_project(found: Iterable[StoredRollback], project_id: str) -> Iterator[StoredRollback | str]:
    """Those that may be of the project; for the others why not. A record of an earlier version names no project."""
    for each in found:
        recorded = each.run.rollback.project_id if each.run.rollback is not None else ""
        if recorded in ("", project_id):
            yield each
        else:
            yield f"it is of project {recorded}, and the Environment of {project_id}"
