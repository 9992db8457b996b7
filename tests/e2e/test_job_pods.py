"""Job pods in clusters as users have them: policies, quotas, selectors, taints, injected sidecars, proxies, user ids.

NetworkPolicies are not enforced by the local cluster: tests/unit/operator/jobs/test_network_policies.py evaluates the
example's selectors.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException

import support.cluster.injector
import support.mover.connect_proxy
from support.cluster.cluster import GROUP, POD_SECURITY, Object, condition, is_true, unique, wait_for
from support.cluster.facade import Facade
from support.cluster.injector import PORT
from support.cluster.operator import Operator
from support.cluster.promises import fresh, running_jobs
from support.cluster.site import DEMO_IMAGE, Site, container, deployment, probe, secret, service, store_objects
from support.mover.certificates import Authority

#: Seconds until a condition shows what is wrong; much less than the start deadline (180 s).
SOON = 60


@pytest.fixture
def change(site: Site) -> Iterator[Callable[..., None]]:
    """Changes the site's Environment: another one may not have its database. Afterwards it is as it was, and ready."""
    yield lambda **fields: site.cluster.apply(site.environment_object(**fields))
    site.cluster.apply(site.environment_object())
    site.environment_ready()


@contextmanager
def existing(site: Site, *objects: Object) -> Iterator[None]:
    """Within the block these objects exist."""
    site.cluster.apply(*objects)
    try:
        yield
    finally:
        for obj in objects:
            site.cluster.dynamic.resources.get(api_version=obj["apiVersion"], kind=obj["kind"]).delete(
                name=obj["metadata"]["name"], namespace=obj["metadata"].get("namespace")
            )


def shown(site: Site, reason: str, *words: str) -> str:
    """Waits until the Environment's Ready is False for the reason and its message has these words; the message."""

    def seen(obj: Object) -> bool:
        found = condition(obj, "Ready")
        return (
            found is not None
            and (found["status"], found["reason"]) == ("False", reason)
            and all(word in found["message"] for word in words)
        )

    obj = site.cluster.wait(
        "Environment", site.environment, site.namespace, seen, SOON, f"Ready=False {reason} {words}"
    )
    found = condition(obj, "Ready")
    assert found is not None
    return str(found["message"])


def ready(site: Site) -> None:
    """Waits until the Environment is Ready as it is now."""
    site.environment_ready(150)


def jobs_of(site: Site) -> list[Object]:
    """The Jobs that the Environment owns."""
    obj = site.cluster.get("Environment", site.environment, site.namespace)
    assert obj is not None
    return site.cluster.objects("Job", site.namespace, f"ocore.dev/uid={obj['metadata']['uid']}")


def in_namespace(site: Site, api_version: str, kind: str, name: str, **fields: object) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": site.namespace}, **fields}


def test_what_the_chart_does_not_allow_stalls_and_starts_nothing(site: Site, change: Callable[..., None]) -> None:
    jobs: Object = {"priorityClassName": "system-node-critical", "annotations": {"vault.example.org/inject": "true"}}
    before = {j["metadata"]["uid"] for j in jobs_of(site)}
    change(jobs=jobs)
    message = shown(site, "JobTemplateRefused", "system-node-critical", "vault.example.org/")
    assert "jobs.allowed.priorityClasses" in message
    assert "jobs.allowed.annotations" in message
    obj = site.cluster.get("Environment", site.environment, site.namespace)
    assert obj is not None
    assert is_true(obj, "Stalled")
    assert {j["metadata"]["uid"] for j in jobs_of(site)} <= before


def test_a_job_that_no_node_takes_is_shown_before_its_start_deadline(site: Site, change: Callable[..., None]) -> None:
    change(jobs={"nodeSelector": {"pool": "nowhere"}})
    assert "spec.jobs.nodeSelector" in shown(site, "JobPending", "Unschedulable")
    node = site.cluster.objects("Node")[0]["metadata"]["name"]
    change(jobs={"nodeSelector": {"kubernetes.io/hostname": node}})
    ready(site)


