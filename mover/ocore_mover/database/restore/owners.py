"""Owners of the objects in the copy, as the dump has them.

pg_restore loads everything as the live database's owner. What did not belong to the owner of the dumped database is
given to its own role afterwards, by one ``ALTER … OWNER TO`` for each object: the table of contents names it, the
copy's catalogs identify it.

Code of the application runs while a dump is loaded and may have changed what is about to change hands. So code goes to
a superuser only where the live database has the very same object, with the same definition, in the hands of that
superuser. Where the live database does not have the object, or was lost, it stays with the application, and a warning
names it (docs/decisions/0115).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_crds.rules.remedy import FIRST_WITH_MEMBERSHIP_OPTIONS
from ocore_crds.text.sentences import shown
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, major, value
from ocore_mover.errors import MoverError

_RELATIONS = {"TABLE": "rp", "VIEW": "v", "MATERIALIZED VIEW": "m", "FOREIGN TABLE": "f", "SEQUENCE": "S"}
_ROUTINES = ("FUNCTION", "PROCEDURE", "AGGREGATE")
_TYPES = ("TYPE", "DOMAIN")
#: Description → catalog and its columns for name, schema and owner.
_NAMED = {
    "COLLATION": ("pg_collation", "collname", "collnamespace", "collowner"),
    "CONVERSION": ("pg_conversion", "conname", "connamespace", "conowner"),
    "STATISTICS": ("pg_statistic_ext", "stxname", "stxnamespace", "stxowner"),
    "TEXT SEARCH CONFIGURATION": ("pg_ts_config", "cfgname", "cfgnamespace", "cfgowner"),
    "TEXT SEARCH DICTIONARY": ("pg_ts_dict", "dictname", "dictnamespace", "dictowner"),
    "PUBLICATION": ("pg_publication", "pubname", "", "pubowner"),
    "SERVER": ("pg_foreign_server", "srvname", "", "srvowner"),
    "FOREIGN DATA WRAPPER": ("pg_foreign_data_wrapper", "fdwname", "", "fdwowner"),
    "SCHEMA": ("pg_namespace", "nspname", "", "nspowner"),
}
_LARGE_OBJECTS = ("BLOB", "BLOB METADATA")
_UNSUPPORTED = ("OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "EVENT TRIGGER")
#: Whose code runs with the owner's rights: by SECURITY DEFINER, in a view, in a rule, in an index that autovacuum
#: analyzes.
_CODE = frozenset((*_RELATIONS, *_ROUTINES)) - {"SEQUENCE"}
#: Statements that are sent at a time, where there are many of one kind.
_BATCH = 1000
_SHOWN = 5


@dataclass
class _Owned:
    """What of one role is in the dump."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


def _has_owner(entry: toc.Entry) -> bool:
    return (
        entry.description in _RELATIONS
        or entry.description in _ROUTINES
        or entry.description in _TYPES
        or entry.description in _NAMED
        or entry.description in _LARGE_OBJECTS
        or entry.description in _UNSUPPORTED
    )


def _foreign(entries: Iterable[toc.Entry], owner: str) -> Iterator[toc.Entry]:
    """Entries of other roles than the one that loads. The schema public is left out: see :func:`_give_public`."""
    for entry in entries:
        if entry.owner not in ("", owner) and _has_owner(entry) and not _is_public(entry):
            yield entry


def _is_public(entry: toc.Entry) -> bool:
    return entry.description == "SCHEMA" and entry.tag == "public"


