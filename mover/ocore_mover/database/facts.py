"""What ``probe`` reports about the database: facts, and what prevents a snapshot."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from ocore_crds import conditions
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import DatabaseFacts
from ocore_crds.reports.replication import Replication
from ocore_crds.rules.remedy import Right
from ocore_crds.text.sentences import shown
from ocore_mover.database import (
    catalog_findings,
    fingerprint,
    odoo_rows,
    programs,
    replication,
    rollback_findings,
    volume,
)
from ocore_mover.database.connect import Connection, Server, connect, connect_maintenance, major, value
from ocore_mover.database.copy_access import HIDDEN_ONLY
from ocore_mover.database.dump.export import find_attachments
from ocore_mover.database.programs import SUPPORTED_MAJORS
from ocore_mover.database.remedies import Remedies, remedies_of
from ocore_mover.errors import MoverError

APPLICATION = "ocore-probe"
#: Seconds to retry connecting: the operator repeats a probe anyway.
PATIENCE = 5.0


@dataclass(frozen=True)
class DatabaseProbe:
    """Facts, None where the database cannot be read. `blocking` findings prevent a snapshot, `rollback` findings a
    rollback.

    `creatable`: what prevents a snapshot only, because a rollback creates the database.
    """

    facts: DatabaseFacts | None
    blocking: tuple[Finding, ...]
    rollback: tuple[Finding, ...]
    warnings: tuple[str, ...]
    creatable: tuple[Finding, ...] = ()


def probe(server: Server, *, jobs: int = 2, attachments: bool = True, files: bool = True) -> DatabaseProbe:
    """Probes the database. Raises nothing: a database that cannot be reached is a finding.

    `attachments`: a snapshot locks the attachment table. `files`: it stores a filestore. `jobs`: pg_dump's parallelism.
    """
    remedies = remedies_of(server)
    try:
        connection = connect(server.app, application=APPLICATION, patience=PATIENCE)
    except MoverError as error:
        missing = _probe_missing(server, error) if error.reason == conditions.DATABASE_NOT_FOUND else None
        return missing or DatabaseProbe(None, (error.finding(),), (), ())
    with connection:
        try:
            facts, warnings = read_facts(connection)
            facts, notes = _notes(connection, facts, files=files)
            warnings += notes
            blocking = tuple(_snapshot_findings(connection, facts, jobs, remedies, attachments=attachments))
            blocking += tuple(_encryption_findings(server, connection, facts))
        except psycopg.Error as error:
            found = Finding.of(conditions.DATABASE_UNREACHABLE, f"reading facts: {error}")
            return DatabaseProbe(None, (found,), (), ())
        more = rollback_findings.find(server, connection, facts, remedies)
        warnings += rollback_findings.notes(connection, facts)
        facts, unread = _with_fingerprint(server, connection, facts)
        warnings += unread
        facts = facts.model_copy(update={"replication": _replication(server, connection, facts.name)})
    if server.admin is None:
        warnings += (HIDDEN_ONLY,)
    return DatabaseProbe(facts, blocking, more, warnings)


def _probe_missing(server: Server, refused: MoverError) -> DatabaseProbe | None:
    """Of a database that does not exist; None where that cannot be read, or it exists by now. The server answers, so a
    rollback can create it."""
    try:
        with connect_maintenance(server, application=APPLICATION) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [server.live]).rowcount:
                return None
            facts, warnings = read_facts(connection)
    except MoverError as error:
        if error.reason != conditions.MISSING_GRANTS:
            return None
        both = (refused, error)
        return DatabaseProbe(None, tuple(each.finding() for each in both), (), ())
    except psycopg.Error:
        return None
    facts = facts.model_copy(
        update={"name": server.live, "missing": True, "size_bytes": 0, "owner": "", "user": server.app.user}
        | {"attachments": False, "empty": False, "extensions": ()}
    )
    text = (
        f"database {shown(server.live)} does not exist on the server {server.app.place}: it was dropped or renamed, or"
        f" dbname in the Secret is wrong. A Rollback creates it from a Snapshot of {shown(server.live)}"
    )
    blocking = tuple(_version_findings(facts))
    more = rollback_findings.find_missing(server, facts)
    if server.admin is None:
        warnings += (HIDDEN_ONLY,)
    created = (Finding.of(conditions.DATABASE_NOT_FOUND, text),)
    return DatabaseProbe(facts, blocking, more, warnings, created)


def read_facts(connection: Connection) -> tuple[DatabaseFacts, tuple[str, ...]]:
    """Facts of the connection's database, and warnings."""
    row = connection.execute(
        "SELECT current_database(), (SELECT system_identifier FROM pg_control_system()) || '@'"
        " || to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
        " current_setting('server_version'), current_setting('server_version_num')::int,"
        " pg_database_size(d.oid), pg_get_userbyid(d.datdba), current_user FROM pg_database d"
        " WHERE d.datname = current_database()"
    ).fetchone()
    assert row is not None  # noqa: S101 - we are connected to it
    name, identity, version, number, size, owner, user = row
    used = volume.used(connection)
    facts = DatabaseFacts(
        name=name,
        server_identity=identity,
        server_version=version.split()[0],
        server_major=number // 10000,
        size_bytes=size,
        used_bytes=used.total,
        owner=owner,
        user=user,
        empty=is_empty(connection),
        attachments=find_attachments(connection) is not None,
        extensions=tuple(row[0] for row in connection.execute("SELECT extname FROM pg_extension ORDER BY 1")),
    )
    return facts, used.warnings


