"""The records of rollbacks in the store: written once each, found by the rollback's name and the hash of its spec.

::

    environments/<environment id>/rollbacks/<name>/<spec hash>/<uid>/<attempt>/<state>.json

A state is decided by the keys alone: a record that cannot be read still prevents a second run.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import get_args

from pydantic import ValidationError

from ocore_crds import conditions, naming
from ocore_crds.reports.base import Failure
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.rollback_record import MarkedOutcome, RecordState, RollbackRecord, RollbackRun
from ocore_mover.database.position import RollbackMark
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.report import now
from ocore_mover.store.interface import Store

_KEY = re.compile(r"(?P<uid>[^/]+)/(?P<attempt>[^/]+)/(?P<state>[^/]+)\.json")


class RollbackRecords:
    """The records of one Rollback's name and spec, and what its own run adds to them."""

    def __init__(self, store: Store, run: RollbackRun) -> None:
        self._store = store
        self._run = run

    def check(self, marks: Iterable[RollbackMark]) -> None:
        """Returns where no earlier Rollback of this name and spec ran; `marks` are the live database's.

        Raises MoverError AlreadyExecuted, SwitchedBack or OutcomeUnknown otherwise, and StoreError where the store
        cannot be read.
        """
        self._check(marks, self._earlier())

    def check_marks(self, marks: Iterable[RollbackMark]) -> None:
        """The same without the store."""
        self._check(marks, {})

    def _check(self, marks: Iterable[RollbackMark], found: Mapping[tuple[str, str], set[str]]) -> None:
        # The database decides where it can: its comment was written in the transaction of the renames.
        ended = {mark.outcome for mark in marks if self._is_earlier(mark)}
        if not ended:
            outcomes = (_outcome(states) for states in _by_uid(found).values())
            ended = {outcome for outcome in outcomes if outcome is not None}
        if "Switched" in ended:
            raise self._refused(conditions.ALREADY_EXECUTED)
        if "SwitchedBack" in ended:
            raise self._refused(conditions.SWITCHED_BACK)
        for (uid, attempt), states in sorted(found.items()):
            if "started" in states and "not-switched" not in states:
                key = naming.rollback_record_key(*self._names(), uid, attempt, "started")
                raise self._refused(conditions.OUTCOME_UNKNOWN, key)

    def write(self, state: RecordState, evidence: Evidence | None = None, failure: Failure | None = None) -> None:
        """Writes one record and reads it back. The first one wins: the same one again is accepted. `failure`: of
        `not-switched`.

        Raises MoverError RecordConflict where another run has the key, Corrupt where other bytes are read back, and
        StoreError.
        """
        record = RollbackRecord(state=state, run=self._run, time=now(), evidence=evidence, failure=failure)
        key = naming.rollback_record_key(*self._names(), self._run.uid, self._run.attempt, state)
        data = json.dumps(record.wire(), indent=1, ensure_ascii=True).encode() + b"\n"
        created = self._store.put_if_absent(key, data)
        found = self._store.get(key)
        if found == data:
            return
        if created or found is None:
            raise Corrupt(f"{key} in {self._store.url} reads back other bytes than were written")
        if not self._is_ours(found, state):
            raise MoverError(
                conditions.RECORD_CONFLICT,
                f"{key} in {self._store.url} is the record of another run. Create the Rollback again under another"
                " name.",
            )

    def _is_earlier(self, mark: RollbackMark) -> bool:
        """Whether the mark is of another Rollback object of this name and spec, of this environment."""
        run = self._run
        wanted = (run.name, run.spec_hash, run.environment_id)
        return (mark.name, mark.spec_hash, mark.environment_id) == wanted and mark.uid != run.uid

    def _is_ours(self, data: bytes, state: RecordState) -> bool:
        try:
            found = RollbackRecord.model_validate_json(data)
        except ValidationError:
            return False
        return found.state == state and found.run == self._run

    def _names(self) -> tuple[str, str, str]:
        return self._run.environment_id, self._run.name, self._run.spec_hash

    def _earlier(self) -> dict[tuple[str, str], set[str]]:
        """The states of the other runs, by uid and attempt."""
        prefix = naming.rollback_prefix(*self._names())
        found: dict[tuple[str, str], set[str]] = {}
        for info in self._store.list(prefix):
            match = _KEY.fullmatch(info.key.removeprefix(prefix))
            if match is None or match["state"] not in get_args(RecordState) or match["uid"] == self._run.uid:
                continue
            found.setdefault((match["uid"], match["attempt"]), set()).add(match["state"])
        return found

    def _refused(self, reason: str, key: str = "") -> MoverError:
        name = self._run.name
        again = "Nothing was done. To run it again, create it under another name."
        texts = {
            conditions.ALREADY_EXECUTED: f"A rollback {name} with this specification has run before. {again}",
            conditions.SWITCHED_BACK: (
                f"A rollback {name} with this specification has run before and was switched back. {again}"
            ),
            conditions.OUTCOME_UNKNOWN: (
                f"A rollback {name} with this specification has started before, and neither {self._store.url} nor the"
                f" database shows how it ended ({key}). Nothing was done. Check what the environment runs on; to run it"
                " again, create it under another name."
            ),
        }
        return MoverError(reason, texts[reason])


def _by_uid(found: Mapping[tuple[str, str], set[str]]) -> dict[str, set[str]]:
    """The states of each run, in any of its attempts."""
    runs: dict[str, set[str]] = {}
    for (uid, _), states in found.items():
        runs.setdefault(uid, set()).update(states)
    return runs


def _outcome(states: set[str]) -> MarkedOutcome | None:
    """How a run ended; None where its records do not show it. A run switches back at most once, at its end."""
    if "switched-back" in states:
        return "SwitchedBack"
    return "Switched" if "switched" in states else None