def check(connection: Connection, contents: toc.TableOfContents, owner: str) -> None:
    """Checks before the load that every owner exists and that the connection's role may give objects to it.

    Raises MoverError MissingGrants with the statements to run, naming each role and what belongs to it.
    """
    found: dict[str, _Owned] = {}
    for entry in _foreign(contents, contents.owner or owner):
        owned = found.setdefault(entry.owner, _Owned())
        owned.count += 1
        if len(owned.examples) < _SHOWN:
            owned.examples.append(entry.name)
        if entry.description in _UNSUPPORTED:
            raise MoverError(
                conditions.MISSING_GRANTS,
                f"{entry.name} of the snapshot belongs to role {entry.owner}, and its owner cannot be restored: give it"
                f" to {owner} in the live database and take a new snapshot",
            )
    problems = [
        f"{problem} ({owned.count} objects of the snapshot belong to it, for example {', '.join(owned.examples)})"
        for role, owned in sorted(found.items())
        if (problem := problem_of(connection, role))
    ]
    if problems:
        raise MoverError(conditions.MISSING_GRANTS, "; ".join(problems))


def problem_of(connection: Connection, role: str) -> str:
    """Why the connection's role cannot give objects to `role`, and what to do; empty where it can."""
    # SET to give, INHERIT for the grants on what was given.
    separate = major(connection) >= FIRST_WITH_MEMBERSHIP_OPTIONS
    may = "pg_has_role(oid, 'SET') AND pg_has_role(oid, 'USAGE')" if separate else "pg_has_role(oid, 'MEMBER')"
    row = connection.execute(
        f"SELECT rolsuper, {may}, current_user::text FROM pg_roles WHERE rolname = %s".encode(),  # noqa: S608 - our own text
        [role],
    ).fetchone()
    if row is None:
        return f"role {shown(role)} does not exist: create it"
    superuser, member, actor = row
    if member:
        return ""
    if superuser:
        return (
            f"only a superuser can give objects to the superuser {shown(role)}: set adminSecretRef to a superuser's"
            " Secret"
        )
    # Since 16 a GRANT without options leaves a membership that exists as it is.
    options = " WITH INHERIT TRUE, SET TRUE" if separate else ""
    return f"{shown(actor)} may not give objects to role {shown(role)}: make it a member of that role{options}"


def give(copy: Connection, live: Connection | None, contents: toc.TableOfContents, owner: str) -> list[str]:
    """Gives every object in the copy to its owner in the dump. Returns warnings.

    `copy` and `live` are sessions whose search_path is pg_catalog; `live`: None where the live database does not exist.
    Raises MoverError MissingGrants where an object would go to a superuser and differs from the live database's own, or
    cannot be given.
    """
    warnings: list[str] = []
    large: dict[str, list[str]] = {}
    sequences: list[toc.Entry] = []
    guard = _Guard(copy, live)
    dumped = contents.owner or owner
    for entry in contents:
        if _is_public(entry):
            warnings.extend(_give_public(copy, owner if entry.owner == dumped else entry.owner))
            continue
        if entry.owner in ("", dumped) or not _has_owner(entry):
            continue
        if entry.description in _LARGE_OBJECTS:
            pending = large.setdefault(entry.owner, [])
            pending.extend(large_objects(entry))
            if len(pending) >= _BATCH:
                _give_large_objects(copy, entry.owner, pending)
                pending.clear()
        elif entry.description == "SEQUENCE":
            sequences.append(entry)
        else:
            warnings.extend(_give_one(copy, guard, entry))
    for role, pending in large.items():
        _give_large_objects(copy, role, pending)
    # After the tables: a sequence of a column follows its table.
    for entry in sequences:
        warnings.extend(_give_one(copy, guard, entry))
    return warnings


def large_objects(entry: toc.Entry) -> list[str]:
    """The large objects of an entry: one before PostgreSQL 17, a group of the same owner since."""
    names = entry.definition.decode("ascii", "replace").split() if entry.description == "BLOB METADATA" else [entry.tag]
    return [name for name in names if name.isdecimal()]


def _give_large_objects(copy: Connection, role: str, oids: list[str]) -> None:
    """One round trip for many of them, each in a statement of its own."""
    name = sql.Identifier(role)
    with copy.transaction(), copy.pipeline():
        for oid in oids:
            copy.execute(sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(sql.SQL(str(int(oid))), name))


