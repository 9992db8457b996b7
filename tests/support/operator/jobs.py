"""Every kind of Job that the operator makes, on sites that differ in all that a Job depends on."""

import json
from dataclasses import replace
from typing import Any

from ocore_crds.commands import request_transport
from ocore_crds.naming import MOVER_CONTAINER
from ocore_crds.resources.restore_test import RestoreTests
from ocore_crds.stored.snapshot_state import StoredState
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits
from ocore_operator.jobs.building.listeners import Listeners
from ocore_operator.jobs.observing.snapshot_jobs import Deletes, deletion
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object
from ocore_operator.rollback.executed import run_of
from ocore_operator.settings import JobSettings, Settings
from ocore_operator.snapshot.transitions import identity
from support.operator.objects import (
    OTHER_UID,
    PROJECT,
    SETTINGS,
    environment,
    obj,
    snapshot,
    started,
    store,
)

#: Of the first rollback: its digits are in the names of the databases.
NAMES_ID = "77777777-2222-4333-8444-555555555555"
TRAITS = PodTraits(run_as_user=101, run_as_group=101, fs_group=101)


def job_inputs(**changes: Any) -> JobInputs:
    """A site with an Environment on S3."""
    fields: dict[str, Any] = {
        "namespace": "shop",
        "store": store(),
        "traits": TRAITS,
        "environment": environment(),
        "server_major": 15,
        **changes,
    }
    return JobInputs(**fields)


def rollback(*, allow_replication_loss: bool = False) -> resources.Rollback:
    status = {"snapshotId": OTHER_UID, "manifestSha256": "0" * 64, "environmentId": environment().id}
    spec: Object = {"snapshotRef": {"name": "before"}, "allowReplicationLoss": allow_replication_loss}
    return resources.rollback(obj("Rollback", "back", spec, status))


def neutralising(method: str | None, *, isolation: str = "Require", scripts: bool = False) -> resources.Rollback:
    """A rollback whose copy is neutralised."""
    plan = {
        "required": method is not None,
        "ownIdentity": True,
        "method": method,
        "image": "registry/shop:1" if method == "Image" else "",
        "scripts": scripts,
    }
    status = {
        "snapshotId": OTHER_UID,
        "environmentId": environment().id,
        "restoredDatabase": "shop_rb_11111111",
        "neutralize": plan,
    }
    return resources.rollback(
        obj("Rollback", "back", {"snapshotRef": {"name": "before"}, "isolation": isolation}, status)
    )


def undo(to: str) -> resources.Rollback:
    """An undo of `rollback()`."""
    status = {
        "snapshotId": OTHER_UID,
        "environmentId": environment().id,
        "undo": {"rollbackName": "back", "rollbackId": OTHER_UID, "namesId": NAMES_ID, "to": to},
    }
    return resources.rollback(obj("Rollback", "undo", {"undo": {"rollbackRef": {"name": "back"}}}, status))


def extract(target: Object, **wanted: Object) -> resources.Extract:
    """An Extract that has started; of files where nothing else is given."""
    status = {"environmentId": environment().id, "snapshotId": OTHER_UID, "claimName": "files"}
    spec: Object = {"snapshotRef": {"name": "before"}, "target": target, **(wanted or {"files": {"paths": ["a"]}})}
    return resources.extract(obj("Extract", "one", spec, status))


def copied() -> resources.Snapshot:
    """A Snapshot with a complete copy in a remote store."""
    remote = {"state": "Completed", "storeName": "far", "storeId": OTHER_UID, "requestedAt": "2026-01-01T00:00:00Z"}
    return snapshot(status=started(manifestSha256="a" * 64, remote=remote, storedState={"pinLabel": "q3"}))


#: Test restores on a server of their own, with own queries.
ELSEWHERE = RestoreTests.model_validate(
    {
        "schedule": ["@weekly"],
        "server": {
            "secretRef": {"name": "tester"},
            "tls": {"ca": {"secretRef": {"name": "tester-ca"}}},
            "capacity": "1Gi",
        },
        "assertions": {"configMapRef": {"name": "own-queries"}},
    }
)


#: What the operator has found out about the addresses in testListeners.
LISTENERS = Listeners(("10.0.0.9:443",), ("198.51.100.7:25",))


def delete_job(place: JobInputs, snap: resources.Snapshot, deletes: Deletes, settings: Settings = SETTINGS) -> Object:
    """The first Job that deletes that of the Snapshot."""
    build = JobBuilder(settings, place, deletion(snap, deletes).attempt(1))
    return build.delete(snap, deletes, deadline=600)


