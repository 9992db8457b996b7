"""What prevents a rollback, each finding with the statement that fixes it."""

from collections.abc import Iterable, Iterator

import psycopg

from ocore_crds import conditions, naming
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import DatabaseFacts
from ocore_crds.rules.remedy import FIRST_WITH_MEMBERSHIP_OPTIONS, Right
from ocore_crds.text.sentences import shown
from ocore_mover.database import blockers, catalog_findings, replication, sessions
from ocore_mover.database.connect import (
    Connection,
    Server,
    connect_maintenance,
    is_superuser,
    major,
    value,
)
from ocore_mover.database.position import too_long
from ocore_mover.database.remedies import Remedies, remedies_of
from ocore_mover.database.restore.owners import is_powerful, problem_of
from ocore_mover.errors import MoverError

APPLICATION = "ocore-probe"


def find(server: Server, connection: Connection, facts: DatabaseFacts, remedies: Remedies) -> tuple[Finding, ...]:
    """Findings. `connection` is to the live database; another one is opened as the role that would do the rollback."""
    found: list[Finding] = []
    if len(facts.name.encode()) > naming.MAX_DATABASE_NAME_BYTES:
        found.append(Finding.of(conditions.DATABASE_NAME_TOO_LONG, too_long(facts.name)))
    try:
        with connect_maintenance(server, application=APPLICATION) as maintenance:
            found.extend(_rights(maintenance, facts, remedies))
            superuser = is_superuser(maintenance)
            found.extend(_foreign_owners(connection, maintenance, facts))
            if not superuser:
                if server.admin is not None:
                    found.extend(_temporary_role(maintenance, facts, server, remedies))
                found.extend(_revoked_of_extensions(connection, server, facts, remedies))
                own = value(connection, "SELECT pg_backend_pid()")
                found.extend(_session_findings(maintenance, facts, remedies, own=own))
                found.extend(_superuser_only(connection, server, remedies))
                found.extend(catalog_findings.without_superuser(connection, facts, server.actor.user, remedies))
                found.extend(catalog_findings.parameters(connection, maintenance, facts))
            found.extend(catalog_findings.always(connection))
            found.extend(_unavailable(connection))
            found.extend(_replication(maintenance, facts))
    except MoverError as error:
        found.append(error.finding())
    except psycopg.Error as error:
        found.append(Finding.of(conditions.DATABASE_UNREACHABLE, f"reading rights: {error}"))
    return tuple(found)


def find_missing(server: Server, facts: DatabaseFacts) -> tuple[Finding, ...]:
    """Findings for a live database that does not exist, by which a rollback could not create it. It will belong to the
    application's role, or to one that this is a member of."""
    found: list[Finding] = []
    if len(facts.name.encode()) > naming.MAX_DATABASE_NAME_BYTES:
        found.append(Finding.of(conditions.DATABASE_NAME_TOO_LONG, too_long(facts.name)))
    to_be, remedies = facts.model_copy(update={"owner": server.app.user}), remedies_of(server)
    try:
        with connect_maintenance(server, application=APPLICATION) as maintenance:
            found.extend(_rights(maintenance, to_be, remedies))
            if server.admin is not None and not is_superuser(maintenance):
                found.extend(_temporary_role(maintenance, to_be, server, remedies))
    except MoverError as error:
        found.append(error.finding())
    except psycopg.Error as error:
        found.append(Finding.of(conditions.DATABASE_UNREACHABLE, f"reading rights: {error}"))
    return tuple(found)


def _replication(maintenance: Connection, facts: DatabaseFacts) -> Iterator[Finding]:
    """The last finding: a Rollback with allowReplicationLoss ignores it. So missing rights are its own finding only
    where it needs them anyway."""
    found = replication.read(maintenance, facts.name)
    missing = replication.missing_rights(maintenance, found)
    if found.in_use:
        yield Finding.of(conditions.REPLICATION_ACTIVE, replication.refusal(facts.name, found, missing))
    elif missing:
        yield Finding.of(conditions.MISSING_GRANTS, replication.grants_text(facts.name, missing))


