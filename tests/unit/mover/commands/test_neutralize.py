"""A restored copy on a real PostgreSQL: neutralised by scripts or by a command, asserted, marked; and never live before
that."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocore_crds.resources.neutralize import WRAPPER
from ocore_mover.database.neutralize import isolation
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from support.mover.beside import Finished, finish, start, was_killed
from support.mover.odoo_schema import NEUTRALISE, TABLES
from support.mover.rollback import Intruder, Shell, admin_secret, superuser_secret
from support.mover.site import Site


@dataclass
class Copy:
    """A copy of a production database that must be neutralised, and what neutralises it."""

    shell: Shell
    folder: Path

    @property
    def site(self) -> Site:
        return self.shell.site

    def scripts(self, name: str, **texts: str) -> Path:
        """A folder as the kubelet mounts a ConfigMap."""
        folder = self.folder / name
        (folder / "..data").mkdir(parents=True, exist_ok=True)
        for key, text in texts.items():
            (folder / "..data" / f"{key}.sql").write_text(text)
            link = folder / f"{key}.sql"
            link.unlink(missing_ok=True)
            link.symlink_to(f"..data/{key}.sql")
        return folder

    def neutralise(self, text: str = NEUTRALISE, *more: str) -> Finished:
        return self.shell.run("neutralize", "--sql", str(self.scripts("sql", a=text)), *more)

    def live(self, query: str) -> object:
        rows = self.site.sql(query)
        return rows[0][0] if rows else None

    def is_old(self) -> None:
        """The live database is as it was, and nothing can connect to the copy."""
        assert self.live("SELECT active FROM ir_mail_server WHERE smtp_host = 'mail.example.com'") is True
        assert self.site.names.restored in self.site.databases()
        done = self.shell.run("switch", "--now")
        assert done.reason == "NotNeutralized", done.stdout
        assert self.live("SELECT active FROM ir_mail_server WHERE smtp_host = 'mail.example.com'") is True
        assert self.site.accepts_connections()
        closed = self.site.server.execute(
            f"SELECT datallowconn FROM pg_database WHERE datname = '{self.site.names.restored}'"
        )
        assert closed == [(False,)]
        assert self.roles() == []

    def roles(self) -> list[tuple[object, ...]]:
        return self.site.server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ocore\\_rb\\_%'")


def restored(shell: Shell, folder: Path, tables: str = TABLES) -> Copy:
    shell.site.sql(tables)
    shell.ok("snapshot")
    shell.ok("restore", "--neutralize")
    return Copy(shell, folder)


@pytest.fixture
def copy(site_any: Site, tmp_path: Path) -> Copy:
    """With an administrator."""
    return restored(Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path)), tmp_path)


def test_neutralised_by_scripts(copy: Copy) -> None:
    copy.is_old()
    assert copy.shell.run("switch", "--now", "--neutralized").reason == "NotNeutralized"
    with Intruder(copy.site, listed=False) as intruder:
        done = copy.neutralise()
    assert done.code == 0, done.stdout
    assert intruder.rounds > 0
    assert intruder.entered <= {copy.site.live}
    payload = done.result["payload"]
    assert payload["neutralized"] is True
    proven = " ".join(payload["evidence"]["proven"])
    for table in (
        "ir_mail_server",
        "fetchmail_server",
        "ir_cron",
        "payment_provider",
        "iap_account",
        "account_online_link",
        "delivery_carrier",
    ):
        assert f"public.{table}" in proven
    assert "database.is_neutralized" in proven
    assert copy.live("SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'") is None
    copy.shell.ok("switch", "--now", "--neutralized")
    assert copy.live("SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'") == "true"
    # In place it keeps its identity.
    assert copy.live("SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'") == "uuid-of-production"
    assert copy.roles() == []
    # Back, and forth again: the copy may become live again.
    copy.shell.ok("switch", "--now", "--back")
    copy.shell.ok("switch", "--now", "--neutralized")


def test_an_administrator_that_is_no_superuser(site: Site, tmp_path: Path) -> None:
    """On both majors: memberships differ since PostgreSQL 16."""
    copy = restored(Shell(site, tmp_path, admin_secret(site, tmp_path)), tmp_path)
    done, code = handed_over(copy, *psql(copy, NEUTRALISE), more=BEST_EFFORT)
    assert (done.code, code) == (0, 0), done.stdout
    assert copy.neutralise(NEUTRALISE, "--own-identity").code == 0
    assert copy.roles() == []
    copy.shell.ok("switch", "--now", "--neutralized")
    assert copy.live("SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'") == "true"


def test_without_an_administrator(site_any: Site, tmp_path: Path) -> None:
    copy = restored(Shell(site_any, tmp_path), tmp_path)
    with Intruder(site_any, listed=True) as intruder:
        assert copy.neutralise().code == 0
    assert intruder.entered <= {site_any.live}
    copy.shell.ok("switch", "--now", "--neutralized")
    assert copy.shell.run("neutralize", "--hand-over", str(tmp_path)).reason == "CannotNeutralize"


#: What the scripts leave on → what the message names.
LEFT_ON = {
    "UPDATE ir_mail_server SET active = true": "ir_mail_server, for example id",
    "UPDATE fetchmail_server SET active = true": "fetchmail_server, for example id",
    "UPDATE ir_cron SET active = true": "ir_cron, for example id 2",
    "UPDATE payment_provider SET state = 'enabled' WHERE code = 'stripe'": "payment_provider",
    "UPDATE iap_account SET account_token = 'token-of-production'": "iap_account",
    "UPDATE account_online_link SET client_id = 'bank-of-production'": "account_online_link",
    "UPDATE delivery_carrier SET prod_environment = true": "delivery_carrier",
    "UPDATE mail_mail SET state = 'outgoing'": "mail_mail",
    "UPDATE sms_sms SET state = 'outgoing'": "sms_sms",
    "UPDATE queue_job SET state = 'enqueued'": "queue_job",
    "UPDATE ir_act_server SET webhook_url = 'https://hooks.example.com/secret-path' WHERE state = 'webhook'": (
        "webhooks in public.ir_act_server"
    ),
    "UPDATE ir_act_server SET webhook_url = 'http://hooks/secret-path' WHERE state = 'webhook'": (
        "webhooks in public.ir_act_server"
    ),
    "UPDATE ir_act_server SET webhook_url = 'https://hooks.example.com?.invalid/secret-path' WHERE state = 'webhook'": (
        "webhooks in public.ir_act_server"
    ),
    "UPDATE ir_act_server SET webhook_url = 'https://invalid:secret-path@hooks.example.com' WHERE state = 'webhook'": (
        "webhooks in public.ir_act_server"
    ),
    "UPDATE ir_act_server SET webhook_url = 'http://valid-or-invalid/secret-path' WHERE state = 'webhook'": (
        "webhooks in public.ir_act_server"
    ),
    "UPDATE auth_oauth_provider SET enabled = true": (
        "active OAuth providers in public.auth_oauth_provider, for example id"
    ),
    "UPDATE auth_oauth_provider SET client_secret = 'secret-of-oauth'": "secrets of OAuth providers",
    "INSERT INTO auth_passkey_key (name) VALUES ('a key')": "passkeys",
    "UPDATE social_account SET is_media_disconnected = NULL": "social_account",
    "UPDATE res_company SET sms_twilio_auth_token = 'token-of-sms'": "accounts for text messages",
    "DELETE FROM ir_mail_server WHERE smtp_host = 'invalid'": "sends by the server of its configuration file",
    "UPDATE ir_mail_server SET active = false ": "sends by the server of its configuration file",
    "ALTER TABLE ir_mail_server ADD from_filter varchar; UPDATE ir_mail_server SET from_filter = 'example.com'": (
        "sends by the server of its configuration"
    ),
    "DELETE FROM ir_config_parameter WHERE key = 'database.is_neutralized'": "database.is_neutralized is not set",
    "UPDATE ir_config_parameter SET value = 'false' WHERE key = 'database.is_neutralized'": (
        "database.is_neutralized is not set"
    ),
    "ALTER TABLE ir_mail_server SET SCHEMA other; UPDATE other.ir_mail_server SET active = true": (
        "other.ir_mail_server"
    ),
}


def test_row_63_every_built_in_assertion(copy: Copy) -> None:
    """One at a time, in one copy: each is enough to refuse it."""
    for left_on, says in LEFT_ON.items():
        done = copy.neutralise(f"{NEUTRALISE}; CREATE SCHEMA IF NOT EXISTS other; {left_on}")
        assert (done.reason, says in done.message) == ("AssertionFailed", True), (left_on, done.stdout)
        for secret in ("token-of-production", "secret-path", "secret-of-oauth", "token-of-sms"):
            assert secret not in done.stdout
        assert "bank-of-production" not in done.stdout
        assert "mail of production" not in done.stdout
        assert "inbox of production" not in done.stdout
    copy.is_old()
    # And the same copy, repaired.
    copy.site.copy_sql("ALTER TABLE other.ir_mail_server SET SCHEMA public", superuser=True)
    done = copy.neutralise()
    assert done.code == 0, done.message
    # A failure afterwards takes the mark back.
    assert copy.neutralise("UPDATE ir_cron SET active = true").reason == "AssertionFailed"
    copy.is_old()


#: Tables of Odoo's modules that production has on → what must be left of it.
ON = {
    "CREATE TABLE mail_push_device (id serial, endpoint varchar); INSERT INTO mail_push_device (endpoint) VALUES"
    " ('https://push.example.com/of-a-user')": "SELECT 1 FROM mail_push_device",
    "INSERT INTO ir_config_parameter (key, value) VALUES ('mail.web_push_vapid_private_key', 'k'),"
    " ('cloud_storage_provider', 'azure')": (
        "SELECT 1 FROM ir_config_parameter WHERE key LIKE '%vapid%' OR key LIKE 'cloud%'"
    ),
    "INSERT INTO ir_config_parameter (key, value) VALUES ('ir_attachment.location', 's3')": (
        "SELECT 1 FROM ir_config_parameter WHERE value = 's3'"
    ),
    "CREATE TABLE fs_storage (id serial, code varchar, protocol varchar, options text, server_env_defaults text,"
    " autovacuum_gc boolean); INSERT INTO fs_storage (code, protocol, options, server_env_defaults, autovacuum_gc)"
    " VALUES ('s3', 's3', '{\"key\": \"AK\"}', '{\"x_protocol_env_default\": \"s3\"}', true)": (
        "SELECT 1 FROM fs_storage WHERE protocol <> 'odoofs' OR options IS NOT NULL OR server_env_defaults IS NOT NULL"
        " OR autovacuum_gc"
    ),
    "CREATE TABLE fs_file_gc (id serial, store_fname varchar); INSERT INTO fs_file_gc (store_fname)"
    " VALUES ('s3://a')": ("SELECT 1 FROM fs_file_gc"),
    "ALTER TABLE payment_provider ADD stripe_secret_key varchar NOT NULL DEFAULT 'sk', ADD other_api_key varchar"
    " DEFAULT 'of a module that no one knows', ADD allow_tokenization boolean DEFAULT true": (
        "SELECT 1 FROM payment_provider WHERE stripe_secret_key <> '' OR other_api_key IS NOT NULL OR NOT"
        " allow_tokenization"
    ),
    "CREATE TABLE res_users_settings (id serial, google_calendar_rtoken varchar, google_synchronization_stopped"
    " boolean, microsoft_last_sync_date timestamp); INSERT INTO res_users_settings (google_calendar_rtoken,"
    " microsoft_last_sync_date) VALUES ('t', now())": (
        "SELECT 1 FROM res_users_settings WHERE google_calendar_rtoken <> '' OR microsoft_last_sync_date IS NOT NULL OR"
        " google_synchronization_stopped IS NOT TRUE"
    ),
    "CREATE TABLE website (id serial, domain varchar, robots_txt text); INSERT INTO website (domain, robots_txt) VALUES"
    " ('https://shop.example.com', 'User-agent: *')": (
        "SELECT 1 FROM website WHERE domain IS NOT NULL OR robots_txt NOT LIKE '%Disallow: /'"
    ),
    "CREATE TABLE mail_template (id serial, mail_server_id int); INSERT INTO mail_template (mail_server_id)"
    " VALUES (1)": ("SELECT 1 FROM mail_template WHERE mail_server_id IS NOT NULL"),
    "CREATE TABLE ir_ui_view (id serial, key varchar, active boolean); INSERT INTO ir_ui_view (key, active) VALUES"
    " ('web.neutralize_banner', false)": "SELECT 1 FROM ir_ui_view WHERE NOT active",
    "CREATE TABLE account_edi_proxy_client_user (id serial, active boolean, edi_mode varchar, proxy_type varchar);"
    " INSERT INTO account_edi_proxy_client_user (active, edi_mode, proxy_type) VALUES (true, 'prod', 'l10n_it_edi'),"
    " (true, 'prod', 'peppol'), (true, 'prod', 'l10n_my_edi')": (
        "SELECT 1 FROM account_edi_proxy_client_user WHERE edi_mode = 'prod' OR (active AND proxy_type = 'l10n_my_edi')"
    ),
}


def test_row_63_what_is_left_on_is_turned_off(site_any: Site, tmp_path: Path) -> None:
    """By the built-in statements alone. An assertion holds for each: with a script that turns it on again, and shows no
    value."""
    shell = Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))
    copy = restored(shell, tmp_path, ";".join((TABLES, *ON)))
    done = copy.shell.run("neutralize", "--built-in")
    assert done.code == 0, done.message
    assert "turned off 1 outgoing mail servers in public.ir_mail_server" in " ".join(
        done.result["payload"]["evidence"]["proven"]
    )
    for left in ON.values():
        assert copy.site.copy_sql(left, superuser=True) == [], left
    assert copy.shell.run("neutralize", "--built-in").code == 0, "it can be repeated"
    again = {
        "INSERT INTO mail_push_device (endpoint) VALUES ('https://push.example.com/secret')": "devices for web push",
        "INSERT INTO ir_config_parameter (key, value) VALUES ('cloud_storage_provider', 'azure')": "object storage",
        "UPDATE ir_config_parameter SET value = 's3' WHERE key = 'ir_attachment.location'": "places of attachments",
        "UPDATE fs_storage SET protocol = 's3'": "storages outside",
        "UPDATE fs_storage SET autovacuum_gc = true": "garbage collections of storages",
        "UPDATE fs_storage SET options = '{\"a\": 1}'": "options of storages",
        "UPDATE payment_provider SET other_api_key = 'secret-of-a-module'": "keys of payment providers",
        "UPDATE website SET robots_txt = ''": "websites for search engines",
        "UPDATE ir_ui_view SET active = NULL": "hidden banners",
        "UPDATE res_users_settings SET google_synchronization_stopped = NULL": "synchronised calendars",
        "UPDATE mail_template SET mail_server_id = 2": "mail servers of templates",
    }
    for text, says in again.items():
        done = copy.neutralise(text)
        assert (done.reason, says in done.message) == ("AssertionFailed", True), (text, done.stdout)
        assert "secret" not in done.message
    copy.is_old()


#: What hides rows from a query, and not from Odoo → what the message names.
HIDING = {
    "ALTER TABLE ir_mail_server RENAME TO servers; CREATE VIEW ir_mail_server AS SELECT * FROM servers WHERE"
    " smtp_host = 'mail.example.com'": "outgoing mail servers in public.ir_mail_server",
    "CREATE TYPE choice AS ENUM ('true', 'false'); CREATE FUNCTION lie(choice) RETURNS boolean IMMUTABLE LANGUAGE sql"
    " AS 'SELECT false'; CREATE CAST (choice AS boolean) WITH FUNCTION lie(choice) AS IMPLICIT;"
    " CREATE CAST (boolean AS choice) WITH INOUT AS ASSIGNMENT;"
    " ALTER TABLE fetchmail_server ALTER active TYPE choice USING active::text::choice": (
        "public.fetchmail_server has columns of a type of the application (active)"
    ),
    "CREATE TYPE wrapped AS (text text); CREATE FUNCTION lie(wrapped) RETURNS text IMMUTABLE LANGUAGE sql"
    " AS $$SELECT ''$$; CREATE CAST (wrapped AS text) WITH FUNCTION lie(wrapped);"
    " ALTER TABLE auth_oauth_provider ALTER client_secret TYPE wrapped USING ROW(client_secret)::wrapped": (
        "public.auth_oauth_provider has columns of a type of the application (client_secret)"
    ),
    "INSERT INTO ir_model_data (module, name, model, res_id) SELECT 'base', 'autovacuum_job', 'ir.cron', id FROM"
    " ir_cron; UPDATE ir_cron SET active = true": "scheduled jobs in public.ir_cron",
}


@pytest.mark.parametrize("hiding", HIDING)
def test_row_63_what_hides_rows_from_a_query_proves_nothing(site_any: Site, tmp_path: Path, hiding: str) -> None:
    shell = Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))
    copy = restored(shell, tmp_path, f"{TABLES}; {hiding}")
    done = copy.neutralise("UPDATE ir_cron SET active = true; UPDATE ir_mail_server SET active = true")
    assert (done.reason, HIDING[hiding] in done.message) == ("AssertionFailed", True), done.stdout


def test_row_63_shared_object_storage_fails_closed(site_any: Site, tmp_path: Path) -> None:
    """A storage of which no column says where it leads may be production's."""
    shell = Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))
    copy = restored(shell, tmp_path, f"{TABLES}; CREATE TABLE fs_storage (id serial, code varchar)")
    assert copy.neutralise("SELECT 1").code == 0, "no storage"
    done = copy.neutralise("INSERT INTO fs_storage (code) VALUES ('s3')")
    assert (done.reason, "public.fs_storage has rows, and no column protocol" in done.message) == (
        "AssertionFailed",
        True,
    )
    copy.is_old()


