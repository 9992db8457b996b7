"""The Jobs: names, security, what they mount, and that the mover accepts every request."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.commands.parts import BaseSnapshot
from ocore_crds.commands.restore import Preflight
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover import requests
from ocore_operator.errors import Failed, Stalled
from ocore_operator.jobs.building import build, stores
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits, load_for_store, template_of, traits
from ocore_operator.jobs.building.job import STAYS, job_name
from ocore_operator.jobs.building.node_of_claims import user_of
from ocore_operator.jobs.building.request_parts import Volumes
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, label_value
from ocore_operator.readiness.plan_store import need_user
from ocore_operator.rollback.executed import run_of, spec_hash
from ocore_operator.settings import Settings
from ocore_operator.snapshot.transitions import identity
from support.cluster.cluster import REPOSITORY
from support.operator.jobs import (
    CASES,
    CLAIM_STORE,
    FULL_S3,
    LISTENERS,
    NAMES_ID,
    READY_CLAIM_STORE,
    SITES,
    TRAITS,
    all_jobs,
    copied,
    delete_job,
    document_of,
    job_inputs,
    neutralising,
    ready_condition,
    request_of,
    rollback,
)
from support.operator.objects import (
    OTHER_UID,
    PROJECT,
    SETTINGS,
    environment,
    environment_object,
    obj,
    snapshot,
    started,
    store,
)


def pod_of(job: Object) -> Object:
    return dict(job["spec"]["template"]["spec"])


def container_of(job: Object) -> Object:
    return dict(pod_of(job)["containers"][0])


@pytest.mark.parametrize(("where", "name"), CASES)
def test_the_mover_accepts_every_request(where: str, name: str) -> None:
    """The contract between the two programs, checked by what the mover's entry point does with a Job's document."""
    job = all_jobs(SITES[where])[name]
    row, request = requests.from_document(
        container_of(job)["args"], document_of(job["spec"]["template"]["spec"]["containers"])
    )
    assert row.name == job["metadata"]["labels"]["ocore.dev/command"]
    assert request.deadline is not None
    assert getattr(request, "environment_id", "") or name == "probe-store"


@pytest.mark.parametrize("where", SITES)
@pytest.mark.parametrize("name", ["cleanup", "inspect"])
def test_a_probe_follows_in_a_job_only_where_it_mounts_the_same(where: str, name: str) -> None:
    """A Job never gets a claim or a Secret for it: the probe has a Job of its own then."""
    jobs = all_jobs(SITES[where])
    alone = jobs["cleanup" if name == "cleanup" else "inspect-rollback"]
    joined, probe = jobs[f"{name}-probe"], jobs["probe"]

    def mounted(job: Object) -> Object:
        return {key: pod_of(job).get(key) for key in ("volumes", "securityContext", "serviceAccountName", "affinity")}

    assert mounted(joined) == mounted(alone)
    assert container_of(joined)["volumeMounts"] == container_of(alone)["volumeMounts"]
    same = (mounted(probe), container_of(probe)["volumeMounts"]) == (
        mounted(alone),
        container_of(alone)["volumeMounts"],
    )
    following = request_of(joined).get("then")
    assert (following is not None) == (same and not SITES[where].user_unknown)
    if following is not None:
        own = request_of(probe)
        assert following.pop("deadline") == build.FOLLOWING < own.pop("deadline")
        assert following == own


def test_a_restore_reads_the_snapshot_that_its_status_names() -> None:
    """Frozen at the start: another manifest under the same id is refused."""
    request = request_of(all_jobs(job_inputs())["restore"])
    assert request["snapshotId"] == OTHER_UID
    assert request["manifestSha256"] == "0" * 64


def test_a_differential_names_its_base_and_the_bases_manifest() -> None:
    snap = snapshot(status=started())
    base = BaseSnapshot(snapshot_id=OTHER_UID, manifest_sha256="0" * 64)
    for based in (None, base):
        job = JobBuilder(SETTINGS, job_inputs(), 1).snapshot(
            snap, identity(snap), based, state=StoredState(), deadline=600
        )
        named = request_of(job).get("base")
        assert named == ({"snapshotId": OTHER_UID, "manifestSha256": "0" * 64} if based else None)


@pytest.mark.parametrize(("where", "name"), CASES)
def test_every_job_keeps_the_restricted_standard(where: str, name: str) -> None:
    job = all_jobs(SITES[where])[name]
    pod, container = pod_of(job), container_of(job)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["terminationGracePeriodSeconds"] == 30
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    assert job["spec"]["ttlSecondsAfterFinished"] == SETTINGS.job_ttl
    assert job["spec"]["activeDeadlineSeconds"] >= 1
    mounted = {m["name"] for each in pod["containers"] for m in each["volumeMounts"]}
    assert mounted == {v["name"] for v in pod["volumes"]}
    names = [v["name"] for v in pod["volumes"]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("where", "name"), CASES)
def test_secrets_are_files(where: str, name: str) -> None:
    """No Secret's value can be in the object: what is known of it is its name, and only volumes say that."""
    container = container_of(all_jobs(SITES[where])[name])
    assert all("secretKeyRef" not in json.dumps(e) for e in container["env"])
    assert "envFrom" not in container


@pytest.mark.parametrize(("where", "name"), CASES)
def test_children_have_our_labels_and_no_others(where: str, name: str) -> None:
    job = all_jobs(SITES[where])[name]
    ours = {
        "app.kubernetes.io/managed-by",
        "ocore.dev/kind",
        "ocore.dev/uid",
        "ocore.dev/command",
        "ocore.dev/store",
    }
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert set(metadata["labels"]) == ours
        assert set(metadata["annotations"]) - set(STAYS) == {"ocore.dev/name"}
    owner = job["metadata"]["ownerReferences"][0]
    assert owner["controller"] is True
    assert owner["blockOwnerDeletion"] is False


