"""What the chart's admission policies leave of the rights of the operator's account, and of others on what is the
operator's. The real Job builder passes; for each rule something else does not.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from ocore_crds.resources.environment import Jobs
from ocore_crds.stored.snapshot_state import StoredState
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import template_of
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube.resources import Object
from ocore_operator.rollback.executed import run_of
from ocore_operator.settings import Settings
from ocore_operator.snapshot import job_identities
from ocore_operator.snapshot.transitions import identity
from support.cluster.admission_policies import AdmissionPolicies
from support.cluster.chart import Helm
from support.cluster.cluster import ADMIN, GROUP, Cluster, wait_for
from support.cluster.operator import NAMESPACE, RELEASE
from support.operator.jobs import (
    CHART_JOBS,
    CLAIM_STORE,
    FULL_S3,
    OWN_JOBS,
    SITES,
    all_jobs,
    delete_job,
    job_inputs,
    rollback,
    settings_of_chart,
)
from support.operator.objects import OTHER_UID, PROJECT, SETTINGS, environment, snapshot, started

Change = Callable[[Object], Any]

#: In whose names Kubernetes makes the pods of Jobs.
JOB_CONTROLLER = "system:serviceaccount:kube-system:job-controller"
CONTROLLER_MANAGER = "system:kube-controller-manager"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
#: Of the stores of the sites, and what another admission adds.
VALUES: Object = {
    "rbac": {"jobIdentities": True},
    "admissionPolicies": {
        "jobServiceAccounts": [FULL_S3.spec.service_account_name],
        "jobAnnotations": ["sidecar.istio.io/inject"],
        "applicationImages": ["registry/shop:"],
        "podWriters": [JOB_CONTROLLER, CONTROLLER_MANAGER, ADMIN],
    },
}


class Account(NamedTuple):
    """The operator's account of a release, with every right that RBAC can give, and a namespace of that release."""

    cluster: Cluster
    namespace: str
    user: str

    def refused(self, method: str, kind: str, name: str | None = None, body: object = None, **how: Any) -> str:
        """What the API server says to a write of the account that it refuses."""
        return self.cluster.refusal(
            method, kind, self.namespace, name, body, user=how.pop("user", self.user), groups=("system:masters",), **how
        )

    def job(self, built: Object) -> Object:
        """The Job, in this namespace."""
        return {**built, "metadata": {**built["metadata"], "namespace": self.namespace}}

    def create(self, built: Object, **how: Any) -> str:
        """What the API server says to a creation of the Job that it refuses."""
        return self.refused("POST", "Job", body=self.job(built), **how)


@pytest.fixture(scope="module")
def operator(crds: Cluster) -> Iterator[Account]:
    Helm(crds).uninstall(RELEASE, NAMESPACE)  # a release that holds everywhere would answer, too
    namespace = crds.namespace("rights")
    with AdmissionPolicies(crds, VALUES, namespace) as policies:
        found = Account(crds, namespace, f"system:serviceaccount:{NAMESPACE}:{policies.release}-ocore-snapshots")
        wait_for("the policies", lambda: expect("has no initContainers", found.create(with_init_container())), 30)
        yield found
    crds.delete("Namespace", namespace)


def expect(words: str, said: str) -> bool:
    """Fails with what was said, for the report of a wait."""
    assert words in said
    return True


def with_init_container() -> Object:
    built = restore()
    pod(built)["initContainers"] = [{"name": "first", "image": "registry/other:1"}]
    return built


def restore() -> Object:
    """A Job with most of what Jobs have."""
    return copied(all_jobs(SITES["tls"])["restore"])


def copied(job: Object) -> Object:
    """The Job, with labels and annotations of its own in the pod template."""
    found: Object = json.loads(json.dumps(job))
    return found


def neutralize() -> Object:
    """A Job with the application's container."""
    return copied(all_jobs(SITES["admin"])["neutralize-image"])


def pod(job: Object) -> Object:
    found: Object = job["spec"]["template"]["spec"]
    return found


def mover(job: Object) -> Object:
    found: Object = pod(job)["containers"][0]
    return found


@pytest.mark.parametrize("where", SITES)
def test_row_83_every_job_that_the_operator_builds_is_accepted(operator: Account, where: str) -> None:
    for name, built in all_jobs(SITES[where]).items():
        assert operator.create(built) == "", name


def test_row_83_jobs_of_rarer_sites_are_accepted(operator: Account) -> None:
    """Another store is read from; scripts and assertions; failpoints; the owner is being deleted."""
    back = rollback()
    for source in (CLAIM_STORE, FULL_S3):
        run = run_of(back, PROJECT)
        reading = JobBuilder(SETTINGS, job_inputs(source=source), 1).restore(back, run, deadline=60)
        assert operator.create(reading) == ""
    scripts = {"configMapRef": {"name": "scripts"}}
    scripted = job_inputs(environment=environment({"neutralize": {"sql": scripts, "assertions": scripts}}))
    assert operator.create(all_jobs(scripted)["neutralize-sql"]) == ""
    settings = Settings(allow_failpoints=True)
    armed = snapshot(
        {"quiesce": True}, status=started(), annotations={"ocore.dev/failpoints": "snapshot-start=sleep:1"}
    )
    frozen = JobBuilder(settings, SITES["s3"], 1).snapshot(
        armed, identity(armed), None, state=StoredState(), deadline=60
    )
    assert {e["name"] for e in mover(frozen)["env"]} > {"OCORE_FAILPOINTS"}
    assert operator.create(frozen) == ""
    gone = snapshot(status=started(), deletionTimestamp="2026-03-01T12:00:00Z")
    assert operator.create(delete_job(job_inputs(), gone, Deletes.ALL, settings)) == ""


