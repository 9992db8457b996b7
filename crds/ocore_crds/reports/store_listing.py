"""One line of the log of ``list-manifests``: a snapshot that the store has, or the end of a rollback that it has a
record of."""

import json
from typing import Literal

from pydantic import Field

from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.model import Timestamp, Tolerant
from ocore_crds.reports.base import Failure
from ocore_crds.reports.stored_contents import LINE_BYTES, ROLLBACK_LINE_BYTES
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.rollback_record import RecordedOutcome, RollbackRun

#: One of them begins every line, and nothing else that a mover prints.
START = '{"type":"stored-snapshot"'
ROLLBACK_START = '{"type":"stored-rollback"'
STARTS = (START, ROLLBACK_START)


class _Listed(Tolerant):
    def size(self) -> int:
        """Bytes of its line."""
        return len(json.dumps(self.wire(), separators=(",", ":")))


class StoredSnapshot(_Listed):
    """What an import needs of one snapshot: what ``snapshot`` had reported, with what the state object has."""

    type: Literal["stored-snapshot"] = "stored-snapshot"
    result: SnapshotResult

    def fitting(self) -> "StoredSnapshot | None":
        """With a line of LINE_BYTES at most: the evidence's texts are dropped where they are too long. None: it has no
        room all the same."""
        if self.size() <= LINE_BYTES:
            return self
        short = self.result.evidence.model_copy(update={"warnings": ()})
        for update in ({"evidence": short}, {"evidence": type(short)()}, {"evidence": type(short)(), "paths": {}}):
            found = self.model_copy(update={"result": self.result.model_copy(update=update)})
            if found.size() <= LINE_BYTES:
                return found
        return None


class StoredRollback(_Listed):
    """What an import needs of one rollback that has ended, from its record."""

    type: Literal["stored-rollback"] = "stored-rollback"
    outcome: RecordedOutcome
    run: RollbackRun
    began_at: Timestamp = Field(description="When the first object of the record was written.")
    switched_at: Timestamp | None = None
    ended_at: Timestamp = Field(description="When the last one was.")
    evidence: Evidence | None = None
    failure: Failure | None = None

    def fitting(self) -> "StoredRollback | None":
        """With a line of ROLLBACK_LINE_BYTES at most: evidence and steps are dropped where they are too long. None: it
        has no room all the same."""
        if self.size() <= ROLLBACK_LINE_BYTES:
            return self
        bare = self.model_copy(update={"evidence": None})
        if bare.size() <= ROLLBACK_LINE_BYTES or bare.run.rollback is None:
            return bare if bare.size() <= ROLLBACK_LINE_BYTES else None
        kept = bare.run.rollback.model_copy(update={"status": {}})
        short = bare.model_copy(update={"run": bare.run.model_copy(update={"rollback": kept})})
        return short if short.size() <= ROLLBACK_LINE_BYTES else None


def parse(line: str) -> StoredSnapshot | StoredRollback | None:
    """What a line has; None for any other line."""
    model = StoredSnapshot if line.startswith(START) else StoredRollback if line.startswith(ROLLBACK_START) else None
    if model is None:
        return None
    try:
        return model.model_validate_json(line)
    except ValueError:
        return None
