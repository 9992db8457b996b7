"""How long an import takes: 10,000 manifests and 1,000 rollbacks in a store, an empty namespace, Jobs that really run;
then a second import, which changes nothing.

Run by `make bench` with a cluster of its own. The store is a folder on a claim; the operator is a process on this
machine.
"""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, limit, report

from support.cluster.cluster import GROUP, Cluster, Object
from support.cluster.site import claim
from support.operator.folder import IMAGE, JOB_USER, PROJECT, folder_store
from support.operator.many import apply_crds
from support.operator.process import OperatorProcess

ENVIRONMENT = "5b1f7f0e-2222-4333-8444-555555555555"
#: Seconds for 10,000 snapshots (issue 13).
MOST = 120.0
#: One full in so many snapshots; the others are differentials of it.
FULL_EVERY = 24

#: Runs in the mover's image: snapshots every hour, and rollbacks, as a mover would have written them, without their
#: data.
FILL = """
import json, sys, uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ocore_crds import naming
from ocore_crds.stored.manifest import *
from ocore_crds.stored.rollback_record import *
from ocore_mover import manifests, states
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover.store.folder import FolderStore

environment, project, snapshots, rollbacks, every = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
store = FolderStore(Path("/store/eu"))
start = datetime(2026, 1, 1, tzinfo=UTC)
at = lambda hours: (start + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
id_ = lambda text: str(uuid.uuid5(uuid.NAMESPACE_OID, text))
base, base_sha256 = None, ""
for number in range(snapshots):
    snapshot = id_(f"snapshot {number}")
    prefix = naming.attempt_prefix(environment, snapshot, "a1")
    stored = lambda name: StoredObject(key=prefix + name, size=1000, sha256="0" * 64)
    full = number % every == 0
    packs = tuple(stored(f"filestore/pack-{n}.tar") for n in range(4 if full else 1))
    filestore = FilestoreArtifact(
        layout="Odoo", file_count=30000, size_bytes=10**9, index=stored("filestore/index.jsonl.zst"), packs=packs,
        base=None if full else FilestoreBase(
            snapshot_id=base.identity.snapshot_id, manifest_sha256=base_sha256,
            manifest_key=naming.manifest_key(environment, base.identity.snapshot_id), packs=base.filestore.packs,
        ),
    )
    evidence = tuple(f"filestore: {n} of what a snapshot proves, in one sentence of the usual length" for n in range(8))
    found = Manifest(
        format_version=format_version(filestore), store_id="44444444-4444-4444-8444-444444444444", attempt="a1",
        identity=Identity(
            environment_id=environment, environment_name="shop", environment_type="production", project_id=project,
            namespace="shop", snapshot_id=snapshot, snapshot_name=f"shop-{number}", trigger="Scheduled",
            requested_by="someone@example.com",
        ),
        started_at=at(number), consistent_at=at(number + 0.01), completed_at=at(number + 0.02), filestore=filestore,
        config=ConfigArtifact(archive=stored("config.tar"), file_count=1),
        evidence=Evidence(required=evidence, proven=evidence),
    )
    states.write(store, environment, snapshot, StoredState(retention="Policy", deletion_policy="Delete"))
    written = manifests.write(store, found)
    if full:
        base, base_sha256 = found, written.sha256
for number in range(rollbacks):
    run = RollbackRun(
        name=f"rollback-{number}", spec_hash="0" * 32, uid=id_(f"uid {number}"), rollback_id=id_(f"rollback {number}"),
        environment_id=environment, snapshot_id=id_(f"snapshot {number}"), attempt="a1",
        rollback=RecordedRollback(project_id=project, created_at=at(number), spec={}, status={"startedAt": at(number)}),
    )
    for state in ("restored", "started", "switched"):
        evidence = found.evidence if state == "restored" else None
        record = RollbackRecord(state=state, run=run, time=at(number + 0.5), evidence=evidence)
        key = naming.rollback_record_key(environment, run.name, run.spec_hash, run.uid, run.attempt, state)
        assert store.put_if_absent(key, json.dumps(record.wire(), indent=1).encode())
print(snapshots, rollbacks)
"""


