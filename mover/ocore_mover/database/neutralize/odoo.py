"""Odoo's schema in a copy: turns off what :mod:`.known` lists, checks that it is off, and gives the copy an identity.

Tables are looked up in every schema, not by the search path. A table or column that does not exist is neither changed
nor checked. It is reported where this version of Odoo should have it.
"""

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_crds.text.sentences import shown
from ocore_mover.database.connect import Connection, query_failure
from ocore_mover.database.neutralize.known import (
    AUTOVACUUM,
    CRON,
    DELETE,
    MODULE,
    RULES,
    SINK,
    STORAGES,
    Emptied,
    Rule,
)
from ocore_mover.errors import MoverError

PARAMETERS = "ir_config_parameter"
FLAG = "database.is_neutralized"
#: As Odoo gives it to a database that was duplicated. It is frozen: else the first administrator who logs in, perhaps
#: by the address of production, would change it.
DEFAULT_URL = "http://localhost:8069"
#: Rows that a message names.
_SHOWN = 3
#: Extensions that open connections from the server, where no rule for a pod applies.
_CONNECTING = ("dblink", "postgres_fdw", "http", "pg_net", "plpython3u", "plperlu", "pg_cron", "file_fdw")


_IS_SINK = "t.active AND (t.smtp_host = 'invalid' OR t.smtp_host LIKE '%.invalid')"


def schemas(connection: Connection, table: str) -> list[str]:
    """The schemas that have a table of this name, or beside Odoo's parameters a view: Odoo would use it alike."""
    found = connection.execute(
        "SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relname = %s AND (c.relkind IN ('r', 'p') OR c.relkind = 'v' AND EXISTS (SELECT FROM"
        " pg_catalog.pg_class p WHERE p.relnamespace = n.oid AND p.relname = %s))"
        " AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' ORDER BY 1",
        [table, PARAMETERS],
    )
    return [str(row[0]) for row in found]


def columns(connection: Connection, schema: str, table: str) -> set[str]:
    """The table's columns."""
    return {column.name for column in _described(connection, schema, table)}


class _Column(NamedTuple):
    name: str
    holds_text: bool
    refuses_null: bool
    own_type: bool  # of the application, which can define casts of it


#: A domain has the casts of its base type. Those of a type of an extension are the extension's.
_COLUMNS = """
WITH RECURSIVE found AS (
  SELECT a.attnum, a.attname::text AS name, a.attnotnull, a.atttypid AS type
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
   UNION ALL
  SELECT f.attnum, f.name, f.attnotnull, t.typbasetype
    FROM found f JOIN pg_catalog.pg_type t ON t.oid = f.type WHERE t.typtype = 'd'
)
SELECT f.name, t.typcategory = 'S', f.attnotnull, t.oid >= 16384 AND NOT EXISTS (
         SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
            AND d.objid = t.oid AND d.deptype = 'e')
  FROM found f JOIN pg_catalog.pg_type t ON t.oid = f.type WHERE t.typtype <> 'd' ORDER BY f.attnum
"""


def _described(connection: Connection, schema: str, table: str) -> list[_Column]:
    """The table's columns."""
    return [_Column(*row) for row in connection.execute(_COLUMNS.encode(), [schema, table])]


def _parameter_schemas(connection: Connection) -> list[str]:
    """Schemas with Odoo's table of parameters."""
    return [s for s in schemas(connection, PARAMETERS) if {"key", "value"} <= columns(connection, s, PARAMETERS)]


def is_neutralized(connection: Connection, *, marked: bool) -> bool:
    """Whether the connection's database is neutralised: by Odoo's flag; by our mark where the schema is not Odoo's."""
    found = _parameter_schemas(connection)
    if not found:
        return marked
    for schema in found:
        table = sql.Identifier(schema, PARAMETERS)
        readable = connection.execute(
            "SELECT pg_catalog.has_table_privilege(pg_catalog.format('%%I.%%I', %s::text, %s::text), 'SELECT')",
            [schema, PARAMETERS],
        ).fetchone()
        if not readable or not readable[0]:
            continue
        if connection.execute(sql.SQL("SELECT {} FROM {} t").format(_flag_set(), table)).fetchone() == (True,):
            return True
    return False