def labels_policy(site: Site, name: str) -> tuple[Object, Object]:
    """Every pod of our Jobs in the namespace has the label team. So has one with the label asked: by that it is seen
    when the policy has taken effect. A pod of a Job that is not the Job controller's is refused by the chart's."""
    unlabelled = "!object.metadata.?labels.orValue({}).exists(l, l in ['ocore.dev/command', 'asked'])"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": site.namespace}},
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                ],
            },
            "validations": [
                {
                    "expression": f"{unlabelled} || 'team' in object.metadata.labels",
                    "message": "the label team is missing",
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding


def refuses_pods(site: Site, message: str) -> bool:
    """Whether a pod with the label asked would be refused so: a policy takes effect some seconds after its creation."""
    asked = container("asked", DEMO_IMAGE)
    pod = in_namespace(site, "v1", "Pod", "asked", spec={"containers": [asked], "securityContext": POD_SECURITY})
    pod["metadata"]["labels"] = {"asked": "yes"}
    try:
        site.cluster.dynamic.resources.get(api_version="v1", kind="Pod").create(
            body=pod, namespace=site.namespace, dry_run="All"
        )
    except ApiException as error:
        return message in str(error.body)
    return False


def test_a_policy_that_demands_labels(site: Site, change: Callable[..., None]) -> None:
    with existing(site, *labels_policy(site, unique("labels"))):
        wait_for("the policy has effect", lambda: refuses_pods(site, "the label team is missing"))
        change(jobs={"resources": {"requests": {"cpu": "50m"}}})
        message = shown(site, "JobPending", "the label team is missing")
        assert "spec.jobs.labels" in message
        change(jobs={"labels": {"team": "shop"}})
        ready(site)  # so its pods have the label


def test_any_user_id_as_on_openshift(site: Site, change: Callable[..., None]) -> None:
    """No user of the image, no home, no entry in /etc/passwd."""
    change(filestore=None, config=None, jobs={"runAsUser": 1000720000, "runAsGroup": 0x7FFFFFF, "fsGroup": 1000720000})
    ready(site)
    taken = site.snapshot(unique("uid"))
    site.completed("Snapshot", taken)


# --- an injected sidecar ---------------------------------------------------------------------------------------------


@contextmanager
def injecting(site: Site, folder: Path) -> Iterator[None]:
    """Within the block a webhook adds two containers that never end to the pods of Jobs in the site's namespace."""
    name, namespace = unique("injector"), site.namespace
    host = f"{name}.{namespace}.svc"
    authority = Authority(folder / name)
    certificate = authority.issue(host)
    program = Path(support.cluster.injector.__file__).read_text()
    files = {
        "injector.py": program,
        "tls.crt": certificate.certificate.read_text(),
        "tls.key": certificate.key.read_text(),
    }
    command = ["python3", "/files/injector.py", DEMO_IMAGE]
    server = container(
        "injector",
        DEMO_IMAGE,
        command=[*command, "/files/tls.crt", "/files/tls.key"],
        ports=[{"containerPort": PORT}],
        readinessProbe=probe({"tcpSocket": {"port": PORT}}),
        volumeMounts=[{"name": "files", "mountPath": "/files"}],
    )
    volumes = [{"name": "files", "secret": {"secretName": name, "defaultMode": 0o444}}]
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "injector.example.org",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "clientConfig": {
                    "service": {"name": name, "namespace": namespace, "port": PORT},
                    "caBundle": base64.b64encode(authority.certificate.read_bytes()).decode(),
                },
            }
        ],
    }
    run = deployment(name, namespace, {"containers": [server], "volumes": volumes})
    with existing(site, secret(name, namespace, **files), run, service(name, namespace, PORT)):
        site.cluster.wait(
            "Deployment", name, namespace, lambda o: bool((o.get("status") or {}).get("readyReplicas")), 90, "ready"
        )
        with existing(site, webhook):
            yield


