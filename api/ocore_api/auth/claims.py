"""From the claims of a verified token to its Principal. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocore_api.auth.principal import SCOPES, Principal
from ocore_api.errors import Problem

#: Characters of a subject. It is written into resources and logs.
MAX_SUBJECT = 255
#: Realm of the challenges in WWW-Authenticate.
REALM = "ocore"


@dataclass(frozen=True)
class ClaimNames:
    """Where a token states its rights. A name that is no claim is a path of claims with dots: `realm_access.roles`."""

    projects: str
    environments: str
    scopes: str
    scope_prefix: str
    default_scopes: frozenset[str]


def principal(claims: Mapping[str, Any], names: ClaimNames, leeway: float) -> Principal:
    """The caller. `leeway`: seconds for which the token is still accepted after `exp`. Raises Problem for a claim
    of the wrong type."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > MAX_SUBJECT or not subject.isprintable():
        raise invalid_token(f"`sub` must be a string of 1 to {MAX_SUBJECT} printable characters")
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or isinstance(expires, bool) or not math.isfinite(expires):
        raise invalid_token("`exp` must be a number")
    scopes = _find(claims, names.scopes)
    return Principal(
        subject=subject,
        projects=frozenset(v.lower() for v in _words(claims, names.projects)),
        environments=frozenset(v.lower() for v in _words(claims, names.environments)),
        scopes=names.default_scopes
        if scopes is None
        else frozenset(
            v.removeprefix(names.scope_prefix)
            for v in _words(claims, names.scopes)
            if v.startswith(names.scope_prefix) and v.removeprefix(names.scope_prefix) in SCOPES
        ),
        expires_at=expires + leeway,
    )


def invalid_token(why: str) -> Problem:
    """The refusal of a token. `why` holds nothing of the token itself."""
    challenge = why.replace("`", "'").replace('"', "'")
    return Problem(
        "InvalidToken",
        f"The token is not valid: {why}.",
        headers={"WWW-Authenticate": f'Bearer realm="{REALM}", error="invalid_token", error_description="{challenge}"'},
    )


def _find(claims: Mapping[str, Any], name: str) -> Any:
    """A claim's value, or None."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def _words(claims: Mapping[str, Any], name: str) -> list[str]:
    """The words of a claim: a string with blanks, or a list of strings. Absent: none."""
    value = _find(claims, name)
    if value is None:
        return []
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return value
    raise invalid_token(f"`{name}` must be a string with blanks or a list of strings")
