"""Consistency: the database and the filestore of a snapshot are one unit, while the application writes, deletes and
collects garbage."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo_app.load import Load, LoadPlan, LoadReport
from demo_app.targets import HttpTarget
from support.cluster.cluster import Cluster, Object, pod, unique, wait_for
from support.cluster.failpoints import armed, at_failpoint, running_pod
from support.cluster.promises import fresh
from support.cluster.site import (
    DEMO_IMAGE,
    IMAGE,
    Servers,
    Site,
    container,
    make_site,
)

#: Restores a snapshot with PostgreSQL's and Debian's own tools only, as docs/format.md says; nothing of ours is
#: imported.
BY_HAND = Path(__file__).with_name("restore_by_hand.py")


@contextmanager
def tools(site: Site) -> Iterator[str]:
    """The name of a pod with the mover's image that sees the site's database, claim and store."""
    name = unique("tools")
    secrets = {"/database": "database", "/s3": "s3"}
    site.cluster.apply(
        pod(
            name,
            site.namespace,
            f"{IMAGE}/mover:{site.major}",
            ["sleep", "infinity"],
            claims={"/claim": site.filestore_claim},
            secrets_=secrets,
        )
    )
    site.cluster.wait("Pod", name, site.namespace, lambda p: p["status"].get("phase") == "Running", 60, "runs")
    yield name
    site.cluster.delete("Pod", name, site.namespace, gracePeriodSeconds=0)


def restored_copy_is_whole(site: Site, tools: str, snapshot: Object, copy: str) -> None:
    """Restores into a database and a folder of their own, then every row's file must be there with its SHA-1."""
    again = 'rm -rf /tmp/work && exec python3 -c "$@"'  # where the script keeps what it has read
    code, log = site.cluster.exec_in(
        site.namespace, tools, "sh", "-c", again, "sh", BY_HAND.read_text(), site.endpoint, site.bucket,
        "test/" + snapshot["status"]["manifestKey"], copy, f"/claim/copies/{copy}",
        timeout=180,
    )  # fmt: skip
    assert code == 0, log
    site.files_fit(copy, f"copies/{copy}")
    shutil.rmtree(site.claim_root / "copies" / copy)
    with site.connect("postgres") as connection:
        connection.execute(f'DROP DATABASE "{copy}"')


@contextmanager
def writing(site: Site, seed: int, rate: float) -> Iterator[LoadReport]:
    """The application writes, deletes and collects garbage while the block runs. Yields what it has done so far, once
    it has begun."""
    plan = LoadPlan(seconds=300, rate=rate, writers=2, gc_seconds=0.5, seed=seed)
    load = Load(HttpTarget(site.url), plan, emit=lambda _: None)
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        wait_for("orders", lambda: load.report.orders)
        yield load.report
    finally:
        load.stop.set()
        thread.join(60)


@pytest.mark.timeout(1800)
def test_snapshots_under_load(cluster: Cluster, servers: Servers, request: pytest.FixtureRequest) -> None:
    """Snapshots, full ones and differentials, while two writers write, delete and collect garbage; every restored copy
    is whole. Twenty of them with `--long`, else one of each: each is one more draw of the race that
    tests/unit/mover/commands/test_snapshot_and_rollback.py draws as well. The writers begin when the mover does."""
    count, rate = (20, 200) if request.config.getoption("--long") else (2, 50)
    with make_site(cluster, servers) as site, tools(site) as pod_name:
        for run in range(count):
            mode = "Auto" if run % 2 else "Full"
            name = site.snapshot(f"run-{run}", filestoreMode=mode, annotations=armed("snapshot-start=sleep:4"))
            at_failpoint(site, running_pod(site, "Snapshot", name, "snapshot"), "snapshot-start")
            with writing(site, run, rate) as report:
                before = report.orders
                obj = site.completed("Snapshot", name)
                assert report.orders > before, f"run {run}: nothing was written in the meantime"
            restored_copy_is_whole(site, pod_name, obj, f"{site.database}_copy")


