"""The chart as a release on a real cluster: installed, upgraded from the version before, uninstalled; what is kept."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from ocore_crds.kinds import KINDS
from support.cluster.chart import CHART, Helm, HelmError, find, snapshot
from support.cluster.cluster import AS_OPERATOR, REPOSITORY, Cluster, Object, is_true
from support.cluster.cluster import GROUP as API
from support.cluster.operator import NAMESPACE, RELEASE, Operator
from support.crds.rules import changed, nodes, schema_of
from support.crds.samples import SPECS, sample
from support.operator.folder import JOB_USER

#: The release, its CRDs and its policies are the whole cluster's.
pytestmark = pytest.mark.exclusive

BY_KIND = {kind.kind: kind for kind in KINDS}

#: An operator that never starts: what is compared must not be written in the meantime. The samples name a user who is
#: not the one that creates them.
VALUES: Object = {
    "operator": {"image": {"repository": "localhost/absent", "pullPolicy": "Never"}},
    "admissionPolicies": {"requestedByTrusted": ["admin"]} | AS_OPERATOR,
}


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
            "metadata": {"name": name_of(kind, i), "namespace": namespace},
            "spec": {**spec, "environmentRef": {"name": name_of(kind, i)}} if kind == "SnapshotPolicy" else spec,
        }
        for kind, specs in SPECS.items()
        for i, spec in enumerate(specs)
    ]


def name_of(kind: str, number: int) -> str:
    """A policy has the name of its environment."""
    return f"{kind.lower()}-{number}"


def create(cluster: Cluster, objects: list[Object]) -> dict[str, Object]:
    """Creates them with a complete status; name → as stored."""
    custom = client.CustomObjectsApi(cluster.api)
    schemas = served_schemas(cluster)
    for obj in objects:
        meta, plural = obj["metadata"], BY_KIND[obj["kind"]].plural
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
    kinds = {kind: BY_KIND[kind].crd_name for kind in SPECS}
    return {kind: schema_of(cluster.get("CustomResourceDefinition", name) or {}) for kind, name in kinds.items()}


# --- the version before --------------------------------------------------------------------------------------
def previous_chart(folder: Path) -> Path:
    """The chart of the last release; before the first one, today's with the fields of `NEW_FIELDS` missing and a lower
    version."""
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
        _without(chart / f"templates/crds/ocore.dev_{BY_KIND[kind].plural}.yaml", field)
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

    first = next(obj for obj in everything(namespace) if obj["kind"] == "Snapshot")
    new = changed(first, {"metadata.name": "after", "spec.pin": {"label": "new"}})
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
        assert crds.get("CustomResourceDefinition", BY_KIND[kind].crd_name)
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
    """As after `kubectl apply -f crds/`: Helm says whose they are, and --take-ownership (docs/install.md) takes them
    over."""
    for kind in SPECS:
        owned = {"meta.helm.sh/release-name": None, "meta.helm.sh/release-namespace": None}
        crds.patch("CustomResourceDefinition", BY_KIND[kind].crd_name, None, {"metadata": {"annotations": owned}})
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
    for words in ("watches the whole cluster", "kubectl get ocore", "keeps the CRDs", "ocore init", "ocore doctor"):
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
    assert not may("patch", "environments", namespace, "ocore.dev")
    assert not may("list", "snapshots", other, "ocore.dev")
    # Where the namespace is being deleted its Role is gone already; the finalizers must still go.
    assert may("patch", "snapshots", other, "ocore.dev")
    assert not may("patch", "snapshots", other, "ocore.dev", "status")
    assert not may("get", "environments", other, "ocore.dev")
    for verb in ("get", "list", "watch", "create"):
        assert not may(verb, "secrets", namespace)
    assert not may("create", "pods", namespace, "", "exec")
    crds.delete("Namespace", other)


def _account(helm: Helm) -> str:
    return str(find(helm.render(VALUES), "ServiceAccount")["metadata"]["name"])


# --- the operator itself -------------------------------------------------------------------------------------
def need_images(cluster: Cluster, *images: str) -> None:
    """Skips where the node lacks one; `make test` has them all."""
    (node,) = cluster.core.list_node().items
    there = {name for image in node.status.images or () for name in image.names or ()}
    for image in images:
        if not any(name.endswith(f"ocore-snapshots/{image}") for name in there):
            pytest.skip(f"the image is not loaded: localcluster/cluster images {image}")


def restricted_namespace(cluster: Cluster) -> None:
    """The operator's namespace under the restricted pod security standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})


def test_the_operator_becomes_ready(helm: Helm, crds: Cluster) -> None:
    """Also a proof that the rendered settings, probes, permissions and the restricted pod work together."""
    need_images(crds, "operator:dev")
    restricted_namespace(crds)
    helm.install(RELEASE, NAMESPACE, {}, "--wait")
    pod: Object = Operator(crds).pod()
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    service = find(Helm(crds).render({}), "Service")["metadata"]["name"]
    path = f"/api/v1/namespaces/{NAMESPACE}/services/{service}:http/proxy/metrics"
    assert "# HELP" in crds.kubectl("get", "--raw", path)


def test_a_namespaced_operator_works_and_lets_its_namespace_go(helm: Helm, crds: Cluster, namespace: str) -> None:
    """With a Role in one namespace it runs a Job there; once the Role has vanished its finalizers still go."""
    need_images(crds, "operator:dev", "mover:17")
    restricted_namespace(crds)
    helm.install(RELEASE, NAMESPACE, {"watchNamespaces": [namespace]}, "--wait")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "backups", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    store = {
        "apiVersion": API,
        "kind": "SnapshotStore",
        "metadata": {"name": "main", "namespace": namespace},
        "spec": {"claim": {"claimName": "backups"}},
    }
    environment = {
        "apiVersion": API,
        "kind": "Environment",
        "metadata": {"name": "files", "namespace": namespace},
        "spec": {
            "projectId": SPECS["Environment"][0]["projectId"],
            "type": "development",
            "storeRef": {"name": "main"},
            "filestore": {"claimName": "backups", "path": "files", "layout": "Plain"},
            "jobs": JOB_USER,
        },
    }
    crds.apply(claim, store, environment)
    crds.wait("SnapshotStore", "main", namespace, lambda o: is_true(o, "Ready"), 120)
    crds.apply(snapshot(namespace, "waiting", None))
    crds.wait("Snapshot", "waiting", namespace, lambda o: bool(o["metadata"].get("finalizers")), 30)
    log = Operator(crds).logs(1000)
    assert "forbidden" not in log.lower(), log
    crds.delete("Namespace", namespace)
    crds.wait_gone("Namespace", namespace, None, 90)
