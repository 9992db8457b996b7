"""What is known of Odoo's schema beside its own `neutralize.sql`, one a module: by table, column and parameter."""

import re

import pytest

from ocore_mover.database.neutralize import known
from support.mover.real_odoo import own_neutralisation

pytestmark = pytest.mark.odoo

#: (table, column), (table, "*") where rows are deleted, (table, "key=…") of parameters.
Cell = tuple[str, str]
PARAMETERS = "ir_config_parameter"
#: What Odoo 18 forgets, or what is of other versions, of Enterprise and of the OCA.
BEYOND: dict[str, set[str]] = {
    "auth_oauth_provider": {"client_secret"},
    "auth_passkey_key": {"*"},
    "account_online_link": {"client_id"},
    "fetchmail_server": {
        *("google_gmail_refresh_token", "google_gmail_access_token"),
        *("microsoft_outlook_refresh_token", "microsoft_outlook_access_token"),
    },
    "fs_file_gc": {"*"},
    "fs_storage": {"protocol", "autovacuum_gc", "eval_options_from_env", "options", "server_env_defaults"},
    "google_calendar_credentials": {"calendar_rtoken", "calendar_token"},
    PARAMETERS: {"key=odoo_ocn.project_id", "key=mail_mobile.enable_ocn", "value"},
    "ir_mail_server": {
        *("google_gmail_refresh_token", "google_gmail_access_token"),
        *("microsoft_outlook_refresh_token", "microsoft_outlook_access_token"),
    },
    "mail_mail": {"state"},
    "mail_notification_web_push": {"*"},
    "mail_partner_device": {"*"},
    "payment_acquirer": {"state"},
    "queue_job": {"state"},
    "res_company": {"sms_twilio_auth_token"},
    "res_partner": {"ocn_token"},
    "res_users_settings": {"microsoft_calendar_rtoken", "microsoft_calendar_token"},
    "sms_sms": {"state"},
    "social_account": {"is_media_disconnected"},
    "storage_backend": {"backend_type", "server_env_defaults"},
    "whatsapp_account": {"token", "app_secret"},
    "whatsapp_message": {"state"},
}


def theirs() -> set[Cell]:
    """What the scripts change."""
    found: set[Cell] = set()
    for statement in re.sub(r"--[^\n]*", "", own_neutralisation()).split(";"):
        text = " ".join(statement.split())
        if update := re.match(r"UPDATE (\w+) SET (.*?)(?: WHERE .*)?$", text):
            table, assigned = update.groups()
            # A CASE and a function's arguments have no assignment.
            found |= {(table, column) for column in re.findall(r"(?:^|, ?)(\w+) ?= ?", assigned)}
        elif delete := re.match(r"DELETE ?FROM (\w+) WHERE (.*)$", text):
            assert delete[1] == PARAMETERS, text
            found |= {(PARAMETERS, f"key={key}") for key in re.findall(r"'([^']+)'", delete[2])}
        elif truncate := re.match(r"TRUNCATE (\w+)", text):
            found.add((truncate[1], "*"))
        elif text:
            assert re.match(r"INSERT INTO (ir_mail_server|ir_config_parameter) ?\(", text), f"not understood: {text}"
    return found


def ours() -> set[Cell]:
    found = {(PARAMETERS, f"key={key}") for key in known.PARAMETERS}
    for rule in (*known.RULES, known.CRON):
        if isinstance(rule, known.Emptied):
            found |= {(rule.table, column) for column in rule.columns}
        elif rule.off != known.DELETE:
            found |= {(rule.table, column) for column in re.findall(r"(?:^|, )(\w+) = ", rule.off)}
        elif rule.table != PARAMETERS:
            found.add((rule.table, "*"))
    return found


def by_pattern(cell: Cell) -> bool:
    return any(
        isinstance(rule, known.Emptied) and rule.table == cell[0] and rule.pattern and re.search(rule.pattern, cell[1])
        for rule in known.RULES
    )


def test_row_63_what_odoo_turns_off_is_known() -> None:
    own = theirs()
    assert len(own) > 90, "the scripts were not found"
    assert sorted(cell for cell in own - ours() if not by_pattern(cell)) == [], "Odoo turns it off, and we do not"


def test_what_odoo_does_not_turn_off_is_listed() -> None:
    """A misspelt table or column would be one of them."""
    more: dict[str, set[str]] = {}
    for table, column in ours() - theirs():
        more.setdefault(table, set()).add(column)
    assert more == BEYOND