def is_empty(connection: Connection) -> bool:
    """Whether the connection's database has no table or view. Those of extensions do not count, nor do sequences and
    the tables `orm_signaling_…`: an Odoo that waits for its data makes them for messages between its processes."""
    return not value(
        connection,
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')"
        " AND NOT pg_catalog.starts_with(c.relname::text, 'orm_signaling_')"
        " AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid ="
        " 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e'))",
    )


#: Attachments that are looked at from both ends of their table: it may have millions.
OUTSIDE_SAMPLE = 10_000


def _notes(connection: Connection, facts: DatabaseFacts, *, files: bool) -> tuple[DatabaseFacts, tuple[str, ...]]:
    """The facts with what Odoo's rows say about a snapshot, and warnings. Of attachments a sample; nothing where the
    rows cannot be read. `files`: the application's files are to be in a snapshot."""
    try:
        outside = odoo_rows.outside(connection, sample=OUTSIDE_SAMPLE) if files else odoo_rows.Outside()
        unfinished = odoo_rows.unfinished_modules(connection)
    except psycopg.Error:  # tables that are none of Odoo's
        return facts, ()
    warnings: tuple[str, ...] = ()
    if outside.count:
        warnings += (
            f"{outside.count} or more attachments have their contents neither in the database nor in the filestore"
            f" ({outside.how}). They are not in a snapshot, which is then no clean success. Back up where the"
            " application keeps them, or move the attachments into the filestore.",
        )
    if unfinished:
        warnings += (odoo_rows.unfinished_warning(unfinished),)
    return facts.model_copy(update={"outside_attachments": outside.count}), warnings


