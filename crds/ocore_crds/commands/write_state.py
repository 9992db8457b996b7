"""The command ``write-state``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import SNAPSHOT_IDS, STORE, Command, OfSnapshot
from ocore_crds.reports.base import Line
from ocore_crds.stored.snapshot_state import StoredState


class WriteStateRequest(OfSnapshot):
    """Store pin, retention and deletionPolicy of a snapshot beside its manifest, for an import."""

    state: StoredState = Field(
        default=StoredState(),
        description="Pin, retention and deletionPolicy for the state object (snapshot_state.StoredState).",
    )


class StateResult(Line):
    """Of ``write-state``: what the state object has now."""

    kind: Literal["state"] = "state"
    state: StoredState


ROW = Command(
    "write-state",
    WriteStateRequest,
    (StateResult,),
    "light",
    3,
    (f'{STORE} {SNAPSHOT_IDS} --state {{"pinLabel":"audit"}}',),
)