def test_row_63_a_statement_that_fails_shows_no_value(site_any: Site, tmp_path: Path) -> None:
    shell = Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))
    copy = restored(shell, tmp_path, f"{TABLES}; ALTER TABLE payment_provider ADD CHECK (state <> 'disabled')")
    done = copy.shell.run("neutralize", "--built-in")
    assert (done.reason, done.message) == (
        "NeutralizeFailed",
        "turning off payment providers in public.payment_provider failed: CheckViolation.",
    )
    copy.is_old()


def test_row_63_a_command_the_built_in_statements_and_scripts_in_turn(copy: Copy) -> None:
    """Each sees what the one before has done; the scripts have the last word before the assertions."""
    folder = copy.scripts("last", a="DELETE FROM ir_cron", b="UPDATE ir_cron SET active = active")
    done, code = handed_over(copy, *psql(copy, f"SELECT 1; {NEUTRALISE.split(';')[3]}"),
                             more=(*BEST_EFFORT, "--sql", str(folder)))  # fmt: skip
    assert (done.code, code) == (0, 0), done.stdout
    proven = [text for text in done.result["payload"]["evidence"]["proven"] if text.startswith("neutralised: ")]
    assert [next(i for i, text in enumerate(proven) if word in text) for word in (
        "the command of the application's image", "the built-in statements turned off", "a.sql, b.sql ran in the copy"
    )] == [0, 1, 2]  # fmt: skip
    assert copy.site.copy_sql("SELECT 1 FROM ir_cron", superuser=True) == []


