"""Every example is taken by the real API server; the expressions for Flux mean what they should."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from ocore_crds.kinds import KINDS
from support.cluster.cluster import REPOSITORY, Cluster, Object, documents, unique, wait_for
from support.cluster.shared import Shared
from support.operator.statuses import ALL, Sample
from support.other_tools import CRDS, load

EXAMPLES = REPOSITORY / "examples"
FILES = [
    *sorted(EXAMPLES.glob("*.yaml")),
    *sorted(EXAMPLES.glob("gitops/shop/*.yaml")),
    *sorted(p for p in EXAMPLES.glob("before-deployment/*.yaml") if p.name != "flux.yaml"),
    EXAMPLES / "gitops/argocd/argocd-cm.yaml",
]
#: Kinds of Argo CD, Flux, kustomize and CloudNativePG, which the local cluster has not.
FOREIGN = {"Application", "Cluster", "Kustomization", "OCIRepository", "HelmRelease"}
PLURAL = {kind.kind: kind.plural for kind in KINDS}


@pytest.fixture(scope="module")
def namespace(crds: Cluster) -> Iterator[str]:
    name = crds.namespace("examples")
    yield name
    crds.delete("Namespace", name)


def take(cluster: Cluster, namespace: str, obj: Object) -> Object:
    """Created as a dry run; unknown fields are errors."""
    obj = obj | {"metadata": obj["metadata"] | {"namespace": namespace}}
    resource = cluster.dynamic.resources.get(api_version=obj["apiVersion"], kind=obj["kind"])
    # Not `field_validation=`: the dynamic client leaves out what it does not know.
    strict = [("fieldValidation", "Strict")]
    created = resource.create(body=obj, namespace=namespace, dry_run="All", query_params=strict)
    return dict(created.to_dict())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_the_api_server_takes_it(crds: Cluster, namespace: str, path: Path) -> None:
    found = [d for d in documents(path) if d["kind"] not in FOREIGN]
    assert found or path.name == "kustomization.yaml"
    for obj in found:
        take(crds, namespace, obj)


@pytest.mark.parametrize(("phase", "code"), [("Complete", 0), ("Failed", 1)])
def test_the_wait_of_the_pages_ends_with_success_and_with_failure(
    crds: Cluster, namespace: str, phase: str, code: int
) -> None:
    page = (REPOSITORY / "docs/install.md").read_text().partition("### Wait for the end")[2]
    script, *_ = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    name = unique("ended")
    metadata = {"name": name, "namespace": namespace}
    spec = {"environmentRef": {"name": "shop"}}
    crds.apply({"apiVersion": "ocore.dev/v1alpha1", "kind": "Snapshot", "metadata": metadata, "spec": spec})
    crds.patch_status("Snapshot", name, namespace, {"phase": phase, "completedAt": "2026-01-31T23:59:59Z"})
    script = script.replace("-n shop", f"-n {namespace}").replace("NAME", name).replace("--timeout=1h", "--timeout=20s")
    done = subprocess.run(
        ["bash", "-euc", script],
        env={**os.environ, **crds.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "condition met" in done.stdout) == (code, True), done.stderr


def test_there_is_an_example_of_each_kind() -> None:
    kinds = {d["kind"] for path in EXAMPLES.glob("*.yaml") for d in documents(path)}
    assert kinds >= set(PLURAL)
    stores = [d for p in EXAMPLES.glob("snapshotstore-*.yaml") for d in documents(p) if d["kind"] == "SnapshotStore"]
    assert {key for store in stores for key in store["spec"] if key in ("s3", "claim")} == {"s3", "claim"}


def test_the_folder_for_gitops_builds(crds: Cluster, namespace: str) -> None:
    built = list(yaml.safe_load_all(crds.kubectl("kustomize", str(EXAMPLES / "gitops/shop"))))
    assert {obj["kind"] for obj in built} == set(PLURAL)
    assert {obj["metadata"]["namespace"] for obj in built} == {"shop"}
    for obj in built:
        take(crds, namespace, obj)


# --- Argo CD and Flux, by their own schemas (tests/schemas) ------------------------------------------------------


@pytest.fixture(scope="module")
def others(crds: Cluster, shared: Shared) -> set[tuple[str, str]]:
    """The CRDs of Argo CD and Flux; apiVersion and kind of each. They stay: a test of another worker may need them
    later."""
    found = [load(name)["crd"] for name in CRDS]

    def install() -> str:
        crds.apply(*found)
        for name in CRDS:
            crds.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
        return "installed"

    shared.once("schemas-of-others", install)
    crds.dynamic.resources.invalidate_cache()
    return {(f"{c['spec']['group']}/{c['spec']['versions'][0]['name']}", c["spec"]["names"]["kind"]) for c in found}


def of_others(kinds: set[tuple[str, str]]) -> list[tuple[Path, Object]]:
    paths = sorted(p for p in EXAMPLES.rglob("*.yaml") if "templates" not in p.parts)
    return [(p, d) for p in paths for d in documents(p) if (d.get("apiVersion"), d.get("kind")) in kinds]


def test_argo_cd_and_flux_take_their_examples(crds: Cluster, namespace: str, others: set[tuple[str, str]]) -> None:
    found = of_others(others)
    assert {(d["apiVersion"], d["kind"]) for _, d in found} == others
    assert {p.name for p, _ in found} >= {"flux.yaml", "application.yaml", "kustomization.yaml"}
    for _, obj in found:
        take(crds, namespace, obj)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Kustomization", {"interval": "10 minutes"}),
        ("Kustomization", {"wait": "yes"}),
        ("Kustomization", {"dependOn": []}),
        ("Application", {"project": None}),
        ("Application", {"syncPolicy": {"automated": {"prune": True, "heal": True}}}),
        ("OCIRepository", {"url": "registry.example.org/team"}),
        ("OCIRepository", {"layerSelector": {"mediaType": "a", "operation": "keep"}}),
        ("HelmRelease", {"chart": {"spec": {"chart": "a", "sourceRef": {"kind": "OCIRepository", "name": "a"}}}}),
        ("HelmRelease", {"chartRef": {"kind": "GitRepository", "name": "a"}}),
        ("HelmRelease", {"install": {"createNamespaces": True}}),
    ],
)
def test_their_schemas_refuse_mistakes(
    crds: Cluster, namespace: str, others: set[tuple[str, str]], kind: str, change: Object
) -> None:
    obj = next(d for _, d in of_others(others) if d["kind"] == kind)
    spec = {k: v for k, v in (obj["spec"] | change).items() if v is not None}
    with pytest.raises(ApiException):
        take(crds, namespace, obj | {"spec": spec})


def test_the_kinds_of_others_are_named_rightly() -> None:
    kinds = {
        (d["apiVersion"], d["kind"])
        for folder in ("argocd", "flux", "shop")
        for path in (EXAMPLES / "gitops" / folder).glob("*.yaml")
        for d in documents(path)
        if d["kind"] in FOREIGN
    }
    assert kinds == {
        ("argoproj.io/v1alpha1", "Application"),
        ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
        ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
        ("source.toolkit.fluxcd.io/v1", "OCIRepository"),
        ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
    }


# --- Flux ----------------------------------------------------------------------------------------------------
def flux() -> Object:
    """The Kustomization's spec."""
    (found,) = documents(EXAMPLES / "gitops/flux/kustomization.yaml")
    spec: Object = found["spec"]
    return spec