def test_row_83_what_other_admission_adds_is_accepted(operator: Account) -> None:
    job = restore()
    pod(job)["nodeSelector"] = {"kubernetes.io/os": "linux"}
    job["spec"]["template"]["metadata"]["annotations"]["sidecar.istio.io/inject"] = "false"
    job["spec"]["template"]["metadata"]["labels"]["example.org/team"] = "shop"
    job["metadata"]["annotations"]["policies.example.org/patched"] = "yes"
    assert operator.create(job) == ""


def volume(**source: Any) -> Change:
    """Adds a volume of that source."""
    return lambda job: pod(job)["volumes"].append({"name": "another", **source})


def of_mover(**fields: Any) -> Change:
    return lambda job: mover(job).update(fields)


def of_pod(**fields: Any) -> Change:
    return lambda job: pod(job).update(fields)


def security(**fields: Any) -> Change:
    return lambda job: mover(job)["securityContext"].update(fields)


def pod_security(**fields: Any) -> Change:
    return lambda job: pod(job)["securityContext"].update(fields)


def owner(**fields: Any) -> Change:
    return lambda job: job["metadata"]["ownerReferences"][0].update(fields)


def variable(**fields: Any) -> Change:
    return lambda job: mover(job)["env"].append({"name": "PGDATABASE", **fields})


def template(job: Object) -> Object:
    found: Object = job["spec"]["template"]["metadata"]
    return found


def claims(**fields: Any) -> Change:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **fields}
    return volume(ephemeral={"volumeClaimTemplate": {"spec": spec}})