def test_row_63_the_url_of_a_copy_is_frozen(copy: Copy) -> None:
    """Else the first administrator who logs in by production's address changes it. A trigger may delete it after it was
    written."""
    copy.site.copy_sql(
        "CREATE FUNCTION thaw() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.ir_config_parameter WHERE"
        " key = ''web.base.url.freeze''; RETURN NULL; END'; CREATE CONSTRAINT TRIGGER thaw AFTER INSERT OR UPDATE ON"
        " ir_config_parameter DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION thaw()",
        superuser=True,
    )
    done = copy.neutralise(NEUTRALISE, "--own-identity")
    assert (done.reason, "web.base.url.freeze is not set" in done.message) == ("AssertionFailed", True), done.stdout


def test_columns_of_another_version_are_not_missed(site_any: Site, tmp_path: Path) -> None:
    """Odoo 16 has no webhooks; of a version that should have them it is a warning."""
    tables = TABLES.replace("webhook_url varchar", "usage varchar").replace(
        "(state, webhook_url)\n  VALUES ('webhook', 'https://hooks.example.com/secret-path'), ('code', NULL)",
        "(state) VALUES ('code')",
    )
    off = NEUTRALISE.replace(
        "UPDATE ir_act_server SET webhook_url = 'neutralization - disable webhook' WHERE state = 'webhook';", ""
    )
    copy = restored(Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path)), tmp_path, tables)
    for version, told in (("16.0.1.3", False), ("saas~17.2.1.3", True)):
        done = copy.neutralise(f"{off}; UPDATE ir_module_module SET latest_version = '{version}'")
        assert done.code == 0, done.stdout
        warnings = " ".join(done.result["payload"]["evidence"]["warnings"])
        assert ("ir_act_server has no column webhook_url, so webhooks were not checked" in warnings) is told