def size_bytes(connection: Connection) -> int:
    """Size of the connection's database in bytes."""
    return int(value(connection, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"))


def _with_fingerprint(
    server: Server, connection: Connection, facts: DatabaseFacts
) -> tuple[DatabaseFacts, tuple[str, ...]]:
    """The facts with the fingerprint of the schema, and a warning where it cannot be read."""
    try:
        found = fingerprint.read(connection, fingerprint.roles_of(server))
    except psycopg.Error as error:
        return facts, (
            f"the fingerprint of the schema could not be read, so a schema-only restore is made once a day: {error}",
        )
    return facts.model_copy(update={"schema_fingerprint": found}), ()


def _replication(server: Server, connection: Connection, database: str) -> Replication | None:
    """With the rights of the role that would roll back; of the connection's own where it cannot connect, which is a
    finding of its own."""
    try:
        with connect_maintenance(server, application=APPLICATION) as actor:
            return replication.report(connection, actor, database)
    except (MoverError, psycopg.Error):
        try:
            return replication.report(connection, connection, database)
        except psycopg.Error:
            return None  # the findings report a server that is lost


#: Connections that PostgreSQL 16 and newer keep for members of a role.
_RESERVED = (
    "CASE WHEN pg_has_role('pg_use_reserved_connections', 'USAGE') THEN 0 ELSE"
    " current_setting('reserved_connections')::int END"
)


def _snapshot_findings(
    connection: Connection, facts: DatabaseFacts, jobs: int, remedies: Remedies, *, attachments: bool
) -> Iterator[Finding]:
    yield from _version_findings(facts)
    if value(connection, "SELECT pg_is_in_recovery()"):
        yield Finding.of(
            conditions.UNSUPPORTED_SERVER,
            f"{connection.info.host} is a standby, where tables cannot be locked; set host to the address of the"
            " primary",
        )
    yield from _unreadable(connection, remedies)
    yield from catalog_findings.unreadable(connection, remedies)
    if attachments and facts.attachments:
        yield from _unlockable(connection, remedies)
    needed = jobs + 3  # pg_dump's leader and workers, and two of ours
    limit = value(
        connection,
        "SELECT least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"  # noqa: S608 - our own text
        f" - {_RESERVED if connection.info.server_version >= 160000 else '0'},"
        " nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)) FROM pg_roles r, pg_database d"
        " WHERE r.rolname = current_user AND d.datname = current_database()",
    )
    if limit is not None and limit < needed:
        yield Finding.of(
            conditions.MISSING_GRANTS,
            f"a snapshot with {jobs} jobs needs {needed} connections and {limit} are allowed; increase"
            f" max_connections or the CONNECTION LIMIT of role {facts.user} and database {facts.name}, or reduce"
            " the parallelism",
        )


def _version_findings(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.server_major not in SUPPORTED_MAJORS:
        yield Finding.of(
            conditions.UNSUPPORTED_SERVER,
            f"the server is PostgreSQL {facts.server_version}; {SUPPORTED_MAJORS[0]} to {SUPPORTED_MAJORS[-1]} are"
            " supported",
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
        yield error.finding()


def _unreadable(connection: Connection, remedies: Remedies) -> Iterator[Finding]:
    """Tables that pg_dump cannot read, or that row security hides in part (pg_dump then fails)."""
    found = connection.execute(
        "SELECT c.oid::regclass::text, pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.relkind IN ('r', 'm', 'S',"
        " 'p') AND c.relnamespace NOT IN  (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog',"
        " 'information_schema') OR nspname ~ '^pg_(toast|temp)') AND NOT EXISTS (SELECT FROM pg_depend e WHERE"
        " e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e') AND NOT CASE c.relkind WHEN 'S'"
        " THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END ORDER BY 1"
    ).fetchall()
    user = connection.info.user
    if found:
        names = ", ".join(f"{shown(name)} (owner {shown(owner)})" for name, owner in found[:5])
        text = f"{len(found)} tables or sequences cannot be read, for example {names}"
        yield remedies.finding(text, user, Right.READ_TABLES, major=major(connection))
    secured = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class c, pg_roles r WHERE r.rolname = current_user AND c.relrowsecurity"
        " AND NOT r.rolsuper AND NOT r.rolbypassrls AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))"
        " ORDER BY 1"
    ).fetchall()
    if secured:
        text = f"row security hides rows of {', '.join(shown(row[0]) for row in secured[:5])} from the dump"
        yield remedies.finding(text, user, Right.READ_ALL_ROWS, major=major(connection))


def _unlockable(connection: Connection, remedies: Remedies) -> Iterator[Finding]:
    table = find_attachments(connection)
    if table is None or value(connection, "SELECT has_table_privilege(%s::regclass, 'UPDATE')", [table]):
        return
    text, user = f"garbage collection cannot be paused, table {shown(table)}", connection.info.user
    yield remedies.finding(text, user, Right.LOCK_ATTACHMENTS, major=major(connection))
