"""What ``probe`` finds out about the database: facts, and what stands in the way of a snapshot."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from ocore_crds import conditions
from ocore_crds.protocol import DatabaseFacts, Finding
from ocore_mover.database import programs, rollback_findings
from ocore_mover.database.connect import Connection, Server, connect, quoted
from ocore_mover.database.dump.export import find_attachments
from ocore_mover.database.programs import SUPPORTED_MAJORS
from ocore_mover.errors import MoverError

APPLICATION = "ocore-probe"
#: A probe is repeated anyway: it need not wait for a server for long (seconds).
PATIENCE = 5.0


@dataclass(frozen=True)
class Look:
    """What was found. `blocking` keeps a snapshot from working, `rollback` a rollback."""

    facts: DatabaseFacts | None
    blocking: tuple[Finding, ...]
    rollback: tuple[Finding, ...]
    warnings: tuple[str, ...]


def look(server: Server, *, rollback: bool = True, jobs: int = 2, odoo: bool = True) -> Look:
    """Never raises for what it finds: a database that cannot be reached is a finding. `odoo`: its attachment table is locked."""
    try:
        connection = connect(server.app, application=APPLICATION, patience=PATIENCE)
    except MoverError as error:
        return Look(None, (Finding(reason=error.reason, message=error.message),), (), ())
    with connection:
        try:
            facts, warnings = read_facts(connection)
            blocking = tuple(_snapshot_findings(connection, facts, jobs, odoo=odoo))
            blocking += tuple(_encryption_findings(server, connection, facts))
        except psycopg.Error as error:
            found = Finding(reason=conditions.DATABASE_UNREACHABLE, message=f"reading facts: {error}")
            return Look(None, (found,), (), ())
        more = rollback_findings.look(server, connection, facts) if rollback else ()
    warnings += tuple(_connection_warnings(server, connection))
    return Look(facts, blocking, more, warnings)


def read_facts(connection: Connection) -> tuple[DatabaseFacts, tuple[str, ...]]:
    """Facts of the database of this connection, and warnings."""
    row = connection.execute(
        "SELECT current_database(), current_setting('server_version'), current_setting('server_version_num')::int,"
        " pg_database_size(d.oid), pg_get_userbyid(d.datdba), current_user FROM pg_database d"
        " WHERE d.datname = current_database()"
    ).fetchone()
    assert row is not None  # noqa: S101 - we are connected to it
    name, version, number, size, owner, user = row
    used, warnings = _used_bytes(connection)
    facts = DatabaseFacts(
        name=name,
        server_version=version.split()[0],
        server_major=number // 10000,
        size_bytes=size,
        used_bytes=used,
        owner=owner,
        user=user,
        attachments=find_attachments(connection) is not None,
        extensions=tuple(row[0] for row in connection.execute("SELECT extname FROM pg_extension ORDER BY 1")),
    )
    return facts, warnings


def _used_bytes(connection: Connection) -> tuple[int, tuple[str, ...]]:
    """All databases of the default tablespace, bytes."""
    try:
        row = connection.execute("SELECT pg_tablespace_size('pg_default')").fetchone()
        return (int(row[0]) if row else 0), ()
    except psycopg.errors.InsufficientPrivilege:
        row = connection.execute(
            "SELECT sum(pg_database_size(oid)) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')"
        ).fetchone()
        user = connection.info.user
        return (int(row[0]) if row and row[0] else 0), (
            f"the space that is used on the server counts only databases that {user} may connect to; "
            f"GRANT pg_read_all_stats TO {quoted(user)}; counts all",
        )


def _snapshot_findings(connection: Connection, facts: DatabaseFacts, jobs: int, *, odoo: bool) -> Iterator[Finding]:
    if facts.server_major not in SUPPORTED_MAJORS:
        yield Finding(
            reason=conditions.UNSUPPORTED_SERVER,
            message=f"the server is PostgreSQL {facts.server_version}; {SUPPORTED_MAJORS[0]} to {SUPPORTED_MAJORS[-1]} are supported",
        )
    if _one(connection, "SELECT pg_is_in_recovery()"):
        yield Finding(
            reason=conditions.UNSUPPORTED_SERVER,
            message=f"{connection.info.host} is a standby, on which nothing can be locked; give the address of the primary",
        )
    yield from _unreadable(connection)
    if odoo and facts.attachments:
        yield from _unlockable(connection)
    needed = jobs + 3  # pg_dump's leader and its workers, our two
    limit = connection.execute(
        "SELECT least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,"
        " nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)) FROM pg_roles r, pg_database d"
        " WHERE r.rolname = current_user AND d.datname = current_database()"
    ).fetchone()
    if limit is not None and limit[0] < needed:
        yield Finding(
            reason=conditions.MISSING_GRANTS,
            message=(
                f"a snapshot with {jobs} jobs needs {needed} connections and {limit[0]} are allowed in all; raise max_connections or the "
                f"CONNECTION LIMIT of role {facts.user} and database {facts.name}, or lower the parallelism"
            ),
        )


def _encryption_findings(server: Server, connection: Connection, facts: DatabaseFacts) -> Iterator[Finding]:
    """Where the programs of the server's major would refuse a connection that ours accepts."""
    try:
        program = programs.find("pg_dump", facts.server_major)
    except MoverError:
        return  # a probe also runs in the image of another major; the next one is in the right image
    try:
        programs.check_encrypted(program, server.app, connection)
    except MoverError as error:
        yield Finding(reason=error.reason, message=error.message)