def _give_one(copy: Connection, guard: "_Guard", entry: toc.Entry) -> Iterator[str]:
    found = _identify(copy, entry)
    if found is None:
        raise MoverError(
            conditions.RESTORE_FAILED,
            f"{entry.name} of the dump is not in the restored database, so its owner {entry.owner} cannot be restored",
        )
    kind, identity, current = found
    if current == entry.owner:
        return
    # The server's own spelling of the object's identity.
    statement = sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(kind), sql.SQL(identity), sql.Identifier(entry.owner))
    if not guard.allows(entry, kind, identity):
        yield (
            f"{shown(entry.name)} belonged to {shown(entry.owner)}, a role with a superuser's power, and now belongs"
            f" to {current}:"
            " there is no object in a live database to compare it with, and code of the application ran during the"
            " restore. Read its definition before a superuser gives it back"
        )
        return
    try:
        _alter(copy, statement, entry)
    except psycopg.errors.InsufficientPrivilege as error:
        raise MoverError(
            conditions.MISSING_GRANTS,
            f"{entry.name} cannot be given to its owner {entry.owner}: {error.diag.message_primary}; set adminSecretRef"
            " to a superuser's Secret, or grant the missing right",
        ) from error


def _alter(copy: Connection, statement: sql.Composed, entry: toc.Entry) -> None:
    """Unless a superuser gives it, the new owner needs CREATE on the schema: only for the moment, since the dump has
    its own grants."""
    try:
        with copy.transaction():
            copy.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        if not entry.schema:
            raise
        names = (sql.Identifier(entry.schema), sql.Identifier(entry.owner))
        with copy.transaction():
            copy.execute(sql.SQL("GRANT CREATE ON SCHEMA {} TO {}").format(*names))
            copy.execute(statement)
            copy.execute(sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {}").format(*names))


def _give_public(copy: Connection, role: str) -> Iterator[str]:
    """The schema public comes with every database; before PostgreSQL 15 the server's superuser owns it."""
    try:
        with copy.transaction():
            copy.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(role)))
    except psycopg.Error as error:
        yield f"schema public does not belong to {role} as in the snapshot: {error.diag.message_primary}"


def _identify(copy: Connection, entry: toc.Entry) -> tuple[str, str, str] | None:
    """Keyword, quoted identity and owner of an entry's object in the copy; None where it does not exist."""
    if entry.description in _RELATIONS:
        row = copy.execute(
            "SELECT c.oid::regclass::text, pg_get_userbyid(c.relowner), EXISTS (SELECT FROM pg_depend d WHERE"
            " d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'S' AND d.deptype IN ('a', 'i')"
            " AND d.refclassid = 'pg_class'::regclass)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s AND strpos(%s, c.relkind::text) > 0",
            [entry.schema, entry.tag, _RELATIONS[entry.description]],
        ).fetchone()
        if row is None:
            return None
        # A sequence of a column has its table's owner, and cannot be given away alone.
        return entry.description, row[0], entry.owner if row[2] else row[1]
    if entry.description in _ROUTINES:
        row = copy.execute(
            "SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner) FROM pg_proc p JOIN pg_namespace n ON n.oid"
            " = p.pronamespace WHERE n.nspname = %s AND p.proname || '(' || array_to_string(ARRAY(SELECT format_type(t,"
            " NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u(t, i) ORDER BY i), ', ') || ')' = %s",
            [entry.schema, entry.tag],
        ).fetchone()
        return None if row is None else ("ROUTINE", row[0], row[1])
    if entry.description in _TYPES:
        row = copy.execute(
            "SELECT t.oid::regtype::text, pg_get_userbyid(t.typowner) FROM pg_type t"
            " JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = %s AND t.typname = %s",
            [entry.schema, entry.tag],
        ).fetchone()
        return None if row is None else ("TYPE", row[0], row[1])
    catalog, name, schema, owner = _NAMED[entry.description]
    row = copy.execute(
        sql.SQL(
            "SELECT {schema} quote_ident({name}), pg_get_userbyid({owner}) FROM {catalog} WHERE {name} = %s"
        ).format(
            name=sql.Identifier(name),
            owner=sql.Identifier(owner),
            catalog=sql.Identifier(catalog),
            schema=(
                sql.SQL("{}::regnamespace::text || '.' ||").format(sql.Identifier(schema)) if schema else sql.SQL("")
            ),
        )
        + (
            sql.SQL(" AND {} = to_regnamespace(quote_ident(%s))").format(sql.Identifier(schema))
            if schema
            else sql.SQL("")
        ),
        [entry.tag, entry.schema] if schema else [entry.tag],
    ).fetchone()
    return None if row is None else (entry.description, row[0], row[1])