def _flag_set() -> sql.Composable:
    return sql.SQL(
        "coalesce(pg_catalog.bool_or(t.key::text = {} AND pg_catalog.lower(t.value::text) IN ('true', 't', '1')),"
        " false)"
    ).format(sql.Literal(FLAG))


# --- rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A rule for a table that exists."""

    rule: Rule
    schema: str
    #: Columns of the rule that the table lacks: it can be neither applied nor checked.
    lacking: tuple[str, ...]
    #: Of an application's type: no comparison of them proves anything.
    unproven: tuple[str, ...]
    has_id: bool

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.rule.table)

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.schema}.{self.rule.table}"

    @property
    def where(self) -> sql.Composed:
        return sql.SQL(self.rule.where).format(schema=sql.Identifier(self.schema))

    def expected(self, connection: Connection) -> bool:
        """Whether this version of Odoo has the columns."""
        return _expected(connection, self.schema, self.rule)


def _found(connection: Connection) -> Iterator[_Found]:
    """The rules for the tables of the database."""
    for known in (*RULES, CRON):
        for schema in schemas(connection, known.table):
            described = _described(connection, schema, known.table)
            names, own = {each.name for each in described}, {each.name for each in described if each.own_type}
            rule = _emptied(known, described) if isinstance(known, Emptied) else known
            if rule is None:
                continue
            if rule is CRON and {"model", "module", "name", "res_id"} <= columns(connection, schema, "ir_model_data"):
                rule = replace(rule, where=rule.where + AUTOVACUUM)
            lacking, unproven = (tuple(sorted(each)) for each in ({*rule.columns} - names, {*rule.columns} & own))
            yield _Found(rule, schema, lacking, unproven, "id" in names)


def _emptied(known: Emptied, described: list[_Column]) -> Rule | None:
    """The rule for the columns that exist; None where none does."""
    pattern = re.compile(known.pattern) if known.pattern else None
    where, off, names = [], [], []
    for each in described:
        if each.name not in known.columns and not (pattern and each.holds_text and pattern.search(each.name)):
            continue
        column = _quoted(each.name)
        names.append(each.name)
        where.append(f"coalesce(t.{column}::text, '') NOT IN ('', '{{{{}}}}')")
        off.append(f"{column} = ''" if each.refuses_null else f"{column} = NULL")
    if not names:
        return None
    return Rule(known.name, known.table, tuple(names), " OR ".join(where), ", ".join(off), MODULE)


def _quoted(name: str) -> str:
    """A column's name for SQL that is formatted later."""
    return sql.Identifier(name).as_string().replace("{", "{{").replace("}", "}}")


def turn_off(connection: Connection) -> list[str]:
    """Turns everything off that is known of Odoo's schema, in one transaction. Returns what was changed. Raises
    MoverError NeutralizeFailed.

    Call it in a session with the rights of the database's owner, whose search path is pg_catalog.
    """
    changed: list[str] = []
    with connection.transaction():
        for found in _found(connection):
            rule = found.rule
            if found.lacking:
                continue
            verb = (
                sql.SQL("DELETE FROM {} t").format(found.table)
                if rule.off == DELETE
                else sql.SQL("UPDATE {} t SET {}").format(found.table, sql.SQL(rule.off).format())
            )
            rows = _turned_off(connection, found, sql.SQL("{} WHERE {}").format(verb, found.where))
            if rows:
                changed.append(f"{rows} {rule.name} in {found.place}")
        for schema in schemas(connection, "ir_mail_server"):
            _add_sink(connection, schema)
        for schema in _parameter_schemas(connection):
            _set(connection, sql.Identifier(schema, PARAMETERS), FLAG, "true")
    return changed


def _turned_off(connection: Connection, found: _Found, statement: sql.Composed) -> int:
    try:
        return connection.execute(statement).rowcount
    except psycopg.Error as error:
        known = query_failure(
            error, default=conditions.NEUTRALIZE_FAILED, doing=f"turning off {found.rule.name} in {found.place}"
        )
        # PostgreSQL's message about a value has the value.
        if (error.sqlstate or "").startswith(("22", "23")):
            text = f"turning off {found.rule.name} in {found.place} failed: {type(error).__name__}"
            raise MoverError(conditions.NEUTRALIZE_FAILED, text) from None
        raise known from error