def environment(namespace: str) -> Object:
    """It need not be Ready."""
    return {
        "apiVersion": GROUP,
        "kind": "Environment",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "id": ENVIRONMENT,
            "projectId": PROJECT,
            "type": "production",
            "storeRef": {"name": "store"},
            "filestore": {"claimName": "backups", "path": "no-files", "layout": "Plain"},
            "jobs": JOB_USER,
        },
    }


def done(cluster: Cluster, namespace: str, since: str) -> Object:
    """status.import of an import that began then or later."""

    def ended(obj: Object) -> bool:
        found = obj.get("status", {}).get("import") or {}
        return found.get("state") in ("Done", "Failed") and found["startedAt"] >= since

    found: Object = cluster.wait("SnapshotStore", "store", namespace, ended, 900)["status"]["import"]
    print(found, file=sys.stderr)
    return found


def versions(cluster: Cluster, namespace: str, kind: str) -> dict[str, tuple[str, str]]:
    """Name → uid, and what an import would write: spec and import of the status."""
    found = cluster.resource(kind).get(namespace=namespace).to_dict()["items"]
    return {
        o["metadata"]["name"]: (o["metadata"]["uid"], repr((o["spec"], o["status"].get("imported")))) for o in found
    }


def seconds_of(found: Object) -> float:
    """How long the import took."""
    begin, end = (datetime.fromisoformat(found[name]) for name in ("startedAt", "finishedAt"))
    return (end - begin).total_seconds()


def measure(cluster: Cluster, folder: Path, snapshots: int, rollbacks: int) -> list[Figure]:
    """Both imports."""
    namespace = cluster.namespace("import")
    cluster.apply(claim("backups", namespace))
    numbers = [str(n) for n in (snapshots, rollbacks, FULL_EVERY)]
    command = ["python3", "-c", FILL, ENVIRONMENT, PROJECT, *numbers]
    begin = time.monotonic()
    code, log = cluster.run_pod(namespace, IMAGE, command, claims={"/store": "backups"}, timeout=900)
    if code != 0:
        raise RuntimeError(log)
    print(f"the store was filled in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    # A busy machine must not cost it its Lease: nothing starts it again here.
    operator = OperatorProcess(cluster, [namespace], folder, sweep_interval=0, lease_duration=60).start()
    try:
        cluster.apply(folder_store(namespace), environment(namespace))
        cluster.wait("SnapshotStore", "store", namespace, ready, 180)
        begin = time.monotonic()
        cluster.patch("SnapshotStore", "store", namespace, {"spec": {"import": True}})
        first = done(cluster, namespace, "")
        took = time.monotonic() - begin
        kinds = ("Snapshot", "Rollback")
        before = [versions(cluster, namespace, kind) for kind in kinds]
        time.sleep(1)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        patch = {"metadata": {"annotations": {"ocore.dev/import-requested": now}}}
        cluster.patch("SnapshotStore", "store", namespace, patch)
        second = done(cluster, namespace, now)
        changed = sum(old != versions(cluster, namespace, kind) for old, kind in zip(before, kinds, strict=True))
    finally:
        operator.stop()
    missing = snapshots - first["imported"] + rollbacks - first["rollbacks"]["imported"]
    return [
        limit(f"Import of {snapshots:,} snapshots and {rollbacks:,} rollbacks", [took], MOST, "s"),
        limit("Of these not imported", [float(missing)], 0, "objects"),
        limit(
            "A second import: objects created",
            [float(second["imported"] + second["rollbacks"]["imported"])],
            0,
            "objects",
        ),
        limit("A second import: kinds with a changed object", [float(changed)], 0, "kinds"),
        limit("A second import", [seconds_of(second)], MOST, "s"),
    ]


def ready(obj: Object) -> bool:
    """Whether the store was probed."""
    conditions = obj.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=10_000)
    parser.add_argument("--rollbacks", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cluster = Cluster()
    apply_crds(cluster)
    with tempfile.TemporaryDirectory(prefix="imports-") as folder:
        rows = measure(cluster, Path(folder), options.snapshots, options.rollbacks)
    report(rows, options.json)


if __name__ == "__main__":
    main()
