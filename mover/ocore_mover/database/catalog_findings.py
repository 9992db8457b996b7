"""Objects of the live database that a rollback cannot restore, found in the catalogs.

The application's role loads a dump, and no text of a dump runs with an administrator's rights. So what only a superuser
may create is restored only where we build it from checked values; all else is listed here.
"""

from collections.abc import Iterator

from ocore_crds import conditions
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import DatabaseFacts
from ocore_crds.rules.remedy import Right
from ocore_crds.text.sentences import shown
from ocore_mover.database import artifact
from ocore_mover.database.connect import Connection, major
from ocore_mover.database.remedies import Remedies

_SHOWN = 10

_NO_MEMBER = (
    " AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.deptype = 'e' AND m.classid = '{catalog}'::regclass AND m.objid ="
    " o.oid)"
)


def _query(catalog: str, name: str, where: str) -> str:
    """The names of the objects of a catalog, members of extensions left out."""
    return (
        f"SELECT {name} FROM {catalog} o WHERE o.oid >= 16384 AND {where}"  # noqa: S608 - our own text
        + _NO_MEMBER.format(catalog=catalog)
        + " ORDER BY 1"
    )


_UNTRUSTED = "o.prolang IN (SELECT oid FROM pg_language WHERE NOT lanpltrusted)"
_METHOD = "(SELECT quote_ident(amname) FROM pg_am WHERE oid = {})"
_SCHEMA = "(SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = {}) || '.' || "
#: What cannot be restored with any administrator: what it is, query for the names. Objects that use others come first.
_NEVER = (
    ("event triggers", _query("pg_event_trigger", "o.evtname", "true")),
    (
        "functions in an untrusted language",
        _query("pg_proc", "o.oid::regprocedure::text", f"o.prokind <> 'a' AND {_UNTRUSTED}"),
    ),
    (
        "leakproof functions",
        _query(
            "pg_proc",
            "o.oid::regprocedure::text",
            f"o.proleakproof AND NOT {_UNTRUSTED}",
        ),
    ),
    ("procedural languages", _query("pg_language", "o.lanname", "true")),
    (
        "operator classes",
        _query(
            "pg_opclass",
            f"{_SCHEMA.format('o.opcnamespace')} quote_ident(o.opcname) || ' USING ' ||"
            f" {_METHOD.format('o.opcmethod')}",
            "true",
        ),
    ),
    (
        "operator families",
        _query(
            "pg_opfamily",
            f"{_SCHEMA.format('o.opfnamespace')} quote_ident(o.opfname) || ' USING ' ||"
            f" {_METHOD.format('o.opfmethod')}",
            "true",
        ),
    ),
    (
        "casts without a function",
        _query(
            "pg_cast",
            "format('%s AS %s', o.castsource::regtype, o.casttarget::regtype)",
            "o.castmethod = 'b'",
        ),
    ),
    (
        "text search parsers",
        _query(
            "pg_ts_parser",
            f"{_SCHEMA.format('o.prsnamespace')} quote_ident(o.prsname)",
            "true",
        ),
    ),
    (
        "text search templates",
        _query(
            "pg_ts_template",
            f"{_SCHEMA.format('o.tmplnamespace')} quote_ident(o.tmplname)",
            "true",
        ),
    ),
    ("access methods", _query("pg_am", "o.amname", "true")),
    (
        "foreign-data wrappers",
        _query("pg_foreign_data_wrapper", "o.fdwname", "true"),
    ),
)
#: Publications that the administrator creates where it is a superuser.
_PUBLICATIONS = (
    "SELECT pubname FROM pg_publication p WHERE puballtables"
    " OR EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid) ORDER BY 1"
)
#: Options of user mappings that this role cannot see (as the view pg_user_mappings decides), so that a dump does not
#: have them.
_HIDDEN_MAPPINGS = """
SELECT format('%s on server %I', CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE quote_ident(m.usename) END, m.srvname)
  FROM pg_user_mappings m JOIN pg_foreign_server s ON s.oid = m.srvid
 WHERE NOT CASE WHEN m.umuser = 0 THEN pg_has_role(s.srvowner, 'USAGE')
   ELSE m.usename = current_user AND (pg_has_role(s.srvowner, 'USAGE') OR has_server_privilege(s.oid, 'USAGE')) END
   AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
 ORDER BY 1
"""
#: Tables and sequences whose contents a dump has although they belong to an extension.
_CONFIGURATION = """
SELECT e.extname::text AS extension, c.oid::regclass::text AS name, c.relkind::text AS kind, c.oid, c.relowner,
  (SELECT i.initprivs FROM pg_init_privs i
   WHERE i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0) AS initial
  FROM pg_extension e, unnest(e.extconfig) t(oid) JOIN pg_class c ON c.oid = t.oid WHERE c.relkind IN ('r', 'p', 'S')
"""