SOURCE = {"kind": "PersistentVolumeClaim", "name": "files"}
RESTRICTED = "is restricted"
MOUNTS = "mounts a volume where the mover's program is"
VARIABLES = "has no variable but"
CHANGES: dict[str, tuple[Change, str]] = {
    "label managed-by": (lambda j: j["metadata"]["labels"].pop("app.kubernetes.io/managed-by"), "have the labels"),
    "label of the pod": (lambda j: template(j)["labels"].pop("ocore.dev/uid"), "have the labels"),
    "label kind": (lambda j: template(j)["labels"].update({"ocore.dev/kind": "Deployment"}), "have the labels"),
    "owner of another group": (owner(apiVersion="apps/v1"), "the only owner"),
    "owner of another kind": (owner(kind="Environment"), "the only owner"),
    "another owner": (owner(uid=OTHER_UID), "the only owner"),
    "no controller": (owner(controller=False), "the only owner"),
    "two owners": (
        lambda j: j["metadata"]["ownerReferences"].append(
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": OTHER_UID}
        ),
        "the only owner",
    ),
    "annotation": (
        lambda j: template(j)["annotations"].update({"vault.hashicorp.com/agent-inject": "true"}),
        (
            "annotations vault.hashicorp.com/agent-inject: if another admission adds them, list them in the chart's"
            " value admissionPolicies.jobAnnotations"
        ),
    ),
    "selector": (
        lambda j: j["spec"].update(
            manualSelector=True, selector={"matchLabels": {"ocore.dev/uid": template(j)["labels"]["ocore.dev/uid"]}}
        ),
        "no selector of its own",
    ),
    "label of ours": (lambda j: template(j)["labels"].update({"ocore.dev/other": "a"}), "no other label of ocore.dev"),
    "annotation of ours": (lambda j: template(j)["annotations"].update({"ocore.dev/signal": "a"}), "ocore.dev/signal"),
    "priority class": (
        of_pod(priorityClassName="high"),
        "no priority class high: list it in the chart's value jobs.allowed.priorityClasses",
    ),
    "DNS": (of_pod(dnsConfig={"nameservers": ["10.0.0.66"]}), "has no dnsConfig"),
    "host network": (of_pod(hostNetwork=True), "has no hostNetwork"),
    "host processes": (of_pod(hostPID=True), "has no hostPID"),
    "host IPC": (of_pod(hostIPC=True), "has no hostIPC"),
    "shared processes": (of_pod(shareProcessNamespace=True), "has no shareProcessNamespace"),
    "node": (of_pod(nodeName="node1"), "has no nodeName"),
    "runtime": (of_pod(runtimeClassName="other"), "has no runtimeClassName"),
    "init container": (of_pod(initContainers=[{"name": "a", "image": "a"}]), "has no initContainers"),
    "token": (of_pod(automountServiceAccountToken=True), "mounts no token"),
    "token by default": (lambda j: pod(j).pop("automountServiceAccountToken"), "mounts no token"),
    "account": (
        of_pod(serviceAccountName="admin"),
        (
            "runs as default or backup, not as admin: list the serviceAccountName of a SnapshotStore in the chart's"
            " value admissionPolicies.jobServiceAccounts"
        ),
    ),
    "root": (pod_security(runAsUser=0), RESTRICTED),
    "user of the image": (lambda j: pod(j)["securityContext"].pop("runAsUser"), RESTRICTED),
    "perhaps root": (pod_security(runAsNonRoot=False), RESTRICTED),
    "no seccomp": (pod_security(seccompProfile={"type": "Unconfined"}), RESTRICTED),
    "sysctl": (pod_security(sysctls=[{"name": "kernel.shm_rmid_forced", "value": "1"}]), RESTRICTED),
    "SELinux": (pod_security(seLinuxOptions={"type": "spc_t"}), RESTRICTED),
    "no security": (lambda j: pod(j).pop("securityContext"), RESTRICTED),
    "privileged": (security(privileged=True, allowPrivilegeEscalation=True), RESTRICTED),
    "escalation": (security(allowPrivilegeEscalation=True), RESTRICTED),
    "capability": (security(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}), RESTRICTED),
    "kept capabilities": (security(capabilities={}), RESTRICTED),
    "root of the container": (security(runAsUser=0, runAsNonRoot=False), RESTRICTED),
    "writable root": (security(readOnlyRootFilesystem=False), RESTRICTED),
    "no security of the container": (lambda j: mover(j).pop("securityContext"), RESTRICTED),
    "second container": (
        lambda j: pod(j)["containers"].append({**mover(j), "name": "application"}),
        "only for the command neutralize",
    ),
    "another container": (of_mover(name="other"), "has the container mover"),
    "image": (of_mover(image="registry/evil:1"), "image registry/evil:1 is none of the release's mover images"),
    "image of another major": (of_mover(image="localhost/ocore-snapshots/mover:16"), "mover:15, localhost"),
    "program": (of_mover(command=["/bin/sh"]), "has no command"),
    "hook": (of_mover(lifecycle={"postStart": {"exec": {"command": ["id"]}}}), "has no lifecycle"),
    "probe": (of_mover(livenessProbe={"exec": {"command": ["id"]}}), "has no livenessProbe"),
    "port of the host": (of_mover(ports=[{"containerPort": 80, "hostPort": 80}]), "has no ports"),
    "all of a Secret": (of_mover(envFrom=[{"secretRef": {"name": "db"}}]), "has no envFrom"),
    "readiness": (of_mover(readinessProbe={"exec": {"command": ["id"]}}), "no probe but"),
    "readiness by HTTP": (
        of_mover(readinessProbe={"httpGet": {"port": 80, "host": "169.254.169.254"}}),
        "no probe but",
    ),
    "variable": (variable(value="shop"), VARIABLES),
    "variable like the request": (
        lambda j: mover(j)["env"].append({"name": "OCORE_REQUEST_X", "value": "a"}),
        VARIABLES,
    ),
    "request from a Secret": (
        lambda j: mover(j)["env"].append(
            {"name": "OCORE_REQUEST_1", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
        ),
        VARIABLES,
    ),
    "library": (lambda j: mover(j)["env"].append({"name": "LD_PRELOAD", "value": "/config/a.so"}), VARIABLES),
    "Secret in a variable": (
        lambda j: mover(j)["env"][0].update(valueFrom={"secretKeyRef": {"name": "db", "key": "password"}}),
        VARIABLES,
    ),
    "mounted over the program": (lambda j: mover(j)["volumeMounts"][0].update(mountPath="/app"), MOUNTS),
    "part of a volume": (lambda j: mover(j)["volumeMounts"][0].update(subPath="a"), MOUNTS),
    "path by a variable": (lambda j: mover(j)["volumeMounts"][0].update(subPathExpr="$(OCORE_POD_UID)"), MOUNTS),
    "host path": (volume(hostPath={"path": "/"}), "volumes another of a Job"),
    "NFS": (volume(nfs={"server": "a", "path": "/"}), "volumes another of a Job"),
    "CSI": (volume(csi={"driver": "secrets-store.csi.k8s.io"}), "volumes another of a Job"),
    "projected token": (
        volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
        "volumes another of a Job",
    ),
    "copy of a claim": (claims(dataSource=SOURCE), "volumes another of a Job"),
    "copy by reference": (claims(dataSourceRef=SOURCE), "volumes another of a Job"),
    "volume by name": (claims(volumeName="pv1"), "volumes another of a Job"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_row_83_another_job_is_refused(operator: Account, change: str) -> None:
    job = restore()
    make, words = CHANGES[change]
    make(job)
    assert words in operator.create(job)


# --- with the chart's value jobs -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_jobs(crds: Cluster) -> Iterator[Account]:
    """A release whose value `jobs` has everything."""
    Helm(crds).uninstall(RELEASE, NAMESPACE)
    namespace = crds.namespace("rights-jobs")
    with AdmissionPolicies(crds, {**VALUES, "jobs": CHART_JOBS}, namespace) as policies:
        found = Account(crds, namespace, f"system:serviceaccount:{NAMESPACE}:{policies.release}-ocore-snapshots")
        wait_for("the policies", lambda: expect("has no initContainers", found.create(with_init_container())), 30)
        yield found
    crds.delete("Namespace", namespace)


def jobs_of_chart(where: str, own: Object) -> dict[str, Object]:
    settings = settings_of_chart(CHART_JOBS)
    jobs = Jobs.model_validate(own) if own else None
    return all_jobs(replace(SITES[where], template=template_of(settings, None, jobs)), settings)


@pytest.mark.parametrize("own", [{}, OWN_JOBS], ids=["defaults", "own"])
@pytest.mark.parametrize("where", ["claim", "full-s3", "admin"])
def test_every_job_with_a_template_is_accepted(with_jobs: Account, where: str, own: Object) -> None:
    for name, built in jobs_of_chart(where, own).items():
        assert with_jobs.create(built) == "", name


def test_a_job_without_what_the_chart_gives_is_refused(with_jobs: Account) -> None:
    assert "jobs.runtimeClassName" in with_jobs.create(restore())


def extra(index: int, **fields: Any) -> Change:
    """Changes the n-th variable of the chart in the mover."""
    first = CHART_JOBS["extraEnv"][0]
    return lambda job: mover(job)["env"][mover(job)["env"].index(first) + index].update(fields)


def extra_volume(name: str, **source: Any) -> Change:
    def change(job: Object) -> None:
        (found,) = [v for v in pod(job)["volumes"] if v["name"] == name]
        found.clear()
        found.update({"name": name, **source})

    return change


def extra_mount(name: str, **fields: Any) -> Change:
    return lambda job: next(m for m in mover(job)["volumeMounts"] if m["name"] == name).update(fields)


IN_SECRET: Object = {"secretKeyRef": {"name": "db", "key": "password"}}
WITH_JOBS: dict[str, tuple[Change, str]] = {
    "another value of a variable": (extra(1, value="x"), VARIABLES),
    "a Secret in the place of a value": (
        lambda j: mover(j)["env"].append({"name": "NO_PROXY", "valueFrom": IN_SECRET}),
        VARIABLES,
    ),
    "another Secret of a variable": (extra(0, valueFrom=IN_SECRET), VARIABLES),
    "another key of the Secret": (
        extra(0, valueFrom={"secretKeyRef": {"name": "proxy", "key": "other"}}),
        VARIABLES,
    ),
    "another ConfigMap of a variable": (
        extra(3, valueFrom={"configMapKeyRef": {"name": "other", "key": "name"}}),
        VARIABLES,
    ),
    "a variable that the chart lacks": (variable(value="shop"), VARIABLES),
    "another ConfigMap": (extra_volume("corporate-ca", configMap={"name": "other"}), "the volume corporate-ca"),
    "a Secret in its place": (extra_volume("corporate-ca", secret={"secretName": "db"}), "the volume corporate-ca"),
    "another Secret": (extra_volume("token", secret={"secretName": "db"}), "the volume token"),
    "another source": (extra_volume("both", projected={"sources": [{"secret": {"name": "db"}}]}), "the volume both"),
    "mounted elsewhere": (extra_mount("token", mountPath="/etc/other"), MOUNTS),
    "mounted over the program": (extra_mount("token", mountPath="/app"), MOUNTS),
    "another part": (extra_mount("token", subPath="other"), MOUNTS),
    "writable": (extra_mount("corporate-ca", readOnly=False), MOUNTS),
    "runtime": (of_pod(runtimeClassName="runc"), "jobs.runtimeClassName (gvisor)"),
    "DNS policy": (of_pod(dnsPolicy="Default"), "jobs.dnsPolicy (None)"),
    "DNS": (of_pod(dnsConfig={"nameservers": ["10.0.0.66"]}), "jobs.dnsConfig"),
    "DNS options": (
        of_pod(dnsConfig={**CHART_JOBS["dnsConfig"], "options": [{"name": "ndots", "value": "5"}]}),
        "jobs.dnsConfig",
    ),
    "priority class": (of_pod(priorityClassName="high"), "no priority class high"),
    "annotation": (lambda j: template(j)["annotations"].update({"vault.example.org/inject": "a"}), "vault.example.org"),
}


@pytest.mark.parametrize("change", WITH_JOBS)
def test_what_the_chart_does_not_give_is_refused(with_jobs: Account, change: str) -> None:
    job = copied(jobs_of_chart("tls", OWN_JOBS)["restore"])
    assert with_jobs.create(job) == ""
    make, words = WITH_JOBS[change]
    make(job)
    assert words in with_jobs.create(job)


def test_the_applications_container_gets_nothing_of_it(with_jobs: Account) -> None:
    for field, item in (("env", CHART_JOBS["extraEnv"][0]), ("volumeMounts", CHART_JOBS["extraVolumeMounts"][0])):
        job = copied(jobs_of_chart("admin", {})["neutralize-image"])
        assert with_jobs.create(job) == ""
        application(job)[field].append(item)
        assert with_jobs.create(job) != ""


# --- the application's container -------------------------------------------------------------------------------------


def application(job: Object) -> Object:
    found: Object = pod(job)["containers"][1]
    return found


APPLICATION: dict[str, tuple[Change, str]] = {
    "image": (
        lambda j: application(j).update(image="registry/shopping:1"),
        (
            "image registry/shopping:1 must not neutralise: it begins with none of the chart's value"
            " admissionPolicies.applicationImages"
        ),
    ),
    "name": (lambda j: application(j).update(name="other"), "has the container mover"),
    "third container": (lambda j: pod(j)["containers"].append({**application(j), "name": "third"}), "only for"),
    "Secret": (
        lambda j: application(j)["volumeMounts"].append({"name": "admin", "mountPath": "/secrets/admin"}),
        "mounts no Secret and no claim",
    ),
    "variable": (lambda j: application(j)["env"].append({"name": "OCORE_POD_UID", "value": "a"}), VARIABLES),
    "hook": (
        lambda j: application(j).update(lifecycle={"preStop": {"exec": {"command": ["id"]}}}),
        "has no lifecycle",
    ),
    "readiness": (
        lambda j: application(j).update(readinessProbe={"exec": {"command": ["id"]}}),
        "has no readinessProbe",
    ),
    "capability": (
        lambda j: application(j)["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}),
        RESTRICTED,
    ),
}


@pytest.mark.parametrize("change", APPLICATION)
def test_row_83_the_applications_container_is_held_too(operator: Account, change: str) -> None:
    job = neutralize()
    make, words = APPLICATION[change]
    make(job)
    assert words in operator.create(job)


def test_row_83_other_accounts_make_their_own_jobs(operator: Account) -> None:
    container = {"name": "own", "image": "registry/own:1"}
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "own"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    assert operator.create(job, user="ann") == ""
    assert "have the labels" in operator.create(job)


@pytest.fixture
def running(operator: Account) -> Iterator[str]:
    """Name of a Job of the operator that exists. Without an owner, whom the garbage collector would not find; and
    nothing runs."""
    job = operator.job(restore())
    del job["metadata"]["ownerReferences"]
    job["spec"]["suspend"] = True
    name = job["metadata"]["name"]
    assert operator.create(job, dry_run=False) == ""
    yield name
    operator.cluster.delete("Job", name, operator.namespace)


def test_row_83_the_operator_changes_no_job_and_deletes_only_its_own(operator: Account, running: str) -> None:
    assert "changes no Job" in operator.refused("PATCH", "Job", running, {"spec": {"parallelism": 2}})
    assert "changes no Job" in operator.refused(
        "PATCH", "Job", running, {"status": {"active": 2}}, subresource="status"
    )
    assert operator.refused("DELETE", "Job", running) == ""
    operator.cluster.patch(
        "Job", running, operator.namespace, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}
    )
    assert "deletes only Jobs that it made" in operator.refused("DELETE", "Job", running)


def test_row_157_of_secrets_it_makes_and_deletes_job_identities_only(operator: Account) -> None:
    """As the operator writes them. It never fills one with a token, and never takes the database's away."""
    built = job_identities.secret_of(snapshot(), "ocore-job-identity-1")

    def secret(**changed: Any) -> Object:
        found = copied(built)
        found["metadata"] |= {"namespace": operator.namespace, **changed.pop("metadata", {})}
        return found | changed

    def create(body: Object, **how: Any) -> str:
        return operator.refused("POST", "Secret", body=body, **how)

    token = {"type": "kubernetes.io/service-account-token", "data": {}}
    account = {"annotations": {"kubernetes.io/service-account.name": "default"}}
    filled = secret(**token, metadata=account)
    wait_for("the policy", lambda: expect("creates and deletes only", create(filled)), 30)
    assert create(secret()) == ""
    assert "creates and deletes only" in create(secret(metadata={"name": "shop-db"}))
    assert "is immutable" in create(secret(immutable=False))
    assert "is immutable" in create(secret(metadata={"ownerReferences": []}))
    database = secret(type="Opaque", metadata={"name": "shop-db", "ownerReferences": []}, immutable=False)
    operator.cluster.apply(database)
    assert "creates and deletes only" in operator.refused("DELETE", "Secret", "shop-db")
    assert "creates and deletes only" in operator.refused("PATCH", "Secret", "shop-db", {"data": {"a": "eA=="}})
    operator.cluster.apply(secret(metadata={"ownerReferences": []}))  # its owner does not exist: it would be collected
    assert operator.refused("DELETE", "Secret", "ocore-job-identity-1") == ""


@pytest.fixture
def waiting(operator: Account) -> Iterator[str]:
    """Name of a pod of such a Job that exists."""
    job = restore()
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "waiting",
            "namespace": operator.namespace,
            "labels": job["metadata"]["labels"],
            "annotations": {"ocore.dev/name": "back"},
        },
        "spec": pod(job) | {"serviceAccountName": "default"},
    }
    operator.cluster.apply(body)
    label: Object = {"metadata": {"labels": {"app": "shop"}}}
    wait_for("the policy", lambda: expect("may change only", operator.refused("PATCH", "Pod", "waiting", label)), 30)
    yield "waiting"
    operator.cluster.delete("Pod", "waiting", operator.namespace, gracePeriodSeconds=0)


