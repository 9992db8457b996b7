"""A rollback after the live database was lost: superusers' objects do not refuse it, and what the server lacks is found
before the dump is fetched."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocore_mover.database.restore import restore
from support.mover.beside import Finished
from support.mover.postgres_majors import create_role
from support.mover.rollback import Shell, superuser_secret
from support.mover.site import Site
from support.mover.superusers import SUPERUSERS

OWNERS = """
SELECT proname::text, pg_get_userbyid(proowner)::text FROM pg_proc WHERE proname = 'sudo'
UNION ALL SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('log', 'secrets') ORDER BY 1
"""


def test_row_73_a_superusers_objects_do_not_refuse_a_disaster_rollback(site: Site, tmp_path: Path) -> None:
    """They belong to the application until a superuser has checked them, and keep their rows; the evidence names
    them."""
    site.server.execute(SUPERUSERS.format(app=site.role.name) + "; INSERT INTO public.log VALUES (7)", site.live)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    (noted,) = [w for w in shell.ok("probe").result["payload"]["warnings"] if "superuser's power" in w]
    assert "objects belong to role postgres" in noted
    shell.ok("snapshot")
    site.server.execute(f'DROP DATABASE "{site.live}"')
    told = shell.warnings(shell.ok("restore"))
    shell.ok("switch", "--now")
    assert {owner for _, owner in site.server.execute(OWNERS, site.live)} == {site.role.name}
    assert site.sql("SELECT a FROM public.log") == [(7,)]
    assert site.sql("SELECT public.sudo()") == [(site.role.name,)]
    named = [w for w in told if "Read its definition before a superuser gives it back" in w]
    assert len(named) == 3, told
    assert not [w for w in told if "OWNER TO" in w], "the object's code is the application's"


@pytest.fixture
def tablespace(site_any: Site) -> Iterator[str]:
    name = f"fast {uuid.uuid4().hex[:6]}"
    with site_any.server.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = true")
        connection.execute(f"CREATE TABLESPACE \"{name}\" LOCATION ''".encode())
    yield name
    site_any.server.execute("DROP TABLE IF EXISTS t", site_any.live)
    site_any.server.execute(f'DROP TABLESPACE IF EXISTS "{name}"')


def lose_role(site: Site) -> tuple[str, str]:
    role = create_role(site.server, f"other-{site.live}").name
    site.server.execute(
        f'CREATE TABLE theirs (); ALTER TABLE theirs OWNER TO "{role}"; GRANT SELECT ON theirs TO PUBLIC', site.live
    )
    return f'DROP TABLE theirs; DROP ROLE "{role}"', f"role {role} does not exist: create it"


def lose_tablespace(site: Site, name: str) -> tuple[str, str]:
    site.server.execute(f'GRANT CREATE ON TABLESPACE "{name}" TO "{site.role.name}"')
    site.sql(f'CREATE TABLE t (a int) TABLESPACE "{name}"')
    return f'DROP TABLE t; DROP TABLESPACE "{name}"', f"tablespace '{name}' does not exist"


def revoke_tablespace(site: Site, name: str) -> tuple[str, str]:
    lose_tablespace(site, name)
    return f'REVOKE CREATE ON TABLESPACE "{name}" FROM "{site.role.name}"', "grant it CREATE on the tablespace"


LOSSES: dict[str, Callable[[Site, str], tuple[str, str]]] = {
    "role": lambda site, _: lose_role(site),
    "tablespace": lose_tablespace,
    "right": revoke_tablespace,
}


@pytest.mark.parametrize("what", LOSSES)
def test_row_73_what_the_server_lacks_is_found_before_the_dump_is_fetched(
    site_any: Site, tmp_path: Path, tablespace: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    shell = Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))
    lose, remedy = LOSSES[what](site_any, tablespace)
    shell.ok("snapshot")
    for statement in lose.split("; "):
        site_any.server.execute(statement, site_any.live)
    monkeypatch.setattr(restore, "fetched", lambda *_: pytest.fail("the dump was fetched"))
    refused = shell.run("restore")
    assert refused.reason == "MissingGrants", refused.stdout
    assert remedy in refused.message
    found: Finished = shell.ok("preview")
    assert [r for r in found.result["payload"]["refusals"] if remedy in r["message"]]