def _add_sink(connection: Connection, schema: str) -> None:
    """The mail server that sends nothing, where there is none."""
    if not _without_sink(connection, schema):
        return
    known = columns(connection, schema, "ir_mail_server")
    values = {name: value for name, value in SINK.items() if name in known}
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(schema, "ir_mail_server"),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Literal, values.values())),
        )
    )


# --- assertions -------------------------------------------------------------------------------------------------------


@dataclass
class Asserted:
    """What was checked in the copy."""

    proven: list[str]
    warnings: list[str]


def check(connection: Connection, *, frozen_url: bool = False) -> Asserted:
    """Checks that everything known of Odoo's schema is off. Raises MoverError AssertionFailed with all that is not.

    `frozen_url`: of a copy, web.base.url must stay as it was given.
    Call it in a session with the rights of the database's owner.
    """
    # A policy that hides rows from us must be an error, not an empty answer.
    connection.execute("SELECT pg_catalog.set_config('row_security', 'off', false)")
    done, problems = Asserted([], []), []
    for found in _found(connection):
        if found.lacking:
            if found.expected(connection):
                done.warnings.append(
                    f"neutralised: {found.rule.table} has no column {', '.join(found.lacking)}, so {found.rule.name}"
                    " were not checked"
                )
            continue
        problem = _unproven(found) or _rows(connection, found)
        if problem:
            problems.append(problem)
        else:
            done.proven.append(f"neutralised: no active {found.rule.name} in {found.place}")
    problems.extend(_unknown_storages(connection))
    for schema in schemas(connection, "ir_mail_server"):
        problem = _without_sink(connection, schema)
        if problem:
            problems.append(problem)
        else:
            done.proven.append(f"neutralised: mail goes to the host invalid, by {schema}.ir_mail_server")
    for schema in _parameter_schemas(connection):
        table = sql.Identifier(schema, PARAMETERS)
        if frozen_url and not _url_is_frozen(connection, table):
            problems.append(f"web.base.url.freeze is not set in {schema}.{PARAMETERS}")
        row = connection.execute(sql.SQL("SELECT {} FROM {} t").format(_flag_set(), table)).fetchone()
        if row == (True,):
            done.proven.append(f"neutralised: {FLAG} is set in {schema}.{PARAMETERS}")
        else:
            problems.append(f"{FLAG} is not set in {schema}.{PARAMETERS}")
    if problems:
        raise failed(problems)
    done.warnings.extend(_connecting(connection))
    return done


def _unknown_storages(connection: Connection) -> Iterator[str]:
    """Storages of which no column says where they are: nothing proves that they are not production's."""
    for table, places in STORAGES.items():
        for schema in schemas(connection, table):
            if columns(connection, schema, table) & {*places}:
                continue
            row = connection.execute(
                sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, table))
            ).fetchone()
            if row == (True,):
                yield (
                    f"{schema}.{table} has rows, and no column {' or '.join(places)}: nothing shows that these storages"
                    " are not production's"
                )


def failed(problems: Iterable[str]) -> MoverError:
    """The failure for what is still on."""
    return MoverError(
        conditions.ASSERTION_FAILED,
        f"the copy is not neutralised: {'; '.join(problems)}. Extend what neutralises it (spec.neutralize of the"
        " Environment)",
    )


def _expected(connection: Connection, schema: str, rule: Rule) -> bool:
    """Whether the table of this version of Odoo has the columns; True where the version is not known."""
    if rule.odoo == MODULE:
        return False
    if not {"name", "latest_version"} <= columns(connection, schema, "ir_module_module"):
        return True
    row = connection.execute(
        sql.SQL("SELECT substring(latest_version from '^(?:saas~)?([0-9]+)')::int FROM {} WHERE name = 'base'").format(
            sql.Identifier(schema, "ir_module_module")
        )
    ).fetchone()
    first, last = rule.odoo
    return row is None or row[0] is None or first <= row[0] <= last


