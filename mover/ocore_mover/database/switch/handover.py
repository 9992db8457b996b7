"""Owner, grants and connection limit of the live database, handed over to the database that becomes live.

Until then the other database has none of them: a grant would open it.
"""

import logging

import psycopg
from psycopg import sql

from ocore_mover.database.connect import Connection
from ocore_mover.database.rights import Grant, Rights, read_rights

log = logging.getLogger(__name__)


def give(connection: Connection, database: str, rights: Rights) -> None:
    """Gives a database these rights and no others. Run it in the transaction of the renames."""
    name = sql.Identifier(database)
    current = read_rights(connection, database)
    if current.owner != rights.owner:
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(rights.owner)))
    for role in {grant.role for grant in (*read_rights(connection, database).grants, Grant(rights.owner, "", False))}:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(name, grantee(role)))
    for grant in rights.grants:
        statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(grant.privilege),
            name,
            grantee(grant.role),
            sql.SQL(" WITH GRANT OPTION" if grant.grantable and grant.role not in (None, rights.owner) else ""),
        )
        try:
            with connection.transaction():
                connection.execute(statement)
        except psycopg.DatabaseError as error:
            if isinstance(error, psycopg.OperationalError):
                raise
            log.warning(
                "a grant on the database was not copied",
                extra={"database": database, "role": grant.role, "error": str(error)},
            )
    if current.connection_limit != rights.connection_limit:
        connection.execute(
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(rights.connection_limit))
        )


def take(connection: Connection, database: str) -> None:
    """Gives a database that is no longer live to the administrator: the application then neither lists nor opens it."""
    connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(database)))


def grantee(role: str | None) -> sql.Composable:
    """The role in a GRANT; PUBLIC for None."""
    return sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