def test_a_job_that_cleans_up_after_a_deletion_has_no_owner() -> None:
    """A foreground deletion, Argo CD's default, would have the garbage collector delete it."""
    gone = snapshot(status=started(), deletionTimestamp="2026-03-01T12:00:00Z")
    job = delete_job(job_inputs(), gone, Deletes.ALL)
    assert "ownerReferences" not in job["metadata"]


def test_a_test_restore_only_reads_the_store_and_has_no_claim() -> None:
    for where in SITES:
        for name in ("test-restore", "test-restore-elsewhere"):
            job = all_jobs(SITES[where])[name]
            pod, container, request = pod_of(job), container_of(job), request_of(job)
            assert request["store"]["readOnly"] is True
            assert "filestore" not in request
            claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
            assert claims <= {"backups"}
            assert all(m.get("readOnly") for m in container["volumeMounts"] if m["name"] == "store")
            assert "jobs" not in request, "one table at a time is the default"


def test_a_test_restore_on_another_server_has_none_of_the_environments_secrets() -> None:
    job = all_jobs(SITES["admin"])["test-restore-elsewhere"]
    secrets = {v["secret"]["secretName"] for v in pod_of(job)["volumes"] if "secret" in v}
    assert secrets == {"s3", "tester"}
    request = request_of(job)
    assert request["separateServer"] is True
    assert request["capacity"] == 2**30
    assert request["assertions"] == "/assertions"
    own = request_of(all_jobs(job_inputs())["test-restore"])
    assert "separateServer" not in own
    assert own["capacity"] == 50 * 2**30


@pytest.mark.parametrize("name", ["restore", "preview", "test-restore"])
def test_what_loads_a_dump_knows_the_capacity(name: str) -> None:
    assert request_of(all_jobs(job_inputs())[name])["capacity"] == 50 * 2**30


def test_only_an_inspection_beside_stopped_workloads_may_move_a_folder() -> None:
    for stopped in (False, True):
        job = JobBuilder(SETTINGS, job_inputs(), 1).inspect_rollback(rollback(), repair=True, stopped=stopped)
        assert request_of(job).get("workloadsStopped", False) is stopped


#: Whether the Job mounts the administrator's Secret. A new command needs an entry, and a reason to be True:
#: SECURITY.md, "Mover pod".
ADMINISTRATOR = {
    "extract": False,
    "extract-claim": False,
    "extract-tables": True,  # creates the scratch database, as a restore creates the copy
    "remove-extract-tables": True,  # drops it
    "extract-database": True,  # as extract-tables
    "remove-extract-database": True,
    "remove-extract": False,
    "remove-extract-claim": False,
    "probe": True,  # checks the administrator's rights
    "measure": False,  # reads as the application
    "prove": True,  # creates the scratch database, as a restore creates the copy
    "probe-store": False,
    "preview": False,  # reads as the application
    "snapshot": False,
    "verify": False,
    "write-state": False,
    "test-restore": True,  # creates the scratch database, as a restore creates the copy
    "test-restore-elsewhere": False,  # the server is not the environment's
    "delete": False,
    "delete-left": False,
    "delete-local": False,
    "check-copy": False,
    "inspect-snapshot": False,
    "restore": True,  # creates the copy
    "restore-switches": True,  # and renames it
    "switch": True,  # renames
    "switch-back": True,
    "switch-undo": True,
    "switch-undo-back": True,
    "neutralize-sql": True,  # opens the copy for a temporary role, and marks it
    "neutralize-image": True,
    "neutralize-identity": True,
    "cleanup-undo": True,
    "cleanup": True,  # drops
    "cleanup-probe": True,
    "inspect-probe": True,
    "inspect-rollback": True,  # allows connections to a database that it may not own
}


def test_only_jobs_that_change_databases_mount_the_administrators_secret() -> None:
    jobs = all_jobs(SITES["admin"])
    assert set(jobs) == set(ADMINISTRATOR)
    for name, job in jobs.items():
        pod, container = pod_of(job), container_of(job)
        seen = {
            "volume": "admin" in {(v.get("secret") or {}).get("secretName") for v in pod["volumes"]},
            "mount": "/secrets/admin" in {m["mountPath"] for m in container["volumeMounts"]},
            "request": "admin" in request_of(job).get("database", {}),
            "name anywhere": '"secretName": "admin"' in json.dumps(pod),
        }
        assert seen == dict.fromkeys(seen, ADMINISTRATOR[name]), name
    for name, job in all_jobs(SITES["s3"]).items():
        assert "admin" not in request_of(job).get("database", {}), name


NEUTRALIZE: Object = {
    "sql": {"configMapRef": {"name": "scripts"}},
    "assertions": {"configMapRef": {"name": "own-assertions"}},
    "testListeners": ["mail.example.com:25", "10.0.0.9:443"],
    "baseUrl": "https://staging.example.com",
}