def all_jobs(
    place: JobInputs, settings: Settings = SETTINGS, *, allow_replication_loss: bool = False
) -> dict[str, Object]:
    """One of each kind."""
    snap, back = snapshot(status=started()), rollback(allow_replication_loss=allow_replication_loss)
    other, tables = undo("Old"), extract({"store": {"format": "SQL"}}, tables=[{"name": "partner"}])
    live = extract({"database": {}}, tables=[{"name": "partner"}])
    need_database = {
        "prove": lambda: JobBuilder(settings, place, "abcdef01").prove(),
        "extract-tables": lambda: JobBuilder(settings, place, 1).extract(tables, deadline=600),
        "remove-extract-tables": lambda: JobBuilder(settings, place, 1).remove_extract(tables),
        "extract-database": lambda: JobBuilder(settings, place, 1).extract(live, deadline=600),
        "remove-extract-database": lambda: JobBuilder(settings, place, 1).remove_extract(live),
        "neutralize-sql": lambda: JobBuilder(settings, place, 1).neutralize(neutralising("Sql"), deadline=600),
        "neutralize-image": lambda: JobBuilder(settings, place, 1).neutralize(
            neutralising("Image"), deadline=600, listeners=LISTENERS
        ),
        "neutralize-identity": lambda: JobBuilder(settings, place, 1).neutralize(neutralising(None), deadline=600),
    }
    has_filestore = place.environment is not None and place.environment.spec.filestore is not None
    targets: dict[str, Object] = {
        "": {"store": {}},
        **({"-claim": {"claim": {"path": "restored"}}} if has_filestore else {}),
    }
    has_database = place.environment is not None and place.environment.spec.database is not None
    return {
        **({name: make() for name, make in need_database.items()} if has_database else {}),
        **{
            f"extract{name}": JobBuilder(settings, place, 1).extract(extract(target), deadline=600)
            for name, target in targets.items()
        },
        **{
            f"remove-extract{name}": JobBuilder(settings, place, 1).remove_extract(extract(target))
            for name, target in targets.items()
        },
        "probe": JobBuilder(settings, place, "abcdef01").probe(),
        "measure": JobBuilder(settings, place, "abcdef01").measure(),
        "probe-store": JobBuilder(settings, place, "abcdef01").probe_store(),
        "snapshot": JobBuilder(settings, place, 1).snapshot(
            snap, identity(snap), None, state=StoredState(), deadline=600
        ),
        "verify": JobBuilder(settings, place, 1).verify(snap, deadline=600),
        "write-state": JobBuilder(settings, place, 1).write_state(snap, StoredState(pin_label="audit")),
        "test-restore": JobBuilder(settings, place, "0badcafe-1").restore_test(snap, None, deadline=600),
        "test-restore-elsewhere": JobBuilder(settings, place, "0badcafe-1").restore_test(snap, ELSEWHERE, deadline=600),
        "delete": delete_job(place, snap, Deletes.ALL, settings),
        "delete-left": delete_job(place, snap, Deletes.LEFTOVERS, settings),
        "delete-local": delete_job(replace(place, source=FULL_S3), copied(), Deletes.LOCAL, settings),
        "check-copy": JobBuilder(settings, place, "1-1").check_copy(copied()),
        "inspect-snapshot": JobBuilder(settings, place, "1-1").inspect_snapshot(snap),
        "restore": JobBuilder(settings, place, 1).restore(back, run_of(back, PROJECT), deadline=600),
        "restore-switches": JobBuilder(settings, place, 1).restore(
            back, run_of(back, PROJECT), deadline=600, switch=(200, 900)
        ),
        "switch": JobBuilder(settings, place, 1).switch(back, run_of(back, PROJECT), wait=300, deadline=600),
        "switch-back": JobBuilder(settings, place, 2).switch_back(
            back, run_of(back, PROJECT), place.store, deadline=600
        ),
        "switch-undo": JobBuilder(settings, place, 1).undo(
            other, run_of(other, PROJECT), place.store, wait=300, deadline=600
        ),
        "switch-undo-back": JobBuilder(settings, place, 2).switch_back(
            other, run_of(other, PROJECT), place.store, deadline=600
        ),
        "cleanup-undo": JobBuilder(settings, place, 1).cleanup(other, what="restored", deadline=600),
        "cleanup": JobBuilder(settings, place, 1).cleanup(back, what="previous", deadline=600),
        "preview": JobBuilder(settings, place, 1).preview(back, snap),
        "cleanup-probe": JobBuilder(settings, place, 1).cleanup(back, what="previous", probe=True, deadline=600),
        "inspect-probe": JobBuilder(settings, place, 1).inspect_rollback(back, repair=False, probe=True),
        "inspect-rollback": JobBuilder(settings, place, 1).inspect_rollback(back, repair=True),
    }


def ready_condition(value: str) -> Object:
    return {
        "type": "Ready",
        "status": value,
        "reason": "Test",
        "message": "",
        "lastTransitionTime": "2026-03-01T12:00:00Z",
    }


