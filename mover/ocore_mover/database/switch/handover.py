"""Owner, grants and connection limit of the live database, handed over to the database that becomes live.

Until then the other database has none of them: a grant would open it.
"""

from dataclasses import dataclass

import psycopg
import structlog
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError

log = structlog.get_logger()


@dataclass(frozen=True)
class Grant:
    """One privilege on a database."""

    role: str | None  # None: PUBLIC
    privilege: str
    grantable: bool


@dataclass(frozen=True)
class Rights:
    """What a database's name does not say."""

    owner: str
    connection_limit: int
    grants: tuple[Grant, ...]


def read(connection: Connection, database: str) -> Rights:
    """The rights on a database; PostgreSQL's defaults where it has none of its own. Raises MoverError DatabaseNotFound."""
    row = connection.execute(
        "SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = %s", [database]
    ).fetchone()
    if row is None:
        raise MoverError(
            conditions.DATABASE_NOT_FOUND, f"database {database} does not exist; check dbname in the Secret"
        )
    found = connection.execute(
        "SELECT r.rolname::text, a.privilege_type, a.is_grantable FROM pg_database d,"
        " aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a LEFT JOIN pg_roles r ON r.oid = a.grantee"
        " WHERE d.datname = %s AND (a.grantee = 0 OR r.oid IS NOT NULL)",
        [database],
    ).fetchall()
    return Rights(row[0], row[1], tuple(Grant(*grant) for grant in found))


def give(connection: Connection, database: str, rights: Rights) -> None:
    """Gives a database these rights and no others. Run it in the transaction of the renames."""
    name = sql.Identifier(database)
    current = read(connection, database)
    if current.owner != rights.owner:
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(rights.owner)))
    for role in {grant.role for grant in (*read(connection, database).grants, Grant(rights.owner, "", False))}:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(name, _grantee(role)))
    for grant in rights.grants:
        statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(grant.privilege),
            name,
            _grantee(grant.role),
            sql.SQL(" WITH GRANT OPTION" if grant.grantable and grant.role not in (None, rights.owner) else ""),
        )
        try:
            with connection.transaction():
                connection.execute(statement)
        except psycopg.DatabaseError as error:
            if isinstance(error, psycopg.OperationalError):
                raise
            log.warning("a grant on the database was not copied", database=database, role=grant.role, error=str(error))
    if current.connection_limit != rights.connection_limit:
        connection.execute(
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(rights.connection_limit))
        )


def take(connection: Connection, database: str) -> None:
    """Gives a database that is no longer live to the administrator: the application then neither lists nor opens it."""
    connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(database)))


def _grantee(role: str | None) -> sql.Composable:
    return sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
