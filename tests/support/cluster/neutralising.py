"""A site whose Environment is neutralised by scripts: what they turn off in the demo application's database."""

from collections.abc import Iterator
from contextlib import contextmanager

from .cluster import Object
from .site import Site

#: Of a Rollback. The sites' Environments are production.
ALWAYS = {"neutralize": "Always", "allowNeutralizedProduction": True}
SCRIPTS = "neutralise"
NEUTRALISE = """
UPDATE ir_mail_server SET active = false;
INSERT INTO ir_mail_server (name, smtp_host) VALUES ('no mail leaves this copy', 'invalid')
  ON CONFLICT (name) DO UPDATE SET active = true;
UPDATE ir_cron SET active = false;
UPDATE payment_provider SET state = 'disabled';
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', 'true')
  ON CONFLICT (key) DO UPDATE SET value = 'true';
"""


def config_map(site: Site, name: str, **texts: str) -> str:
    """A ConfigMap with scripts."""
    data = {f"{key}.sql": text for key, text in texts.items()}
    site.cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": site.namespace}, "data": data}
    )
    return name


@contextmanager
def neutralising(site: Site, **more: object) -> Iterator[None]:
    """Within the block the Environment has scripts."""
    config_map(site, SCRIPTS, a=NEUTRALISE)
    change(site, {"sql": {"configMapRef": {"name": SCRIPTS}}, **more})
    try:
        yield
    finally:
        change(site, None)


def change(site: Site, neutralize: Object | None, **spec: object) -> None:
    """Changes the Environment and waits until it is ready."""
    site.cluster.patch("Environment", site.environment, site.namespace, {"spec": {"neutralize": neutralize, **spec}})
    site.environment_ready()


def acting(site: Site) -> list[str]:
    """What acts on the world in the live database."""
    found = site.query(
        "SELECT 'mail' FROM ir_mail_server WHERE active AND smtp_host <> 'invalid' UNION ALL SELECT 'jobs' FROM ir_cron"
        " WHERE active UNION ALL SELECT 'payments' FROM payment_provider WHERE state = 'enabled' ORDER BY 1"
    )
    return [str(row[0]) for row in found]


def is_neutralised(site: Site) -> None:
    """The live database is neutralised; it is made an ordinary one again, so that the site can continue."""
    assert acting(site) == []
    with site.connect() as connection:
        connection.execute("UPDATE ir_mail_server SET active = true")
        connection.execute("UPDATE ir_cron SET active = true")
        connection.execute("UPDATE payment_provider SET state = 'enabled'")
        connection.execute("DELETE FROM ir_config_parameter WHERE key = 'database.is_neutralized'")