def test_what_neutralises_is_passed() -> None:
    place = job_inputs(environment=environment({"neutralize": NEUTRALIZE}))
    jobs = all_jobs(place)
    job = JobBuilder(SETTINGS, place, 1).neutralize(neutralising("Sql", scripts=True), deadline=600)
    request = request_of(job)
    assert [request[name] for name in ("builtIn", "sql", "assertions", "baseUrl", "ownIdentity")] == [
        True, "/scripts", "/assertions", "https://staging.example.com", True,
    ]  # fmt: skip
    assert "isolation" not in request, "Require is the default"
    weak = JobBuilder(SETTINGS, place, 1).neutralize(neutralising("Image", isolation="BestEffort"), deadline=600)
    assert request_of(weak)["isolation"] == "BestEffort"
    assert "handOver" not in request
    volumes = {v["name"]: v for v in pod_of(job)["volumes"]}
    assert volumes["scripts"]["configMap"]["name"] == "scripts"
    assert volumes["assertions"]["configMap"]["name"] == "own-assertions"
    image = request_of(jobs["neutralize-image"])
    assert image["handOver"] == "/neutralize"
    assert image["listeners"] == list(LISTENERS.others)
    assert image["outside"] == list(LISTENERS.outside)
    assert ("sql" in image, image["builtIn"]) == (False, True)
    both = JobBuilder(SETTINGS, place, 1).neutralize(neutralising("Image", scripts=True), deadline=600)
    assert (request_of(both)["sql"], request_of(both)["handOver"]) == ("/scripts", "/neutralize")
    # Only its identity is changed: nothing is asserted.
    identity_only = request_of(jobs["neutralize-identity"])
    assert {"builtIn", "sql", "handOver", "assertions"}.isdisjoint(identity_only)


def test_scripts_that_were_removed_since_are_named() -> None:
    """Else the mover would refuse its request, and say nothing of the Environment."""
    plan = {"required": True, "ownIdentity": False, "method": "Sql", "image": "", "scripts": True}
    status = {"snapshotId": OTHER_UID, "environmentId": environment().id, "neutralize": plan}
    back = resources.rollback(obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, status))
    with pytest.raises(Failed, match=r"CannotNeutralize: Environment shop has no spec\.neutralize\.sql any more"):
        JobBuilder(SETTINGS, job_inputs(), 1).neutralize(back, deadline=600)


def test_a_request_that_is_too_long_starts_no_job() -> None:
    """Linux and the API server limit what a Job can carry: some 12,000 environments in one store."""
    many = {f"{number:08x}-0000-4000-8000-000000000000": PROJECT for number in range(13_000)}
    with pytest.raises(Failed, match=r"JobRefused: The Job list-manifests cannot be started: the request of the Job"):
        JobBuilder(SETTINGS, job_inputs(), "1").list_manifests(many, after="")


@pytest.mark.parametrize("hidden", [False, True])
def test_a_listing_looks_for_what_was_hidden_where_the_store_says_so(*, hidden: bool) -> None:
    spec = {**FULL_S3.spec.model_dump(by_alias=True, exclude_none=True), "import": True, "importHidden": hidden}
    place = replace(job_inputs(), store=store(spec))
    job = JobBuilder(SETTINGS, place, "1").list_manifests({}, after="")
    assert request_of(job).get("hidden", False) is hidden


