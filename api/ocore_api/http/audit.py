"""One JSON line per write on stdout, whatever the log level."""

import json
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

from ocore_api.auth import Principal

#: Where a handler's notes are kept in the scope of a request.
NOTES = "ocore.audit"


def note(scope: MutableMapping[str, Any], **what: str) -> None:
    """Adds members to the audit line of a request, for example the name of the object that was created. A read with
    notes is audited as a write."""
    scope.setdefault(NOTES, {}).update(what)


class Audit:
    """Writes audit lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(
        self, scope: MutableMapping[str, Any], *, principal: Principal | None, route: str, status: int, request_id: str
    ) -> None:
        """Writes the line of one request. `status` 0: the client closed the connection before the answer."""
        client = scope.get("client")
        parameters = scope.get("path_params", {})
        line = {
            "audit": "write",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "subject": None if principal is None else principal.subject,
            "method": scope["method"],
            "route": route,
            "environment": parameters.get("environmentId"),
            "object": parameters.get("snapshotId"),
            "status": status,
            "request_id": request_id,
            "client": client[0] if client else None,
            **scope.get(NOTES, {}),
        }
        stream = self._stream or sys.stdout
        stream.write(json.dumps(line) + "\n")
        stream.flush()