#: A second container of the application: changes all files of a folder in place, all the time. With a pause after each
#: of them, or it would take a processor from the other tests; it asks for a part of one, or they would take its own.
IN_PLACE = """
import os, sys, time
os.makedirs(sys.argv[1], exist_ok=True)
count = 0
while True:
    count += 1
    for number in range(50):
        with open(os.open(f"{sys.argv[1]}/{number}", os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            file.write(b"%08d" % count * 500)
        time.sleep(0.0005)
"""


def test_row_44_files_that_change_in_place_need_a_quiesce(cluster: Cluster, servers: Servers) -> None:
    """Strict fails. With `quiesce` the snapshot is Complete, and the replicas are what they were."""
    with make_site(cluster, servers, layout="Plain") as site:
        writer = container(
            "writer",
            DEMO_IMAGE,
            command=["python3", "-c", IN_PLACE, f"/claim/{site.path}/in-place"],
            volumeMounts=[{"name": "claim", "mountPath": "/claim"}],
            resources={"requests": {"cpu": "100m"}},
        )
        patch = {"spec": {"replicas": 2, "template": {"spec": {"containers": [writer]}}}}
        cluster.kubectl("-n", site.namespace, "patch", "deployment", "shop", "--patch", json.dumps(patch))
        cluster.kubectl("-n", site.namespace, "rollout", "status", "deployment/shop", "--timeout=120s")
        wait_for("files", lambda: len(list((site.claim_root / site.path / "in-place").iterdir())) == 50)
        # Each try, three of each Job, stands between the export and the copy: on a busy machine none of the 50 files
        # changed in those milliseconds, one of nine times.
        strict = site.snapshot("strict", annotations=armed("snapshot-frozen=delay:1"))
        site.failed("Snapshot", strict, "FilestoreChanging")

        status = site.completed("Snapshot", site.snapshot("quiesced", quiesce=True))["status"]
        assert status["quiesce"]["stage"] == "Done"
        assert status["quiesce"]["workloads"] == [{"kind": "Deployment", "name": "shop", "replicas": 2}]
        assert any("Deployment shop (2 replicas) stopped at" in line for line in status["evidence"]["proven"])
        deployment = cluster.get("Deployment", "shop", site.namespace)
        assert deployment is not None
        assert deployment["spec"]["replicas"] == 2
        cluster.kubectl("-n", site.namespace, "rollout", "status", "deployment/shop", "--timeout=120s")
        assert status["quiesce"]["stoppedAt"] <= status["quiesce"]["frozenAt"] <= status["quiesce"]["resumedAt"]


def test_garbage_collection_around_a_rollback(cluster: Cluster, site: Site) -> None:
    """Garbage collected between RestoreFilestore and Switch, and after the switch inside the undo window: nothing is
    lost."""
    before, back = fresh("before"), fresh("back")
    site.load(back)  # files that no other snapshot of the site names
    site.completed("Snapshot", site.snapshot(before))
    wanted = {r[0] for r in site.query("SELECT store_fname FROM ir_attachment WHERE store_fname IS NOT NULL")}
    # The live database forgets every attachment of the snapshot and names others.
    site.query("DELETE FROM ir_attachment RETURNING 1")
    site.load(before)

    site.rollback(back, before, annotations={"ocore.dev/failpoints": "restore-checked=sleep:8"})
    cluster.wait(
        "Rollback",
        back,
        site.namespace,
        lambda o: any(
            s["name"] == "RestoreFilestore" and s["state"] == "Done" for s in o.get("status", {}).get("steps", [])
        ),
        120,
        "files restored",
    )
    # What the restore has just added is named by no row of the live database: the application's collector takes it.
    code, log = site.in_app("gc", "--all")
    assert code == 0, log
    previous_names = {r[0] for r in site.query("SELECT store_fname FROM ir_attachment")}

    obj = site.completed("Rollback", back)
    site.files_fit()
    assert wanted <= {r[0] for r in site.query("SELECT store_fname FROM ir_attachment")}

    # After the switch the collector takes what only the previous database names; the hold set keeps it.
    code, log = site.in_app("gc", "--all")
    assert code == 0, log
    short = obj["status"]["id"].replace("-", "")[:8]
    code, log = site.in_shop("sh", "-c", f"cd /claim/.ocore/*/hold-{short} && find . -type f | sed s,^./,,")
    assert code == 0, log
    assert previous_names <= set(log.split())
    site.gone("Rollback", back)