def test_a_job_ends_beside_sidecars_that_do_not(site: Site, tmp_path: Path) -> None:
    """A container, and a native sidecar."""
    with injecting(site, tmp_path):
        name = unique("sidecar")
        site.snapshot(name, verify="Full")
        obj = site.completed("Snapshot", name)
        uid = obj["metadata"]["uid"]

        def left() -> list[Object]:
            return site.cluster.pods(site.namespace, f"ocore.dev/uid={uid}")

        for pod in left():
            assert "injected" in [c["name"] for c in pod["spec"]["containers"]]
            assert "injected-native" in [c["name"] for c in pod["spec"]["initContainers"]]
        site.cluster.wait("Snapshot", name, site.namespace, lambda o: is_true(o, "Verified"), 150, "Verified")
        ended = ("Succeeded", "Failed")
        wait_for("no pod runs", lambda: all(p["status"]["phase"] in ended for p in left()), 150)


# --- exclusive: the node, and the chart's values ---------------------------------------------------------------------


def without_nodes(site: Site, namespace: str, number: int) -> list[Object]:
    """Environments whose probes find no node, for as long as a tenant may say."""
    found: list[Object] = []
    jobs = {"nodeSelector": {"pool": "nowhere"}, "startDeadlineSeconds": 3600}
    for name in (f"lost-{n}" for n in range(number)):
        found.append(secret(name, namespace, host=site.host, **site.credentials | {"dbname": f"{namespace}-{name}"}))
        obj = site.environment_object(
            jobs=jobs,
            database={"secretRef": {"name": name}, "capacity": "1Gi"},
            filestore=None,
            config=None,
            workloads=[],
        )
        obj["metadata"] = {"name": name, "namespace": namespace}
        found.append(obj)
    return found


def test_row_124_jobs_without_a_node_give_their_slots_back(
    site: Site, change: Callable[..., None], operator: Operator
) -> None:
    """Two namespaces have all slots of the pool: five each (OCORE_MAX_CONCURRENT_JOBS_PER_NAMESPACE). In the meantime
    an environment of another one is probed, and rolled back."""
    cluster, number = site.cluster, 6
    hostile = [cluster.namespace("hostile") for _ in range(2)]

    def pending(least: int) -> bool:
        selector = "app.kubernetes.io/managed-by=ocore-snapshots"
        return all(len(cluster.pods(each, selector)) >= least for each in hostile)

    try:
        for namespace in hostile:
            cluster.apply(*store_objects(site, namespace))
        for namespace in hostile:
            # Its probe would have the node selector of the first Environment.
            cluster.wait("SnapshotStore", "store", namespace, lambda o: is_true(o, "Ready"), 90, "ready")
            cluster.apply(*without_nodes(site, namespace, number))
        wait_for("all slots are taken", lambda: pending(number - 1), 120)
        change(jobs={"resources": {"requests": {"cpu": "20m"}}})
        ready(site)
        site.completed("Rollback", site.rollback(fresh("beside"), "base", undoWindowSeconds=0))
        wait_for("the sixth has a slot too", lambda: pending(number), 120)
    finally:
        for namespace in hostile:
            cluster.delete("Namespace", namespace)
            site.servers.s3_client().delete_object(Bucket=site.bucket, Key=f"{namespace}/ocore-store.json")


def test_a_tainted_pool(site: Site, change: Callable[..., None], operator: Operator) -> None:
    """The only node gets the taint: no other pod may be made at that time."""
    cluster = site.cluster
    node = cluster.objects("Node")[0]["metadata"]["name"]
    cluster.kubectl("taint", "node", node, "example.org/pool=backup:NoSchedule")
    try:
        change(jobs={"startDeadlineSeconds": 120})
        assert "spec.jobs.tolerations" in shown(site, "JobPending", "untolerated taint")
        change(jobs={"tolerations": [{"key": "example.org/pool", "value": "backup", "effect": "NoSchedule"}]})
        ready(site)
    finally:
        cluster.kubectl("taint", "node", node, "example.org/pool-", check=False)


