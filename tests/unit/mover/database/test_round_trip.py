"""A dump and a restore of a schema with everything that went wrong somewhere, and what stands beside it afterwards."""

from pathlib import Path

import psycopg
import pytest

from ocore_mover.database import copy_access
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.restore import check, create
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.deadline import Token
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.dumps import FarStore, bring_back, take
from support.mover.postgres_majors import create_role
from support.mover.site import Site

NASTY = Path(__file__).with_name("nasty.sql")

#: Queries whose answers must be the same in the restored database.
SAME = (
    'SELECT count(*), sum(length(twice)), min("col;umn") FROM "Odd; schema"."Tab""le"',
    "SELECT count(*), sum(v), min(filler) FROM parts",
    "SELECT count(*), sum(total) FROM summary_m",
    "SELECT md5(lo_get(4711)), obj_description(4711, 'pg_largeobject')",
    "SELECT atomic(1), last_value FROM invoice",
    "SELECT count(*), min(store_fname) FROM ir_attachment",
    "SELECT extname, extversion, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1",
    "SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'pg_trgm'",
    "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    (
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.oid >= 16384"
        " AND relnamespace <> 'pg_toast'::regnamespace ORDER BY 1"
    ),
    "SELECT relname, relacl::text FROM pg_class WHERE relname IN ('parts', 'Tab\"le') ORDER BY 1",
    "SELECT attacl::text FROM pg_attribute WHERE attname = 'col;umn'",
    "SELECT defaclacl::text FROM pg_default_acl",
    "SELECT proacl::text FROM pg_proc WHERE proname = 'atomic'",
    "SELECT pubname FROM pg_publication",
    "SELECT polname FROM pg_policy",
    "SELECT enumlabel FROM pg_enum ORDER BY enumsortorder",
    "SHOW work_mem",
    "SHOW search_path",
)


@pytest.fixture(params=["folder", "far"])
def any_store(request: pytest.FixtureRequest, store: Store, token: Token) -> Store:
    return store if request.param == "folder" else FarStore(store, token)


def fill(site: Site) -> None:
    reader = f"reader{site.live.removeprefix('live')}"
    vanishing = f"vanishing{site.live.removeprefix('live')}"
    for name in (reader, vanishing):
        create_role(site.server, name)
    site.sql(NASTY.read_text().replace("TO reader", f"TO {reader}").replace("vanishing", vanishing))
    site.sql(f"ALTER DATABASE {site.live} SET work_mem = '7MB'")
    site.sql(f'ALTER DATABASE {site.live} SET search_path = "$user", public, "Odd; schema"')
    site.sql(f"ALTER ROLE \"{site.role.name}\" IN DATABASE {site.live} SET maintenance_work_mem = '9MB'")
    site.sql(f"ALTER DATABASE {site.live} CONNECTION LIMIT 33")
    site.sql(f"COMMENT ON DATABASE {site.live} IS 'the shop\nof ours'")
    site.sql(f"REVOKE TEMPORARY ON DATABASE {site.live} FROM PUBLIC; GRANT CREATE ON DATABASE {site.live} TO {reader}")


def test_everything_comes_back(site: Site, any_store: Store, scratch: Path, counter: Counter, token: Token) -> None:
    fill(site)
    before = [site.sql(query) for query in SAME]
    found = take(site, any_store, scratch, counter, token)
    assert list(scratch.iterdir()) == []
    assert found.compression == ("pg_dump" if site.server.major >= 16 else "external-zstd")
    vanishing = f"vanishing{site.live.removeprefix('live')}"
    site.sql(f"REVOKE ALL ON ir_attachment FROM {vanishing}")
    site.server.execute(f"DROP ROLE {vanishing}")

    restored = bring_back(site, found, any_store, scratch, counter, token)

    assert list(scratch.iterdir()) == []
    with copy_access.opened(site.target, site.names, restored.owner, token) as access:
        check.check(access, found, token)
    for query, expected in zip(SAME, before, strict=True):
        assert site.copy_sql(query) == expected, query
    assert [w for w in restored.warnings if vanishing in w and "does not exist" in w], restored.warnings
    assert [w for w in restored.warnings if vanishing not in w] == [copy_access.HIDDEN_ONLY]
    statistics = site.copy_sql("SELECT count(*) FROM pg_stats WHERE tablename = 'parts_1'")
    assert statistics[0][0] == 3
    properties = (
        "SELECT datconnlimit, array(SELECT unnest(datacl)::text ORDER BY 1), pg_get_userbyid(datdba),"
        " shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{}'"
    )
    (live,) = site.server.execute(properties.format(site.live))
    (copy,) = site.server.execute(properties.format(restored.name))
    assert copy[3] == f"{live[3]}\nocore.rollback_id={site.rollback_id}"

    switch = DatabaseSwitch(site.target, site.rollback_id)
    create.mark_checked(switch.connection(), site.names)
    switch.switch(lambda: None, lambda _: None)
    switch.close()
    # Only now: a grant would have opened the copy.
    (switched,) = site.server.execute(properties.format(site.live))
    assert switched[:3] == live[:3]


