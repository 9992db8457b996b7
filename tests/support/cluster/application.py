"""What the demo application and its users do to a site's data."""

from psycopg import sql

from support.cluster.site import Site


def drop_everything(site: Site) -> None:
    """What a person does by mistake while the application runs."""
    code, log = site.in_shop("rm", "-r", f"/claim/{site.path}")
    assert code == 0, log
    with site.servers.admin(site.host) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(site.database)))
