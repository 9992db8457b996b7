"""Names, ids and times of what a request creates: derived from its Idempotency-Key, or random. Pure but for the random
ones and the time."""

import hashlib
import json
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ocore_api.errors import Problem
from ocore_crds.text.timestamps import exact

#: Visible ASCII characters, as RFC 9110 allows them in a token or a quoted string.
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
#: Characters of an environment's name at the begin of a name. A Job's labels hold 63; names of objects may have 253.
_PREFIX = 200


@dataclass(frozen=True)
class Identity:
    """The last part of a name, and a UUID. `key`: whether they are those of an Idempotency-Key."""

    suffix: str
    id: str
    keyed: bool

    def name(self, environment: str) -> str:
        """Name of the object of the environment with that name."""
        return f"{environment[:_PREFIX].rstrip('-.')}-{self.suffix}"


def identity(kind: str, subject: str, environment_id: str, key: str | None) -> Identity:
    """Of what the request creates. The same subject, environment and key give the same one; no key gives a random one.

    Raises Problem for a key that is empty, too long or not printable.
    """
    if key is None:
        return Identity(secrets.token_hex(16), str(uuid.uuid4()), keyed=False)
    if not _KEY.fullmatch(key):
        raise Problem(
            "InvalidIdempotencyKey", "Idempotency-Key must have 1 to 255 visible ASCII characters, for example a UUID."
        )
    digest = hashlib.sha256(json.dumps([kind, subject, environment_id, key]).encode()).digest()
    return Identity(digest[:16].hex(), str(uuid.UUID(bytes=digest[16:32], version=5)), keyed=True)


def now() -> str:
    """When the request is served, with milliseconds."""
    return exact(datetime.now(UTC))


def body_digest(body: dict[str, Any]) -> str:
    """SHA-256 of the parsed body. Absent fields and their defaults are the same."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def reused() -> Problem:
    """The problem of a key that was sent before with another body."""
    return Problem(
        "IdempotencyKeyReused",
        "This Idempotency-Key was sent before with another body. Send a new key for a new request.",
    )
