"""The administrator of a site's database."""

from psycopg import sql

from support.cluster.site import Site, secret


def create_administrator(site: Site, name: str) -> None:
    """A role that is no superuser and has what the probe asks for, and the Secret `admin`."""
    password = "only-for-tests-" + name
    with site.servers.admin(site.host) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} CREATEDB CREATEROLE").format(
                sql.Identifier(name), sql.Literal(password)
            )
        )
        option = " WITH ADMIN OPTION" if site.major >= 16 else ""
        connection.execute(sql.SQL("GRANT {} TO {}" + option).format(sql.Identifier(site.role), sql.Identifier(name)))
    tls = {"sslmode": "disable"} if site.major < 16 else {}
    site.cluster.apply(
        secret("admin", site.namespace, host=site.host, port="5432", user=name, password=password, **tls)
    )
