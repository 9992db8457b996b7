"""One file of a snapshot on a real cluster: into the claim, to the caller, and its removal."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ocore_crds.text.timestamps import parse
from support.cluster.administrator import create_administrator
from support.cluster.cluster import Cluster, is_true, unique
from support.cluster.deaths import Deaths
from support.cluster.kills import EXTRACT_POINTS, SCHEMA_POINTS, TABLE_POINTS, killed_in_turn
from support.cluster.kubectl_ocore import ocore
from support.cluster.promises import fresh, holds_all_promises
from support.cluster.site import S3_READER_KEY, S3_READER_SECRET, Servers, Site, make_site


@pytest.fixture(scope="module")
def site_of_15(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """A site with PostgreSQL 15 and the snapshot `base`."""
    with make_site(cluster, servers, major=15) as site:
        site.load(3)
        site.completed("Snapshot", site.snapshot("base"))
        yield site


def test_a_file_comes_back_beside_what_is_live(
    cluster: Cluster, site_of_15: Site, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = site_of_15
    name = site.query("SELECT min(store_fname) FROM ir_attachment")[0][0]
    live = f"/claim/{site.path}/{name}"
    content = site.in_shop("sha1sum", live)[1].split()[0]
    assert site.in_shop("rm", live)[0] == 0

    # Into a new folder of the claim, under the operation lock, and into the store; the first attempt of each is
    # killed before anything is visible. The folder is removed when it expires.
    killed = killed_in_turn(*EXTRACT_POINTS)
    with Deaths(cluster, site.namespace) as deaths:
        for made, target in (("archive", {"store": {}}), ("back", {"claim": {"path": "restored"}})):
            site.extract(made, annotations=killed, files={"paths": [name]}, target=target)
            done = site.completed("Extract", made)
            deaths.fired(done)
            assert done["status"]["attempt"] == 2
    assert done["status"]["result"]["files"] == 1
    ended, expires = (parse(done["status"][field]) for field in ("completedAt", "resultExpiresAt"))
    assert timedelta(seconds=59) < expires - ended < timedelta(seconds=61)
    assert site.in_shop("sha1sum", f"/claim/restored/{name}")[1].split()[0] == content
    assert site.in_shop("test", "-e", live)[0] == 1
    assert site.in_shop("cp", f"/claim/restored/{name}", live)[0] == 0
    environment = cluster.get("Environment", site.environment, site.namespace)
    assert environment is not None
    assert "operation" not in environment["status"]

    # To the caller, with keys that can only read the store.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_READER_SECRET)
    folder = name.partition("/")[0]
    code, listed, errors = ocore(site, "ls", "base", folder, "--endpoint", site.endpoint)
    assert code == 0, errors
    assert name.partition("/")[2] in listed
    target = tmp_path_factory.mktemp("copied") / "file"
    code, text, errors = ocore(site, "cp", f"base:{name}", str(target), "--endpoint", site.endpoint)
    assert code == 0, errors + text
    assert target.stat().st_size == done["status"]["result"]["bytes"]
    left = cluster.kubectl("-n", site.namespace, "get", "extracts.ocore.dev", "-o", "json")
    names = [
        item["metadata"]["name"] for item in json.loads(left)["items"] if "deletionTimestamp" not in item["metadata"]
    ]
    assert sorted(names) == ["archive", "back"]

    # A path that the snapshot lacks; then the expiry.
    site.extract("none", files={"paths": ["ff/none"]}, target={"store": {}})
    site.failed("Extract", "none", "FilesNotFound")
    expired = cluster.wait(
        "Extract", "back", site.namespace, lambda o: o["status"].get("phase") == "Expired", 180, "expired"
    )
    assert is_true(expired, "Complete")
    assert datetime.now(UTC) >= parse(expired["status"]["completedAt"]) + timedelta(seconds=59), "removed too early"
    assert site.in_shop("test", "-e", "/claim/restored")[0] == 1
    site.gone("Extract", "archive", "back", "none")

    def objects() -> list[str]:
        found = site.servers.s3_client(site.endpoint).list_objects_v2(Bucket=site.bucket).get("Contents", [])
        return [o["Key"] for o in found if "/extracts/" in o["Key"]]

    assert objects() == []


def one(id_: object) -> list[dict[str, object]]:
    """The condition for one id."""
    return [{"allOf": [{"column": "id", "operator": "In", "values": [str(id_)]}]}]


def test_row_110_a_table_comes_back_beside_what_is_live(
    cluster: Cluster, site_of_15: Site, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first attempt is killed once its scratch database is loaded; nothing of it is left. To the caller as CSV."""
    site = site_of_15
    create_administrator(site, unique("admin").replace("-", "_"))
    admin = {"spec": {"database": {"adminSecretRef": {"name": "admin"}}}}
    cluster.patch("Environment", site.environment, site.namespace, admin)
    site.environment_ready()
    known = dict(site.query("SELECT id, name FROM ir_attachment"))
    first = min(known)
    databases = site.databases()
    killed = killed_in_turn(*TABLE_POINTS)
    tables = [{"name": "ir_attachment", "where": one(first)}]
    with Deaths(cluster, site.namespace) as deaths:
        site.extract("rows", annotations=killed, tables=tables, target={"store": {}})
        done = site.completed("Extract", "rows")
        deaths.fired(done)
    status = done["status"]
    assert status["attempt"] == 2
    assert status["tables"][0]["rows"] == 1
    assert "Types of the application and of extensions become text." in status["contents"]
    assert site.databases() == databases

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_READER_SECRET)
    code, listed, errors = ocore(site, "ls", "base", "--tables", "--endpoint", site.endpoint)
    assert code == 0, errors
    assert "public.ir_attachment" in listed
    target = tmp_path_factory.mktemp("copied") / "rows"
    wanted = ("--table", "ir_attachment", "--where", f"id={first}", "--endpoint", site.endpoint)
    code, text, errors = ocore(site, "cp", "base", str(target), *wanted)
    assert code == 0, errors + text
    with (target / "ir_attachment.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (int(row["id"]), row["name"]) == (first, known[first])

    # A condition that does not fit; then the removal of all.
    hostile = [{"name": "ir_attachment", "where": one("pg_read_file('/etc/passwd')")}]
    site.extract("hostile", tables=hostile, target={"store": {}})
    site.failed("Extract", "hostile", "RowFilterFailed")
    site.gone("Extract", "rows", "hostile")
    assert site.databases() == databases


def test_row_112_tables_come_into_a_new_schema_of_the_live_database(cluster: Cluster, site: Site) -> None:
    """The first attempt is killed before the schema is visible, the second one after: its result is found again. A row
    that was deleted is copied back out of it. The schema is removed when it expires."""
    taken, name = site.snapshot(fresh("whole")), fresh("rows")
    site.completed("Snapshot", taken)
    rows = site.query("SELECT count(*) FROM ir_attachment")[0][0]
    site.query("DELETE FROM ir_attachment WHERE id = (SELECT min(id) FROM ir_attachment) RETURNING id")
    killed = killed_in_turn(*EXTRACT_POINTS, *SCHEMA_POINTS)
    with Deaths(cluster, site.namespace) as deaths:
        wanted = {"tables": [{"name": "ir_attachment"}], "target": {"database": {}}, "snapshotRef": {"name": taken}}
        site.extract(name, annotations=killed, **wanted)
        done = site.completed("Extract", name)
        deaths.fired(done)
    status = done["status"]
    assert status["attempt"] == 3
    schema = status["result"]["schema"]
    assert site.query(f"SELECT count(*) FROM {schema}.ir_attachment") == [(rows,)]
    assert site.query("SELECT count(*) FROM ir_attachment") == [(rows - 1,)]
    lost = f"SELECT * FROM {schema}.ir_attachment WHERE id NOT IN (SELECT id FROM ir_attachment)"
    site.query(f"INSERT INTO ir_attachment {lost} RETURNING id")
    assert site.query("SELECT count(*) FROM ir_attachment") == [(rows,)]
    environment = cluster.get("Environment", site.environment, site.namespace)
    assert environment is not None
    assert "operation" not in environment["status"]
    expired = cluster.wait(
        "Extract", name, site.namespace, lambda o: o["status"].get("phase") == "Expired", 180, "expired"
    )
    assert expired["status"]["residue"] == "None"
    assert site.query(f"SELECT nspname FROM pg_namespace WHERE nspname = '{schema}'") == []
    site.gone("Extract", name)
    holds_all_promises(site)
