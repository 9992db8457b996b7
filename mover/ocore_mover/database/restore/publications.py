"""Publications of all tables and of schemas, which only a superuser creates: the administrator does, from values that
are checked."""

import re
from collections.abc import Iterable

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, unquoted
from ocore_mover.errors import MoverError

_NAME = r'("(?:[^"]|"")+"|[^\s;"]+)'
#: As pg_dump writes them (dumpPublication, dumpPublicationNamespace).
_ALL = re.compile(
    rf"CREATE PUBLICATION {_NAME} FOR ALL TABLES WITH \(publish = '([a-z, ]*)'((?:, publish_[a-z_]+ = [a-z]+)*)\);\s*"
)
_SCHEMA = re.compile(rf"ALTER PUBLICATION {_NAME} ADD TABLES IN SCHEMA {_NAME};\s*")


def is_superusers(entry: toc.Entry) -> bool:
    """Whether only a superuser can create the entry's publication, or its part."""
    if entry.description == "PUBLICATION TABLES IN SCHEMA":
        return True
    return entry.description == "PUBLICATION" and b" FOR ALL TABLES" in entry.definition


def create(copy: Connection, entries: Iterable[toc.Entry], encoding: str) -> list[str]:
    """Creates them as the session's role. Returns warnings. Raises MoverError MissingGrants where that is not a
    superuser."""
    warnings: list[str] = []
    for entry in entries:
        text = entry.definition.decode(toc.codec(encoding), "surrogateescape")
        everything, schema = _ALL.fullmatch(text), _SCHEMA.fullmatch(text)
        if everything is not None:
            name, publish, more = everything.groups()
            statement = sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES WITH (publish = {}{})").format(
                sql.Identifier(unquoted(name)), sql.Literal(publish), sql.SQL(more)
            )
        elif schema is not None:
            statement = sql.SQL("ALTER PUBLICATION {} ADD TABLES IN SCHEMA {}").format(
                *(sql.Identifier(unquoted(name)) for name in schema.groups())
            )
        else:
            warnings.append(f"skipped (not a publication that pg_dump writes): {entry.name}")
            continue
        try:
            copy.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise MoverError(
                conditions.MISSING_GRANTS,
                f"{entry.name}: {error.diag.message_primary}; set adminSecretRef to a superuser's Secret, or drop it in"
                " the live database and take a new snapshot",
            ) from error
    return warnings
