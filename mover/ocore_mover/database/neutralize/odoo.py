"""What is known of Odoo's schema: what must be off in a neutralised database, and what identifies a database.

Tables are looked up in every schema, not by the search path. A table or column that does not exist is not checked, and is reported.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError

PARAMETERS = "ir_config_parameter"
FLAG = "database.is_neutralized"
#: As Odoo gives it to a database that was duplicated; it replaces it when an administrator logs in, unless it is frozen.
DEFAULT_URL = "http://localhost:8069"
#: Rows that a message names.
_SHOWN = 3
#: Characters of a value in a message.
_SHOWN_CHARACTERS = 60
#: Extensions that open connections from the server, where no rule for a pod applies.
_CONNECTING = ("dblink", "postgres_fdw", "http", "pg_net", "plpython3u", "plperlu", "pg_cron", "file_fdw")


@dataclass(frozen=True)
class Assertion:
    """Rows of a table that a neutralised database must not have."""

    name: str  # what is off
    table: str
    columns: tuple[str, ...]  # that `where` needs
    where: str  # of the rows that must not exist; the table is t, its schema is {schema}
    show: str = "id"  # column that identifies a row in a message: never a secret


#: Odoo's own neutralisation leaves a mail server with the host `invalid`, so that the one of its configuration is not used.
ASSERTIONS = (
    Assertion(
        "outgoing mail servers",
        "ir_mail_server",
        ("active", "smtp_host"),
        "t.active AND t.smtp_host IS DISTINCT FROM 'invalid' AND coalesce(t.smtp_host, '') NOT LIKE '%.invalid'",
        "name",
    ),
    Assertion("incoming mail servers", "fetchmail_server", ("active",), "t.active", "name"),
    Assertion("payment providers", "payment_provider", ("state",), "t.state = 'enabled'"),
    Assertion("payment acquirers", "payment_acquirer", ("state",), "t.state = 'enabled'"),
    Assertion(
        "tokens of in-app purchases",
        "iap_account",
        ("account_token",),
        "coalesce(t.account_token, '') <> '' AND t.account_token NOT LIKE '%+disabled'",
    ),
    Assertion(
        "bank connections",
        "account_online_link",
        ("client_id",),
        "coalesce(t.client_id, '') NOT IN ('', 'duplicate')",
    ),
    Assertion("delivery connectors", "delivery_carrier", ("prod_environment",), "t.prod_environment"),
)
_CRON = Assertion("scheduled jobs", "ir_cron", ("active",), "t.active")
#: Odoo's own neutralisation keeps this one: it removes old sessions and files.
_AUTOVACUUM = (
    " AND NOT EXISTS (SELECT FROM {schema}.ir_model_data d WHERE d.model = 'ir.cron' AND d.module = 'base'"
    " AND d.name = 'autovacuum_job' AND d.res_id = t.id)"
)


def schemas(connection: Connection, table: str) -> list[str]:
    """The schemas that have a table of this name."""
    found = connection.execute(
        "SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'"
        " ORDER BY 1",
        [table],
    )
    return [str(row[0]) for row in found]


def columns(connection: Connection, schema: str, table: str) -> set[str]:
    """The table's columns."""
    found = connection.execute(
        "SELECT a.attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        [schema, table],
    )
    return {str(row[0]) for row in found}


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
        "coalesce(pg_catalog.bool_or(t.key::text = {} AND pg_catalog.lower(t.value::text) IN ('true', 't', '1')), false)"
    ).format(sql.Literal(FLAG))


# --- assertions -------------------------------------------------------------------------------------------------------


@dataclass
class Asserted:
    """What was checked in the copy."""

    proven: list[str]
    warnings: list[str]