CLAIM_STORE = store({"claim": {"claimName": "backups", "path": "eu/shop"}})
#: The chart's value `jobs` with everything, and what the operator reads of it (`OCORE_JOBS`).
CHART_JOBS: Object = {
    "labels": {"cost-centre": "12"},
    "annotations": {"example.org/team": "platform"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "priorityClassName": "backup",
    "tolerations": [{"key": "backup", "operator": "Exists"}],
    "resources": {"limits": {"memory": "1Gi"}},
    "allowed": {
        "labels": ["team"],
        "annotations": ["sidecar.example.org/"],
        "priorityClasses": ["urgent"],
        "tolerations": [{"key": "tier", "operator": "Exists"}],
    },
    "extraEnv": [
        {"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}},
        {"name": "NO_PROXY", "value": ".svc,10.0.0.1"},
        {"name": "AWS_CA_BUNDLE", "value": "/etc/corporate-ca/ca.crt"},
        {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "region", "key": "name"}}},
    ],
    "extraVolumes": [
        {"name": "corporate-ca", "configMap": {"name": "corporate-ca"}},
        {"name": "token", "secret": {"secretName": "token"}},
        {"name": "both", "projected": {"sources": [{"secret": {"name": "a"}}, {"configMap": {"name": "b"}}]}},
    ],
    "extraVolumeMounts": [
        {"name": "corporate-ca", "mountPath": "/etc/corporate-ca", "readOnly": True},
        {"name": "token", "mountPath": "/etc/token", "subPath": "token", "readOnly": True},
        {"name": "both", "mountPath": "/etc/both", "readOnly": True},
    ],
    "runtimeClassName": "gvisor",
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.53"], "searches": ["svc"], "options": [{"name": "ndots", "value": "2"}]},
}
_DEFAULTS = (
    *("labels", "annotations", "nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName"),
    *("tolerations", "resources"),
)


def settings_of_chart(jobs: Object) -> Settings:
    """The operator's settings with this value `jobs` of the chart."""
    names = {"extraEnv": "env", "extraVolumes": "volumes", "extraVolumeMounts": "volumeMounts"}
    others = {names.get(name, name): value for name, value in jobs.items() if name not in _DEFAULTS}
    defaults = {name: jobs[name] for name in _DEFAULTS if name in jobs}
    return SETTINGS.model_copy(update={"jobs": JobSettings.model_validate({**others, "defaults": defaults})})


#: What an Environment may have with CHART_JOBS.
OWN_JOBS: Object = {
    "labels": {"team": "shop"},
    "annotations": {"sidecar.example.org/inject": "false"},
    "nodeSelector": {"pool": "shop"},
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]
            }
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}, "topologyKey": "zone"}]
        },
    },
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "urgent",
    "tolerations": [{"key": "tier", "operator": "Equal", "value": "db"}],
    "startDeadlineSeconds": 600,
}

READY_CLAIM_STORE = store(CLAIM_STORE.spec.wire(), {"conditions": [ready_condition("True")]})
FULL_S3 = store(
    {
        "s3": {
            "bucket": "snapshots",
            "endpoint": "https://s3.example",
            "pathStyle": False,
            "caBundle": {"name": "ca"},
            "serverSideEncryption": {"algorithm": "aws:kms", "kmsKeyId": "key"},
            "credentialsSecretRef": {"name": "s3"},
        },
        "serviceAccountName": "backup",
    }
)
TLS: Object = {
    "mode": "verify-ca",
    "ca": {"secretRef": {"name": "pg-ca"}},
    "clientCertificate": {"secretRef": {"name": "pg-client"}},
}
SITES = {
    "s3": job_inputs(),
    "full-s3": job_inputs(store=FULL_S3),
    "claim": job_inputs(store=READY_CLAIM_STORE, node="node7"),
    "no-filestore": job_inputs(environment=environment({"filestore": None, "config": None})),
    "plain": job_inputs(
        environment=environment(
            {
                "database": None,
                "filestore": {"claimName": "files", "path": "data", "layout": "Plain", "consistency": "BestEffort"},
            }
        )
    ),
    "admin": job_inputs(
        environment=environment(
            {"database": {"secretRef": {"name": "db"}, "adminSecretRef": {"name": "admin"}, "capacity": "1Gi"}}
        )
    ),
    "tls": job_inputs(environment=environment({"database": {"secretRef": {"name": "db"}, "tls": TLS}})),
    "config-file": job_inputs(environment=environment({"config": {"path": "etc/odoo.conf"}})),
    "class": job_inputs(environment=environment({"scratch": {"size": "5Gi", "storageClassName": "fast"}})),
}
CASES = [(where, name) for where in SITES for name in all_jobs(SITES[where])]


def request_of(job: Object) -> Object:
    """The document that the Job passes to its command."""
    found: Object = json.loads(document_of(job["spec"]["template"]["spec"]["containers"]))
    return found


def document_of(containers: list[Object]) -> str:
    """The text of the document in the mover's container."""
    env = next(c for c in containers if c["name"] == MOVER_CONTAINER)["env"]
    return request_transport.document({e["name"]: e["value"] for e in env if "value" in e}) or ""
