"""A copy of a real Odoo: neutralised by its own command, by what is built in, and by both."""

from collections.abc import Iterator

import pytest

from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.real_odoo import Odoo
from support.mover.rollback import superuser_secret
from support.mover.sinks import Sinks, sinks

pytestmark = pytest.mark.odoo

#: What production always has: a mail in the queue, a passkey, a colleague with a device for push, other services.
PRODUCTION = """
import base64, json, os
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip('=')

key = ec.generate_private_key(ec.SECP256R1()).public_key()
point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
colleague = env['res.users'].create({
    'name': 'colleague', 'login': 'colleague', 'email': 'colleague@example.com', 'notification_type': 'inbox'})
env['ir.mail_server'].create({'name': 'production', 'smtp_host': '127.0.0.1', 'smtp_port': SMTP})
env['mail.push.device'].get_web_push_vapid_public_key()
env['mail.push.device'].create({
    'partner_id': colleague.partner_id.id, 'endpoint': 'http://127.0.0.1:HTTP/device',
    'keys': json.dumps({'p256dh': b64(point), 'auth': b64(os.urandom(16))})})
env.cr.execute("INSERT INTO auth_passkey_key (name, credential_identifier, public_key) VALUES ('k', 'c', 'p')")
env['ir.config_parameter'].set_param('cloud_storage_provider', 'azure')
provider = env.ref('payment.payment_provider_stripe')
provider.write({'stripe_secret_key': 'sk', 'stripe_publishable_key': 'pk', 'state': 'enabled'})
env['mail.template'].search([], limit=3).mail_server_id = env['ir.mail_server'].search([], limit=1)
env['iap.account'].create({'service_id': env['iap.service'].search([], limit=1).id, 'account_token': 'a' * 32})
env['auth.oauth.provider'].search([]).enabled = True
env['mail.mail'].create({'subject': 'an invoice', 'email_to': 'customer@example.com', 'body_html': 'Pay.'})
"""
#: A message to the colleague, a mail, and the queue.
ACT = """
colleague = env['res.users'].search([('login', '=', 'colleague')])
env['res.partner'].create({'name': 'a customer'}).message_post(
    body='hello', partner_ids=colleague.partner_id.ids, subtype_xmlid='mail.mt_comment')
env['mail.mail'].create({'subject': 'a mail', 'email_to': 'a@example.com', 'body_html': 'x'})
env['mail.mail'].process_email_queue()
"""
#: Every scheduled job that is on, once.
JOBS = """
for job in env['ir.cron'].search([]):
    job.method_direct_trigger()
"""
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
    """Everything is on, and a copy is restored."""
    odoo.shell(PRODUCTION.replace("SMTP", str(reached.smtp)).replace("HTTP", str(reached.http)))
    assert acting(odoo) == {*ACTS}
    odoo.admin = superuser_secret(odoo.site, odoo.scratch)
    odoo.ok("snapshot")
    odoo.ok("restore", "--neutralize", "--admin", str(odoo.admin))
    return odoo


def neutralise(odoo: Odoo, *more: str) -> Finished:
    where = ("--database", str(odoo.site.secret), "--admin", str(odoo.admin), "--environment-id", ENVIRONMENT)
    return call("neutralize", *where, "--rollback-id", odoo.site.rollback_id, *more)


def test_row_63_what_is_built_in_turns_everything_off(production: Odoo, reached: Sinks) -> None:
    """Production reaches customers and devices; the copy, which does the same, reaches no one."""
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