def test_the_applications_container_has_no_secret_of_ours() -> None:
    """Foreign code: no Secret, no claim, no token, and the restricted standard."""
    job = all_jobs(SITES["admin"])["neutralize-image"]
    pod = pod_of(job)
    assert [c["name"] for c in pod["containers"]] == ["mover", "application"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    application = pod["containers"][1]
    assert application["image"] == "registry/shop:1"
    mounted = {m["name"] for m in application["volumeMounts"]}
    kinds = {kind for v in pod["volumes"] if v["name"] in mounted for kind in v if kind != "name"}
    assert kinds <= {"emptyDir", "configMap"}
    assert mounted == {"shared", "application-tmp", "config"}
    assert application["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert application["securityContext"]["allowPrivilegeEscalation"] is False
    assert application["args"] == ["odoo", "neutralize", "-d", "$(PGDATABASE)"]
    assert {"name": "PGDATABASE", "value": "shop_rb_11111111"} in application["env"]
    assert job["spec"]["template"]["metadata"]["labels"]["ocore.dev/command"] == "neutralize"  # for a NetworkPolicy


def test_a_copy_that_must_be_neutralised_says_so_from_its_first_moment() -> None:
    for method, required in (("Sql", True), (None, False)):
        back = neutralising(method)
        restore = JobBuilder(SETTINGS, job_inputs(), 1).restore(back, run_of(back, PROJECT), deadline=600)
        switch = JobBuilder(SETTINGS, job_inputs(), 1).switch(back, run_of(back, PROJECT), wait=300, deadline=600)
        assert request_of(restore)["neutralize"] is True
        assert request_of(switch).get("neutralized", False) == required
    ordinary = all_jobs(job_inputs())
    assert "neutralize" not in request_of(ordinary["restore"])
    assert "neutralized" not in request_of(ordinary["switch"])


def test_only_a_switch_is_started_again() -> None:
    for name, job in all_jobs(job_inputs()).items():
        again = name.startswith("switch")
        assert job["spec"]["backoffLimit"] == (6 if again else 0)
        assert pod_of(job)["restartPolicy"] == ("OnFailure" if again else "Never")


def test_row_107_a_pod_between_stop_and_resume_is_not_moved_for_convenience() -> None:
    """By the cluster autoscaler or Karpenter, to save a node."""
    snap, place, back = snapshot({"quiesce": True}, started()), job_inputs(), rollback()
    jobs = {
        **all_jobs(place),
        "quiesced": JobBuilder(SETTINGS, place, 1).snapshot(
            snap, identity(snap), None, state=StoredState(), deadline=600
        ),
        "inspect-stopped": JobBuilder(SETTINGS, place, 1).inspect_rollback(back, repair=True, stopped=True),
    }
    policy = (REPOSITORY / "charts/ocore-snapshots/templates/admission-operator.yaml").read_text()
    assert all(f'"{key}"' in policy for key in STAYS), "the chart's policy refuses these Jobs"
    stays = {
        name
        for name, job in jobs.items()
        if STAYS.items() <= job["spec"]["template"]["metadata"]["annotations"].items()
    }
    assert stays == {
        "switch",
        "restore-switches",
        "switch-back",
        "switch-undo",
        "switch-undo-back",
        "inspect-stopped",
        "quiesced",
    }


def record_of(job: Object) -> Object:
    return dict(request_of(job)["record"])


@pytest.mark.parametrize("name", ["restore", "switch", "switch-back"])
def test_row_32_a_rollbacks_jobs_know_its_record(name: str) -> None:
    back = rollback()
    record = record_of(all_jobs(job_inputs())[name])
    assert record.pop("rollback")["projectId"] == PROJECT  # the rest: test_record.py
    assert record == {
        "name": "back", "specHash": spec_hash(back.spec), "uid": back.meta.uid, "rollbackId": back.id,
        "environmentId": environment().id, "snapshotId": OTHER_UID, "manifestSha256": "0" * 64,
        "attempt": "0",  # the mover replaces it by its pod's uid
    }  # fmt: skip


def test_row_32_the_switch_writes_to_the_store_and_a_switch_back_does_not_need_it() -> None:
    jobs = all_jobs(job_inputs(store=FULL_S3))
    for name, optional in (("restore", None), ("switch", None), ("switch-back", True)):
        pod = pod_of(jobs[name])
        assert request_of(jobs[name])["store"]["url"] == "s3://snapshots", name
        volumes = {v["name"]: v for v in pod["volumes"]}
        assert volumes["s3"]["secret"]["secretName"] == "s3"
        assert volumes["s3"]["secret"].get("optional") is optional, name
        assert volumes["s3-ca"]["configMap"].get("optional") is optional, name
    # A pod does not start without its claim.
    back = all_jobs(job_inputs(store=CLAIM_STORE))["switch-back"]
    assert "store" not in request_of(back)
    assert "store" not in {v["name"] for v in pod_of(back)["volumes"]}


def test_the_jobs_of_an_undo_use_the_names_of_the_first_rollback() -> None:
    jobs = all_jobs(job_inputs())
    for name in ("switch-undo", "switch-undo-back", "cleanup-undo"):
        assert request_of(jobs[name])["rollbackId"] == NAMES_ID
    for name in ("switch-undo", "switch-undo-back"):
        request = request_of(jobs[name])
        assert request["undoTo"] == "Old"
        assert record_of(jobs[name])["undoes"] == NAMES_ID
        assert record_of(jobs[name])["name"] == "undo"
        assert ("signal" in request, "back" in request) == (name == "switch-undo", name != "switch-undo")
    # It does not depend on the store: a Secret that is missing does not keep its pod from starting, and neither does a
    # claim.
    volumes = {v["name"]: v for v in pod_of(all_jobs(job_inputs(store=FULL_S3))["switch-undo"])["volumes"]}
    assert volumes["s3"]["secret"]["optional"] is True
    assert "store" not in request_of(all_jobs(job_inputs(store=CLAIM_STORE))["switch-undo"])


def test_a_preview_reads_the_manifest_of_the_environment_that_the_snapshot_was_taken_of() -> None:
    other = {**started()["source"], "environmentId": OTHER_UID}
    job = JobBuilder(SETTINGS, job_inputs(), 1).preview(rollback(), snapshot(status=started(source=other)))
    assert request_of(job)["environmentId"] == OTHER_UID


@pytest.mark.parametrize("site", SITES)
def test_a_restore_that_probes_first_mounts_what_each_mounts_alone(site: str) -> None:
    """And is asked what a probe is asked."""
    place, back = SITES[site], rollback()
    alone = all_jobs(place)
    joined = JobBuilder(SETTINGS, place, 1).restore(
        back, run_of(back, PROJECT), preflight=Preflight(server_major=17), deadline=600
    )
    mounts = [container_of(j)["volumeMounts"] for j in (joined, alone["restore"], alone["probe"])]
    assert mounts[0] == mounts[1]
    assert [m for m in mounts[2] if m not in mounts[0]] == []
    volumes = [pod_of(j)["volumes"] for j in (joined, alone["probe"])]
    assert [v for v in volumes[1] if v not in volumes[0]] == []
    asked, probe = request_of(joined), request_of(alone["probe"])
    names = ("store", "storeName", "configFile")
    assert {n: asked["preflight"].get(n) for n in names} == {n: probe.get(n) for n in names}
    assert [asked.get(n) for n in ("database", "filestore", "environmentId")] == [
        probe.get(n) for n in ("database", "filestore", "environmentId")
    ]
    assert "preflight" not in request_of(alone["restore"])


@pytest.mark.parametrize("site", SITES)
def test_a_preview_can_write_nowhere(site: str) -> None:
    job = all_jobs(SITES[site])["preview"]
    writable = {m["mountPath"] for m in container_of(job)["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp"}
    assert "record" not in request_of(job)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_jobs_that_break_replication_know_whether_they_may(*, allowed: bool) -> None:
    jobs = all_jobs(job_inputs(), allow_replication_loss=allowed)
    having = {name for name, job in jobs.items() if request_of(job).get("allowReplicationLoss")}
    every = {"restore", "restore-switches", "switch", "switch-back", "inspect-rollback", "inspect-probe"}
    assert having == (every if allowed else set())


def test_the_switch_sees_its_signal_and_shows_that_it_waits() -> None:
    job = all_jobs(job_inputs())["switch"]
    signal = next(v for v in pod_of(job)["volumes"] if v["name"] == "signal")
    item = signal["downwardAPI"]["items"][0]
    assert item["fieldRef"]["fieldPath"] == "metadata.annotations['ocore.dev/signal']"
    probe = container_of(job)["readinessProbe"]
    assert probe["exec"]["command"] == ["test", "-f", "/tmp/ready"]
    assert probe.get("initialDelaySeconds") == 5  # not shortly before the signal: its log has said it by then


def test_the_kubelet_says_at_once_that_a_snapshot_waits_for_its_signal() -> None:
    """Its log says so only where it has worked."""
    snap = snapshot({"quiesce": True}, started())
    build = JobBuilder(SETTINGS, job_inputs(), 1)
    job = build.snapshot(snap, identity(snap), None, state=StoredState(), deadline=600)
    assert "initialDelaySeconds" not in container_of(job)["readinessProbe"]


def test_the_image_follows_the_servers_major() -> None:
    assert (
        container_of(JobBuilder(SETTINGS, job_inputs(), "a").probe())["image"] == "localhost/ocore-snapshots/mover:15"
    )
    unknown = JobBuilder(SETTINGS, job_inputs(server_major=0), "a").probe()
    assert container_of(unknown)["image"] == "localhost/ocore-snapshots/mover:17"


def test_a_claim_that_one_node_mounts_binds_the_pod_to_it() -> None:
    affinity = pod_of(all_jobs(SITES["claim"])["snapshot"])["affinity"]
    assert "node7" in json.dumps(affinity)
    assert "affinity" not in pod_of(all_jobs(SITES["s3"])["snapshot"])


def test_the_consistency_of_the_filestore_is_passed() -> None:
    for where, value in (("plain", "BestEffort"), ("s3", None)):
        filestore = request_of(all_jobs(SITES[where])["snapshot"])["filestore"]
        assert filestore.get("consistency") == value, "Strict is the default"


def test_without_an_fs_group_secrets_are_readable_by_our_user() -> None:
    for fs_group, mode in ((101, 0o440), (None, 0o444)):
        place = job_inputs(traits=PodTraits(run_as_user=101, fs_group=fs_group))
        volumes = pod_of(JobBuilder(SETTINGS, place, "a").probe())["volumes"]
        assert {v["secret"]["defaultMode"] for v in volumes if "secret" in v} == {mode}
        tls = replace(place, environment=SITES["tls"].environment)
        volumes = pod_of(JobBuilder(SETTINGS, tls, "a").probe())["volumes"]
        assert {v["projected"]["defaultMode"] for v in volumes if "projected" in v} == {mode}
    assert "fsGroup" not in pod_of(JobBuilder(SETTINGS, place, "a").probe())["securityContext"]


@pytest.mark.parametrize("name", ["probe", "snapshot", "restore", "switch", "cleanup", "inspect-rollback"])
def test_tls_files_are_mounted_read_only_for_every_job_that_connects(name: str) -> None:
    job = all_jobs(SITES["tls"])[name]
    folder = "/secrets/database-tls"
    assert request_of(job)["database"]["tls"] == {
        "mode": "verify-ca",
        "ca": f"{folder}/ca.crt",
        "cert": f"{folder}/tls.crt",
        "key": f"{folder}/tls.key",
    }
    (volume,) = [v for v in pod_of(job)["volumes"] if v["name"] == "database-tls"]
    client = [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]
    assert volume["projected"] == {
        "sources": [
            {"secret": {"name": "pg-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"secret": {"name": "pg-client", "items": client}},
        ],
        "defaultMode": 0o440,
    }
    (mount,) = [m for m in container_of(job)["volumeMounts"] if m["name"] == "database-tls"]
    assert mount == {"name": "database-tls", "mountPath": folder, "readOnly": True}


def test_tls_by_a_ca_in_a_config_map_or_a_mode_alone() -> None:
    def probe(tls: Object) -> Object:
        inputs = job_inputs(environment=environment({"database": {"secretRef": {"name": "db"}, "tls": tls}}))
        return JobBuilder(SETTINGS, inputs, "a").probe()

    job = probe({"ca": {"configMapRef": {"name": "ca", "key": "root.pem"}}})
    (volume,) = [v for v in pod_of(job)["volumes"] if v["name"] == "database-tls"]
    items = [{"key": "root.pem", "path": "ca.crt"}]
    assert volume["projected"]["sources"] == [{"configMap": {"name": "ca", "items": items}}]
    assert "mode" not in request_of(job)["database"]["tls"]
    job = probe({"mode": "disable"})
    assert "database-tls" not in [v["name"] for v in pod_of(job)["volumes"]]
    assert request_of(job)["database"]["tls"] == {"mode": "disable"}


def test_failpoints_arm_a_job_only_where_they_are_allowed() -> None:
    armed = snapshot(
        status=started(), annotations={"ocore.dev/failpoints": "snapshot-frozen=kill@1,after-manifest=kill"}
    )

    def value(settings: Settings, attempt: int) -> str:
        job = JobBuilder(settings, job_inputs(), attempt).snapshot(
            armed, identity(armed), None, state=StoredState(), deadline=60
        )
        return next((e["value"] for e in container_of(job)["env"] if e["name"] == "OCORE_FAILPOINTS"), "")

    allowed = Settings(allow_failpoints=True)
    assert value(SETTINGS, 1) == ""
    assert value(allowed, 1) == "snapshot-frozen=kill,after-manifest=kill"
    assert value(allowed, 2) == "after-manifest=kill"


def test_instance_metadata_only_where_the_store_asks_for_it() -> None:
    for asked in (False, True):
        found = store({"s3": {"bucket": "snapshots", "instanceMetadata": asked}})
        s3 = request_of(JobBuilder(SETTINGS, job_inputs(store=found), "a").probe_store())["store"].get("s3", {})
        assert s3.get("instanceMetadata", False) == asked


def test_what_is_written_is_locked_as_the_store_says() -> None:
    found = store({"s3": {"bucket": "snapshots", "lock": {"mode": "Compliance", "days": 40}}})
    asked = request_of(JobBuilder(SETTINGS, job_inputs(store=found), "a").probe_store())["store"]
    assert (asked["lock"], asked["lockDays"]) == ("Compliance", 40)
    assert "lock" not in request_of(JobBuilder(SETTINGS, job_inputs(store=store()), "a").probe_store())["store"]


def test_urls() -> None:
    assert stores.of(store()).access(Volumes()).url == "s3://snapshots/eu/shop"
    assert stores.of(CLAIM_STORE).access(Volumes()).url == "file:///store/eu/shop"
    assert stores.of(CLAIM_STORE).public_url() == "claim://backups/eu/shop"
    assert stores.of(store({"claim": {"claimName": "backups"}})).access(Volumes()).url == "file:///store"


@given(
    st.sampled_from(["probe-store", "snapshot", "inspect", "cleanup"]),
    st.uuids().map(str),
    st.one_of(st.integers(1, 10**6), st.text("0123456789abcdef", min_size=8, max_size=8)),
)
def test_job_names_fit_and_are_names(command: str, uid: str, attempt: int | str) -> None:
    name = job_name(command, uid, attempt)
    assert len(name) <= 63 - 6  # a pod's suffix
    assert name == job_name(command, uid, attempt)
    assert all(c.isalnum() or c == "-" for c in name)


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,198}[a-z0-9])?", fullmatch=True))
def test_any_name_becomes_a_label(name: str) -> None:
    value = label_value(name)
    assert len(value) <= 63
    assert value[0].isalnum()
    assert value[-1].isalnum()


def workload(**pod: Any) -> Object:
    return {"metadata": {}, "spec": {"template": {"spec": {"containers": [{}], **pod}}}}


def test_the_pods_user_is_inherited() -> None:
    jobs_spec = environment().spec.jobs
    inherited = traits(SETTINGS, workload(securityContext={"runAsUser": 101, "fsGroup": 102}), jobs_spec)
    assert (inherited.run_as_user, inherited.run_as_group, inherited.fs_group) == (101, None, 102)
    own = environment({"jobs": {"runAsUser": 500, "fsGroup": 501}}).spec.jobs
    assert traits(SETTINGS, workload(securityContext={"runAsUser": 101}), own).run_as_user == 500
    unknown = traits(SETTINGS, None, jobs_spec)
    assert (unknown.run_as_user, unknown.run_as_group, unknown.fs_group) == (None, None, None)


@pytest.mark.parametrize("fs_group", [None, 0, 101])
@pytest.mark.parametrize("where", SITES)
def test_row_86_no_pod_with_a_claim_has_an_fs_group_that_the_workload_does_not_have(
    where: str, fs_group: int | None
) -> None:
    """The kubelet gives the claim's files, also those beside the filestore, to a pod's fsGroup. `fsGroup: 0` beside a
    start script that gives the files to another group is no better."""
    root = {"runAsUser": 0, "runAsGroup": 0, **({} if fs_group is None else {"fsGroup": fs_group})}
    for jobs_spec, user in (({}, 65532), ({"runAsUser": 1001}, 1001)):
        found = environment({**SITES[where].environment.spec.wire(), "jobs": jobs_spec})  # type: ignore[union-attr]
        inherited = traits(SETTINGS, workload(securityContext=root), found.spec.jobs)
        place = replace(SITES[where], environment=found, traits=inherited)
        for name, job in all_jobs(place).items():
            pod = pod_of(job)
            context = pod["securityContext"]
            assert context["runAsUser"] == user, name
            if any("persistentVolumeClaim" in v for v in pod["volumes"]):
                known = fs_group if user == 1001 else None
                assert context.get("fsGroup") == (known or None), name


def test_without_a_claim_the_default_user_can_read_its_secrets_and_scratch() -> None:
    place = job_inputs(environment=SITES["no-filestore"].environment, traits=PodTraits())
    assert not place.user_unknown
    for name, job in all_jobs(place).items():
        context = pod_of(job)["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (65532, 65532, 65532), name


def test_row_86_a_probe_without_a_known_user_only_asks_for_the_owner() -> None:
    for traits_, asks in ((PodTraits(), True), (TRAITS, False)):
        job = JobBuilder(SETTINGS, job_inputs(traits=traits_), "a").probe()
        assert request_of(job).get("proposeUser", False) == asks
        (mount,) = [m for m in container_of(job)["volumeMounts"] if m["name"] == "claim"]
        assert mount.get("readOnly", False) == asks
    alone = job_inputs(traits=PodTraits(), environment=SITES["no-filestore"].environment, store=CLAIM_STORE)
    assert alone.user_unknown
    assert "proposeUser" not in request_of(JobBuilder(SETTINGS, alone, "a").probe())


def _mounts(job: Object, claim: str) -> dict[str, bool]:
    """Where a Job mounts the claim: path → read-only. The claim is one volume of the pod."""
    volumes = [v for v in pod_of(job)["volumes"] if v.get("persistentVolumeClaim", {}).get("claimName") == claim]
    assert len(volumes) <= 1
    names = {v["name"] for v in volumes}
    return {m["mountPath"]: m.get("readOnly", False) for m in container_of(job)["volumeMounts"] if m["name"] in names}


def test_row_75_the_probe_mounts_the_store_as_a_snapshot_does() -> None:
    place = job_inputs(store=READY_CLAIM_STORE, node="node7")
    jobs = all_jobs(place)
    job = jobs["probe"]
    request = request_of(job)
    assert request["store"] == "file:///store/eu/shop"
    assert request["storeName"] == "claim://backups/eu/shop"
    assert _mounts(job, "backups") == {"/store": False} == _mounts(jobs["snapshot"], "backups")
    for field in ("affinity", "securityContext"):
        assert pod_of(job)[field] == pod_of(jobs["snapshot"])[field]
    # It needs no filestore.
    alone = replace(place, environment=SITES["no-filestore"].environment)
    assert _mounts(JobBuilder(SETTINGS, alone, "a").probe(), "backups") == {"/store": False}


@pytest.mark.parametrize(
    "place",
    [
        job_inputs(),
        # Rollbacks are possible from a remote copy: the probe must not wait for a claim that cannot be mounted.
        job_inputs(store=CLAIM_STORE),
        job_inputs(store=store(CLAIM_STORE.spec.wire(), {"conditions": [ready_condition("False")]})),
        job_inputs(
            store=store({**CLAIM_STORE.spec.wire(), "access": "ReadOnly"}, {"conditions": [ready_condition("True")]})
        ),
        # The fsGroup of an unknown user would change the claim.
        job_inputs(store=READY_CLAIM_STORE, traits=PodTraits()),
    ],
)
def test_row_75_the_probe_leaves_other_stores_alone(place: JobInputs) -> None:
    job = JobBuilder(SETTINGS, place, "a").probe()
    assert "store" not in request_of(job)
    assert _mounts(job, "backups") == {}


def test_row_75_a_claim_for_filestore_and_store_is_mounted_once() -> None:
    """Two volumes of one claim: with some drivers the kubelet waits for the second one until the Job's deadline."""
    files = environment().spec.filestore
    assert files is not None
    shared = store(
        {"claim": {"claimName": files.claim_name, "path": "backups"}}, {"conditions": [ready_condition("True")]}
    )
    jobs = all_jobs(job_inputs(store=shared))
    for name in ("probe", "snapshot", "restore"):
        assert _mounts(jobs[name], files.claim_name) == {"/claim": False, "/store": False}, name
    assert _mounts(jobs["preview"], files.claim_name) == {"/claim": True, "/store": True}
    delete = delete_job(job_inputs(store=shared, source=shared), copied(), Deletes.LOCAL)
    assert _mounts(delete, files.claim_name) == {"/claim": False, "/store": False, "/source-store": True}


def test_who_uses_a_claim() -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "files"}}]
    done = {"metadata": {}, "spec": {"nodeName": "a", "volumes": volumes}, "status": {"phase": "Succeeded"}}
    waiting = {"metadata": {}, "spec": {"volumes": volumes}, "status": {"phase": "Pending"}}
    runs = {"metadata": {}, "spec": {"nodeName": "b", "volumes": volumes}, "status": {"phase": "Running"}}
    assert user_of([done, waiting], "files") is None
    assert user_of([done, waiting, runs], "files") == runs
    assert user_of([runs], "other") is None


def test_row_107_a_job_goes_where_the_application_goes() -> None:
    """After a drain, the pod that ends stands beside the one that has its new node."""
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "files"}}]
    ends, comes = (
        {"metadata": metadata, "spec": {"nodeName": node, "volumes": volumes}, "status": {"phase": "Running"}}
        for metadata, node in (({"deletionTimestamp": "2026-01-01T00:00:00Z"}, "drained"), ({}, "other"))
    )
    assert user_of([ends, comes], "files") == comes
    assert user_of([comes, ends], "files") == comes
    assert user_of([ends], "files") == ends  # the claim is still attached there