def _without_sink(connection: Connection, schema: str) -> str:
    """Why Odoo would use the mail server of its configuration; empty where it would not."""
    known = columns(connection, schema, "ir_mail_server")
    if not {"active", "smtp_host"} <= known:
        return ""  # reported with the other assertions of this table
    where = _IS_SINK + (" AND coalesce(t.from_filter, '') = ''" if "from_filter" in known else "")
    row = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {})").format(
            sql.Identifier(schema, "ir_mail_server"), sql.SQL(where)
        )
    ).fetchone()
    if row == (True,):
        return ""
    return (
        f"{schema}.ir_mail_server has no active server with the host invalid, so the application sends by the server of"
        " its configuration file"
    )


def _url_is_frozen(connection: Connection, table: sql.Identifier) -> bool:
    row = connection.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {} t WHERE t.key::text = 'web.base.url.freeze' AND coalesce(t.value, '') <> '')"
        ).format(table)
    ).fetchone()
    return row == (True,)


def _unproven(found: _Found) -> str:
    """Why no query shows whether it is off; empty where one does."""
    if not found.unproven:
        return ""
    return (
        f"{found.place} has columns of a type of the application ({', '.join(map(shown, found.unproven))}), whose casts"
        f" decide what a query sees: nothing shows that {found.rule.name} are off"
    )


def _rows(connection: Connection, found: _Found) -> str:
    """What is still on; empty where nothing is."""
    count = connection.execute(
        sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(found.table, found.where)
    ).fetchone()
    if not count or not count[0]:
        return ""
    text = f"{count[0]} active {found.rule.name} in {found.place}"
    if not found.has_id:
        return text
    # Ids only: what else is in the rows is production's, and goes into no message.
    ids = connection.execute(
        sql.SQL("SELECT t.id::text FROM {} t WHERE {} ORDER BY 1 LIMIT {}").format(
            found.table, found.where, sql.Literal(_SHOWN)
        )
    ).fetchall()
    return f"{text}, for example id {', '.join(str(row[0]) for row in ids)}"


def _connecting(connection: Connection) -> Iterator[str]:
    found = connection.execute(
        "SELECT extname::text FROM pg_catalog.pg_extension WHERE extname = ANY(%s) ORDER BY 1", [list(_CONNECTING)]
    ).fetchall()
    if found:
        names = ", ".join(str(row[0]) for row in found)
        yield (
            f"neutralised: code in the database can use the extensions {names}, which work from the server: no rule for"
            " a pod applies there"
        )


# --- identity ---------------------------------------------------------------------------------------------------------


def give_identity(connection: Connection, base_url: str | None) -> list[str]:
    """Gives a copy of another environment its own uuid, secret and URL. Returns what was done. Raises MoverError
    AssertionFailed where a value is another one afterwards: a trigger of the database may have changed it."""
    url = base_url or DEFAULT_URL
    wanted = {
        "database.uuid": str(uuid.uuid4()),
        "database.secret": str(uuid.uuid4()),
        "web.base.url": url,
        "web.base.url.freeze": "True",
    }
    done: list[str] = []
    found = _parameter_schemas(connection)
    for schema in found:
        table = sql.Identifier(schema, PARAMETERS)
        with connection.transaction():
            for key, value in wanted.items():
                _set(connection, table, key, value)
            for key, value in wanted.items():
                row = connection.execute(
                    sql.SQL("SELECT pg_catalog.array_agg(value::text) FROM {} WHERE key::text = %s").format(table),
                    [key],
                ).fetchone()
                if (row[0] if row else None) != [value]:
                    raise failed([f"{key} in {schema}.{PARAMETERS} did not take its new value"])
        done.append(f"identity: new database.uuid and database.secret in {schema}.{PARAMETERS}, web.base.url is {url}")
    return done or ["identity: the database has no parameters of Odoo, so nothing identifies it"]


def _set(connection: Connection, table: sql.Identifier, key: str, value: str) -> None:
    changed = connection.execute(sql.SQL("UPDATE {} SET value = %s WHERE key::text = %s").format(table), [value, key])
    if not changed.rowcount:
        connection.execute(sql.SQL("INSERT INTO {} (key, value) VALUES (%s, %s)").format(table), [key, value])
