"""The state object of a snapshot: what people decide about it after it is complete. `state.json` beside the immutable
manifest; docs/format.md.

It is rewritten, so it proves nothing. A snapshot without one has the defaults: not pinned, `Keep`, `Retain`. An import
then never deletes it.
"""

import json
from typing import Literal

from pydantic import Field

from ocore_crds.model import StatusModel, Timestamp, Tolerant, Uuid

#: Most bytes of a state object that are read.
MAX_BYTES = 64 * 1024


class StoredState(StatusModel):
    """Pin, retention and deletionPolicy of a Snapshot, as the store has them."""

    pin_label: str | None = Field(
        default=None, max_length=256, description="Label of the pin; absent: the snapshot is not pinned."
    )
    retention: Literal["Keep", "Policy"] = Field(default="Keep", description="spec.retention.")
    deletion_policy: Literal["Retain", "Delete"] = Field(default="Retain", description="spec.deletionPolicy.")


class StateObject(Tolerant):
    """The contents of `state.json`."""

    format: Literal["ocore-snapshot-state"] = "ocore-snapshot-state"
    format_version: Literal[1] = 1
    environment_id: Uuid
    snapshot_id: Uuid
    written_at: Timestamp
    state: StoredState = StoredState()

    def data(self) -> bytes:
        """The bytes that are stored."""
        return json.dumps(self.wire(), indent=1, ensure_ascii=True).encode() + b"\n"