def test_restores_again_over_an_earlier_attempt(
    site_any: Site, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    found = take(site_any, store, scratch, counter, token)
    for _ in range(2):
        bring_back(site_any, found, store, scratch, counter, token)
    assert site_any.copy_sql("SELECT * FROM t") == [(1,)]
    with connect_maintenance(site_any.target, application="test") as connection:
        create.drop(connection, site_any.names.restored)
    assert site_any.databases() == {site_any.live}


def test_a_subscription_stays_with_the_live_database(
    site_any: Site, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    """Two subscribers of one slot would lose changes: it is left out, and said so."""
    name = f"changes_{site_any.live}"
    statement = f"CREATE SUBSCRIPTION {name} CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)"
    site_any.server.execute(statement, site_any.live)
    try:
        found = take(site_any, store, scratch, counter, token)
        restored = bring_back(site_any, found, store, scratch, counter, token)
        assert [w for w in restored.warnings if name in w and "create it again" in w], restored.warnings
        assert site_any.server.execute("SELECT count(*) FROM pg_subscription") == [(1,)]
    finally:
        site_any.server.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)", site_any.live)
        site_any.server.execute(f"DROP SUBSCRIPTION {name}", site_any.live)


LOCALES = {
    "icu": "ENCODING UTF8 LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LOCALE 'C.UTF-8'",
    "latin": "ENCODING LATIN1 LOCALE 'C'",
    "builtin": "ENCODING UTF8 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
}


@pytest.mark.parametrize("locale", LOCALES)
def test_encoding_and_locale_come_back(
    site: Site, store: Store, scratch: Path, counter: Counter, token: Token, locale: str
) -> None:
    create = f'CREATE DATABASE {site.live} OWNER "{site.role.name}" TEMPLATE template0 {LOCALES[locale]}'
    site.server.execute(f"DROP DATABASE {site.live}")
    if locale == "builtin" and site.server.major < 17:  # PostgreSQL 17 brought this provider
        with pytest.raises(psycopg.Error, match=r"(?i)builtin"):
            site.server.execute(create)
        return
    site.server.execute(create)
    site.sql(
        "CREATE TABLE words AS SELECT unnest(ARRAY['Zebra', 'Äpfel', 'apfel']) AS word; CREATE INDEX ON words (word)"
    )
    found = take(site, store, scratch, counter, token)
    bring_back(site, found, store, scratch, counter, token)
    column = "datlocale" if site.server.major >= 17 else "daticulocale"
    query = (
        f"SELECT encoding, datlocprovider, datcollate, datctype, {column} FROM pg_database WHERE datname ="
        " current_database()"
    )
    assert site.copy_sql(query) == site.sql(query)
    query = "SELECT word FROM words ORDER BY word"
    assert site.copy_sql(query) == site.sql(query)


def test_row_98_an_encoding_that_python_does_not_know(
    site_any: Site, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    """Definitions are sent to the server as the bytes that they are."""
    site = site_any
    site.server.execute(f"DROP DATABASE {site.live}")
    site.server.execute(
        f"CREATE DATABASE {site.live} OWNER \"{site.role.name}\" TEMPLATE template0 ENCODING EUC_TW LOCALE 'C'"
    )
    site.sql(
        "CREATE TABLE \"臺灣\" AS SELECT '中文' AS word; COMMENT ON TABLE \"臺灣\" IS '中文';"
        ' GRANT SELECT ON "臺灣" TO PUBLIC; CREATE MATERIALIZED VIEW seen AS SELECT word AS "中" FROM "臺灣"'
    )
    found = take(site, store, scratch, counter, token)
    assert found.encoding == "EUC_TW"
    restored = bring_back(site, found, store, scratch, counter, token)
    assert [warning for warning in restored.warnings if "seen" in warning] == []
    assert site.copy_sql("SELECT * FROM seen") == [("中文",)]
    query = (
        "SELECT word, convert_to(word, getdatabaseencoding()), getdatabaseencoding(), relacl::text,"
        " obj_description(c.oid) FROM \"臺灣\", pg_class c WHERE relname = '臺灣'"
    )
    assert site.copy_sql(query) == site.sql(query)
