"""One file of a snapshot on a real cluster: into the claim, to the caller, and its removal."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ocore_crds.timestamps import parse
from support.cluster.cluster import Cluster, Object, is_true
from support.cluster.deaths import Deaths
from support.cluster.kills import EXTRACT_POINTS, killed_in_turn
from support.cluster.kubectl_ocore import ocore
from support.cluster.site import S3_READER_KEY, S3_READER_SECRET, Servers, make_site


def extract(name: str, namespace: str, annotations: dict[str, str] | None = None, **spec: object) -> Object:
    return {
        "apiVersion": "ocore.dev/v1alpha1",
        "kind": "Extract",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {"snapshotRef": {"name": "base"}, "expiresAfterSeconds": 60, **spec},
    }


def test_a_file_comes_back_beside_what_is_live(
    cluster: Cluster, servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with make_site(cluster, servers, major=15) as site:
        site.load(3)
        site.completed("Snapshot", site.snapshot("base"))
        name = site.query("SELECT min(store_fname) FROM ir_attachment")[0][0]
        live = f"/claim/{site.path}/{name}"
        content = site.in_shop("sha1sum", live)[1].split()[0]
        assert site.in_shop("rm", live)[0] == 0

        # Into a new folder of the claim, under the operation lock, and into the store; the first attempt of each is
        # killed before anything is visible. The folder is removed when it expires.
        killed = killed_in_turn(*EXTRACT_POINTS)
        with Deaths(cluster, site.namespace) as deaths:
            for made, target in (("archive", {"store": {}}), ("back", {"claim": {"path": "back"}})):
                cluster.apply(extract(made, site.namespace, killed, files={"paths": [name]}, target=target))
                done = site.completed("Extract", made)
                deaths.fired(done)
                assert done["status"]["attempt"] == 2
        assert done["status"]["result"]["files"] == 1
        ended, expires = (parse(done["status"][field]) for field in ("completedAt", "resultExpiresAt"))
        assert timedelta(seconds=59) < expires - ended < timedelta(seconds=61)
        assert site.in_shop("sha1sum", f"/claim/back/{name}")[1].split()[0] == content
        assert site.in_shop("test", "-e", live)[0] == 1
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
            item["metadata"]["name"]
            for item in json.loads(left)["items"]
            if "deletionTimestamp" not in item["metadata"]
        ]
        assert sorted(names) == ["archive", "back"]

        # A path that the snapshot lacks; then the expiry.
        cluster.apply(extract("none", site.namespace, files={"paths": ["ff/none"]}, target={"store": {}}))
        site.failed("Extract", "none", "FilesNotFound")
        expired = cluster.wait(
            "Extract", "back", site.namespace, lambda o: o["status"].get("phase") == "Expired", 180, "expired"
        )
        assert is_true(expired, "Complete")
        assert datetime.now(UTC) >= parse(expired["status"]["completedAt"]) + timedelta(seconds=59), "removed too early"
        assert site.in_shop("test", "-e", "/claim/back")[0] == 1
        site.gone("Extract", "archive", "back", "none")

        def objects() -> list[str]:
            found = site.servers.s3_client(site.endpoint).list_objects_v2(Bucket=site.bucket).get("Contents", [])
            return [o["Key"] for o in found if "/extracts/" in o["Key"]]

        assert objects() == []
