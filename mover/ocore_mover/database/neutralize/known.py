"""What acts on the world outside in a database of Odoo 16 to 19: how each thing is turned off, and which rows must not
be left. One table for both: a rule's statement changes the rows that its assertion counts. Pure.

Odoo's own neutralisation is one script a module. ``tests/unit/mover/odoo/test_known.py`` compares this table with
those of a given Odoo, by table, column and parameter. docs/neutralising.md has the table for people.
"""

from dataclasses import dataclass

#: Column that only modules add: its absence says nothing.
MODULE = (99, 99)
#: Parameters that lead to a service with production's identity: object storage, web and mobile push, calls, video.
PARAMETERS = (
    "cloud_storage_provider",
    "cloud_storage_azure_account_name",
    "cloud_storage_azure_container_name",
    "cloud_storage_azure_tenant_id",
    "cloud_storage_azure_client_id",
    "cloud_storage_azure_client_secret",
    "cloud_storage_google_bucket_name",
    "cloud_storage_google_account_info",
    "mail.web_push_vapid_private_key",
    "mail.web_push_vapid_public_key",
    "mail.sfu_server_key",
    "odoo_ocn.project_id",
    "mail_mobile.enable_ocn",
    "website_jitsi.jitsi_server_domain",
)
#: Without columns: in the table's rows nothing but their existence counts.
DELETE = ""


@dataclass(frozen=True)
class Rule:
    """Rows of a table that a neutralised database must not have."""

    name: str  # what is off
    table: str
    columns: tuple[str, ...]  # that `where` and `off` need
    where: str  # of the rows that must not exist; the table is t, its schema is {schema}
    off: str = DELETE  # what an UPDATE sets in these rows; empty: they are deleted
    #: Versions of Odoo in which the table has these columns, where it has not always had them: (18, 99) is from 18 on.
    odoo: tuple[int, int] = (0, 99)


@dataclass(frozen=True)
class Emptied:
    """Columns of a table that must be empty, in every row. Those that do not exist are not checked."""

    name: str
    table: str
    columns: tuple[str, ...]
    #: Regular expression: columns of text with such a name must be empty as well.
    pattern: str = ""


def _switch(name: str, table: str, column: str, *, to: bool = False, odoo: tuple[int, int] = MODULE) -> Rule:
    """A column that must be false, or true."""
    if to:
        return Rule(name, table, (column,), f"t.{column} IS NOT TRUE", f"{column} = true", odoo)
    return Rule(name, table, (column,), f"t.{column}", f"{column} = false", odoo)


def _queued(name: str, table: str, to: str) -> Rule:
    return Rule(name, table, ("state",), "t.state = 'outgoing'", f"state = '{to}'")