def test_row_83_of_pods_it_changes_the_signal_only(operator: Account, waiting: str) -> None:
    def patch(metadata: Object, **other: Any) -> str:
        return operator.refused("PATCH", "Pod", waiting, {"metadata": metadata, **other})

    signal = {"ocore.dev/signal": "{}", "ocore.dev/signal-repetition": "1"}
    assert patch({"annotations": signal}) == ""
    words = "may change only the annotations ocore.dev/signal and ocore.dev/signal-repetition"
    for metadata in (
        {"annotations": {"ocore.dev/name": "other"}},
        {"annotations": {"ocore.dev/name": None}},
        {"annotations": {"k8s.v1.cni.cncf.io/networks": "other"}},
        {"labels": {"app": "shop"}},
        {"finalizers": ["ocore.dev/a"]},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": OTHER_UID}]},
    ):
        assert words in patch(metadata), metadata
    image = {"spec": {"containers": [{**mover(restore()), "image": "registry/evil:1"}]}}
    assert words in patch({"annotations": signal}, **image)
    assert words in operator.refused("PATCH", "Pod", waiting, {"status": {"phase": "Failed"}}, subresource="status")
    body = operator.cluster.get("Pod", waiting, operator.namespace)
    assert body is not None
    made = {**body, "metadata": {"name": "made", "namespace": operator.namespace, "labels": body["metadata"]["labels"]}}
    assert words in operator.refused("POST", "Pod", body=made)
    operator.cluster.patch(
        "Pod", waiting, operator.namespace, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}
    )
    assert words in patch({"annotations": signal}), "a pod of another one"


