"""The chart as a release on a real cluster: installed, upgraded from the version before, uninstalled; what is kept."""

import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from support.chart import CHART, Helm, HelmError, find
from support.cluster import REPOSITORY, Cluster, Object, unique, wait_for
from support.crd_rules import changed, nodes, schema_of
from support.crd_samples import SPECS, sample
from support.operator import NAMESPACE, RELEASE, SELECTOR

#: What is in the middle of an upgrade: the CRDs are the same, the operator need not run for these tests.
VALUES: Object = {"operator": {"image": {"pullPolicy": "Never"}}}
API = "ocore.dev/v1alpha1"


@pytest.fixture
def helm(crds: Cluster) -> Iterator[Helm]:
    """Helm, without our release before and after."""
    helm = Helm(crds)
    helm.uninstall(RELEASE, NAMESPACE)
    yield helm
    helm.uninstall(RELEASE, NAMESPACE)


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    name = crds.namespace("chart")
    yield name
    for kind in SPECS:
        for obj in crds.objects(kind, name):  # an operator may have been here
            crds.patch(kind, obj["metadata"]["name"], name, {"metadata": {"finalizers": None}})
    crds.delete("Namespace", name)


def everything(namespace: str) -> list[Object]:
    """An object of each kind with every field."""
    return [
        {
            "apiVersion": API,
            "kind": kind,
            "metadata": {"name": f"{kind.lower()}-{i}", "namespace": namespace},
            "spec": spec,
        }
        for kind, specs in SPECS.items()
        for i, spec in enumerate(specs)
    ]


def create(cluster: Cluster, objects: list[Object]) -> dict[str, Object]:
    """Creates them with a complete status; name → as stored."""
    custom = client.CustomObjectsApi(cluster.api)
    schemas = served_schemas(cluster)
    for obj in objects:
        meta, plural = obj["metadata"], f"{obj['kind'].lower()}s"
        custom.create_namespaced_custom_object(*API.split("/"), meta["namespace"], plural, obj)
        status = sample(schemas[obj["kind"]]["properties"]["status"])
        custom.patch_namespaced_custom_object_status(
            *API.split("/"), meta["namespace"], plural, meta["name"], {"status": status},
            _content_type="application/merge-patch+json",
        )  # fmt: skip
    return stored(cluster, objects)


def stored(cluster: Cluster, objects: list[Object]) -> dict[str, Object]:
    """Name → what is kept of each object: identity, spec and status."""
    found: dict[str, Object] = {}
    for obj in objects:
        name = obj["metadata"]["name"]
        there = cluster.get(obj["kind"], name, obj["metadata"]["namespace"])
        assert there is not None, f"{name} is gone"
        found[name] = {"uid": there["metadata"]["uid"], "spec": there["spec"], "status": there["status"]}
    return found


def served_schemas(cluster: Cluster) -> dict[str, Object]:
    """Kind → the schema that the server has now."""
    kinds = {kind: f"{kind.lower()}s.ocore.dev" for kind in SPECS}
    return {kind: schema_of(cluster.get("CustomResourceDefinition", name) or {}) for kind, name in kinds.items()}


# --- the version before --------------------------------------------------------------------------------------
def previous_chart(folder: Path) -> Path:
    """The chart of the last release; before the first one, today's with the fields of `NEW_FIELDS` missing and a lower version."""
    tag = subprocess.run(
        ["git", "-C", str(REPOSITORY), "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    chart = folder / "ocore-snapshots"
    if tag:
        archive = ["git", "-C", str(REPOSITORY), "archive", tag, "charts/ocore-snapshots"]
        tar = subprocess.run(archive, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder), "--strip-components=1"], input=tar, check=True)
        return chart
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.0.1"}))
    for kind, field in NEW_FIELDS.items():
        _without(chart / f"templates/crds/ocore.dev_{kind.lower()}s.yaml", field)
    return chart


NEW_FIELDS = {"Snapshot": "pin", "Environment": "scratch"}


def _without(template: Path, field: str) -> None:
    """Takes a field of spec out of a CRD's template."""
    lines = template.read_text().splitlines()
    first = lines.index("spec:")
    crd = yaml.safe_load("\n".join(lines[first:-1]))
    spec = schema_of({"spec": crd["spec"]})["properties"]["spec"]
    del spec["properties"][field]
    columns = crd["spec"]["versions"][0]["additionalPrinterColumns"]
    columns[:] = [c for c in columns if f".spec.{field}" not in c["jsonPath"]]
    template.write_text("\n".join([*lines[:first], yaml.safe_dump(crd, width=1000), lines[-1], ""]))