def check(connection: Connection) -> Asserted:
    """Checks that everything known of Odoo's schema is off. Raises MoverError AssertionFailed with all that is not.

    Call it in a session with the rights of the database's owner.
    """
    # A policy that hides rows from us must be an error, not an empty answer.
    connection.execute("SELECT pg_catalog.set_config('row_security', 'off', false)")
    done, problems = Asserted([], []), []
    for assertion in (*ASSERTIONS, _CRON):
        for schema in schemas(connection, assertion.table):
            known = columns(connection, schema, assertion.table)
            lacking = sorted({*assertion.columns} - known)
            if lacking:
                done.warnings.append(
                    f"neutralised: {assertion.table} has no column {', '.join(lacking)}, so {assertion.name} were not checked"
                )
                continue
            problem = _rows(connection, schema, assertion, known)
            if problem:
                problems.append(problem)
            else:
                done.proven.append(f"neutralised: no active {assertion.name} in {schema}.{assertion.table}")
    for schema in _parameter_schemas(connection):
        table = sql.Identifier(schema, PARAMETERS)
        row = connection.execute(sql.SQL("SELECT {} FROM {} t").format(_flag_set(), table)).fetchone()
        if row == (True,):
            done.proven.append(f"neutralised: {FLAG} is set in {schema}.{PARAMETERS}")
        else:
            problems.append(f"{FLAG} is not set in {schema}.{PARAMETERS}")
    if problems:
        raise failed(problems)
    done.warnings.extend(_connecting(connection))
    return done


def failed(problems: Iterable[str]) -> MoverError:
    """The failure for what is still on."""
    return MoverError(
        conditions.ASSERTION_FAILED,
        f"the copy is not neutralised: {'; '.join(problems)}. Extend what neutralises it (spec.neutralize of the Environment)",
    )


def _rows(connection: Connection, schema: str, assertion: Assertion, known: set[str]) -> str:
    """What is still on; empty where nothing is."""
    where = assertion.where
    if assertion is _CRON and {"model", "module", "name", "res_id"} <= columns(connection, schema, "ir_model_data"):
        where += _AUTOVACUUM
    shown = assertion.show if assertion.show in known else "id" if "id" in known else next(iter(assertion.columns))
    condition = sql.SQL(where).format(schema=sql.Identifier(schema))
    table = sql.Identifier(schema, assertion.table)
    count = connection.execute(sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(table, condition)).fetchone()
    if not count or not count[0]:
        return ""
    names = connection.execute(
        sql.SQL("SELECT pg_catalog.left(t.{}::text, {}) FROM {} t WHERE {} LIMIT {}").format(
            sql.Identifier(shown), sql.Literal(_SHOWN_CHARACTERS), table, condition, sql.Literal(_SHOWN)
        )
    ).fetchall()
    examples = ", ".join(str(row[0]) for row in names)
    return f"{count[0]} active {assertion.name} in {schema}.{assertion.table}, for example {shown} {examples}"


def _connecting(connection: Connection) -> Iterator[str]:
    found = connection.execute(
        "SELECT extname::text FROM pg_catalog.pg_extension WHERE extname = ANY(%s) ORDER BY 1", [list(_CONNECTING)]
    ).fetchall()
    if found:
        names = ", ".join(str(row[0]) for row in found)
        yield (
            f"neutralised: code in the database can use the extensions {names}, which work from the server: no rule for a pod applies there"
        )


# --- identity ---------------------------------------------------------------------------------------------------------


def give_identity(connection: Connection, base_url: str | None) -> list[str]:
    """Gives a copy of another environment its own uuid, secret and URL. Returns what was done. Raises MoverError AssertionFailed where a
    value is another one afterwards: a trigger of the database may have changed it."""
    url = base_url or DEFAULT_URL
    wanted = {
        "database.uuid": str(uuid.uuid4()),
        "database.secret": str(uuid.uuid4()),
        "web.base.url": url,
        "web.base.url.freeze": "True" if base_url else None,
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
                if (row[0] if row else None) != ([value] if value is not None else None):
                    raise failed([f"{key} in {schema}.{PARAMETERS} did not take its new value"])
        done.append(f"identity: new database.uuid and database.secret in {schema}.{PARAMETERS}, web.base.url is {url}")
    return done or ["identity: the database has no parameters of Odoo, so nothing identifies it"]


def _set(connection: Connection, table: sql.Identifier, key: str, value: str | None) -> None:
    if value is None:
        connection.execute(sql.SQL("DELETE FROM {} WHERE key::text = %s").format(table), [key])
        return
    changed = connection.execute(sql.SQL("UPDATE {} SET value = %s WHERE key::text = %s").format(table), [value, key])
    if not changed.rowcount:
        connection.execute(sql.SQL("INSERT INTO {} (key, value) VALUES (%s, %s)").format(table), [key, value])