def _rights(connection: Connection, facts: DatabaseFacts, remedies: Remedies) -> Iterator[Finding]:
    """CREATEDB, and membership in the database's owner."""
    # Since PostgreSQL 16 a membership may exclude SET ROLE.
    become = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    row = connection.execute(
        "SELECT rolname, rolcreatedb OR rolsuper, pg_has_role(%s, 'USAGE'), pg_has_role(%s, %s) FROM pg_roles"
        " WHERE rolname = current_user",
        [facts.owner, facts.owner, become],
    ).fetchone()
    assert row is not None  # noqa: S101 - our own role
    role, createdb, inherits, member = row
    if not createdb:
        text = f"{shown(role)} may neither create nor rename databases"
        yield remedies.finding(text, role, Right.CREATE_DATABASES, major=major(connection))
    if inherits and member:
        return
    if facts.missing:
        text = f"{shown(role)} is not a member of {shown(facts.owner)}, to which the created database will belong"
    else:
        text = (
            f"{shown(role)} does not own database {shown(facts.name)} (owner {shown(facts.owner)}) and does not have"
            " the rights of its owner"
        )
    if is_powerful(connection, facts.owner):  # a member would have a superuser's power
        yield Finding(
            reason=conditions.MISSING_GRANTS,
            message=f"{text}, which has a superuser's power: make the application's role the database's owner",
        )
        return
    # Before PostgreSQL 16 a role that inherits nothing gets no rights by a GRANT.
    right = Right.INHERIT if member and major(connection) < FIRST_WITH_MEMBERSHIP_OPTIONS else Right.JOIN_OWNER
    yield remedies.finding(text, role, right, major=major(connection))


def _temporary_role(
    connection: Connection, facts: DatabaseFacts, server: Server, remedies: Remedies
) -> Iterator[Finding]:
    """An administrator who is not a superuser creates a member of the database's owner, which loads the dump."""
    may_grant = "MEMBER WITH ADMIN OPTION" if connection.info.server_version >= 160000 else "MEMBER"
    row = connection.execute(
        "SELECT rolname::text, rolcreaterole, pg_has_role(%s, %s) FROM pg_roles WHERE rolname = current_user",
        [facts.owner, may_grant],
    ).fetchone()
    assert row is not None  # noqa: S101 - our own role
    role, createrole, grants = row
    # Since PostgreSQL 16 its REVOKE fails: the administrator's own grant depends on that of CREATE ROLE.
    if role in server.managed and major(connection) < FIRST_WITH_MEMBERSHIP_OPTIONS:
        yield Finding.of(
            conditions.MISSING_GRANTS,
            f"{shown(role)} is in spec.managed.roles of Cluster {server.cluster} and is not a superuser:"
            f" CloudNativePG"
            " would take its membership in the temporary role that loads a dump away. Remove its entry, which keeps"
            " the role, and give it rights by SQL; or set superuser: true in the entry",
        )
    if createrole and grants:
        return
    if role == server.app.user:
        yield Finding.of(
            conditions.MISSING_GRANTS,
            f"adminSecretRef names {shown(role)}, the application's own role, which cannot create the temporary"
            " role that loads a dump: remove adminSecretRef, or name another role",
        )
    elif not is_powerful(connection, facts.owner):  # else the rights say so
        text, rights = f"{shown(role)} may not create the temporary role that loads a dump", (Right.CREATE_ROLES,)
        rights = (*(() if createrole else rights), *(() if grants else (Right.JOIN_OWNER,)))
        yield remedies.finding(text, role, *rights, major=major(connection))


def _foreign_owners(connection: Connection, maintenance: Connection, facts: DatabaseFacts) -> Iterator[Finding]:
    """Roles that own something in the live database and to which the actor cannot give it in the copy."""
    for role, count, examples in connection.execute(_FOREIGN_OWNERS.encode(), {"owner": facts.owner}).fetchall():
        problem = problem_of(maintenance, role)
        if problem:
            yield Finding.of(
                conditions.MISSING_GRANTS,
                f"{count} objects belong to role {shown(role)}, for example {_names(examples)}: {problem}, or give"
                f" them to {shown(facts.owner)}",
            )


def notes(connection: Connection, facts: DatabaseFacts) -> tuple[str, ...]:
    """What a rollback brings back otherwise, as warnings: code in the hands of superusers. Raises nothing."""
    try:
        owned = connection.execute(_FOREIGN_OWNERS.encode(), {"owner": facts.owner}).fetchall()
        return tuple(
            f"{count} objects belong to role {shown(role)}, which has a superuser's power, for example"
            f" {_names(examples)}."
            " A rollback gives them back where the live database has the same ones; after the live database was lost"
            f" they belong to {shown(facts.owner)}, and the evidence names them"
            for role, count, examples in owned
            if is_powerful(connection, role)
        )
    except psycopg.Error as error:
        return (f"the owners of the objects were not read: {error}",)


#: Members of extensions follow their extension, sequences of columns their table.
_FOREIGN_OWNERS = """
WITH members AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
owned AS (
  SELECT c.relowner AS owner, c.oid::pg_catalog.regclass::text AS name FROM pg_catalog.pg_class c
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND c.relpersistence <> 't'
     AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
       AND c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass)
  UNION ALL
  SELECT p.proowner, p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc p
   WHERE p.oid >= 16384 AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
  UNION ALL
  SELECT t.typowner, t.oid::pg_catalog.regtype::text FROM pg_catalog.pg_type t
   WHERE t.oid >= 16384 AND t.typtype IN ('e', 'd', 'r')
     AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
  UNION ALL
  SELECT n.nspowner, 'schema ' || pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_namespace n
   WHERE n.oid >= 16384 AND n.nspname !~ '^pg_'
     AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)
  UNION ALL
  SELECT l.lomowner, 'large object ' || l.oid FROM pg_catalog.pg_largeobject_metadata l
)
SELECT r.rolname::text, count(*), (array_agg(o.name ORDER BY o.name))[1:5]
  FROM owned o JOIN pg_catalog.pg_roles r ON r.oid = o.owner WHERE r.rolname <> %(owner)s GROUP BY 1 ORDER BY 1
"""