def test_flux_checks_every_object_of_the_folder(crds: Cluster) -> None:
    built = yaml.safe_load_all(crds.kubectl("kustomize", str(EXAMPLES / "gitops/shop")))
    there = {(o["kind"], o["metadata"]["name"], o["metadata"]["namespace"]) for o in built}
    assert {(c["kind"], c["name"], c["namespace"]) for c in flux()["healthChecks"]} == there
    assert flux()["force"] is False


def _as_policy(expression: str) -> str:
    """Flux gives an object's fields by their names, an admission policy gives the object."""
    return re.sub(r"(?<![\w.])(status|metadata)\.", r"object.\1.", expression)


def policy(name: str, namespace: str, check: Object) -> list[Object]:
    """A policy that refuses every write of a status and says what Flux would call it: in progress first, then failed,
    then current."""
    plural = PLURAL[check["kind"]]
    verdict = (
        'variables.inProgress ? "InProgress" : variables.failed ? "Failed" : variables.current ? "Current" :'
        ' "InProgress"'
    )
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["ocore.dev"],
                    "apiVersions": ["*"],
                    "operations": ["UPDATE"],
                    "resources": [f"{plural}/status"],
                }
            ]
        },
        "variables": [
            {"name": part, "expression": _as_policy(check[part])} for part in ("inProgress", "failed", "current")
        ],
        "validations": [{"expression": "false", "messageExpression": f'"flux says " + ({verdict})'}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    api = "admissionregistration.k8s.io/v1"
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": binding},
    ]


def verdict(cluster: Cluster, namespace: str, obj: Object) -> str:
    """What Flux would call the object, evaluated by the API server's CEL; empty while the policy is not obeyed yet."""
    custom = client.CustomObjectsApi(cluster.api)
    patch = [{"op": "add", "path": "/status", "value": obj["status"]}]
    try:
        custom.patch_namespaced_custom_object_status(
            "ocore.dev", "v1alpha1", namespace, PLURAL[obj["kind"]], "sample", patch, dry_run="All",
            _content_type="application/json-patch+json",
        )  # fmt: skip
    except ApiException as error:
        said = json.loads(error.body or "{}")["message"]
        found = re.search(r"flux says (\w+)", said)
        assert found, said
        return found[1]
    return ""


@pytest.fixture(scope="module")
def judging(crds: Cluster) -> Iterator[str]:
    """A namespace in which policies say of each status what Flux would. No other test writes a status there: it would
    be refused."""
    namespace, name = crds.namespace("flux"), unique("flux")
    objects = [
        o for check in flux()["healthCheckExprs"] for o in policy(f"{name}-{PLURAL[check['kind']]}", namespace, check)
    ]
    assert len(objects) == 2 * len(PLURAL)
    for kind in PLURAL:
        ready, *_ = [s.obj for k, s in ALL if k == kind and s.name == "stalled"]
        crds.apply({**ready, "metadata": {"name": "sample", "namespace": namespace}, "status": {}})
    crds.apply(*objects)
    for kind in PLURAL:
        ready, *_ = [s.obj for k, s in ALL if k == kind and s.name == "stalled"]
        wait_for(f"the policy for {kind}", lambda ready=ready: verdict(crds, namespace, ready))
    yield namespace
    for obj in objects:
        crds.delete(obj["kind"], obj["metadata"]["name"])
    crds.delete("Namespace", namespace)


@pytest.mark.parametrize(("kind", "sample"), ALL, ids=lambda v: v.name if isinstance(v, Sample) else v)
def test_flux_health(crds: Cluster, judging: str, kind: str, sample: Sample) -> None:
    stored = crds.get(kind, "sample", judging)
    assert stored
    status = dict(sample.obj.get("status", {}))
    # The samples are of generation 3; the stored object's is its own.
    if status.get("observedGeneration") == sample.obj["metadata"]["generation"]:
        status["observedGeneration"] = stored["metadata"]["generation"]
    assert verdict(crds, judging, {"kind": kind, "status": status}) == sample.flux
