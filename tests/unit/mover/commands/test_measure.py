"""``measure``: the sizes as ``probe`` reports them, and an error rather than a part of them."""

from pathlib import Path
from typing import Any

import pytest

from ocore_mover.filestore import facts, layouts
from ocore_mover.filestore.folders import ClaimFolders
from support.mover.beside import ENVIRONMENT, call
from support.mover.site import Site


def options(site: Site, claim: Path | None, *more: str) -> list[str]:
    found = ["--database", str(site.secret)]
    return [
        *found,
        *(("--claim", str(claim), "--filestore", "files/live", "--layout", "Plain") if claim else ()),
        *more,
    ]


def folder(tmp_path: Path, *sizes: int) -> Path:
    """A claim whose filestore has files of these sizes."""
    claim = tmp_path / "claim"
    (claim / "files/live/sub").mkdir(parents=True)
    for number, size in enumerate(sizes):
        (claim / "files/live/sub" / str(number)).write_bytes(b"x" * size)
    return claim


def measured(site: Site, claim: Path | None, *more: str) -> dict[str, Any]:
    done = call("measure", *options(site, claim, *more))
    assert done.code == 0, done.stdout + done.stderr
    payload: dict[str, Any] = done.result["payload"]
    return payload


def test_it_measures_what_a_probe_measures(site: Site, tmp_path: Path) -> None:
    claim = folder(tmp_path, 10, 5000)
    site.sql("CREATE TABLE t AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 5000)")
    # Done here, it is not done by autovacuum between two of the figures: it cuts empty pages off, of which PostgreSQL
    # 16 and later leave some.
    site.server.execute("VACUUM", site.live)
    (claim / "outside").write_bytes(b"x" * 999)
    probe = call("probe", *options(site, claim)).result["payload"]
    got = measured(site, claim)
    assert got["filestoreBytes"] == probe["filestore"]["sizeBytes"] == 5010
    assert got["filestoreFiles"] == probe["filestore"]["fileCount"] == 2
    (size,) = site.server.execute(f"SELECT pg_database_size('{site.live}')")[0]
    # A later run of autovacuum may still add a map of free space.
    assert 5_000_000 < probe["database"]["sizeBytes"] <= got["databaseBytes"] <= size
    assert got["warnings"] == []


def test_it_changes_nothing_on_the_claim(site_any: Site, tmp_path: Path) -> None:
    claim = folder(tmp_path, 10)
    before = sorted(str(p) for p in claim.rglob("*"))
    measured(site_any, claim)
    assert sorted(str(p) for p in claim.rglob("*")) == before


def test_a_part_that_the_environment_lacks_is_0(site_any: Site, tmp_path: Path) -> None:
    assert measured(site_any, None)["filestoreBytes"] == 0
    claim = tmp_path / "claim"
    claim.mkdir()
    assert measured(site_any, claim)["filestoreFiles"] == 0, "a new application has written no file yet"


def test_a_database_that_cannot_be_read_fails(site_any: Site, tmp_path: Path) -> None:
    claim = folder(tmp_path, 10)
    site_any.server.execute(f'ALTER DATABASE "{site_any.live}" ALLOW_CONNECTIONS false')
    done = call("measure", *options(site_any, claim))
    assert done.code == 1
    assert done.result["ok"] is False
    assert "payload" not in done.result


def test_a_count_that_stopped_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "COUNT_SECONDS", -1.0)
    _, _, warnings = facts.sizes(ClaimFolders(folder(tmp_path, 10), "files/live", ENVIRONMENT), layouts.of("Plain"))
    assert "its figures are too low" in warnings[0]


def test_a_file_in_the_place_of_the_filestore_fails(site_any: Site, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    (claim / "files").mkdir(parents=True)
    (claim / "files/live").write_text("x")
    done = call("measure", *options(site_any, claim))
    assert done.code == 1
    assert done.result["failure"]["reason"].startswith("Filestore")
