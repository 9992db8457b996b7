"""What a differential needs, from raw JSON. Pure."""

from collections.abc import Mapping
from typing import Any

from ocore_crds import conditions


def needs_of(status: Mapping[str, Any]) -> str:
    """Id of the full Snapshot that a Snapshot with this status needs; empty: none. One that failed needs none once
    nothing of it is left in the store."""
    base = status.get("base") or {}
    failed = conditions.outcome(status.get("conditions") or ()) == "Failed"
    return "" if failed and status.get("residue") != "Pending" else str(base.get("id") or "")