def test_row_25_an_upgrade_loses_no_field(helm: Helm, crds: Cluster, namespace: str, tmp_path: Path) -> None:
    helm.install(RELEASE, NAMESPACE, VALUES, chart=previous_chart(tmp_path))
    before_schemas = served_schemas(crds)
    before = create(crds, everything(namespace))
    helm.install(RELEASE, NAMESPACE, VALUES)
    after_schemas = served_schemas(crds)
    assert after_schemas == {kind: schema_of(crd) for kind, crd in _rendered_crds(helm).items()}
    for kind, schema in before_schemas.items():
        lost = {n.path for n in nodes(schema)} - {n.path for n in nodes(after_schemas[kind])}
        assert not lost, f"{kind}: the new version prunes {lost}"

    objects = everything(namespace)
    for obj in objects:  # a write is when the server prunes
        crds.patch(obj["kind"], obj["metadata"]["name"], namespace, {"metadata": {"annotations": {"seen": "yes"}}})
    after = stored(crds, objects)
    assert after.keys() == before.keys()
    for name, old in before.items():
        assert after[name]["uid"] == old["uid"]
        assert _contains(after[name]["spec"], old["spec"])
        assert _contains(after[name]["status"], old["status"])

    new = changed(everything(namespace)[3], {"metadata.name": "after", "spec.pin": {"label": "new"}})
    assert new["kind"] == "Snapshot"
    assert create(crds, [new])["after"]["spec"]["pin"] == {"label": "new"}


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and _contains(whole[k], v) for k, v in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(_contains, whole, part))
    return bool(whole == part)


def _rendered_crds(helm: Helm) -> dict[str, Object]:
    return {
        o["spec"]["names"]["kind"]: o for o in helm.render(VALUES) if o["kind"] == "CustomResourceDefinition"
    }  # fmt: skip


# --- uninstall and reinstall ---------------------------------------------------------------------------------
def test_uninstall_keeps_crds_and_objects_and_the_next_install_takes_them_over(
    helm: Helm, crds: Cluster, namespace: str
) -> None:
    helm.install(RELEASE, NAMESPACE, VALUES)
    before = create(crds, everything(namespace))
    helm.uninstall(RELEASE, NAMESPACE)
    for kind in SPECS:
        assert crds.get("CustomResourceDefinition", f"{kind.lower()}s.ocore.dev")
    assert stored(crds, everything(namespace)) == before
    left = json.loads(
        crds.kubectl(
            "get", "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings",
            "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "json",
        )
    )  # fmt: skip
    assert left["items"] == []
    helm.install(RELEASE, NAMESPACE, VALUES)
    assert stored(crds, everything(namespace)) == before


def test_crds_that_somebody_else_installed(helm: Helm, crds: Cluster) -> None:
    """As after `kubectl apply -f crds/`: Helm says whose they are, and --take-ownership (docs/install.md) takes them over."""
    for kind in SPECS:
        owned = {"meta.helm.sh/release-name": None, "meta.helm.sh/release-namespace": None}
        crds.patch("CustomResourceDefinition", f"{kind.lower()}s.ocore.dev", None, {"metadata": {"annotations": owned}})
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        helm.install(RELEASE, NAMESPACE, VALUES)
    helm.uninstall(RELEASE, NAMESPACE)
    helm.install(RELEASE, NAMESPACE, VALUES, "--take-ownership", "--force-conflicts")


def test_without_the_crds(helm: Helm, crds: Cluster) -> None:
    """An upgrade that stops installing the CRDs leaves them."""
    helm.install(RELEASE, NAMESPACE, VALUES)
    helm.install(RELEASE, NAMESPACE, VALUES | {"crds": {"install": False}})
    assert crds.get("CustomResourceDefinition", "snapshots.ocore.dev")


def test_the_notes_say_what_to_do_next(helm: Helm) -> None:
    helm.install(RELEASE, NAMESPACE, VALUES)
    notes = helm.run("get", "notes", RELEASE, "--namespace", NAMESPACE)
    for words in ("watches the whole cluster", "kubectl get ocore", "keeps the CRDs"):
        assert words in notes