#: Everything of a relation that runs with its owner's rights, or that decides about it, as one text.
_RELATION_DEFINITION = """
SELECT pg_get_userbyid(c.relowner), concat_ws(E'\\n', c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
  (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,
     a.attidentity, pg_get_expr(d.adbin, d.adrelid)), E'\\n' ORDER BY a.attnum)
   FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid)), E'\\n' ORDER BY conname)
   FROM pg_constraint WHERE conrelid = c.oid),
  (SELECT string_agg(pg_get_indexdef(indexrelid), E'\\n' ORDER BY pg_get_indexdef(indexrelid))
   FROM pg_index WHERE indrelid = c.oid),
  (SELECT string_agg(pg_get_triggerdef(oid), E'\\n' ORDER BY tgname)
   FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal),
  (SELECT string_agg(pg_get_ruledef(oid), E'\\n' ORDER BY rulename) FROM pg_rewrite WHERE ev_class = c.oid),
  (SELECT string_agg(concat_ws(' ', polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid),
     pg_get_expr(polwithcheck, polrelid)), E'\\n' ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid))
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""
_ROUTINE_DEFINITION = """
SELECT pg_get_userbyid(p.proowner), CASE WHEN p.prokind = 'a' THEN
  (SELECT row(a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggtranstype::regtype, a.agginitval)::text
   FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
  ELSE pg_get_functiondef(p.oid) END
FROM pg_proc p WHERE p.oid = to_regprocedure(%s)
"""


class _Guard:
    """Refuses to give a superuser code that the application may have changed while the dump was loaded."""

    def __init__(self, copy: Connection, live: Connection | None) -> None:
        self._copy = copy
        self._live = live
        self._superusers: dict[str, bool] = {}

    def allows(self, entry: toc.Entry, kind: str, identity: str) -> bool:
        """Whether the object may go to its owner. Raises MoverError MissingGrants where the live database has another
        one under its name."""
        if entry.description not in _CODE or not self._is_powerful(entry.owner):
            return True
        query = (_ROUTINE_DEFINITION if kind == "ROUTINE" else _RELATION_DEFINITION).encode()
        theirs = self._live.execute(query, [identity]).fetchone() if self._live is not None else None
        ours = self._copy.execute(query, [identity]).fetchone()
        if theirs is None:
            return False
        if ours is None or theirs != (entry.owner, ours[1]):
            raise MoverError(
                conditions.MISSING_GRANTS,
                f"{entry.name} belongs to {entry.owner} in the snapshot, a role with a superuser's power, and is"
                " another object in the live database: code of the application runs during a restore, so nothing that"
                " it may have changed is given to such a role; create the object in the live database as it was, or"
                " drop it there, or restore by hand (docs/format.md)",
            )
        return True

    def _is_powerful(self, role: str) -> bool:
        if role not in self._superusers:
            self._superusers[role] = is_powerful(self._copy, role)
        return self._superusers[role]


def is_powerful(connection: Connection, role: str) -> bool:
    """Whether the role, or one that it is a member of, is a superuser or may act outside of the database."""
    found = value(
        connection,
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(%s, r.oid, 'MEMBER') AND"
        " (r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls OR r.rolname IN"
        " ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files')))",
        [role],
    )
    return found is not False