WORKLOAD: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop", "labels": {"app": "shop"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}, "annotations": {"a": "b"}},
            "spec": {
                "initContainers": [{"name": "init", "image": "registry:5000/shop/odoo:17"}],
                "containers": [
                    {"name": "odoo", "image": "registry:5000/shop/odoo:17", "env": [{"name": "A", "value": "b"}]},
                    {"name": "proxy", "image": "registry:5000/proxy"},
                ],
            },
        },
    },
}


@pytest.fixture(scope="module", params=["Deployment", "StatefulSet"])
def workload(operator: Account, request: pytest.FixtureRequest) -> Iterator[Callable[[Object], str]]:
    """What the API server says to the operator's strategic merge patch of a workload of that kind."""
    body = copied(WORKLOAD) | {"kind": request.param}
    body["metadata"]["namespace"] = operator.namespace
    if request.param == "StatefulSet":
        body["spec"]["serviceName"] = "shop"
    operator.cluster.apply(body)
    path = operator.cluster.resource(request.param).path(name="shop", namespace=operator.namespace)

    def patch(change: Object) -> str:
        status, answer = operator.cluster.request(
            "PATCH", f"{path}?dryRun=All", change, content_type="application/strategic-merge-patch+json",
            user=operator.user, groups=("system:masters",),
        )  # fmt: skip
        return "" if status < 300 else str(answer["message"])

    # Each policy takes effect by itself, within a second or more.
    wait_for("the policy", lambda: expect("may change only", patch({"spec": {"minReadySeconds": 1}})), 30)
    yield patch
    operator.cluster.delete(request.param, "shop", operator.namespace)