def test_row_82_own_assertions_put_no_row_into_a_message(copy: Copy) -> None:
    cases = {
        "SELECT 1 AS n, 'hunter2' AS password FROM ir_mail_server": "check.sql returned ",
        "SELECT 1 WHERE false; SELECT name FROM ir_mail_server": "returned",
        "SELECT name::integer FROM ir_mail_server": "assertion check.sql could not be run: InvalidTextRepresentation",
        "UPDATE ir_mail_server SET active = true RETURNING id": "read-only",
        "-- nothing": "has no query",
        "SELECT * FROM no_such_table": "no_such_table",
    }
    for text, says in cases.items():
        done = copy.neutralise(NEUTRALISE, "--assertions", str(copy.scripts("own", check=text)))
        assert (done.reason, says in done.message) == ("AssertionFailed", True), (text, done.stdout)
        assert "hunter2" not in done.stdout
        assert "mail of production" not in done.stdout
    copy.is_old()
    good = copy.scripts("own", check="SELECT 1 FROM ir_mail_server WHERE name = '%s no % one'; SELECT 2 WHERE false")
    done = copy.neutralise(NEUTRALISE, "--assertions", str(good))
    assert "2 queries of check.sql returned no row" in " ".join(done.result["payload"]["evidence"]["proven"])


