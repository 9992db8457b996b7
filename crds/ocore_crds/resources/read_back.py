"""Reading a Snapshot's bytes once more, because a person asks for it: after objects were put back, or in doubt."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ocore_crds import naming
from ocore_crds.model import Sentence, StatusModel, Timestamp
from ocore_crds.resources.restore_test import run_of


class ReadBack(StatusModel):
    """A check that reads every byte in the Snapshot's own store."""

    run: str = Field(
        default="", description="Names the request; empty: none, the full snapshot that it needs is whole again."
    )
    attempt: int = Field(description="Number of its first Job.")
    result: Literal["Matched", "Differs", "NotRead"] | None = Field(
        default=None, description="How it ended; absent: it runs or waits. `NotRead`: the message has why."
    )
    message: Sentence = Field(default="", description="What it does or waits for, or how it ended, for people.")
    ended_at: Timestamp | None = Field(default=None, description="When it ended.")


def asked(annotations: Mapping[str, str], answered: str | None) -> str | None:
    """The request in the annotation `ocore.dev/verify-requested` that no check has answered; None: none. `answered`:
    the run of the newest check."""
    text = annotations.get(naming.ANNOTATION_VERIFY_REQUESTED)
    run = run_of("verify", text) if text else None
    return run if run != answered else None


def is_open(snapshot: Mapping[str, Any]) -> bool:
    """Whether a Snapshot, as the API server has it, was asked to be read again, or is being read, without a result."""
    found = (snapshot.get("status") or {}).get("readBack")
    if found and not found.get("result"):
        return True
    annotations = snapshot["metadata"].get("annotations") or {}
    return asked(annotations, found["run"] if found else None) is not None
