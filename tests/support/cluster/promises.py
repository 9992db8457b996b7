"""The promises of the design (section 2) as questions to a site, asked after whatever was done to it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import get_args

from ocore_crds.stored.rollback_record import RecordState

from .cluster import Object, is_true, wait_for
from .site import Site

#: Keys of the records of rollbacks (docs/format.md).
ROLLBACK_RECORD = re.compile(
    rf"environments/[0-9a-f-]{{36}}/rollbacks/[^/]+/[0-9a-f]+/[^/]+/[^/]+/({'|'.join(get_args(RecordState))})\.json"
)
#: Keys of the markers of differentials (docs/format.md).
DEPENDENT = re.compile(r"environments/[0-9a-f-]{36}/snapshots/[0-9a-f-]{36}/dependents/[0-9a-f-]{36}")


def fresh(prefix: str) -> str:
    """A name for one test's object; sorts by time."""
    return prefix[:40] + "-" + format(time.time_ns() % 16**6, "06x")


def marker(site: Site) -> int:
    """How many rows the application's own mark has: it distinguishes old data from new."""
    if not site.query("SELECT to_regclass('fault_marker') IS NOT NULL")[0][0]:
        return 0
    return int(site.query("SELECT count(*) FROM fault_marker")[0][0])


def set_marker(site: Site, rows: int) -> None:
    """Makes the live database recognisable."""
    with site.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS fault_marker (n int)")
        connection.execute("DELETE FROM fault_marker")
        connection.execute("INSERT INTO fault_marker SELECT generate_series(1, %s)", [rows])


def folders(site: Site) -> list[str]:
    """Folders of ours on the filestore's claim."""
    return [path.name for path in site.claim_root.glob(".ocore/*/*")]


def stored_keys(site: Site) -> set[str]:
    """Keys in the bucket below the store's prefix."""
    pages = site.servers.s3_client().get_paginator("list_objects_v2").paginate(Bucket=site.bucket)
    return {o["Key"].removeprefix("test/") for page in pages for o in page.get("Contents", [])}


def snapshot_keys(site: Site) -> set[str]:
    """Keys in the bucket but for the records of rollbacks, which stay for good: a rebuilt cluster reads them; and the
    markers of differentials, which stay as long as their full snapshot."""
    return {key for key in stored_keys(site) if not ROLLBACK_RECORD.fullmatch(key) and not DEPENDENT.fullmatch(key)}


def uploads(site: Site) -> list[str]:
    """Keys of the unfinished multipart uploads in the bucket."""
    found = site.servers.s3_client().list_multipart_uploads(Bucket=site.bucket).get("Uploads", [])
    return [u["Key"] for u in found]


