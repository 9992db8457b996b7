"""A copy of a real Odoo: neutralised by its own command, by what is built in, and by both."""

from collections.abc import Iterator

import pytest

from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.real_odoo import ACT, JOBS, Odoo, production_for
from support.mover.rollback import superuser_secret
from support.mover.sinks import Sinks, sinks

pytestmark = pytest.mark.odoo

#: What acts on the world, or says that it is production, in such a database.
ACTS = {
    "mail servers": "ir_mail_server WHERE active AND smtp_host <> 'invalid'",
    "no sink": "(SELECT 1 WHERE NOT EXISTS (SELECT FROM ir_mail_server WHERE active AND smtp_host = 'invalid')) x",
    "queue": "mail_mail WHERE state = 'outgoing'",
    "keys of push": "ir_config_parameter WHERE key LIKE '%vapid%'",
    "devices": "mail_push_device",
    "passkeys": "auth_passkey_key",
    "object storage": "ir_config_parameter WHERE key = 'cloud_storage_provider'",
    "payment": "payment_provider WHERE state = 'enabled' OR stripe_secret_key IS NOT NULL",
    "templates": "mail_template WHERE mail_server_id IS NOT NULL",
    "jobs": "ir_cron WHERE active AND cron_name NOT LIKE '%Auto-vacuum%'",
    "no banner": "ir_ui_view WHERE key = 'web.neutralize_banner' AND NOT active",
    "in-app purchases": "iap_account WHERE account_token NOT LIKE '%+disabled'",
    "logins": "auth_oauth_provider WHERE enabled",
}


def acting(odoo: Odoo) -> set[str]:
    """In the live database."""
    return {name for name, rows in ACTS.items() if odoo.site.sql(f"SELECT 1 FROM {rows} LIMIT 1")}


@pytest.fixture
def reached() -> Iterator[Sinks]:
    with sinks() as found:
        yield found


@pytest.fixture
def production(odoo: Odoo, reached: Sinks) -> Odoo:
    """Everything is on."""
    odoo.shell(production_for(reached))
    assert acting(odoo) == {*ACTS}
    return odoo


def neutralise(odoo: Odoo, *more: str) -> Finished:
    where = ("--database", str(odoo.site.secret), "--admin", str(odoo.admin), "--environment-id", ENVIRONMENT)
    return call("neutralize", *where, "--rollback-id", odoo.site.rollback_id, *more)


def test_row_63_what_is_built_in_turns_everything_off(production: Odoo, reached: Sinks) -> None:
    """Production reaches customers and devices; the copy, which does the same, reaches no one."""
    production.admin = superuser_secret(production.site, production.scratch)
    production.ok("snapshot")
    production.ok("restore", "--neutralize", "--admin", str(production.admin))
    production.shell(ACT)
    mails, pushes = reached.take()
    assert (len(mails), pushes) == (2, ["/device"]), "what arrives from production"
    done = neutralise(production, "--built-in")
    assert done.code == 0, done.message
    production.ok("switch", "--now", "--neutralized", "--admin", str(production.admin))
    assert acting(production) == set()
    production.shell(ACT + JOBS)
    assert reached.take() == ([], [])


def test_row_63_odoos_own_command_alone_leaves_what_production_has(production: Odoo) -> None:
    """A mail in the queue and a passkey: why the built-in statements follow each command."""
    production.odoo("neutralize", "-d", production.site.live)
    assert acting(production) == {"queue", "passkeys"}