def test_row_93_an_assertion_that_cannot_be_run_is_no_finding(copy: Copy) -> None:
    """The query is wrong, not the copy: the message has its error and where to correct it, not that something is still
    on."""
    broken = copy.scripts("broken", ours="SELECT * FROM no_such_table", none="-- nothing", good="SELECT 1 WHERE false")
    done = copy.neutralise(NEUTRALISE, "--assertions", str(broken))
    assert done.reason == "AssertionFailed"
    assert (
        done.message
        == "it is unknown whether the copy is neutralised: assertion none.sql has no query; assertion ours.sql could"
        ' not be run: relation "no_such_table" does not exist. Correct the ConfigMap of spec.neutralize.assertions,'
        " then create a new Rollback."
    )
    copy.is_old()
    both = copy.scripts("both", ours="SELECT * FROM no_such_table", rows="SELECT 1 UNION SELECT 2")
    message = copy.neutralise(NEUTRALISE, "--assertions", str(both)).message
    assert message.startswith(
        "the copy is not neutralised: assertion rows.sql returned 2 rows; run its queries to see which. Extend what "
    )
    assert "Assertion ours.sql could not be run" in message.split("Extend what ")[1]
    rows = copy.scripts("rows", rows="SELECT 1")
    message = copy.neutralise(NEUTRALISE, "--assertions", str(rows)).message
    assert message.startswith("the copy is not neutralised: assertion rows.sql returned 1 row;")
    assert "Correct" not in message