def manifest(site: Site, snapshot: Object) -> Object:
    """The manifest of a Complete Snapshot, as it lies in the bucket. Fails where there is none."""
    key, client = f"test/{snapshot['status']['manifestKey']}", site.servers.s3_client()
    try:
        body = client.get_object(Bucket=site.bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey as error:  # or the Snapshot is just being deleted: `wait_for` asks again
        raise AssertionError(f"{snapshot['metadata']['name']} is Complete without its manifest {key}") from error
    return dict(json.loads(body))


#: SHA-256 of a manifest → the keys that it names. A shared site has many snapshots, and a manifest never changes.
_NAMED: dict[str, frozenset[str]] = {}


def _named_by(site: Site, snapshot: Object) -> frozenset[str]:
    """Keys that the manifest of a Complete Snapshot names, the manifest's own, and that of the state object."""
    digest, key = snapshot["status"]["manifestSha256"], snapshot["status"]["manifestKey"]
    if digest not in _NAMED:
        found = manifest(site, snapshot)  # a part that the Environment did not have then is missing
        database, filestore, config = (found.get(part) or {} for part in ("database", "filestore", "config"))
        stored = [
            *database.get("files", ()),
            *filestore.get("packs", ()),
            filestore.get("index"),
            config.get("archive"),
        ]
        named = [o["key"] for o in stored if o is not None]
        _NAMED[digest] = frozenset((*named, key, key.removesuffix("manifest.json") + "state.json"))
    return _NAMED[digest]


def named_keys(site: Site) -> set[str]:
    """Keys that the manifests of the Complete snapshots name, the manifests, and the state objects beside them."""
    complete = (obj for obj in site.cluster.objects("Snapshot", site.namespace) if is_true(obj, "Complete"))
    return {"ocore-store.json"}.union(*(_named_by(site, obj) for obj in complete))


def _as_named(site: Site) -> bool:
    """Fails with some of the keys that are only in one of the two."""
    stored, named = snapshot_keys(site), named_keys(site)
    assert stored == named, (
        f"stored, not named: {sorted(stored - named)[:9]}; named, not stored: {sorted(named - stored)[:9]}"
    )
    return True


def _none(keys: list[str]) -> bool:
    """Fails with the keys."""
    assert keys == []
    return True


def running_jobs(site: Site) -> list[str]:
    """The Jobs with a pod that has not ended, each with what that pod waits for."""
    jobs = [j for j in site.cluster.objects("Job", site.namespace) if j.get("status", {}).get("active")]
    return [
        f"{job['metadata']['name']}: {[pod['status'] for pod in site.cluster.pods(site.namespace, _pods_of(job))]}"
        for job in jobs
    ]


def _pods_of(job: Object) -> str:
    return f"job-name={job['metadata']['name']}"


def is_no_snapshot(site: Site, obj: Object) -> None:
    """A Failed snapshot is listed as restorable nowhere: neither by its status nor by a manifest in the store."""
    assert not is_true(obj, "Ready")
    assert not is_true(obj, "Complete")
    assert obj["status"].get("manifestKey") is None
    assert [k for k in stored_keys(site) if obj["status"]["id"] in k and k.endswith("manifest.json")] == []


def holds_all_promises(site: Site, *, timeout: float = 120) -> None:
    """The invariants of the README and that nothing is left over."""
    wait_for("live database accepts connections", site.accepts_connections)
    wait_for("only the live database is left", lambda: site.databases() == [site.database], timeout)
    site.app_ready()
    deployment = site.cluster.get("Deployment", "shop", site.namespace)
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 1
    site.cluster.wait(
        "Environment", site.environment, site.namespace, lambda o: not o["status"].get("operation"), 60, "hold released"
    )
    site.environment_ready()
    wait_for("store holds what is named and no more", lambda: _as_named(site), timeout)
    wait_for("no upload is unfinished", lambda: _none(uploads(site)), timeout)
    wait_for("no folder of ours is left", lambda: folders(site) == [], timeout)

    wait_for("no Job runs", lambda: _none(running_jobs(site)), 60)
    site.files_fit()


def terminal_in_time(site: Site, kind: str, name: str) -> Object:
    """The Snapshot or Rollback in its terminal state, by `status.deadline` and 60 s (promise 5 of the README). Until it
    has a deadline it waits its turn."""
    queued = time.monotonic() + 300
    while True:
        for obj in site.cluster.versions(kind, name, site.namespace, seconds=1):
            assert obj is not None, f"{kind} {name} is gone"
            status = obj.get("status", {})
            if is_true(obj, "Complete") or is_true(obj, "Failed"):
                return obj
            if status.get("deadline"):
                late = datetime.now(UTC) - datetime.fromisoformat(status["deadline"])
                assert late < timedelta(seconds=60), f"{kind} {name} still runs at its deadline and 60 s: {status}"
            else:
                assert time.monotonic() < queued, f"{kind} {name} was never begun: {status}"


def roll_back(site: Site, name: str, annotations: dict[str, str], **spec: object) -> Object:
    """A rollback to `base` with nothing kept afterwards; its terminal state."""
    site.rollback(
        name,
        "base",
        annotations=annotations,
        undoWindowSeconds=0,
        **spec,
    )
    return terminal_in_time(site, "Rollback", name)


def old_or_new(site: Site, obj: Object) -> None:
    """What the status says is what the database shows. `base` has no marker, the database before the rollback has
    one."""
    if is_true(obj, "Complete"):
        assert obj["status"]["position"] == "New"
        assert marker(site) == 0, "Complete, but the old data is live"
    else:
        assert obj["status"].get("position") in (None, "Old")
        assert marker(site) > 0, "Failed, but the old data is gone"


@contextmanager
def ready_only_on_the_live_one(site: Site, key: str = "fault_marker") -> Iterator[None]:
    """Within the block the application counts as ready only on the database that is live now, which has that key among
    its parameters. By the application's own check: a command as readiness probe would start a Python every two
    seconds."""
    with site.connect() as connection:
        connection.execute(
            "INSERT INTO ir_config_parameter (key, value) VALUES (%s, 'live') ON CONFLICT (key) DO NOTHING", [key]
        )
    site.patch_shop({"spec": {"containers": [{"name": "app", "env": [{"name": "DEMO_REQUIRE", "value": key}]}]}})
    try:
        yield
    finally:
        site.patch_shop({"spec": {"containers": [{"name": "app", "env": [{"name": "DEMO_REQUIRE", "value": ""}]}]}})