def test_s3_through_a_proxy_with_a_ca_of_its_own(
    site: Site, change: Callable[..., None], operator: Operator, tmp_path: Path
) -> None:
    """The store is reachable by TLS only, its certificate is of a private authority, and the proxy has a password."""
    cluster, namespace, name = site.cluster, site.namespace, unique("proxy")
    host = f"{name}.{namespace}.svc.cluster.local"
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue(host)
    program = Path(support.mover.connect_proxy.__file__).read_text()
    files = {
        "proxy.py": program,
        "tls.crt": certificate.certificate.read_text(),
        "tls.key": certificate.key.read_text(),
    }
    target = site.servers.s3().removeprefix("http://")
    mounts = [{"name": "files", "mountPath": "/files"}]
    run = ["python3", "/files/proxy.py"]
    front = container("front", DEMO_IMAGE, command=[*run, "9443", target, "/files/tls.crt", "/files/tls.key"],
                      readinessProbe=probe({"tcpSocket": {"port": 9443}}), volumeMounts=mounts)  # fmt: skip
    proxy = container("proxy", DEMO_IMAGE, command=[*run, "3128", "user", "only-for-tests-proxy"],
                      readinessProbe=probe({"tcpSocket": {"port": 3128}}), volumeMounts=mounts)  # fmt: skip
    volumes = [{"name": "files", "secret": {"secretName": name, "defaultMode": 0o444}}]
    both = service(name, namespace, 9443)
    both["spec"]["ports"] = [{"name": "tls", "port": 9443}, {"name": "proxy", "port": 3128}]
    authorities = in_namespace(
        site, "v1", "ConfigMap", "corporate-ca", data={"ca.crt": authority.certificate.read_text()}
    )
    url = secret("backup-proxy", namespace, url=f"http://user:only-for-tests-proxy@{host}:3128")
    jobs = {
        "extraEnv": [
            {"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "backup-proxy", "key": "url"}}},
            {"name": "AWS_CA_BUNDLE", "value": "/etc/corporate-ca/ca.crt"},
        ],
        "extraVolumes": [{"name": "corporate-ca", "configMap": {"name": "corporate-ca"}}],
        "extraVolumeMounts": [{"name": "corporate-ca", "mountPath": "/etc/corporate-ca", "readOnly": True}],
    }
    store = unique("store")
    s3 = {"bucket": site.bucket, "endpoint": f"https://{host}:9443", "credentialsSecretRef": {"name": "s3"}}
    through = {"apiVersion": GROUP, "kind": "SnapshotStore", "metadata": {"name": store, "namespace": namespace},
               "spec": {"s3": s3}}  # fmt: skip
    workload = deployment(name, namespace, {"containers": [front, proxy], "volumes": volumes})
    with existing(site, secret(name, namespace, **files), authorities, url, workload, both):
        cluster.wait(
            "Deployment", name, namespace, lambda o: bool((o.get("status") or {}).get("readyReplicas")), 90, "ready"
        )
        operator.install(*Facade(cluster).values(), "--set-json", f"jobs={json.dumps(jobs)}")
        try:
            with existing(site, through):
                change(storeRef={"name": store})
                ready(site)
                taken = site.snapshot(unique("proxied"), deletionPolicy="Delete")
                site.completed("Snapshot", taken)
                pod = cluster.pods(namespace, f"app={name}")[0]["metadata"]["name"]
                assert f"CONNECT {host}:9443" in cluster.logs(namespace, pod, container="proxy")
                kinds = ("Environment", "SnapshotStore", "Snapshot", "Event")
                texts = [json.dumps(cluster.objects(kind, namespace), default=str) for kind in kinds]
                assert not [text for text in (*texts, operator.logs()) if "only-for-tests-proxy" in text]
                site.gone("Snapshot", taken)  # the site's other tests know its own store only
                cluster.apply(site.environment_object())
                ready(site)
                wait_for("no Job runs that mounts what is removed", lambda: not running_jobs(site), 150)
        finally:
            operator.install(*Facade(cluster).values())