def test_a_schema_that_is_not_odoos(site_any: Site, tmp_path: Path) -> None:
    """Without any assertion nothing is proven. With one, the mark says that a later snapshot is of neutralised data."""
    copy = restored(
        Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path)),
        tmp_path,
        "CREATE TABLE customer AS SELECT 'a@example.com' AS mail",
    )
    off = "UPDATE customer SET mail = 'no-one@invalid'"
    done = copy.neutralise("SELECT 1")
    assert (done.reason, "nothing was checked" in done.message) == ("AssertionFailed", True)
    own = copy.scripts("own", check="SELECT 1 FROM customer WHERE mail NOT LIKE '%@invalid'")
    assert copy.neutralise("SELECT 1", "--assertions", str(own)).reason == "AssertionFailed"
    assert copy.neutralise(off, "--assertions", str(own)).code == 0
    copy.shell.ok("switch", "--now", "--neutralized")
    later = Shell(site_any, tmp_path, copy.shell.admin)
    assert later.ok("snapshot").result["payload"]["neutralized"] is True


def test_a_snapshot_says_whether_it_is_neutralised(copy: Copy) -> None:
    before = Shell(copy.site, copy.folder)
    assert before.ok("snapshot").result["payload"]["neutralized"] is False
    copy.neutralise()
    copy.shell.ok("switch", "--now", "--neutralized")
    after = Shell(copy.site, copy.folder)
    assert after.ok("snapshot").result["payload"]["neutralized"] is True
    # Someone makes it a production database by hand: Odoo's flag counts, not our mark.
    copy.site.sql("DELETE FROM ir_config_parameter WHERE key = 'database.is_neutralized'")
    assert Shell(copy.site, copy.folder).ok("snapshot").result["payload"]["neutralized"] is False


def test_own_identity(copy: Copy) -> None:
    def values() -> dict[object, object]:
        return dict(copy.site.sql("SELECT key, value FROM ir_config_parameter"))

    done = copy.neutralise(NEUTRALISE, "--own-identity", "--base-url", "https://staging.example.com")
    assert done.code == 0, done.stdout
    copy.shell.ok("switch", "--now", "--neutralized")
    found = values()
    assert found["web.base.url"] == "https://staging.example.com"
    assert found["web.base.url.freeze"] == "True"
    assert found["database.uuid"] != "uuid-of-production"
    assert found["database.secret"] not in ("secret-of-production", found["database.uuid"])


def test_identity_only(copy: Copy) -> None:
    """A copy that need not be neutralised: it may become live, but not where a neutralised one is demanded."""
    assert copy.shell.ok("neutralize", "--own-identity").result["payload"]["neutralized"] is False
    assert copy.shell.run("switch", "--now", "--neutralized").reason == "NotNeutralized"
    copy.shell.ok("switch", "--now")
    found = dict(copy.site.sql("SELECT key, value FROM ir_config_parameter"))
    assert (found["web.base.url"], found["web.base.url.freeze"]) == ("http://localhost:8069", "True")
    assert copy.live("SELECT active FROM ir_mail_server") is True


def test_a_trigger_that_keeps_the_identity(site_any: Site, tmp_path: Path) -> None:
    shell = Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))
    keeps = """
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
        CREATE TRIGGER keep BEFORE UPDATE ON ir_config_parameter FOR EACH ROW EXECUTE FUNCTION keep();
    """
    copy = restored(shell, tmp_path, TABLES + keeps)
    done = copy.neutralise(NEUTRALISE, "--own-identity")
    assert (done.reason, "did not take its new value" in done.message) == ("AssertionFailed", True)