def _unreadable(connection: Connection) -> Iterator[Finding]:
    """Tables that pg_dump could not read, or would read in part (row security: it refuses then)."""
    found = connection.execute(
        "SELECT c.oid::regclass::text, pg_get_userbyid(c.relowner) FROM pg_class c"
        " WHERE c.relkind IN ('r', 'm', 'S', 'p') AND c.relnamespace NOT IN"
        "  (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema') OR nspname ~ '^pg_(toast|temp)')"
        " AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"
        " AND NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END"
        " ORDER BY 1"
    ).fetchall()
    user = quoted(connection.info.user)
    if found:
        names = ", ".join(f"{name} (owner {owner})" for name, owner in found[:5])
        yield Finding(
            reason=conditions.MISSING_GRANTS,
            message=f"{len(found)} tables or sequences cannot be read, for example {names}: GRANT pg_read_all_data TO {user};",
        )
    secured = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class c, pg_roles r WHERE r.rolname = current_user AND c.relrowsecurity"
        " AND NOT r.rolsuper AND NOT r.rolbypassrls AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) ORDER BY 1"
    ).fetchall()
    if secured:
        yield Finding(
            reason=conditions.MISSING_GRANTS,
            message=f"row security hides rows of {', '.join(row[0] for row in secured[:5])} from the dump: ALTER ROLE {user} BYPASSRLS;",
        )


def _unlockable(connection: Connection) -> Iterator[Finding]:
    table = find_attachments(connection)
    if table is None or _one(connection, "SELECT has_table_privilege(%s::regclass, 'UPDATE')", table):
        return
    yield Finding(
        reason=conditions.MISSING_GRANTS,
        message=f"garbage collection cannot be held off: GRANT UPDATE ON {table} TO {quoted(connection.info.user)};",
    )


def _connection_warnings(server: Server, connection: Connection) -> Iterator[str]:
    """A pooler gives its own process id at log-in, the server's functions give the server's."""
    for credentials in filter(None, (server.app, server.admin)):
        try:
            with connect(credentials, application=APPLICATION, patience=0) as other:
                pid = _one(other, "SELECT pg_backend_pid()")
                told = other.info.backend_pid
        except (MoverError, psycopg.Error):
            continue  # a finding already, or one of rollback_findings
        if pid != told:
            yield (
                f"{credentials.place} is a connection pooler; give the server's own address: a pooler's sessions keep a database from "
                "being renamed, and in transaction mode our settings leak into the application's sessions"
            )


def _one(connection: Connection, query: str, *parameters: object) -> object:
    row = connection.execute(query.encode(), parameters).fetchone()
    return row[0] if row else None
