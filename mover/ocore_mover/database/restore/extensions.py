"""Extensions, created before everything else: what was altered in them is needed by indexes of the dump."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, query_failure, quoted, unquoted, value
from ocore_mover.errors import Corrupt, MoverError

_NAME = r'("(?:[^"]|"")+"|[^\s;"]+)'
_CREATE = re.compile(rf"CREATE EXTENSION (?:IF NOT EXISTS )?{_NAME}(?: WITH SCHEMA {_NAME})?;\s*")


@dataclass(frozen=True)
class Extension:
    """One extension of the dump."""

    name: str
    schema: str  # empty: the one that the extension itself names


def read(contents: toc.TableOfContents) -> Iterator[Extension]:
    """The extensions of a dump. Raises Corrupt where an entry is not what pg_dump writes."""
    encoding = toc.codec(contents.encoding)
    for entry in contents:
        if entry.description != "EXTENSION":
            continue
        match = _CREATE.fullmatch(entry.definition.decode(encoding, "surrogateescape"))
        if match is None or unquoted(match[1]) != entry.tag:
            raise Corrupt(f"the dump's entry of extension {entry.tag} is not one that pg_dump writes")
        yield Extension(entry.tag, unquoted(match[2] or ""))


def check_available(connection: Connection, artifact: DatabaseArtifact) -> None:
    """Raises MoverError MissingGrants where the server does not have the files of an extension."""
    known = connection.execute("SELECT name::text FROM pg_available_extensions").fetchall()
    lacking = sorted(set(artifact.extensions) - {row[0] for row in known})
    if lacking:
        raise MoverError(
            conditions.MISSING_GRANTS,
            f"the server does not have the files of extension {', '.join(lacking)}, which the snapshot's database has:"
            " install its package on the server",
        )


def create(
    connection: Connection, owner: str, extensions: Iterable[Extension], artifact: DatabaseArtifact
) -> tuple[set[str], list[str]]:
    """Creates them in the still empty copy: trusted ones as `owner`, others as the connection's role.

    Returns the schemas that were created for them, and warnings (another version than the snapshot's). Raises
    MoverError RestoreFailed, MissingGrants.
    """
    schemas: set[str] = set()
    warnings: list[str] = []
    for extension in extensions:
        wanted = artifact.extensions.get(extension.name, "")
        with connection.transaction():
            if _trusted(connection, extension.name):
                connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
            if extension.schema and _make_schema(connection, owner, extension.schema):
                schemas.add(extension.schema)
            version = wanted if _offers(connection, extension.name, wanted) else ""
            if wanted and not version:
                warnings.append(
                    f"extension {extension.name}: the server does not have version {wanted}; its default version was"
                    " created"
                )
            _create(connection, extension, version)
    _make_immutable(connection, artifact)
    return schemas, warnings


def _create(connection: Connection, extension: Extension, version: str) -> None:
    statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension.name))
    if extension.schema:
        statement += sql.SQL(" SCHEMA {}").format(sql.Identifier(extension.schema))
    if version:
        statement += sql.SQL(" VERSION {}").format(sql.Literal(version))
    try:
        connection.execute(statement + sql.SQL(" CASCADE"))
    except psycopg.Error as error:
        raise query_failure(
            error, default=conditions.RESTORE_FAILED, doing=f"creating extension {extension.name}"
        ) from error


def _make_schema(connection: Connection, owner: str, schema: str) -> bool:
    if not value(connection, "SELECT to_regnamespace(quote_ident(%s)) IS NULL", [schema]):
        return False
    connection.execute(
        sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(schema), sql.Identifier(owner))
    )
    return True


def _trusted(connection: Connection, name: str) -> bool:
    query = "SELECT bool_or(trusted OR NOT superuser) FROM pg_available_extension_versions WHERE name = %s"
    return bool(value(connection, query, [name]))


def _offers(connection: Connection, name: str, version: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_available_extension_versions WHERE name = %s AND version = %s)"
    return bool(value(connection, query, [name, version]))


def _make_immutable(connection: Connection, artifact: DatabaseArtifact) -> None:
    for function in artifact.immutable_functions:
        row = connection.execute(
            "SELECT oid::regprocedure::text, provolatile::text FROM pg_proc WHERE oid = to_regprocedure(%s)", [function]
        ).fetchone()
        if row is None or row[1] == "i":
            continue  # this server does not have it, or the extension itself makes it so
        try:
            # The server's own spelling, not the manifest's: quoted, and nothing but a function.
            connection.execute(f"ALTER FUNCTION {row[0]} IMMUTABLE".encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise MoverError(
                conditions.MISSING_GRANTS,
                f"function {function} is IMMUTABLE in the snapshot's database and an index needs that, but"
                f" {quoted(connection.info.user)} may not alter it ({error.diag.message_primary}); set adminSecretRef"
                " to a superuser's Secret",
            ) from error