def always(connection: Connection) -> Iterator[Finding]:
    """What cannot be restored, with any administrator."""
    for what, query in _NEVER:
        yield from _listed(
            connection,
            query,
            f"{what} are not restored, since only a superuser may create them and no text of a dump runs as one; drop"
            " them, or make them part of an extension",
        )
    yield from _listed(
        connection,
        _HIDDEN_MAPPINGS,
        f"options of user mappings are hidden from {shown(connection.info.user)}, so a snapshot does not have them;"
        " drop the mappings before a rollback and create them again after it",
    )


def without_superuser(
    connection: Connection, facts: DatabaseFacts, actor: str, remedies: Remedies
) -> Iterator[Finding]:
    """What can be restored where the administrator is a superuser, and `actor` is not one."""
    if connection.info.server_version >= 150000:
        yield from _listed(
            connection,
            _PUBLICATIONS,
            f"only a superuser creates publications of all tables or of schemas, and {shown(actor)} is not one;"
            f" {remedies.superuser}, or drop them",
        )
    found = connection.execute(
        f"SELECT name, extension FROM ({_CONFIGURATION}) c WHERE NOT pg_has_role(%s, relowner, 'USAGE') AND NOT EXISTS"  # noqa: S608 - ours
        " (SELECT FROM aclexplode(initial) a WHERE a.grantee = 0 AND a.privilege_type ="
        " CASE kind WHEN 'S' THEN 'UPDATE' ELSE 'INSERT' END) ORDER BY 1".encode(),
        [facts.owner],
    ).fetchall()
    if found:
        names = ", ".join(f"{shown(name)} (extension {shown(extension)})" for name, extension in found[:_SHOWN])
        yield Finding.of(
            conditions.MISSING_GRANTS,
            f"only a superuser can load the rows of {names}, and {shown(actor)} is not one; {remedies.superuser}",
        )


def parameters(connection: Connection, maintenance: Connection, facts: DatabaseFacts) -> Iterator[Finding]:
    """Settings of the live database (``ALTER DATABASE … SET``) that the role of `maintenance` cannot give to the
    copy."""
    if maintenance.info.server_version < 150000:
        return
    names = sorted({setting.name for setting in artifact.read_settings(connection, facts.name)})
    missing = maintenance.execute(
        # Everyone may set `role`, which pg_settings does not list (guc_tables.c: PGC_USERSET, GUC_NO_SHOW_ALL).
        "SELECT n FROM unnest(%s::text[]) n LEFT JOIN pg_settings p ON lower(p.name) = lower(n) WHERE p.context IS"
        " DISTINCT FROM 'user' AND lower(n) <> 'role' AND NOT has_parameter_privilege(n, 'SET') ORDER BY 1",
        [names],
    ).fetchall()
    if missing:
        yield Finding.of(
            conditions.MISSING_GRANTS,
            f"{shown(maintenance.info.user)} may not set parameters that ALTER DATABASE gave to"
            f" {shown(facts.name)}: {', '.join(shown(name) for (name,) in missing)}; grant it SET on the"
            f" parameters,"
            " or reset them",
        )


def unreadable(connection: Connection, remedies: Remedies) -> Iterator[Finding]:
    """Contents of extensions that pg_dump stores and cannot read."""
    names = [
        str(row[0])
        for row in connection.execute(
            f"SELECT name FROM ({_CONFIGURATION}) c WHERE NOT"  # noqa: S608
            " CASE kind WHEN 'S' THEN has_sequence_privilege(oid, 'SELECT')"
            " ELSE has_table_privilege(oid, 'SELECT') END ORDER BY 1".encode()
        )
    ]
    if names:
        text = (
            f"{len(names)} tables or sequences of extensions cannot be read, and a dump has their contents"
            f" ({', '.join(map(shown, names[:_SHOWN]))})"
        )
        yield remedies.finding(text, connection.info.user, Right.READ_TABLES, major=major(connection))


def _listed(connection: Connection, query: str, text: str) -> Iterator[Finding]:
    """One finding with the names that the query returns; none where it returns none."""
    names = [str(row[0]) for row in connection.execute(query.encode())]
    if names:
        more = f" (the first {_SHOWN} of {len(names)})" if len(names) > _SHOWN else ""
        shown_names = ", ".join(map(shown, names[:_SHOWN]))
        yield Finding.of(conditions.MISSING_GRANTS, f"{text}{more}: {shown_names}")