def test_scripts_that_fail(copy: Copy) -> None:
    done = copy.neutralise("UPDATE no_such_table SET a = 1")
    assert (done.reason, "script a.sql" in done.message) == ("NeutralizeFailed", True)
    empty = copy.folder / "empty"
    empty.mkdir()
    assert copy.shell.run("neutralize", "--sql", str(empty)).reason == "NeutralizeFailed"
    copy.is_old()


def test_row_131_a_script_cannot_take_all_locks(copy: Copy) -> None:
    """Without locks no one can connect. It is ended, and the server takes connections at once."""
    lock = "SELECT count(pg_advisory_xact_lock(g)) FROM generate_series(1, 5000) g; SELECT pg_sleep(60)"
    done = copy.neutralise(lock)
    assert done.reason == "RestoreFailed"
    assert "locks of about" in done.message
    copy.is_old()


@pytest.mark.parametrize("admin", [superuser_secret, admin_secret, None])
def test_row_131_nor_one_that_keeps_them_after_the_error(
    site: Site, tmp_path: Path, admin: Callable[[Site, Path], Path] | None
) -> None:
    """Locks of a session outlive the error that there are no more. The watch must then need none."""
    copy = restored(Shell(site, tmp_path, admin(site, tmp_path)) if admin else Shell(site, tmp_path), tmp_path)
    keep = "BEGIN FOR i IN 1..10000000 LOOP PERFORM pg_advisory_lock(i); END LOOP; EXCEPTION WHEN OTHERS THEN"
    started = time.monotonic()
    done = copy.neutralise(f"DO $$ {keep} PERFORM pg_sleep(60); END $$")
    assert done.reason == "RestoreFailed"
    assert "had all locks" in done.message or "locks of about" in done.message
    assert time.monotonic() - started < 30
    copy.is_old()


def test_scripts_have_the_owners_rights_only(copy: Copy) -> None:
    for text in ("RESET ROLE", "SET ROLE NONE", "SELECT 1"):
        done = copy.neutralise(f"{text}; CREATE ROLE intruder SUPERUSER")
        assert done.code == 1, text
    done = copy.neutralise(
        f"SET SESSION AUTHORIZATION {copy.site.server.execute('SELECT current_user')[0][0]}; {NEUTRALISE}"
    )
    assert done.code == 1
    copy.is_old()


@pytest.mark.parametrize(
    "point", ["neutralize-start", "neutralize-opened", "neutralize-applied", "neutralize-asserted"]
)
def test_killed_anywhere(copy: Copy, point: str) -> None:
    """The copy must not become live; the next attempt removes what the killed one left, and succeeds."""
    arguments = [
        "neutralize",
        *copy.shell.options(),
        "--rollback-id",
        copy.site.rollback_id,
        "--sql",
        str(copy.scripts("sql", a=NEUTRALISE)),
    ]
    assert was_killed(finish(start(copy.site, *arguments, failpoints=f"{point}=kill")))
    with Intruder(copy.site, listed=False) as intruder:
        assert copy.shell.run("switch", "--now").reason == "NotNeutralized"
    assert intruder.entered <= {copy.site.live}
    assert copy.neutralise().code == 0
    assert copy.roles() == []
    copy.shell.ok("switch", "--now", "--neutralized")


def test_killed_after_the_mark(copy: Copy) -> None:
    """Its result is lost, and it is repeated."""
    arguments = [
        "neutralize",
        *copy.shell.options(),
        "--rollback-id",
        copy.site.rollback_id,
        "--sql",
        str(copy.scripts("sql", a=NEUTRALISE)),
    ]
    assert was_killed(finish(start(copy.site, *arguments, failpoints="neutralize-marked=kill")))
    assert copy.neutralise().code == 0
    copy.shell.ok("switch", "--now", "--neutralized")


def test_a_new_restore_must_be_neutralised_again(copy: Copy) -> None:
    assert copy.neutralise().code == 0
    copy.shell.ok("restore", "--neutralize")
    copy.is_old()
    # Also where nothing was demanded: a switch that demands it is refused.
    copy.shell.ok("restore")
    assert copy.shell.run("switch", "--now", "--neutralized").reason == "NotNeutralized"
    copy.shell.ok("switch", "--now")


