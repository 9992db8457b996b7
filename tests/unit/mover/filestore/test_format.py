"""docs/format.md, followed to the letter: a snapshot is restored without this software."""

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.mover.beside import call
from support.mover.filestore import ENVIRONMENT, Site, some_bytes
from support.mover.plain_tree import make_tree, tree
from support.mover.postgres_majors import SUPERUSER, Server, create_role
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS
from support.mover.site import Site as DatabaseSite
from support.mover.site import drop_all, make_site

pytestmark = pytest.mark.servers

REPOSITORY = Path(__file__).resolve().parents[4]
SNAPSHOT = "55555555-5555-4555-8555-555555555555"
DIFFERENTIAL = "88888888-8888-4888-8888-888888888888"


def commands(*, s3: bool) -> str:
    """The page's bash blocks, one after the other; fetching only where there is something to fetch."""
    page = (REPOSITORY / "docs" / "format.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 13
    assert blocks[0].startswith("mkdir -p") and "curl" in blocks[0]  # noqa: PT018
    return "".join(blocks if s3 else blocks[1:])


@dataclass
class Case:
    """A snapshot in a store, and what the page's commands need to know."""

    site: Site
    database: DatabaseSite
    restored: str
    environment: dict[str, str]
    s3: bool
    options: list[str]  # of every snapshot
    encrypted: list[str]  # of an encrypted differential

    def follow_the_page(self) -> str:
        """Without anything of ours on the path of Python or of the shell."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands(s3=self.s3)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line for line in done.stderr.splitlines() if not line.startswith("NOTICE:")] == []
        return done.stdout

    def differential(self) -> dict[str, Any]:
        """Takes the next snapshot, on the one before as its base; the page's commands restore that one. Returns its
        manifest."""
        full = mover(
            "inspect",
            *self.options[: self.options.index("--database")],
            "--snapshot-id",
            SNAPSHOT,
            bin_folder=self.database.server.bin,
        )
        base = ["--base-snapshot-id", SNAPSHOT, "--base-manifest-sha256", full["manifestSha256"]]
        taken = mover(
            "snapshot",
            *self.options,
            *self.encrypted,
            "--snapshot-id",
            DIFFERENTIAL,
            *base,
            bin_folder=self.database.server.bin,
        )
        assert taken["baseSnapshotId"] == SNAPSHOT
        self.environment["SNAPSHOT"] = DIFFERENTIAL
        return taken


def mover(*arguments: str, bin_folder: Path) -> dict[str, Any]:
    """The payload of its result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCORE_PG_BIN", str(bin_folder))
        done = call(*arguments)
    assert done.code == 0, done.stdout + done.stderr
    payload: dict[str, Any] = done.result["payload"]
    return payload


def make_unusual(database: DatabaseSite, other: str) -> None:
    """What pg_dump does not store, or what goes wrong where an extension is created in public."""
    server, live, owner = database.server, database.live, database.role.name
    server.execute(f'DROP DATABASE "{live}"')
    rules = "ICU_RULES '&a < g'" if server.major >= 16 else ""
    server.execute(
        f'CREATE DATABASE "{live}" OWNER "{owner}" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE \'sv-SE\' {rules}'
        " CONNECTION LIMIT 30"
    )
    database.sql('CREATE SCHEMA ext; CREATE SCHEMA "Other One"')
    server.execute("CREATE EXTENSION pg_trgm SCHEMA ext; COMMENT ON EXTENSION pg_trgm IS 'ours'", live)
    database.sql(
        "CREATE TABLE words (a text, b real DEFAULT ext.similarity('word', 'words'), CHECK (a <>"
        " current_setting('own.setting')));"
        "CREATE INDEX by_trigram ON words USING gin (a ext.gin_trgm_ops);"
        "COMMENT ON TABLE words IS E'two\\nlines';"
        f'GRANT SELECT ON words TO "{other}";'
    )
    for statement in (
        f'ALTER DATABASE "{live}" SET search_path TO "$user", public, ext, "Other One"',
        f"ALTER DATABASE \"{live}\" SET work_mem TO '5MB'",
        f"ALTER DATABASE \"{live}\" SET statement_timeout TO '9s'",
        f"ALTER DATABASE \"{live}\" SET own.setting TO 'it''s \"ours\" \\ ö'",
        f'ALTER ROLE "{owner}" IN DATABASE "{live}" SET lock_timeout TO \'7s\'',
        f"COMMENT ON DATABASE \"{live}\" IS E'it''s \"the\" shop''s\\nsecond $line \\\\ `ö`'",
        f'REVOKE ALL ON DATABASE "{live}" FROM PUBLIC',
        f'GRANT CONNECT, TEMPORARY ON DATABASE "{live}" TO "{other}" WITH GRANT OPTION',
    ):
        server.execute(statement)
    database.sql("INSERT INTO words SELECT chr(64 + n) || 'bc' FROM generate_series(1, 30) n")


#: What belongs to a database and is not in its dump.
PROPERTIES = """
SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider, {locale}, {rules},
       datcollversion, datconnlimit, spcname, shobj_description(d.oid, 'pg_database'),
       ARRAY(SELECT a::text FROM unnest(coalesce(datacl, acldefault('d', datdba))) a ORDER BY 1),
       ARRAY(SELECT coalesce(rolname::text, '') || ':' || c
               FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) c
              WHERE s.setdatabase = d.oid ORDER BY 1)
  FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = '{name}'
"""


def properties(server: Server, name: str) -> tuple[object, ...]:
    locale = "datlocale" if server.major >= 17 else "daticulocale"
    rules = "daticurules" if server.major >= 16 else "''"
    (row,) = server.execute(PROPERTIES.format(name=name, locale=locale, rules=rules))
    return row


def dumped(server: Server, name: str) -> str:
    """The whole database as SQL, owners and grants included."""
    done = subprocess.run(
        [
            str(server.bin / "pg_dump"),
            "--no-sync",
            f"--dbname=host=127.0.0.1 port={server.port} user={SUPERUSER} dbname={name}",
        ],
        env={**os.environ, "PGPASSWORD": server.password},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    # Since 17.6 a random key is in the first and the last line.
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


def fill(site: Site, database: DatabaseSite) -> None:
    """What an Odoo has: rows that name files, and an index over a function that was made immutable."""
    database.server.execute("CREATE EXTENSION unaccent", database.live)
    database.server.execute("ALTER FUNCTION unaccent(text) IMMUTABLE", database.live)
    database.sql("CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname text, note text)")
    database.sql("CREATE INDEX by_note ON ir_attachment (unaccent(note))")
    site.fill(300)
    site.add(some_bytes(9, 5_000_000))
    rows = ", ".join(f"('{name}', 'ä note of {name}')" for name in site.names)
    database.sql(f"INSERT INTO ir_attachment (store_fname, note) VALUES {rows}")
    database.sql("CREATE TABLE empty (id int)")


@pytest.fixture(params=[15, 17])
def postgres(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"server{request.param}")
    return found


@pytest.fixture(params=["folder", "s3"])
def case(request: pytest.FixtureRequest, postgres: Server, site: Site, tmp_path: Path) -> Iterator[Case]:
    database = make_site(postgres, tmp_path)
    other = create_role(postgres, f"other-{database.live}")
    make_unusual(database, other.name)
    restored = f"{database.live}_by_hand"
    fill(site, database)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "odoo.conf").write_text("[options]\nworkers = 2\n")
    options = ["--store", (tmp_path / "store").as_uri()]
    environment = {
        "PATH": f"{postgres.bin}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "STORE": str(tmp_path / "store"),
        "ENVIRONMENT": ENVIRONMENT,
        "SNAPSHOT": SNAPSHOT,
        "FILES": str(tmp_path / "files"),
        "CONFIG": str(tmp_path / "restored-config"),
        "WORK": str(tmp_path / "work"),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": postgres.password,
        "PGDATABASE": "postgres",
        "DATABASE": restored,
        "RIGHTS": "",
    }
    if request.param.startswith("s3"):
        server: SeaweedFS = request.getfixturevalue("seaweed")
        prefix = f"by-hand-{uuid.uuid4().hex[:8]}"
        options = server.options(BUCKET, prefix)
        environment |= {
            "ENDPOINT": server.endpoint,
            "BUCKET": BUCKET,
            "PREFIX": f"{prefix}/",
            "REGION": "us-east-1",
            "ACCESS_KEY": server.key,
            "SECRET_KEY": server.secret,
        }
    mover("probe-store", *options, bin_folder=postgres.bin)
    options += ["--environment-id", ENVIRONMENT, "--database", str(database.secret), "--claim", str(site.claim)]
    options += [
        "--filestore",
        site.path,
        "--attempt",
        "a1",
        "--config",
        str(tmp_path / "config"),
        "--scratch",
        str(tmp_path),
    ]
    recipient: list[str] = []
    if request.param.endswith("-encrypted"):
        identity = tmp_path / "identity.txt"
        subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
        environment["IDENTITY"] = str(identity)
        recipient = ["--recipient", *re.findall(r"age1\w+", identity.read_text())]
        job = tmp_path / "job"
        job.mkdir()
        subprocess.run(["age-keygen", "-o", job / "identity.txt"], check=True, capture_output=True)
        recipient += ["--job-identity", str(job)]
    mover("snapshot", *options, *recipient, "--snapshot-id", SNAPSHOT, bin_folder=postgres.bin)
    of_base = [*recipient, "--base-identity", recipient[-1]] if recipient else []
    yield Case(site, database, restored, environment, request.param.startswith("s3"), options, of_base)
    drop_all(database)
    postgres.execute(f'DROP ROLE "{other.name}"')


@pytest.mark.parametrize(
    ("case", "postgres"),
    [("folder", 15), ("s3", 15), ("folder", 17), ("s3", 17), ("s3-encrypted", 17)],
    indirect=True,
)
def test_a_snapshot_is_restored_by_hand(case: Case, tmp_path: Path) -> None:
    said = case.follow_the_page()
    files = tmp_path / "files"
    assert {p.relative_to(files).as_posix(): p.read_bytes() for p in files.rglob("*") if p.is_file()} == (
        case.site.contents
    )
    assert (tmp_path / "restored-config" / "odoo.conf").read_text() == "[options]\nworkers = 2\n"
    query = "SELECT store_fname, note FROM ir_attachment ORDER BY 1"
    assert case.database.server.execute(query, case.restored) == case.database.sql(query)
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    assert case.database.server.execute(indexes, case.restored) == [
        ("by_note",),
        ("by_trigram",),
        ("ir_attachment_pkey",),
    ]
    server, live = case.database.server, case.database.live
    assert properties(server, case.restored) == properties(server, live)
    assert dumped(server, case.restored) == dumped(server, live)
    extensions = (
        "SELECT extname, nspname, extversion FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace ORDER BY 1"
    )
    found = server.execute(extensions, case.restored)
    assert found == server.execute(extensions, live)
    assert ("pg_trgm", "ext") in [row[:2] for row in found]
    assert re.search(r"^filestore [0-9a-f]{64}\ndatabase [0-9a-f]{64}$", said, re.MULTILINE)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("case", "postgres"), [("folder", 17), ("s3", 17), ("folder-encrypted", 17), ("s3-encrypted", 17)], indirect=True
)
def test_a_differential_is_restored_by_hand(case: Case, tmp_path: Path) -> None:
    """Files of the base that the snapshot does not have do not appear."""
    gone = case.site.names[::9]
    for name in gone:
        case.site.unlink(name)
        del case.site.contents[name]
    case.database.sql(f"DELETE FROM ir_attachment WHERE store_fname IN ({', '.join(map(repr, gone))})")
    new = case.site.add(b"new " * 5000)
    case.database.sql(f"INSERT INTO ir_attachment (store_fname) VALUES ('{new}')")
    case.differential()
    case.follow_the_page()
    files = tmp_path / "files"
    assert {p.relative_to(files).as_posix(): p.read_bytes() for p in files.rglob("*") if p.is_file()} == (
        case.site.contents
    )