#: In this order: what sends first, the flag last.
RULES: tuple[Rule | Emptied, ...] = (
    # --- mail and messages
    Rule(
        "outgoing mail servers",
        "ir_mail_server",
        ("active", "smtp_host"),
        "t.active AND t.smtp_host IS DISTINCT FROM 'invalid' AND coalesce(t.smtp_host, '') NOT LIKE '%.invalid'",
        "active = false",
    ),
    _switch("incoming mail servers", "fetchmail_server", "active", odoo=(0, 99)),
    Emptied(
        "tokens of mail servers",
        "ir_mail_server",
        (
            "google_gmail_refresh_token",
            "google_gmail_access_token",
            "microsoft_outlook_refresh_token",
            "microsoft_outlook_access_token",
        ),
    ),
    Emptied(
        "tokens of mail servers",
        "fetchmail_server",
        (
            "google_gmail_refresh_token",
            "google_gmail_access_token",
            "microsoft_outlook_refresh_token",
            "microsoft_outlook_access_token",
        ),
    ),
    Emptied("mail servers of templates", "mail_template", ("mail_server_id",)),
    _queued("unsent messages", "mail_mail", "cancel"),
    _queued("unsent text messages", "sms_sms", "canceled"),
    _queued("unsent WhatsApp messages", "whatsapp_message", "cancel"),
    Emptied("accounts for WhatsApp", "whatsapp_account", ("token", "app_secret")),
    Emptied(
        "accounts for text messages",
        "res_company",
        ("sms_twilio_auth_token",),
    ),
    # --- push: a device gets what is sent with the keys that it has registered for
    Rule("unsent web pushes", "mail_push", (), "true"),
    Rule("devices for web push", "mail_push_device", (), "true"),
    Rule("unsent web pushes", "mail_notification_web_push", (), "true"),
    Rule("devices for web push", "mail_partner_device", (), "true"),
    Emptied("devices for mobile push", "res_partner", ("ocn_token",)),
    # --- jobs, logins, other services
    Rule(
        "queued jobs",
        "queue_job",
        ("state",),
        "t.state IN ('wait_dependencies', 'pending', 'enqueued', 'started')",
        "state = 'cancelled'",
    ),
    Rule(
        "webhooks",  # of automation rules as well: they run server actions
        "ir_act_server",
        ("state", "webhook_url"),
        # Of a URL that is left the host is `invalid`, or below it: not its user, its query or the end of another name.
        "t.state = 'webhook' AND t.webhook_url LIKE '%://%'"
        " AND t.webhook_url !~ '^https?://([A-Za-z0-9.-]*[.])?invalid(:[0-9]+)?([/?#]|$)'",
        "webhook_url = 'https://webhook.invalid'",
        odoo=(17, 99),
    ),
    _switch("OAuth providers", "auth_oauth_provider", "enabled", odoo=(0, 99)),
    Emptied("secrets of OAuth providers", "auth_oauth_provider", ("client_secret",)),
    Rule("passkeys", "auth_passkey_key", (), "true", odoo=(18, 99)),
    _switch("social accounts", "social_account", "is_media_disconnected", to=True, odoo=(0, 99)),
    Emptied("tokens of calendars", "res_users_settings", ("google_calendar_rtoken", "google_calendar_token")),
    _switch("synchronised calendars", "res_users_settings", "google_synchronization_stopped", to=True),
    Emptied("tokens of calendars", "google_calendar_credentials", ("calendar_rtoken", "calendar_token")),
    Emptied("tokens of calendars", "res_users", ("microsoft_calendar_rtoken", "microsoft_calendar_token")),
    Emptied(
        "tokens of calendars",
        "res_users_settings",
        (
            "microsoft_calendar_rtoken",
            "microsoft_calendar_token",
            "microsoft_calendar_sync_token",
            "microsoft_last_sync_date",
        ),
    ),
    _switch("synchronised calendars", "res_users_settings", "microsoft_synchronization_stopped", to=True),
    # --- object storage that is production's as well
    Rule(
        "parameters of object storage, push and video",
        "ir_config_parameter",
        ("key", "value"),
        "t.key::text IN ('" + "', '".join(PARAMETERS) + "')",
    ),
    Rule(
        "places of attachments other than filestore and database",
        "ir_config_parameter",
        ("key", "value"),
        "t.key::text = 'ir_attachment.location' AND coalesce(t.value::text, '') NOT IN ('', 'file', 'db')",
        "value = 'file'",
    ),
    Rule(
        "storages outside",
        "fs_storage",
        ("protocol",),
        "t.protocol::text NOT IN ('odoofs', 'file', 'memory')",
        "protocol = 'odoofs'",
        odoo=MODULE,
    ),
    _switch("garbage collections of storages", "fs_storage", "autovacuum_gc"),
    _switch("storages with options of the environment", "fs_storage", "eval_options_from_env"),
    Emptied("options of storages", "fs_storage", ("options", "server_env_defaults")),
    Rule("files that wait for the garbage collection of a storage", "fs_file_gc", (), "true"),
    Rule(
        "storages outside",
        "storage_backend",
        ("backend_type",),
        "t.backend_type::text IS DISTINCT FROM 'filesystem'",
        "backend_type = 'filesystem'",
    ),
    Emptied("options of storages", "storage_backend", ("server_env_defaults",)),
    # --- money
    Rule(
        "payment providers",
        "payment_provider",
        ("state",),
        "t.state NOT IN ('test', 'disabled')",
        "state = 'disabled'",
        odoo=(16, 99),
    ),
    Rule(
        "payment acquirers",
        "payment_acquirer",
        ("state",),
        "t.state NOT IN ('test', 'disabled')",
        "state = 'disabled'",
        odoo=(0, 15),
    ),
    Emptied(
        "keys of payment providers",
        "payment_provider",
        (
            "adyen_merchant_account",
            "aps_merchant_identifier",
            "aps_access_code",
            "aps_sha_request",
            "aps_sha_response",
            "asiapay_merchant_id",
            "asiapay_secure_hash_function",
            "authorize_login",
            "paypal_email_account",
            "paypal_client_id",
            "worldline_pspid",
        ),
        pattern="(key|secret|token|password)",
    ),
    Rule(
        "tokens of in-app purchases",
        "iap_account",
        ("account_token",),
        "coalesce(t.account_token, '') <> '' AND t.account_token NOT LIKE '%+disabled'",
        "account_token = pg_catalog.left(pg_catalog.split_part(account_token, '+', 1), 33) || '+disabled'",
    ),
    Rule(
        "bank connections",
        "account_online_link",
        ("client_id",),
        "coalesce(t.client_id, '') NOT IN ('', 'duplicate')",
        "client_id = 'duplicate'",
    ),
    *(
        _switch("terminals of the point of sale", "pos_payment_method", column, to=True)
        for column in ("adyen_test_mode", "paytm_test_mode", "razorpay_test_mode", "viva_wallet_test_mode")
    ),
    Emptied(
        "keys of terminals of the point of sale",
        "pos_payment_method",
        ("mp_bearer_token", "mp_webhook_secret_key", "paytm_merchant_key", "razorpay_api_key"),
    ),
    # --- delivery
    _switch("delivery connectors", "delivery_carrier", "prod_environment", odoo=(0, 99)),
    Rule(
        "delivery carriers of other services",
        "delivery_carrier",
        ("active", "delivery_type"),
        "t.active AND t.delivery_type::text NOT IN ('fixed', 'base_on_rule')",
        "active = false",
    ),
    Rule(
        "brands of Mondial Relay",
        "delivery_carrier",
        ("mondialrelay_brand",),
        "coalesce(t.mondialrelay_brand::text, '') NOT IN ('', 'BDTEST  ')",
        "mondialrelay_brand = 'BDTEST  '",
        odoo=MODULE,
    ),
    # --- invoices to authorities
    Rule(
        "connections for electronic invoices",
        "account_edi_proxy_client_user",
        ("edi_mode", "proxy_type"),
        "t.edi_mode::text = 'prod'",
        "edi_mode = CASE WHEN proxy_type = 'l10n_it_edi' THEN 'demo' ELSE 'test' END",
        odoo=MODULE,
    ),
    Rule(
        "connections for electronic invoices of Malaysia",
        "account_edi_proxy_client_user",
        ("active", "proxy_type"),
        "t.active AND t.proxy_type::text = 'l10n_my_edi'",
        "active = false",
        odoo=MODULE,
    ),
    Emptied("passwords of certificates", "certificate_certificate", ("pkcs12_password",)),
    Emptied("passwords of certificates", "certificate_key", ("password",)),
    *(
        _switch("connections for electronic invoices", "res_company", column)
        for column in ("l10n_eg_production_env", "l10n_in_edi_production_env")
    ),
    *(
        _switch("connections for electronic invoices", "res_company", column, to=True)
        for column in ("l10n_es_sii_test_env", "l10n_es_tbai_test_env", "l10n_ro_edi_test_env")
    ),
    Rule(
        "connections for electronic invoices",
        "res_company",
        ("l10n_hu_edi_server_mode",),
        "t.l10n_hu_edi_server_mode::text = 'production'",
        "l10n_hu_edi_server_mode = 'test'",
        odoo=MODULE,
    ),
    Rule(
        "connections for electronic invoices",
        "res_company",
        ("l10n_sa_api_mode",),
        "coalesce(t.l10n_sa_api_mode::text, 'sandbox') <> 'sandbox'",
        "l10n_sa_api_mode = 'sandbox'",
        odoo=MODULE,
    ),
    Emptied(
        "credentials for electronic invoices",
        "res_company",
        (
            "l10n_eg_client_secret",
            "l10n_hu_edi_username",
            "l10n_hu_edi_password",
            "l10n_hu_edi_signature_key",
            "l10n_hu_edi_replacement_key",
            "l10n_in_edi_username",
            "l10n_in_edi_password",
            "l10n_in_edi_token",
            "l10n_in_edi_token_validity",
            "l10n_in_edi_ewaybill_username",
            "l10n_in_edi_ewaybill_password",
            "l10n_in_edi_ewaybill_auth_validity",
            "l10n_ke_cu_proxy_address",
            "l10n_ro_edi_client_id",
            "l10n_ro_edi_client_secret",
            "l10n_ro_edi_access_token",
            "l10n_ro_edi_refresh_token",
            "l10n_vn_edi_username",
            "l10n_vn_edi_password",
        ),
    ),
    # --- what people and search engines see
    Emptied("domains of websites", "website", ("domain", "google_places_api_key")),
    _switch("content delivery networks of websites", "website", "cdn_activated"),
    Rule(
        "websites for search engines",
        "website",
        ("robots_txt",),
        "coalesce(t.robots_txt::text, '') !~ '^User-agent: [*]\\r?\\nDisallow: /\\s*$'",
        "robots_txt = E'User-agent: *\\nDisallow: /'",
        odoo=MODULE,
    ),
    Rule(
        "hidden banners of a neutralised database",
        "ir_ui_view",
        ("active", "key"),
        "t.key::text IN ('web.neutralize_banner', 'website.neutralize_ribbon') AND t.active IS NOT TRUE",
        "active = true",
    ),
)
CRON = Rule("scheduled jobs", "ir_cron", ("active",), "t.active", "active = false")
#: Odoo's own neutralisation keeps this one: it removes old sessions and files. One job, whatever rows claim to be it.
AUTOVACUUM = (
    " AND t.id IS DISTINCT FROM (SELECT pg_catalog.min(d.res_id) FROM {schema}.ir_model_data d"
    " WHERE d.model = 'ir.cron' AND d.module = 'base' AND d.name = 'autovacuum_job')"
)
#: Tables whose rows lead to storage that production uses, and the columns of which one must be known: else nothing says
#: where the rows lead, and each row counts.
STORAGES = {"fs_storage": ("protocol", "server_env_defaults"), "storage_backend": ("backend_type",)}
#: Without an active server Odoo sends by the one of its configuration file or command line. Its own neutralisation
#: leaves this one.
SINK = {
    "name": "neutralised: no mail leaves this copy",
    "smtp_host": "invalid",
    "smtp_port": 1025,
    "smtp_encryption": "none",
    "smtp_authentication": "login",
    "sequence": 10,
    "active": True,
}
