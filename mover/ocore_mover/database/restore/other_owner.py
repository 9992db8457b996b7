"""A dump of another environment's database: what it says of that database's owner is meant for the owner of this one.

pg_restore loads everything as the owner of this database. Grants, default privileges and policies name the owner of the
dumped one, who may not exist here, or may be the role of the other environment on the same server.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ocore_mover.database import toc
from ocore_mover.database.connect import quoted, unquoted
from ocore_mover.database.restore import grants

_ROLE = r'(?:"(?:[^"]|"")+"|[^\s;",]+)'
#: The role that a grant ends with, and the one whose default privileges it changes (buildACLCommands,
#: buildDefaultACLCommands in dumputils.c).
_GRANTEE = re.compile(rf"(.*\s(?:TO|FROM)\s+)({_ROLE})(\s+WITH GRANT OPTION)?", re.DOTALL)
_FOR_ROLE = re.compile(rf"(ALTER DEFAULT PRIVILEGES FOR ROLE\s+)({_ROLE})(.*)", re.DOTALL)


@dataclass(frozen=True)
class Owners:
    """The owner of the dumped database, and the one of the database that it is restored for."""

    dumped: str
    here: str

    def named(self, role: str) -> str:
        """The role in its place, quoted as in SQL text; others stay as they are."""
        return quoted(self.here) if unquoted(role) == self.dumped else role


def in_grants(entries: Iterable[toc.Entry], owners: Owners, encoding: str) -> Iterator[toc.Entry]:
    """The entries, with the owner in place of the dumped one in grants."""
    codec = toc.codec(encoding)
    for entry in entries:
        if not entry.is_acl:
            yield entry
            continue
        statements = [
            _renamed(text.decode(codec, "surrogateescape"), owners) for text in grants.split(entry.definition)
        ]
        definition = "".join(f"{statement};\n" for statement in statements)
        yield replace(entry, definition=definition.encode(codec, "surrogateescape"))


def _renamed(statement: str, owners: Owners) -> str:
    found = _FOR_ROLE.fullmatch(statement)
    if found is not None:
        statement = f"{found[1]}{owners.named(found[2])}{found[3]}"
    found = _GRANTEE.fullmatch(statement)
    return f"{found[1]}{owners.named(found[2])}{found[3] or ''}" if found is not None else statement