@pytest.mark.parametrize(("case", "postgres"), [("folder", 17), ("s3", 17)], indirect=True)
def test_one_file_is_taken_out_of_a_snapshot(case: Case, tmp_path: Path) -> None:
    """By docs/guides/one-file.md: from the snapshot, from its full one, and in S3 without reading every pack."""
    page = (REPOSITORY / "docs/guides/one-file.md").read_text()
    (block,) = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    old = case.site.names[7]
    new = case.site.add(b"new " * 5000)
    case.database.sql(f"INSERT INTO ir_attachment (store_fname) VALUES ('{new}')")
    case.differential()
    if case.s3:
        case.environment["STORE"] = str(tmp_path / "downloaded")
    for name in (old, new):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], env={**case.environment, "NAME": name},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith(f"{name.rpartition('/')[2]} ")
        assert (tmp_path / "files" / name).read_bytes() == case.site.contents[name]
    found = [path.name for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert sorted(found) == sorted(name.rpartition("/")[2] for name in (old, new))
    if case.s3:
        packs = [path.name for path in (tmp_path / "downloaded").rglob("pack-*")]
        assert len(packs) == 2


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_a_plain_differential_is_restored_by_hand(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Names that need escapes in JSON, in tar and in a shell; a file that became a folder; one that is gone."""
    root = tmp_path / "claim" / "files"
    root.mkdir(parents=True)
    make_tree(root)
    (root / "weight").write_bytes(some_bytes(1, 200_000))
    for name in (
        "back\\nslash",
        "tab\tand\rand\x01",
        "emoji \U0001f600 end",
        "-T",
        "--null",
        "*",
        "[a]",
        'quote"d',
        "\\101",
        "$(x)",
        "becomes",
        "gone",
    ):
        (root / name).write_bytes(name.encode() * 20)
    options = ["--store", (tmp_path / "store").as_uri()]
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "STORE": str(tmp_path / "store"),
        "ENVIRONMENT": ENVIRONMENT,
        "SNAPSHOT": DIFFERENTIAL,
        "FILES": str(tmp_path / "out"),
        "CONFIG": str(tmp_path / "none"),
        "WORK": str(tmp_path / "work"),
    }
    if place == "s3":
        server: SeaweedFS = request.getfixturevalue("seaweed")
        prefix = f"by-hand-{uuid.uuid4().hex[:8]}"
        options = server.options(BUCKET, prefix)
        environment |= {"ENDPOINT": server.endpoint, "BUCKET": BUCKET, "PREFIX": f"{prefix}/", "REGION": "us-east-1"}
        environment |= {"ACCESS_KEY": server.key, "SECRET_KEY": server.secret}
    mover("probe-store", *options, bin_folder=tmp_path)
    options += [
        "--environment-id",
        ENVIRONMENT,
        "--claim",
        str(tmp_path / "claim"),
        "--filestore",
        "files",
        "--layout",
        "Plain",
    ]
    full = mover("snapshot", *options, "--snapshot-id", SNAPSHOT, bin_folder=tmp_path)
    (root / "gone").unlink()
    (root / "becomes").unlink()
    (root / "becomes").mkdir()
    (root / "becomes" / "a file").write_bytes(b"below")
    (root / "new").write_bytes(b"new")
    base = ["--base-snapshot-id", SNAPSHOT, "--base-manifest-sha256", full["manifestSha256"]]
    taken = mover("snapshot", *options, "--snapshot-id", DIFFERENTIAL, *base, bin_folder=tmp_path)
    assert taken["baseSnapshotId"] == SNAPSHOT
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(s3=place == "s3")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    # tar keeps whole seconds.
    assert in_seconds(tree(tmp_path / "out")) == in_seconds(tree(root))


def in_seconds(found: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Files and folders with whole seconds; links without their times."""
    return {
        name: value[:2] if value[0] == "link" else (*value[:2], value[2] // 1_000_000_000, *value[3:])
        for name, value in found.items()
    }


@pytest.mark.parametrize(("case", "postgres"), [("folder", 15)], indirect=True)
def test_on_a_server_without_the_roles(case: Case, tmp_path: Path) -> None:
    """Everything belongs to the role that restores; what the manifest of an older version lacks is left at its
    default."""
    manifest = next((tmp_path / "store").rglob("manifest.json"))
    found = json.loads(manifest.read_text())
    newer = (
        "icuRules",
        "collationVersion",
        "owner",
        "tablespace",
        "connectionLimit",
        "comment",
        "settings",
        "grants",
        "extensionSchemas",
    )
    for field in newer:
        del found["database"][field]
    manifest.write_text(json.dumps(found, indent=1) + "\n")
    case.environment["RIGHTS"] = "--no-owner --no-acl"
    # A constraint needs a setting that such a manifest lacks: a person has to give it.
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(s3=False).replace('PGOPTIONS="', 'PGOPTIONS="-c own.setting=x ')],
        env=case.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid >= 16384 AND relkind = 'r'"
    assert case.database.server.execute(owners, case.restored) == [(SUPERUSER,)]
    row = properties(case.database.server, case.restored)
    assert row[0] == SUPERUSER
    assert row[4:6] == ("i", "sv-SE")
    assert row[8:] == (-1, "pg_default", None, [f"=Tc/{SUPERUSER}", f"{SUPERUSER}=CTc/{SUPERUSER}"], [])


@pytest.mark.parametrize(("case", "postgres"), [("folder", 15)], indirect=True)
def test_damage_ends_it(case: Case, tmp_path: Path) -> None:
    data = tmp_path / "store" / "environments" / ENVIRONMENT / "snapshots" / SNAPSHOT / "a1"
    victim = max((path for path in data.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 3] ^= 4
    victim.write_bytes(content)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(s3=False)],
        env=case.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert victim.name in done.stdout
    assert not (tmp_path / "files").exists()
