"""What is known of Odoo's schema: what must be off in a neutralised database, and what identifies a database.

Tables are looked up in every schema, not by the search path. A table or column that does not exist is not checked, and
is reported.
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
#: As Odoo gives it to a database that was duplicated. It is frozen: else the first administrator who logs in, perhaps
#: by the address of production, would change it.
DEFAULT_URL = "http://localhost:8069"
#: Rows that a message names.
_SHOWN = 3
#: Extensions that open connections from the server, where no rule for a pod applies.
_CONNECTING = ("dblink", "postgres_fdw", "http", "pg_net", "plpython3u", "plperlu", "pg_cron", "file_fdw")


@dataclass(frozen=True)
class Assertion:
    """Rows of a table that a neutralised database must not have."""

    name: str  # what is off
    table: str
    columns: tuple[str, ...]  # that `where` needs
    where: str  # of the rows that must not exist; the table is t, its schema is {schema}
    #: Versions of Odoo in which the table has these columns, where it has not always had them: (18, 99) is from 18 on.
    odoo: tuple[int, int] = (0, 99)


#: What acts on the world outside, or would as soon as mail and jobs are on again. docs/neutralising.md has the same
#: table.
ASSERTIONS = (
    Assertion(
        "outgoing mail servers",
        "ir_mail_server",
        ("active", "smtp_host"),
        "t.active AND t.smtp_host IS DISTINCT FROM 'invalid' AND coalesce(t.smtp_host, '') NOT LIKE '%.invalid'",
    ),
    Assertion("incoming mail servers", "fetchmail_server", ("active",), "t.active"),
    Assertion("unsent messages", "mail_mail", ("state",), "t.state = 'outgoing'"),
    Assertion("unsent text messages", "sms_sms", ("state",), "t.state = 'outgoing'"),
    Assertion(
        "queued jobs", "queue_job", ("state",), "t.state IN ('wait_dependencies', 'pending', 'enqueued', 'started')"
    ),
    Assertion(
        "webhooks",  # of automation rules as well: they run server actions
        "ir_act_server",
        ("state", "webhook_url"),
        "t.state = 'webhook' AND t.webhook_url LIKE '%://%' AND t.webhook_url !~ '://[^/]*\\.?invalid([:/]|$)'",
        odoo=(17, 99),
    ),
    Assertion("OAuth providers", "auth_oauth_provider", ("enabled",), "t.enabled"),
    Assertion(
        "secrets of OAuth providers",
        "auth_oauth_provider",
        ("client_secret",),
        "coalesce(t.client_secret, '') <> ''",
        odoo=(99, 99),  # of modules only
    ),
    Assertion("passkeys", "auth_passkey_key", (), "true", odoo=(18, 99)),
    Assertion("social accounts", "social_account", ("is_media_disconnected",), "t.is_media_disconnected IS NOT TRUE"),
    Assertion(
        "accounts for text messages",
        "res_company",
        ("sms_twilio_auth_token",),
        "coalesce(t.sms_twilio_auth_token, '') <> ''",
        odoo=(99, 99),  # of a module only
    ),
    Assertion("payment providers", "payment_provider", ("state",), "t.state = 'enabled'", odoo=(16, 99)),
    Assertion("payment acquirers", "payment_acquirer", ("state",), "t.state = 'enabled'", odoo=(0, 15)),
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
#: Without an active server Odoo sends by the one of its configuration file or command line. Its own neutralisation
#: leaves this one.
_SINK = "t.active AND (t.smtp_host = 'invalid' OR t.smtp_host LIKE '%.invalid')"
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
        " WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <>"
        " 'information_schema' ORDER BY 1",
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
        "coalesce(pg_catalog.bool_or(t.key::text = {} AND pg_catalog.lower(t.value::text) IN ('true', 't', '1')),"
        " false)"
    ).format(sql.Literal(FLAG))


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
    for assertion in (*ASSERTIONS, _CRON):
        for schema in schemas(connection, assertion.table):
            known = columns(connection, schema, assertion.table)
            lacking = sorted({*assertion.columns} - known)
            if lacking and not _expected(connection, schema, assertion):
                continue
            if lacking:
                done.warnings.append(
                    f"neutralised: {assertion.table} has no column {', '.join(lacking)}, so {assertion.name} were not"
                    " checked"
                )
                continue
            problem = _rows(connection, schema, assertion, known)
            if problem:
                problems.append(problem)
            else:
                done.proven.append(f"neutralised: no active {assertion.name} in {schema}.{assertion.table}")
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


def failed(problems: Iterable[str]) -> MoverError:
    """The failure for what is still on."""
    return MoverError(
        conditions.ASSERTION_FAILED,
        f"the copy is not neutralised: {'; '.join(problems)}. Extend what neutralises it (spec.neutralize of the"
        " Environment)",
    )


def _expected(connection: Connection, schema: str, assertion: Assertion) -> bool:
    """Whether the table of this version of Odoo has the columns; True where the version is not known."""
    if assertion.odoo[0] == 99:
        return False
    if not {"name", "latest_version"} <= columns(connection, schema, "ir_module_module"):
        return True
    row = connection.execute(
        sql.SQL("SELECT substring(latest_version from '^(?:saas~)?([0-9]+)')::int FROM {} WHERE name = 'base'").format(
            sql.Identifier(schema, "ir_module_module")
        )
    ).fetchone()
    first, last = assertion.odoo
    return row is None or row[0] is None or first <= row[0] <= last


def _without_sink(connection: Connection, schema: str) -> str:
    """Why Odoo would use the mail server of its configuration; empty where it would not."""
    known = columns(connection, schema, "ir_mail_server")
    if not {"active", "smtp_host"} <= known:
        return ""  # reported with the other assertions of this table
    where = _SINK + (" AND coalesce(t.from_filter, '') = ''" if "from_filter" in known else "")
    row = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {})").format(
            sql.Identifier(schema, "ir_mail_server"), sql.SQL(where)
        )
    ).fetchone()
    if row == (True,):
        return ""
    return (
        f"{schema}.ir_mail_server has no active server with the host invalid, so the application sends by the server of"
        " its configuration file (examples/neutralize/scripts.yaml adds one)"
    )


def _url_is_frozen(connection: Connection, table: sql.Identifier) -> bool:
    row = connection.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {} t WHERE t.key::text = 'web.base.url.freeze' AND coalesce(t.value, '') <> '')"
        ).format(table)
    ).fetchone()
    return row == (True,)


def _rows(connection: Connection, schema: str, assertion: Assertion, known: set[str]) -> str:
    """What is still on; empty where nothing is."""
    where = assertion.where
    if assertion is _CRON and {"model", "module", "name", "res_id"} <= columns(connection, schema, "ir_model_data"):
        where += _AUTOVACUUM
    condition = sql.SQL(where).format(schema=sql.Identifier(schema))
    table = sql.Identifier(schema, assertion.table)
    count = connection.execute(sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(table, condition)).fetchone()
    if not count or not count[0]:
        return ""
    text = f"{count[0]} active {assertion.name} in {schema}.{assertion.table}"
    if "id" not in known:
        return text
    # Ids only: what else is in the rows is production's, and goes into no message.
    ids = connection.execute(
        sql.SQL("SELECT t.id::text FROM {} t WHERE {} ORDER BY 1 LIMIT {}").format(
            table, condition, sql.Literal(_SHOWN)
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
