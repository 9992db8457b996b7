"""When the holder of an environment's operation lock is done with it. Pure."""

from collections.abc import Mapping
from typing import Any

from ocore_crds import conditions as c


def is_terminal(holder: Mapping[str, Any]) -> bool:
    """Whether an operation, as the API server has it, has ended."""
    return c.is_terminal((holder.get("status") or {}).get("conditions") or ())


def is_done(kind: str, uid: str, holder: Mapping[str, Any] | None) -> bool:
    """Whether the lock may be taken from that operation. `holder`: the object of its name; None: there is none. One
    that is terminal may still clean up under the lock: it releases it then."""
    if holder is None or holder["metadata"]["uid"] != uid:
        return True
    status = holder.get("status") or {}
    if kind == "Rollback" and status.get("residue") == "Pending":
        return False
    if kind == "Extract" and status.get("residue") == "Pending" and status.get("removalAttempt"):
        return False  # it drops its schema
    return is_terminal(holder)