def images(**by_name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": n, "image": i} for n, i in by_name.items()]}}}}


DIGEST = "sha256:" + "a" * 64


def test_row_83_of_workloads_it_sets_their_own_images_only(workload: Callable[[Object], str]) -> None:
    for image in ("odoo:16", f"odoo@{DIGEST}", f"odoo:16@{DIGEST}", "odoo"):
        assert workload(images(odoo=f"registry:5000/shop/{image}")) == "", image
    assert workload(images(odoo="registry/shop:3")) == "", "it is in applicationImages"
    commit = {"annotations": {"ocore.dev/commit-sha": "c0ffee"}}
    init = {"initContainers": [{"name": "init", "image": "registry:5000/shop/odoo:16"}]}
    assert workload({"metadata": commit, "spec": {"template": {"metadata": commit, "spec": init}}}) == ""
    for image in ("registry:5000/shop/odoo-evil:17", "registry:5001/shop/odoo:17", "registry:5000/shop:1", "evil"):
        said = workload(images(odoo=image))
        assert f"image {image} is of no repository of the workload: list where its images begin" in said


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"replicas": 1}},
        {"spec": {"minReadySeconds": 1}},
        {"metadata": {"labels": {"app": None}}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"finalizers": ["ocore.dev/a"]}},
        {"spec": {"template": {"metadata": {"annotations": {"a": "c"}}}}},
        {"spec": {"template": {"metadata": {"annotations": {"a": None}}}}},
        {"spec": {"template": {"metadata": {"labels": {"more": "a"}}}}},
        {"spec": {"template": {"spec": {"hostNetwork": True}}}},
        {"spec": {"template": {"spec": {"serviceAccountName": "admin"}}}},
        {"spec": {"template": {"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}}},
        {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "more", "image": "registry:5000/proxy"}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "$patch": "delete"}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "odoo", "command": ["id"]}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "odoo", "securityContext": {"privileged": True}}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "odoo", "env": None}]}}}},
        {"spec": {"template": {"spec": {"initContainers": [{"name": "init", "command": ["id"]}]}}}},
        {"spec": {"template": {"spec": {"initContainers": None}}}},
    ],
    ids=json.dumps,
)
def test_row_83_of_workloads_it_changes_nothing_else(workload: Callable[[Object], str], change: Object) -> None:
    assert "may change only the images of a workload and its annotation ocore.dev/commit-sha" in workload(change)


CRON_JOB: Object = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "nightly", "annotations": {"a": "b"}},
    "spec": {
        "schedule": "0 3 * * *",
        "jobTemplate": {
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "odoo", "image": "registry/shop:1"}]}
                }
            }
        },
    },
}


def test_row_83_of_cron_jobs_it_changes_suspend_only(operator: Account) -> None:
    operator.cluster.apply({**CRON_JOB, "metadata": {**CRON_JOB["metadata"], "namespace": operator.namespace}})
    for suspend in (True, False):
        operator.cluster.patch("CronJob", "nightly", operator.namespace, {"spec": {"suspend": suspend}})
        assert operator.refused("PATCH", "CronJob", "nightly", {"spec": {"suspend": not suspend}}) == ""
    changes: tuple[Object, ...] = (
        {"spec": {"schedule": "* * * * *"}},
        {"spec": {"suspend": True, "jobTemplate": {"spec": {"template": {"spec": {"hostNetwork": True}}}}}},
        {"spec": {"concurrencyPolicy": "Forbid"}},
        {"metadata": {"annotations": {"a": "c"}}},
        {"metadata": {"finalizers": ["ocore.dev/a"]}},
    )
    words = "the operator may change only spec.suspend of a CronJob"
    wait_for("the policy", lambda: expect(words, operator.refused("PATCH", "CronJob", "nightly", changes[0])), 30)
    for change in changes:
        said = operator.refused("PATCH", "CronJob", "nightly", change)
        assert words in said, change


# --- what is the operator's -------------------------------------------------------------------------------------------


SPECS: dict[str, Object] = {
    "Environment": {
        "projectId": PROJECT,
        "type": "staging",
        "storeRef": {"name": "store"},
        "database": {"secretRef": {"name": "db"}},
    },
    "SnapshotStore": {"claim": {"claimName": "backups"}},
    "Snapshot": {"environmentRef": {"name": "shop"}},
    "SnapshotPolicy": {"environmentRef": {"name": "shop"}},
    "Rollback": {"snapshotRef": {"name": "before"}},
}