def _revoked_of_extensions(
    connection: Connection, server: Server, facts: DatabaseFacts, remedies: Remedies
) -> Iterator[Finding]:
    """Rights on members of extensions that were revoked: only their owner, a superuser, can revoke them in the copy."""
    found = connection.execute(_REVOKED.encode(), {"owner": facts.owner}).fetchall()
    if found:
        yield Finding.of(
            conditions.MISSING_GRANTS,
            f"rights on {_names(row[0] for row in found)} of an extension were revoked: only a superuser can"
            f" revoke them in the restored database, and {shown(server.actor.user)} is not one;"
            f" {remedies.superuser}",
        )


_REVOKED = """
SELECT name FROM (
  SELECT p.oid::pg_catalog.regprocedure::text AS name, p.proacl AS acl, i.initprivs,
         pg_catalog.acldefault('f', p.proowner) AS usual, p.proowner AS owner
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'
    LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND i.objsubid = 0
  UNION ALL
  SELECT c.oid::pg_catalog.regclass::text, c.relacl, i.initprivs,
         pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner), c.relowner
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_depend e ON e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
    LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0
   WHERE c.relkind IN ('r', 'v', 'm', 'S')
) o
WHERE acl IS NOT NULL AND NOT pg_catalog.pg_has_role(%(owner)s, owner, 'MEMBER')
  AND EXISTS (SELECT unnest(coalesce(initprivs, usual)) EXCEPT SELECT unnest(acl))
ORDER BY 1 LIMIT 10
"""


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(shown, names))


def _session_findings(
    connection: Connection, facts: DatabaseFacts, remedies: Remedies, *, own: int
) -> Iterator[Finding]:
    """Roles with sessions in the live database that we may not end."""
    actor = str(value(connection, "SELECT current_user"))
    roles = {s.role: s for s in blockers.unendable(connection, [facts.name]) if s.pid != own}
    for role, session in sorted(roles.items()):
        text = f"application {shown(session.application or 'unknown')} is connected to {shown(facts.name)}: "
        if session.superuser:
            text += f"{sessions.denial(actor, role, superuser=True)}, or {remedies.superuser}"
            yield Finding.of(conditions.MISSING_GRANTS, text)
        else:
            text += f"{shown(actor)} may not end sessions of {shown(role)}"
            yield remedies.finding(text, actor, Right.END_SESSIONS, major=major(connection))


_NEEDS_SUPERUSER = (
    # what, query for names
    (
        "extension",
        (
            "SELECT DISTINCT e.extname::text FROM pg_extension e JOIN pg_available_extension_versions v ON v.name ="
            " e.extname WHERE v.superuser AND NOT v.trusted AND e.extname <> 'plpgsql' AND NOT EXISTS (SELECT FROM"
            " pg_available_extension_versions t WHERE t.name = e.extname AND (t.trusted OR NOT t.superuser))"
        ),
    ),
    (
        "altered function",  # owned by the bootstrap superuser where the extension is trusted
        (
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND"
            " d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND"
            " d.refobjid = e.oid WHERE e.extname = 'unaccent' AND p.proname = 'unaccent' AND p.provolatile = 'i' AND"
            " EXISTS (SELECT FROM pg_depend u WHERE u.refclassid = 'pg_proc'::regclass AND u.refobjid = p.oid AND"
            " u.deptype = 'n' AND u.classid = 'pg_class'::regclass)"
        ),
    ),
)


def _superuser_only(connection: Connection, server: Server, remedies: Remedies) -> Iterator[Finding]:
    for what, query in _NEEDS_SUPERUSER:
        names = [row[0] for row in connection.execute(query.encode())]
        if names:
            yield Finding.of(
                conditions.MISSING_GRANTS,
                f"{what} {_names(names[:10])}: only a superuser can create this in the restored database, and"
                f" {shown(server.actor.user)} is not one; {remedies.superuser}, or drop it where it is not needed",
            )


def _unavailable(connection: Connection) -> Iterator[Finding]:
    names = [
        row[0]
        for row in connection.execute(
            "SELECT extname::text FROM pg_extension WHERE extname NOT IN (SELECT name FROM pg_available_extensions)"
            " ORDER BY 1"
        )
    ]
    if names:
        yield Finding.of(
            conditions.MISSING_GRANTS,
            f"the server does not have the files of extension {_names(names)}: install its package on the server",
        )