def test_postgresql_killed_while_it_is_neutralised(copy: Copy) -> None:
    """Its sessions end; the copy stays closed, and the next attempt succeeds."""
    slow = f"{NEUTRALISE}; SELECT pg_sleep(60)"
    arguments = [
        "neutralize",
        *copy.shell.options(),
        "--rollback-id",
        copy.site.rollback_id,
        "--sql",
        str(copy.scripts("sql", a=slow)),
    ]
    process = start(copy.site, *arguments)
    # pg_stat_activity shows the first 1024 bytes of a query only.
    sleeping = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    end = time.monotonic() + 60
    while not copy.site.server.execute(f"SELECT 1 {sleeping}"):
        assert time.monotonic() < end, "it did not begin"
        time.sleep(0.1)
    assert copy.site.server.execute(f"SELECT pg_terminate_backend(pid) {sleeping}") == [(True,)]
    done = finish(process)
    assert done.result["failure"]["retryable"] is True, done.stdout
    copy.is_old()
    assert copy.neutralise().code == 0


# --- by the application's image --------------------------------------------------------------------------------------


@contextmanager
def container(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """The application's container: the wrapper that the operator starts in it."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", WRAPPER, str(folder), *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def handed_over(copy: Copy, *command: str, more: tuple[str, ...] = ()) -> tuple[Finished, int]:
    folder = copy.folder / "shared"
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    with container(folder, *command) as process:
        done = copy.shell.run("neutralize", "--hand-over", str(folder), *more)
        code = process.wait(30)
    assert not (folder / "pgpass").exists()
    return done, code


def psql(copy: Copy, text: str, database: str = "") -> tuple[str, ...]:
    where = ("-d", database) if database else ()
    return str(copy.site.server.bin / "psql"), "-X", "-v", "ON_ERROR_STOP=1", *where, "-c", text


BEST_EFFORT = ("--isolation", "BestEffort")


def test_neutralised_by_a_command(copy: Copy) -> None:
    done, code = handed_over(copy, *psql(copy, NEUTRALISE), more=BEST_EFFORT)
    assert (done.code, code) == (0, 0), done.stdout
    assert any("IsolationUnproven" in w for w in done.result["payload"]["evidence"]["warnings"])
    assert copy.roles() == []
    copy.shell.ok("switch", "--now", "--neutralized")


def test_a_command_that_fails(copy: Copy) -> None:
    done, code = handed_over(copy, *psql(copy, "UPDATE no_such_table SET a = 1"), more=BEST_EFFORT)
    assert (done.reason, "no_such_table" in done.message, code) == ("NeutralizeFailed", True, 1)
    done, _ = handed_over(copy, "/no/such/program", more=BEST_EFFORT)
    assert done.reason == "NeutralizeFailed"
    copy.is_old()


def test_a_command_in_the_wrong_database(copy: Copy) -> None:
    """It may connect to the live database by a wrong name, but has no rights there."""
    done, _ = handed_over(
        copy, *psql(copy, "UPDATE ir_mail_server SET active = false", copy.site.live), more=BEST_EFFORT
    )
    assert (done.reason, "permission denied" in done.message) == ("NeutralizeFailed", True), done.stdout
    copy.is_old()


def test_the_command_is_not_started_where_isolation_is_unproven(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        folder = copy.folder / "shared"
        folder.mkdir()
        # Not its usual patience: nothing closes the port.
        with pytest.raises(MoverError) as raised:
            isolation.prove(isolation.listeners([address]), [], Token(), patience=0)
        assert raised.value.reason == "IsolationUnproven"
        assert address in raised.value.message


@pytest.fixture
def silence() -> Iterator[tuple[str, int]]:
    """An address that never answers: its queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield address


def test_row_63_only_a_listener_outside_of_the_cluster_proves_isolation(
    silence: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that allows everything but 10/8 closes the API server, too. And a name that does not resolve was not
    tried."""
    monkeypatch.setattr(isolation, "CONNECT_SECONDS", 0.5)
    assert "could not reach 127.0.0.1" in isolation.prove([], [silence], Token(), patience=0)
    for addresses, outside, says in (
        ([silence], [], "no listener outside of the cluster's networks"),
        ([("no-such-host.invalid", 443)], [silence], "the name no-such-host.invalid does not resolve"),
    ):
        with pytest.raises(MoverError, match=says) as raised:
            isolation.prove(addresses, outside, Token(), patience=0)
        assert raised.value.reason == "IsolationUnproven"


def test_no_listener_proves_nothing(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    done, code = handed_over(copy, *psql(copy, NEUTRALISE))
    assert (done.reason, code) == ("IsolationUnproven", 1)
    copy.is_old()


def test_a_refused_connection_is_no_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packet arrived: only nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert isolation.reached([("127.0.0.1", port)]) == [f"127.0.0.1:{port}"]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert isolation.listeners(["mail.example.com:25"]) == [("mail.example.com", 25), ("10.0.0.1", 443)]