# --- what the operator may do, asked of the server -----------------------------------------------------------
def test_permissions_of_a_namespaced_operator(helm: Helm, crds: Cluster, namespace: str) -> None:
    other = crds.namespace("chart-other")
    helm.install(RELEASE, NAMESPACE, VALUES | {"watchNamespaces": [namespace]})
    account = f"system:serviceaccount:{NAMESPACE}:{_account(helm)}"

    def may(verb: str, resource: str, where: str, group: str = "", subresource: str = "") -> bool:
        review = client.V1SubjectAccessReview(
            spec=client.V1SubjectAccessReviewSpec(
                user=account,
                resource_attributes=client.V1ResourceAttributes(
                    verb=verb, resource=resource, namespace=where, group=group, subresource=subresource
                ),
            )
        )
        status = client.AuthorizationV1Api(crds.api).create_subject_access_review(review).status
        return bool(status and status.allowed)

    assert may("create", "jobs", namespace, "batch")
    assert may("patch", "deployments", namespace, "apps", "scale")
    assert not may("patch", "leases", NAMESPACE, "coordination.k8s.io")  # its own only, by name
    assert not may("create", "jobs", other, "batch")
    assert not may("list", "snapshots", other, "ocore.dev")
    # Where the namespace is being deleted its Role is gone already; the finalizers must still go.
    assert may("patch", "snapshots", other, "ocore.dev")
    assert may("patch", "snapshots", other, "ocore.dev", "status")
    for verb in ("get", "list", "watch", "create"):
        assert not may(verb, "secrets", namespace)
    assert not may("create", "pods", namespace, "", "exec")
    crds.delete("Namespace", other)


def _account(helm: Helm) -> str:
    return str(find(helm.render(VALUES), "ServiceAccount")["metadata"]["name"])


# --- the operator itself -------------------------------------------------------------------------------------
def test_the_operator_becomes_ready(helm: Helm, crds: Cluster) -> None:
    """Also a proof that the rendered settings, probes, permissions and the restricted pod work together."""
    (node,) = crds.core.list_node().items
    images = {name for image in node.status.images or () for name in image.names or ()}
    if not any("ocore-snapshots/operator:dev" in name for name in images):
        pytest.skip("the operator's image is not loaded: localcluster/cluster images operator")
    crds.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
    )
    helm.install(RELEASE, NAMESPACE, {}, "--wait")
    (pod,) = wait_for("one operator pod", lambda: crds.pods(NAMESPACE, SELECTOR), 30)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    service = find(Helm(crds).render({}), "Service")["metadata"]["name"]
    path = f"/api/v1/namespaces/{NAMESPACE}/services/{service}:http/proxy/metrics"
    assert "# HELP" in crds.kubectl("get", "--raw", path)


# --- admission policies --------------------------------------------------------------------------------------
class Policy:
    """The chart's policies under a name of their own, bound to one namespace, once the server obeys them."""

    def __init__(self, cluster: Cluster, values: Object, namespace: str, group: str = "ocore.dev") -> None:
        self.cluster = cluster
        self.namespace = namespace
        rendered = Helm(cluster).render(values | {"watchNamespaces": [namespace]}, release=unique("policy"))
        self.objects = [
            json.loads(json.dumps(o).replace('"ocore.dev"', f'"{group}"'))
            for o in rendered
            if o["kind"].startswith("ValidatingAdmissionPolicy")
        ]

    def __enter__(self) -> "Policy":
        self.cluster.apply(*self.objects)
        return self

    def __exit__(self, *_: object) -> None:
        for obj in self.objects:
            self.cluster.delete(obj["kind"], obj["metadata"]["name"])


def snapshot(namespace: str, name: str, pin: Object | None, **metadata: Any) -> Object:
    """A Snapshot."""
    spec = {"environmentRef": {"name": "shop"}} | ({} if pin is None else {"pin": pin})
    return {
        "apiVersion": API,
        "kind": "Snapshot",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": spec,
    }


def refused(cluster: Cluster, namespace: str, *arguments: str) -> str:
    """What the server says to a refused `kubectl delete`."""
    return cluster.kubectl("-n", namespace, "delete", "--wait=false", *arguments, check=False)


@pytest.fixture
def pins(crds: Cluster, namespace: str) -> Iterator[str]:
    """A namespace in which the policy on pins is obeyed."""
    with Policy(crds, {}, namespace):
        crds.apply(snapshot(namespace, "probe", {}))
        wait_for(
            "the policy", lambda: "is pinned" in refused(crds, namespace, "osnap", "probe", "--dry-run=server"), 30
        )
        crds.patch("Snapshot", "probe", namespace, {"spec": {"pin": None}})
        crds.delete("Snapshot", "probe", namespace)
        yield namespace