@pytest.mark.parametrize("kind", SPECS)
def test_row_83_only_the_operator_writes_a_status(operator: Account, kind: str) -> None:
    cluster, namespace = operator.cluster, operator.namespace
    cluster.apply(
        {
            "apiVersion": GROUP,
            "kind": kind,
            "metadata": {"name": "shop", "namespace": namespace},
            "spec": SPECS[kind],
        }
    )
    status: Object = {"status": {"conditions": []}}
    plural = cluster.resource(kind).name

    def write(user: str) -> str:
        return operator.refused("PATCH", kind, "shop", status, subresource="status", user=user)

    words = (
        f"only the operator writes the status of {plural}, and the user is ann: list a user that may in the chart's"
        " value admissionPolicies.statusWriters"
    )
    wait_for("this policy too", lambda: expect(words, write("ann")), 30)  # each takes effect by itself
    assert "only the operator" in write(operator.user.replace(NAMESPACE, namespace)), "another namespace's account"
    assert write(operator.user) == ""
    assert write(ADMIN) == "", "it is in statusWriters"
    assert operator.refused("PATCH", kind, "shop", {"metadata": {"labels": {"a": "b"}}}, user="ann") == ""
    cluster.delete(kind, "shop", namespace)


@pytest.fixture
def second(operator: Account) -> Iterator[Callable[[bool], str]]:
    """What the API server says to a status and a Job of another release's operator; without its mark (False) of an
    account with the same rights."""
    cluster, name = operator.cluster, f"{operator.namespace}-second"
    rules = [
        {"apiGroups": ["ocore.dev"], "resources": ["snapshots/status"], "verbs": ["patch"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]},
    ]
    mark = [{"apiGroups": ["ocore.dev"], "resources": ["operators"], "verbs": ["run"]}]
    about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
    cluster.apply(
        {**about, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
        {
            "apiVersion": GROUP,
            "kind": "Snapshot",
            "metadata": {"name": "second", "namespace": operator.namespace},
            "spec": SPECS["Snapshot"],
        },
    )

    def write(marked: bool) -> str:
        cluster.apply({**about, "kind": "ClusterRole", "rules": rules + (mark if marked else [])})
        time.sleep(1)  # until the API server has seen the role
        status: Object = {"status": {"conditions": []}}
        said = cluster.refusal(
            "PATCH", "Snapshot", operator.namespace, "second", status, subresource="status", user=name
        )
        return said + cluster.refusal("POST", "Job", operator.namespace, body=operator.job(restore()), user=name)

    yield write
    cluster.delete("Snapshot", "second", operator.namespace)
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        cluster.delete(kind, name)


def test_row_83_the_operator_of_another_release_is_known(second: Callable[[bool], str]) -> None:
    """Else a second release, which waits, would stop the first one."""

    def refused() -> bool:
        said = second(False)
        return expect("only the operator writes the status", said) and expect("are those of ocore-snapshots", said)

    wait_for("both policies", refused, 30)  # each takes effect by itself
    assert second(True) == ""


def test_row_122_only_the_operator_writes_its_lease(operator: Account) -> None:
    """Also where someone who is no cluster administrator has rights in the release's namespace."""
    if operator.cluster.get("Namespace", NAMESPACE, None) is None:
        operator.cluster.create_namespace(NAMESPACE)
    own = operator.user.rpartition(":")[2]
    there = operator._replace(namespace=NAMESPACE)

    def write(name: str, user: str) -> str:
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}}
        return there.refused("POST", "Lease", body=lease, user=user)

    words = "only the operator writes its Lease, and the user is ann: to free it, delete the Lease"
    wait_for("this policy too", lambda: expect(words, write(own, "ann")), 30)  # each takes effect by itself
    assert write(own, operator.user) == ""
    assert write("other", "ann") == ""
    elsewhere = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": own}, "spec": {}}
    assert operator.refused("POST", "Lease", body=elsewhere, user="ann") == "", "of another namespace"


def own_job() -> Object:
    """A Job of someone else."""
    container = {"name": "own", "image": "registry/own:1"}
    template: Object = {"metadata": {"labels": {}}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "own", "labels": {}},
        "spec": {"suspend": True, "template": template},
    }


OURS = {
    "app.kubernetes.io/managed-by": "ocore-snapshots",
    "ocore.dev/kind": "Snapshot",
    "ocore.dev/uid": OTHER_UID,
    "ocore.dev/command": "inspect",
    "ocore.dev/store": "store",
}
OWNER = {"apiVersion": GROUP, "kind": "Snapshot", "name": "before", "uid": OTHER_UID, "controller": True}


@pytest.mark.parametrize("label", OURS)
def test_row_83_no_one_else_makes_a_job_with_our_labels(operator: Account, label: str) -> None:
    for of in ("metadata", "template"):
        job = own_job()
        (job if of == "metadata" else job["spec"]["template"])["metadata"]["labels"][label] = OURS[label]
        for user in ("ann", JOB_CONTROLLER, CONTROLLER_MANAGER):
            said = operator.create(job, user=user)
            assert f"are those of ocore-snapshots, and the user is {user}: remove them, or list a user" in said
            assert "admissionPolicies.jobWriters" in said
        assert operator.create(job, user=ADMIN) == "", "it is in jobWriters"


