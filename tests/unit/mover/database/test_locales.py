"""A locale or a collation that the server lacks is found before the dump is fetched: libc, ICU and builtin ones."""

import uuid
from pathlib import Path

import psycopg
import pytest

from ocore_crds.stored.manifest import DatabaseArtifact, Manifest
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.restore import locales, requirements, restore
from ocore_mover.errors import MoverError
from ocore_mover.store import open_store
from support.mover.rollback import Shell
from support.mover.site import Site

#: Provider, LC_COLLATE, locale, rules → the first major with it (None: no server has it), and what the message names.
LOCALES = [
    ("c", "C", "", "", 15, ""),
    ("c", "C.UTF-8", "", "", 15, ""),
    ("c", "xx_XX.UTF-8", "", "", None, "locale xx_XX.UTF-8"),
    ("i", "C.UTF-8", "de-DE", "", 15, ""),
    ("i", "C.UTF-8", "not a locale", "", None, "ICU locale not a locale"),
    ("i", "xx_XX.UTF-8", "de-DE", "", None, "locale xx_XX.UTF-8"),
    ("i", "C.UTF-8", "de-DE", "&a < g", 16, "ICU locale de-DE with its rules"),
    ("b", "C.UTF-8", "C.UTF-8", "", 17, "builtin locale C.UTF-8"),
    ("b", "xx_XX.UTF-8", "C.UTF-8", "", None, "locale xx_XX.UTF-8"),
    ("b", "C.UTF-8", "zz", "", None, "builtin locale zz"),
]


def snapshot(site: Site, folder: Path) -> tuple[Shell, DatabaseArtifact]:
    shell = Shell(site, folder)
    shell.ok("snapshot")
    path = next((folder / "snapshots").rglob("manifest.json"))
    artifact = Manifest.model_validate_json(path.read_text()).database
    assert artifact is not None
    return shell, artifact


def create(site: Site, artifact: DatabaseArtifact) -> bool:
    """Whether the server creates a database with the artifact's locale."""
    words = {"c": "", "i": "LOCALE_PROVIDER icu ICU_LOCALE", "b": "LOCALE_PROVIDER builtin BUILTIN_LOCALE"}
    provider = f"{words[artifact.locale_provider]} '{artifact.icu_locale}'" if artifact.icu_locale else ""
    rules = f"ICU_RULES '{artifact.icu_rules}'" if artifact.icu_rules else ""
    try:
        site.server.execute(
            f"CREATE DATABASE {site.live}_tried TEMPLATE template0 LC_COLLATE '{artifact.collate}' LC_CTYPE"
            f" '{artifact.ctype}' {provider} {rules}"
        )
    except psycopg.Error:
        return False
    return True


@pytest.mark.parametrize(("provider", "collate", "locale", "rules", "first", "named"), LOCALES)
def test_row_73_a_missing_locale_of_the_database_is_found(
    site: Site, tmp_path: Path, provider: str, collate: str, locale: str, rules: str, first: int | None, named: str
) -> None:
    _, dumped = snapshot(site, tmp_path)
    artifact = dumped.model_copy(
        update={
            "collate": collate,
            "ctype": collate,
            "locale_provider": provider,
            "icu_locale": locale,
            "icu_rules": rules,
        }
    )
    store = open_store((tmp_path / "snapshots").as_uri())
    found = first is not None and site.server.major >= first
    assert create(site, artifact) == found
    with connect_maintenance(site.target, application="test") as connection:
        if found:
            requirements.check(connection, store, artifact, site.target)
        else:
            with pytest.raises(MoverError, match=f"does not have {named} .* the database of the snapshot") as raised:
                requirements.check(connection, store, artifact, site.target)
            assert raised.value.reason == "UnsupportedServer"
            assert "server" in raised.value.message.rpartition("): ")[2]
        assert connection.execute("SELECT FROM pg_collation WHERE collname = 'ocore_try'").rowcount == 0