def test_every_job_passes_a_quota_that_requires_limits() -> None:
    """A Job that needs only the store has limits in any case; the others have what spec.jobs.resources says."""
    limits = {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
    mine = environment({"jobs": {"resources": limits}})
    for name, job in all_jobs(
        job_inputs(environment=mine, template=template_of(SETTINGS, None, mine.spec.jobs))
    ).items():
        assert container_of(job)["resources"] == limits, name
    alone = job_inputs(environment=None)
    snap = snapshot(status=started())
    for job in (
        JobBuilder(SETTINGS, alone, "a").probe_store(),
        JobBuilder(SETTINGS, alone, 1).verify(snap, deadline=60),
        delete_job(alone, snap, Deletes.ALL),
        JobBuilder(SETTINGS, alone, "1-1").inspect_snapshot(snap),
    ):
        found = container_of(job)["resources"]
        assert {(kind, name) for kind in found for name in found[kind]} == {
            ("requests", "cpu"), ("requests", "memory"), ("limits", "cpu"), ("limits", "memory"),
        }  # fmt: skip


def test_a_slow_start_does_not_use_up_the_time_of_a_short_command() -> None:
    for name in ("probe", "probe-store", "inspect-snapshot", "inspect-rollback"):
        job = all_jobs(job_inputs())[name]
        own = request_of(job)["deadline"]
        assert job["spec"]["activeDeadlineSeconds"] >= SETTINGS.start_deadline + own, name


class _Cluster:
    """An API server with Environments and one workload."""

    settings = SETTINGS

    def __init__(self, pod: Object, environments: dict[str, Object], **stores: str) -> None:
        self.kube, self.environments, self.pod = self, environments, pod
        entries = [
            SimpleNamespace(key=SimpleNamespace(name=name), store="other", remote_store="")
            for name in sorted(environments)
        ]
        for entry in entries:
            entry.__dict__.update({field: "store" for name, field in stores.items() if name == entry.key.name})
        self.catalog = SimpleNamespace(of_kind=lambda *_: entries)

    async def get(self, type_: Any, _: str, name: str) -> Object | None:
        if type_.kind == "Environment":
            return self.environments[name]
        return {"spec": {"accessModes": ["ReadWriteMany"]}} if type_.kind == "PersistentVolumeClaim" else self.pod


def test_row_86_a_store_on_a_claim_is_written_by_an_environment_whose_user_is_known() -> None:
    known, unknown = environment_object({"jobs": {"runAsUser": 1001}}), environment_object({})

    def user(found: resources.Store, environments: dict[str, Object], **stores: str) -> int | None:
        ctx: Any = _Cluster(workload(), environments, **stores)
        loaded = asyncio.run(load_for_store(ctx, "shop", found))
        if loaded.user_unknown and found.spec.access == "ReadWrite":
            with pytest.raises(Stalled) as stalled:
                need_user(loaded)
            assert stalled.value.reason == "JobUserUnknown"
            assert found.meta.name in stalled.value.message
        else:
            need_user(loaded)
        return loaded.traits.run_as_user

    assert user(CLAIM_STORE, {}) is None
    assert user(CLAIM_STORE, {"a": unknown}, a="store") is None
    assert user(CLAIM_STORE, {"a": unknown, "b": known}, a="store", b="store") == 1001
    assert user(CLAIM_STORE, {"a": unknown, "b": known}, b="remote_store") == 1001
    assert user(CLAIM_STORE, {"a": known}) is None  # it stores elsewhere
    assert user(store(), {"a": unknown}, a="store") is None  # S3: any user will do


@pytest.mark.parametrize("own", [True, False])
def test_a_job_of_the_store_has_the_resources_of_an_environment_that_uses_it(*, own: bool) -> None:
    limits = {"limits": {"memory": "512Mi"}}
    found = environment_object({"jobs": {"resources": limits} if own else {}})

    class Fake:
        settings = SETTINGS
        catalog = SimpleNamespace(of_kind=lambda *_: [])
        kube: Any = None

        async def get(self, type_: Any, _: str, __: str) -> Object | None:
            return found if type_.kind == "Environment" else workload()

    ctx: Any = Fake()
    ctx.kube = ctx
    loaded = asyncio.run(load_for_store(ctx, "shop", store(), "shop"))
    assert loaded.template.resources == (limits if own else None)
    assert asyncio.run(load_for_store(ctx, "shop", store())).template.resources is None


def test_row_59_the_last_copy_is_deleted_only_beside_a_whole_one() -> None:
    jobs = all_jobs(job_inputs())
    request = request_of(jobs["delete-local"])
    assert (request["source"]["id"], request["manifestSha256"]) == (OTHER_UID, "a" * 64)
    assert request["source"]["url"] == "s3://snapshots"
    assert request_of(jobs["check-copy"])["store"]["id"] == OTHER_UID
    nameless = replace(job_inputs(), source=store(status={"storeId": None}))
    with pytest.raises(ValueError, match="--source-store-id"):
        delete_job(nameless, copied(), Deletes.LOCAL)


def test_row_121_each_job_with_a_store_is_bound_to_its_id() -> None:
    """Not the probe, which finds the id; not a switch back or an undo, which depend on no store."""
    for name, each in all_jobs(job_inputs()).items():
        request = request_of(each)
        for part in ("store", "source"):
            if isinstance(request.get(part), dict):
                free = name in ("probe-store", "switch-back", "switch-undo", "switch-undo-back")
                assert request[part].get("id") == (None if free else OTHER_UID), (name, part)


def test_row_68_a_deletion_says_which_pin_it_knows() -> None:
    def known(snap: resources.Snapshot, deletes: Deletes = Deletes.ALL) -> Object:
        found_job = delete_job(job_inputs(), snap, deletes)
        found: Object = request_of(found_job)["knownState"]
        return found

    assert known(copied())["pinLabel"] == "q3"
    assert "pinLabel" not in known(copied(), Deletes.COPY), "the state in the remote store is unknown"
    assert "pinLabel" not in known(snapshot(status=started()))
    assert known(snapshot({"pin": {"label": "new"}}, started()))["pinLabel"] == "new"
    assert "knownState" not in request_of(all_jobs(job_inputs())["delete-left"])


def test_a_configuration_on_the_claim_is_read_by_the_probe_and_the_snapshot_only() -> None:
    jobs = all_jobs(SITES["config-file"])
    with_it = {name for name, each in jobs.items() if "configFile" in request_of(each)}
    assert with_it == {"probe", "snapshot"}
    assert request_of(jobs["snapshot"])["configFile"] == "etc/odoo.conf"
    for name, each in jobs.items():
        assert "config" not in {v["name"] for v in pod_of(each)["volumes"]}, name


def test_a_restore_that_goes_on_to_the_switch() -> None:
    """It has the signal's file, which must name it. The restore has its own deadline, and the Job one for both. Its log
    says when it waits: a pod that is not ready for hours would count as one that does not run."""
    both, alone = (all_jobs(SITES["admin"])[name] for name in ("restore-switches", "restore"))
    request, pod = request_of(both), both["spec"]["template"]
    assert request["signal"] == {"signalFile": "/signal/signal", "wait": 200.0, "job": both["metadata"]["name"]}
    assert request["deadline"] == request_of(alone)["deadline"]
    assert both["spec"]["activeDeadlineSeconds"] == alone["spec"]["activeDeadlineSeconds"] + 900
    assert "readinessProbe" not in pod["spec"]["containers"][0]
    assert pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert "signal" not in request_of(alone)
    assert "safe-to-evict" not in str(alone["spec"]["template"]["metadata"])