def test_a_pinned_snapshot_is_not_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {"label": 'the "audit"'}))
    said = refused(crds, pins, "osnap", "kept")
    assert """snapshot kept is pinned (the "audit"): remove spec.pin first""" in said
    command = said.split("for example with ")[1].strip()
    crds.kubectl("-n", pins, *_shell_words(command)[1:])  # what it says works as it stands
    crds.kubectl("-n", pins, "delete", "osnap", "kept")
    crds.wait_gone("Snapshot", "kept", pins, 10)


def _shell_words(text: str) -> list[str]:
    import shlex

    return shlex.split(text)


def test_a_snapshot_without_pin_is_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "free", None))
    crds.kubectl("-n", pins, "delete", "osnap", "free")


def test_deleting_all_leaves_the_pinned_ones(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {}), snapshot(pins, "free", None))
    collection = f"/apis/{API}/namespaces/{pins}/snapshots"
    assert "snapshot kept is pinned" in crds.kubectl("delete", "--raw", collection, check=False)
    assert crds.get("Snapshot", "kept", pins)


def test_other_namespaces_are_not_the_business_of_a_namespaced_release(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot("default", "elsewhere", {}))
    crds.kubectl("-n", "default", "delete", "osnap", "elsewhere")


def test_a_namespace_with_pinned_snapshots_can_be_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {}))
    crds.delete("Namespace", pins)
    crds.wait_gone("Namespace", pins, None, 60)


def test_a_crd_with_pinned_snapshots_can_be_removed(crds: Cluster, namespace: str) -> None:
    """The API server's own finalizer deletes the objects without asking admission. Shown with a copy of CRD and policy in another
    group, since removing ours would take every Snapshot of the cluster along.
    """
    group = f"{unique('t')}.ocore.dev"
    crd = copy.deepcopy(_rendered_crds(Helm(crds))["Snapshot"])
    crd["metadata"] = {"name": f"snapshots.{group}"}
    crd["spec"]["group"] = group
    crd["spec"]["names"] |= {"shortNames": [], "categories": []}
    crds.apply(crd)
    resource = f"snapshots.{group}"
    obj = snapshot(namespace, "kept", {}, finalizers=["ocore.dev/data"]) | {"apiVersion": f"{group}/v1alpha1"}
    try:
        with Policy(crds, {}, namespace, group):
            wait_for(
                "the copy of the CRD",
                lambda: (
                    "created" in crds.kubectl("create", "-f", "-", stdin=json.dumps(obj), check=False)
                    or crds.kubectl("-n", namespace, "get", resource, "kept")
                ),
                30,
            )
            deletion = ("delete", resource, "kept", "--wait=false", "--dry-run=server")
            wait_for(
                "the policy",
                lambda: "is pinned" in crds.kubectl("-n", namespace, *deletion, check=False),
                30,
            )
            crds.kubectl("delete", "crd", resource, "--wait=false")
            # Let through, and waiting for the finalizer: that is where the operator keeps the data in the store.
            wait_for(
                "deleted but for its finalizer",
                lambda: crds.kubectl(
                    "-n", namespace, "get", resource, "kept", "-o", "jsonpath={.metadata.deletionTimestamp}"
                ),
                30,
            )
            crds.kubectl(
                "-n", namespace, "patch", resource, "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
            )
            crds.wait_gone("CustomResourceDefinition", resource, None, 60)
    finally:
        crds.kubectl("delete", "crd", resource, "--ignore-not-found", "--wait=false")


def environment(namespace: str, project: str) -> Object:
    """An Environment of that project."""
    return {
        "apiVersion": API,
        "kind": "Environment",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "projectId": project,
            "type": "staging",
            "storeRef": {"name": "main"},
            "database": {"secretRef": {"name": "db"}},
        },
    }


def test_a_project_is_held_to_the_namespaces_label(crds: Cluster, namespace: str) -> None:
    mine, other = "0f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b", "1f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b"

    def ask(project: str) -> str:
        return crds.kubectl(
            "create", "--dry-run=server", "-f", "-", stdin=json.dumps(environment(namespace, project)), check=False
        )

    with Policy(crds, {"admissionPolicies": {"projectLabel": "example.org/project"}}, namespace):
        unlabelled = f"namespace {namespace} has no label example.org/project: ask a cluster administrator"
        wait_for("the policy", lambda: unlabelled in ask(mine), 30)
        crds.patch("Namespace", namespace, None, {"metadata": {"labels": {"example.org/project": mine}}})
        wait_for("the label", lambda: "created" in ask(mine), 30)
        assert f"projectId must be {mine}, the project of namespace {namespace}" in ask(other)