def test_row_73_a_locale_is_found_from_a_database_in_another_encoding(site_any: Site, tmp_path: Path) -> None:
    """The maintenance database may have one that the locale does not fit."""
    _, artifact = snapshot(site_any, tmp_path)
    latin = f"latin_{uuid.uuid4().hex[:8]}"
    site_any.server.execute(f"CREATE DATABASE {latin} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    with site_any.server.connect(latin, site_any.role.name, site_any.role.password) as connection:
        store = open_store((tmp_path / "snapshots").as_uri())
        icu = {"locale_provider": "i", "icu_locale": "de-DE"}
        requirements.check(connection, store, artifact.model_copy(update=icu), site_any.target)
        for part in ("collate", "ctype"):
            with pytest.raises(MoverError, match="does not have locale xx_XX"):
                requirements.check(
                    connection, store, artifact.model_copy(update={part: "xx_XX.UTF-8"}), site_any.target
                )
    site_any.server.execute(f"DROP DATABASE {latin}")


@pytest.fixture
def collations(site: Site) -> str:
    """Makes the collations of the live database such as another server had them."""
    column = "colllocale" if site.server.major >= 17 else "colliculocale"
    site.server.execute(
        "CREATE COLLATION \"own (provider = icu, \" (PROVIDER = icu, LOCALE = 'de-DE');"
        "CREATE COLLATION libc (PROVIDER = libc, LC_COLLATE = 'C', LC_CTYPE = 'C.UTF-8');"
        'CREATE COLLATION pg_catalog."zz_ZZ" FROM "C"',
        site.live,
    )
    return column


#: Statement that leaves the live database with what the server does not have → what the message names.
COLLATIONS = {
    "ICU": (
        "UPDATE pg_collation SET {column} = 'no ''such'' locale' WHERE collname LIKE 'own%'",
        "does not have ICU locale no 'such' locale",
        "COLLATION public.own (provider = icu, ",
    ),
    "libc": (
        "UPDATE pg_collation SET collctype = 'xx_XX.UTF-8' WHERE collname = 'libc'",
        "does not have locale xx_XX.UTF-8",
        "COLLATION public.libc",
    ),
    "of a column": ('CREATE TABLE t (a text COLLATE "zz_ZZ")', 'does not have collation "zz_ZZ"', "TABLE public.t"),
    "of an index": (
        'CREATE TABLE t (a text); CREATE INDEX i ON t (a COLLATE "zz_ZZ")',
        'does not have collation "zz_ZZ"',
        "INDEX public.i",
    ),
    "of a domain": ('CREATE DOMAIN d AS text COLLATE "zz_ZZ"', 'does not have collation "zz_ZZ"', "DOMAIN public.d"),
    "of a view": (
        "CREATE VIEW v AS SELECT 'a' || E'\\\\''' || 'COLLATE \"b\"' COLLATE \"zz_ZZ\" AS \"COLLATE ucs\"",
        'does not have collation "zz_ZZ"',
        "VIEW public.v",
    ),
}


@pytest.mark.parametrize("what", COLLATIONS)
def test_row_73_a_missing_collation_is_found_before_the_dump_is_fetched(
    site: Site, tmp_path: Path, collations: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    statement, lacking, user = COLLATIONS[what]
    site.server.execute(statement.format(column=collations), site.live)
    for (name,) in site.server.execute("SELECT relname FROM pg_class WHERE relname IN ('t', 'v')", site.live):
        site.server.execute(f'ALTER TABLE {name} OWNER TO "{site.role.name}"', site.live)
    shell, _ = snapshot(site, tmp_path)
    monkeypatch.setattr(restore, "fetched", lambda *_: pytest.fail("the dump was fetched"))
    refused = shell.run("restore")
    assert refused.reason == "UnsupportedServer", refused.stdout
    assert lacking in refused.message
    assert user in refused.message
    (finding,) = shell.ok("preview").result["payload"]["refusals"]
    assert (finding["reason"], finding["message"]) == ("UnsupportedServer", refused.message)


def test_row_73_what_looks_like_a_collation_refuses_nothing(site: Site, tmp_path: Path) -> None:
    """The text of a function is not run by a restore; names in literals and of other schemas are none of the server's
    collations."""
    site.sql(
        """CREATE COLLATION "Own's" (PROVIDER = icu, LOCALE = 'de-DE', DETERMINISTIC = false);
        CREATE SCHEMA s; CREATE COLLATION s.plain FROM "C";
        CREATE TABLE t (a text COLLATE "Own's", b text COLLATE s.plain, c text COLLATE "de-x-icu",
                        d text COLLATE ucs_basic, e text DEFAULT 'a''COLLATE "nn"' COLLATE "C",
                        "f COLLATE g" text DEFAULT E'\\\\''COLLATE "nn"');
        CREATE INDEX ON t (c COLLATE "POSIX", (d || 'COLLATE nn'));
        CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'a' COLLATE pg_catalog."nn"; END $$"""
    )
    shell, _ = snapshot(site, tmp_path)
    assert shell.ok("preview").result["payload"]["refusals"] == []
    shell.ok("restore")
    shell.ok("switch", "--now")
    assert site.sql("SELECT count(*) FROM t") == [(0,)]


def test_row_73_names_in_a_definition() -> None:
    definition = b"""CREATE TABLE t (a COLLATE pg_catalog."de x", b COLLATE s."t", c COLLATE "u".v, d COLLATE w,
    "e COLLATE x", f DEFAULT 'COLLATE y''', g COLLATE "\xff", h DEFAULT E'\\'COLLATE z' COLLATE "C")"""
    assert list(locales.collations(definition)) == ["de x", "w", "C"]