def test_row_83_no_one_else_makes_a_job_with_our_owners(operator: Account) -> None:
    job = own_job()
    assert operator.create(job, user="ann") == ""
    job["metadata"]["ownerReferences"] = [OWNER]
    assert "are those of ocore-snapshots" in operator.create(job, user="ann")
    job["metadata"] |= {"ownerReferences": [], "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    assert operator.create(job, user="ann") == ""


def test_row_83_no_one_else_changes_what_decides_of_a_job(operator: Account, running: str) -> None:
    def patch(change: Object, user: str = "ann", name: str = running) -> str:
        return operator.refused("PATCH", "Job", name, change, user=user)

    def meta(**fields: Any) -> Object:
        return {"metadata": fields}

    for harmless in (
        meta(labels={"team": "shop"}, annotations={"a": "b"}),
        meta(finalizers=["foregroundDeletion"]),
        meta(ownerReferences=[]),
        {"spec": {"suspend": False}},
        {"spec": {"ttlSecondsAfterFinished": 60}},
    ):
        for user in ("ann", COLLECTOR, CONTROLLER_MANAGER):
            assert patch(harmless, user) == "", harmless
    for change in (
        meta(labels={"app.kubernetes.io/managed-by": None}),
        meta(labels={"ocore.dev/uid": OTHER_UID}),
        meta(annotations={"ocore.dev/name": "other"}),
        meta(annotations={"ocore.dev/name": None}),
        meta(ownerReferences=[OWNER]),
        {"spec": {"parallelism": 2}},
        {"spec": {"backoffLimit": 9}},
        {"spec": {"activeDeadlineSeconds": 1}},
    ):
        said = patch(change)
        assert "keep their labels, annotations and owners of ocore.dev, parallelism" in said, change
        assert "admissionPolicies.jobWriters" in said

    own = operator.job(own_job())
    assert operator.refused("POST", "Job", body=own, user="ann", dry_run=False) == ""
    for change in (
        meta(labels={"ocore.dev/uid": OTHER_UID}),
        meta(ownerReferences=[OWNER]),
        {"spec": {"template": meta(labels=OURS)}},
    ):
        assert "keep their labels" in patch(change, name="own"), change
    assert patch(meta(labels={"team": "shop"}), name="own") == ""
    operator.cluster.delete("Job", "own", operator.namespace)


def own_pod(name: str, **metadata: Any) -> Object:
    container = {"name": "own", "image": "registry/own:1"}
    spec = {"containers": [container], "serviceAccountName": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": restricted(spec)}


def restricted(spec: Object) -> Object:
    """With the security of our Jobs' pods."""
    job = restore()
    for container in spec["containers"]:
        container["securityContext"] = mover(job)["securityContext"]
    return {**spec, "securityContext": pod(job)["securityContext"], "automountServiceAccountToken": False}


@pytest.mark.parametrize("label", OURS)
def test_row_83_only_the_job_controller_makes_pods_with_our_labels(operator: Account, label: str) -> None:
    body = own_pod("own", labels={label: OURS[label]})
    for user in ("ann", "system:serviceaccount:kube-system:replicaset-controller", "system:node:node1"):
        said = operator.refused("POST", "Pod", body=body, user=user)
        assert f"are those of ocore-snapshots, and the user is {user}" in said
        assert "admissionPolicies.podWriters" in said
    for user in (JOB_CONTROLLER, CONTROLLER_MANAGER):
        assert operator.refused("POST", "Pod", body=body, user=user) == ""


def test_row_83_no_one_else_makes_a_pod_with_our_owners(operator: Account) -> None:
    assert operator.refused("POST", "Pod", body=own_pod("own"), user="ann") == ""
    assert "are those of" in operator.refused("POST", "Pod", body=own_pod("own", ownerReferences=[OWNER]), user="ann")


def test_row_83_no_one_else_signals_or_changes_a_pod(operator: Account, waiting: str) -> None:
    def patch(user: str = "ann", **change: Any) -> str:
        return operator.refused("PATCH", "Pod", waiting, change, user=user)

    for harmless in (
        {"annotations": {"ovn.kubernetes.io/ip_address": "10.0.0.7"}, "labels": {"team": "shop"}},
        {"finalizers": ["batch.kubernetes.io/job-tracking"]},
        {"ownerReferences": []},
    ):
        for user in ("ann", JOB_CONTROLLER, COLLECTOR):
            assert patch(user, metadata=harmless) == "", harmless
    assert patch(spec={"tolerations": [{"key": "a", "operator": "Exists"}]}) == ""
    words = "keep their labels, annotations and owners of ocore.dev, containers"
    for metadata in (
        {"annotations": {"ocore.dev/signal": "{}"}},
        {"annotations": {"ocore.dev/name": None}},
        {"labels": {"ocore.dev/uid": OTHER_UID}},
        {"labels": {"app.kubernetes.io/managed-by": None}},
        {"ownerReferences": [OWNER]},
    ):
        assert words in patch(metadata=metadata), metadata
    found = operator.cluster.get("Pod", waiting, operator.namespace)
    assert found is not None
    (container,) = found["spec"]["containers"]
    assert words in patch(spec={"containers": [{**container, "image": "registry/evil:1"}]})
    assert words in patch(spec={"activeDeadlineSeconds": 1})
    assert patch(JOB_CONTROLLER, metadata={"annotations": {"ocore.dev/name": None}}) == ""

    operator.cluster.apply({**own_pod("own"), "metadata": {"name": "own", "namespace": operator.namespace}})
    assert words in operator.refused("PATCH", "Pod", "own", {"metadata": {"labels": OURS}}, user="ann")
    operator.cluster.delete("Pod", "own", operator.namespace, gracePeriodSeconds=0)
