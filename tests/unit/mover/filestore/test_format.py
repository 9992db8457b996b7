"""docs/format.md, followed to the letter: a snapshot is restored without this software."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.mover.postgres_majors import SUPERUSER, Server
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS
from support.mover.site import Site as DatabaseSite
from support.mover.site import drop_all, make_site, server15, server17  # noqa: F401 - fixtures

from .conftest import ENVIRONMENT, Site, some_bytes

REPOSITORY = Path(__file__).resolve().parents[4]
SNAPSHOT = "55555555-5555-4555-8555-555555555555"


def commands(*, s3: bool) -> str:
    """The page's bash blocks, one after the other; fetching only where there is something to fetch."""
    page = (REPOSITORY / "docs" / "format.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 9
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


def mover(*arguments: str, bin_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocore_mover", *arguments],
        env={**os.environ, "OCORE_PG_BIN": str(bin_folder), "PYTHONPATH": f"{REPOSITORY}/mover:{REPOSITORY}/crds"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
    }
    if request.param == "s3":
        server: SeaweedFS = request.getfixturevalue("seaweed")
        prefix = f"by-hand-{uuid.uuid4().hex[:8]}"
        options = ["--store", f"s3://{BUCKET}/{prefix}", "--s3-endpoint", server.endpoint]
        options += ["--s3-credentials", str(server.credentials())]
        environment |= {
            "ENDPOINT": server.endpoint,
            "BUCKET": BUCKET,
            "PREFIX": f"{prefix}/",
            "REGION": "us-east-1",
            "ACCESS_KEY": server.key,
            "SECRET_KEY": server.secret,
        }
    mover("probe-store", *options, bin_folder=postgres.bin)
    mover(
        *("snapshot", *options, "--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT, "--attempt", "a1"),
        *("--database", str(database.secret), "--claim", str(site.claim), "--filestore", site.path),
        *("--config", str(tmp_path / "config"), "--scratch", str(tmp_path)),
        bin_folder=postgres.bin,
    )
    yield Case(site, database, restored, environment, request.param == "s3")
    drop_all(database)


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
    assert case.database.server.execute(indexes, case.restored) == [("by_note",), ("ir_attachment_pkey",)]
    assert re.search(r"^filestore [0-9a-f]{64}\ndatabase [0-9a-f]{64}$", said, re.MULTILINE)
    assert list((tmp_path / "work").iterdir()) == []


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
