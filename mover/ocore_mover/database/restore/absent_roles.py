"""Policies and user mappings of roles that do not exist any more, or of another environment.

They apply to their roles only, so without the role they have no effect: they are left out, with a warning. A policy of
several roles is restored for those that exist. Of another environment's dump, a policy of its owner is restored for the
owner here, and no user mapping is restored: it has that environment's credentials.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, unquoted
from ocore_mover.database.restore.other_owner import Owners

_NAME = r'(?:"(?:[^"]|"")+"|[^\s;".,()]+)'
#: As pg_dump writes them (dumpPolicy, dumpUserMappings).
_POLICY = re.compile(
    rf"(CREATE POLICY {_NAME} ON {_NAME}\.{_NAME}(?: AS RESTRICTIVE)?(?: FOR [A-Z]+)?) TO ({_NAME}(?:, {_NAME})*)(.*)",
    re.DOTALL,
)
_MAPPING = re.compile(rf"CREATE USER MAPPING FOR ({_NAME}) SERVER .*", re.DOTALL)


@dataclass(frozen=True)
class Reduced:
    """An entry that is not restored as it is."""

    entry: toc.Entry
    absent: tuple[str, ...]  # roles that do not exist
    definition: bytes  # for the roles that exist; empty where none does


def find(maintenance: Connection, contents: toc.TableOfContents, owners: Owners | None = None) -> list[Reduced]:
    """The entries of a dump that name roles which do not exist. `owners`: of another environment's dump; also those
    that name its owner, and user mappings."""
    codec = toc.codec(contents.encoding)
    named: list[tuple[toc.Entry, re.Match[str], list[str]]] = []
    found: list[Reduced] = []
    for entry in contents:
        if owners is not None and entry.description == "USER MAPPING":
            found.append(Reduced(entry, (), b""))
            continue
        pattern = {"POLICY": _POLICY, "USER MAPPING": _MAPPING}.get(entry.description)
        match = pattern.fullmatch(entry.definition.decode(codec, "surrogateescape").strip()) if pattern else None
        if match is not None:
            roles = re.findall(_NAME, match[2] if entry.description == "POLICY" else match[1])
            if owners is not None:
                roles = [owners.named(role) for role in roles]
            named.append((entry, match, [role for role in roles if role.lower() != "public"]))
    wanted = sorted({unquoted(role) for _, _, roles in named for role in roles})
    existing = {
        row[0] for row in maintenance.execute("SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s)", [wanted])
    }
    for entry, match, roles in named:
        absent = tuple(unquoted(role) for role in roles if unquoted(role) not in existing)
        kept = [role for role in roles if unquoted(role) in existing]
        if absent or (owners is not None and kept):
            text = f"{match[1]} TO {', '.join(kept)}{match[3]}" if kept else ""
            found.append(Reduced(entry, absent, text.encode(codec, "surrogateescape")))
    return found


def create(session: Connection, reduced: Sequence[Reduced], encoding: str) -> list[str]:
    """Creates the policies for the roles that exist, with the application's rights. Returns warnings."""
    warnings: list[str] = []
    if any(item.definition for item in reduced):
        session.execute(sql.SQL("SET client_encoding = {}").format(sql.Literal(encoding)))
    for item in reduced:
        roles = ", ".join(item.absent)
        if not item.absent and not item.definition:
            warnings.append(f"{item.entry.name} was left out: it has credentials of the source environment")
            continue
        try:
            if item.definition:
                session.execute(item.definition)
        except psycopg.DatabaseError as error:
            if isinstance(error, psycopg.OperationalError):
                raise
            warnings.append(f"{item.entry.name} was not restored: {error.diag.message_primary or error}")
            continue
        if not item.absent:
            continue
        state = "was restored without them" if item.definition else "was left out"
        warnings.append(f"{item.entry.name} is for roles that do not exist ({roles}) and {state}")
    return warnings
