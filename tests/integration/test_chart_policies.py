"""The chart's admission policies on the real API server: what they refuse, what they say, and what they let through."""

import copy
import json
import shlex
from collections.abc import Iterator

import pytest
from kubernetes.client.exceptions import ApiException

from ocore_cli.objects import KubernetesObjects
from ocore_crds.kinds import SNAPSHOT
from support.cluster.chart import Helm, find, snapshot
from support.cluster.cluster import GROUP as API
from support.cluster.cluster import Cluster, Object, unique, wait_for
from support.cluster.operator import NAMESPACE, RELEASE


@pytest.fixture(scope="module", autouse=True)
def _no_other_policies(crds: Cluster) -> None:
    """A release that holds everywhere would answer in place of the policies tried here."""
    Helm(crds).uninstall(RELEASE, NAMESPACE)


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    name = crds.namespace("policy")
    yield name
    for obj in crds.objects("Snapshot", name):  # an operator may have been here
        crds.patch("Snapshot", obj["metadata"]["name"], name, {"metadata": {"finalizers": None}})
    crds.delete("Namespace", name)


class Policy:
    """The chart's policies under a name of their own, bound to one namespace, once the server obeys them."""

    def __init__(self, cluster: Cluster, values: Object, namespace: str, group: str = "ocore.dev") -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.release = unique("policy")
        rendered = Helm(cluster).render(values | {"watchNamespaces": [namespace]}, release=self.release)
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
    crds.kubectl("-n", pins, *shlex.split(command)[1:])  # what it says works as it stands
    crds.kubectl("-n", pins, "delete", "osnap", "kept")
    crds.wait_gone("Snapshot", "kept", pins, 10)


def test_a_snapshot_without_pin_is_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "free", None))
    crds.kubectl("-n", pins, "delete", "osnap", "free")


def test_deleting_all_leaves_the_pinned_ones(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {}), snapshot(pins, "free", None))
    collection = f"/apis/{API}/namespaces/{pins}/snapshots"
    assert "snapshot kept is pinned" in crds.kubectl("delete", "--raw", collection, check=False)
    assert crds.get("Snapshot", "kept", pins)


def enter(cluster: Cluster, namespace: str, name: str, *dependents: str) -> None:
    """As the operator enters differentials in a full Snapshot."""
    patch = json.dumps({"status": {"dependents": list(dependents)}})
    cluster.kubectl("-n", namespace, "patch", "osnap", name, "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture
def needed(crds: Cluster, namespace: str) -> Iterator[str]:
    """A namespace in which the policy on needed Snapshots is obeyed, with the Snapshot `full`, which `a` needs."""
    with Policy(crds, {}, namespace):
        crds.apply(snapshot(namespace, "full", None))
        enter(crds, namespace, "full", "a")
        wait_for(
            "the policy", lambda: "is needed by" in refused(crds, namespace, "osnap", "full", "--dry-run=server"), 30
        )
        yield namespace


def test_a_full_snapshot_that_is_needed_is_not_deleted(crds: Cluster, needed: str) -> None:
    said = refused(crds, needed, "osnap", "full")
    assert "snapshot full is needed by 1 differential snapshots (a): delete them first" in said
    enter(crds, needed, "full", *"abcdefg")
    assert "needed by 7 differential snapshots (a, b, c, d, e, …)" in refused(crds, needed, "osnap", "full")
    assert (
        "deletionTimestamp"
        not in (crds.get("Snapshot", "full", needed) or {"metadata": {"deletionTimestamp": ""}})["metadata"]
    )
    enter(crds, needed, "full")
    crds.kubectl("-n", needed, "delete", "osnap", "full")
    crds.wait_gone("Snapshot", "full", needed, 10)


def test_a_namespace_with_needed_snapshots_is_deleted(crds: Cluster, needed: str) -> None:
    crds.delete("Namespace", needed)
    crds.wait_gone("Namespace", needed, None, 60)


def test_deleting_all_leaves_the_needed_ones(crds: Cluster, needed: str) -> None:
    crds.apply(snapshot(needed, "free", None))
    collection = f"/apis/{API}/namespaces/{needed}/snapshots"
    assert "snapshot full is needed by" in crds.kubectl("delete", "--raw", collection, check=False)
    assert crds.get("Snapshot", "full", needed)


@pytest.fixture
def limited(crds: Cluster, pins: str) -> str:
    """A namespace with a policy of the environment shop that allows one pin, and says that there is one."""
    crds.apply(
        {
            "apiVersion": API,
            "kind": "SnapshotPolicy",
            "metadata": {"name": "shop", "namespace": pins},
            "spec": {"environmentRef": {"name": "shop"}, "maxPinned": 1},
        }
    )
    set_pinned(crds, pins, 1)
    crds.apply(snapshot(pins, "free", None))
    wait_for("the policy", lambda: "maxPinned" in pin(crds, pins, "free", "--dry-run=server"))
    return pins


def set_pinned(cluster: Cluster, namespace: str, count: int) -> None:
    """As the operator reports it."""
    patch = json.dumps({"status": {"pinned": count}})
    cluster.kubectl("-n", namespace, "patch", "opol", "shop", "--subresource=status", "--type=merge", "-p", patch)


def pin(cluster: Cluster, namespace: str, name: str, *arguments: str) -> str:
    """What the server says to a pin."""
    patch = json.dumps({"spec": {"pin": {"label": "audit"}}})
    return cluster.kubectl(
        "-n", namespace, "patch", "osnap", name, "--type=merge", "-p", patch, *arguments, check=False
    )


def test_more_pins_than_the_policy_allows_are_refused(crds: Cluster, limited: str) -> None:
    said = pin(crds, limited, "free")
    assert "1 snapshots of environment shop are pinned, and maxPinned of its SnapshotPolicy is 1" in said
    assert "raise maxPinned" in said
    with pytest.raises(ApiException, match="maxPinned"):
        crds.apply(snapshot(limited, "new", {}))
    set_pinned(crds, limited, 0)
    assert "patched" in pin(crds, limited, "free")


def test_a_pin_that_is_there_may_be_changed_and_removed(crds: Cluster, limited: str) -> None:
    set_pinned(crds, limited, 0)
    assert "patched" in pin(crds, limited, "free")
    set_pinned(crds, limited, 5)
    crds.patch("Snapshot", "free", limited, {"spec": {"pin": {"label": "another"}}})
    crds.patch("Snapshot", "free", limited, {"spec": {"pin": None}})


def test_other_environments_and_a_limit_of_0_are_free(crds: Cluster, limited: str) -> None:
    other = snapshot(limited, "other", {})
    other["spec"]["environmentRef"]["name"] = "another"
    crds.apply(other)
    crds.patch("SnapshotPolicy", "shop", limited, {"spec": {"maxPinned": 0}})
    wait_for("no limit", lambda: "patched" in pin(crds, limited, "free", "--dry-run=server"))


@pytest.fixture
def unlimited(crds: Cluster, pins: str) -> str:
    """A namespace with an Environment that has no SnapshotPolicy, and says that one of one allowed Snapshot is pinned."""
    crds.apply(
        {
            "apiVersion": API,
            "kind": "Environment",
            "metadata": {"name": "shop", "namespace": pins},
            "spec": {
                "projectId": "6a1c3a52-6f3e-4bb0-9a55-0c7f3a1b2c3d",
                "type": "staging",
                "storeRef": {"name": "store"},
                "filestore": {"claimName": "files", "path": "data", "layout": "Plain"},
            },
        }
    )
    count_pins(crds, pins, {"pinned": 1, "limit": 1})
    crds.apply(snapshot(pins, "free", None))
    wait_for("the policy", lambda: "default limit" in pin(crds, pins, "free", "--dry-run=server"))
    return pins


def count_pins(cluster: Cluster, namespace: str, pins: dict[str, int] | None) -> None:
    """As the operator reports it, while there is no SnapshotPolicy."""
    patch = json.dumps({"status": {"pins": pins}})
    cluster.kubectl("-n", namespace, "patch", "oenv", "shop", "--subresource=status", "--type=merge", "-p", patch)


def test_without_a_policy_the_default_limit_of_pins_holds(crds: Cluster, unlimited: str) -> None:
    said = pin(crds, unlimited, "free")
    assert "1 snapshots of environment shop are pinned, and the default limit is 1" in said
    assert "create a SnapshotPolicy" in said
    with pytest.raises(ApiException, match="default limit"):
        crds.apply(snapshot(unlimited, "new", {}))
    other = snapshot(unlimited, "other", {})
    other["spec"]["environmentRef"]["name"] = "another"
    crds.apply(other)
    count_pins(crds, unlimited, {"pinned": 0, "limit": 1})
    assert "patched" in pin(crds, unlimited, "free")
    count_pins(crds, unlimited, {"pinned": 5, "limit": 1})
    crds.patch("Snapshot", "free", unlimited, {"spec": {"pin": {"label": "another"}}})
    crds.patch("Snapshot", "free", unlimited, {"spec": {"pin": None}})


def test_without_a_policy_and_without_pins_the_first_pin_is_accepted(crds: Cluster, unlimited: str) -> None:
    """And where a policy has taken over: the operator removes the field then."""
    count_pins(crds, unlimited, None)
    assert "patched" in pin(crds, unlimited, "free")


def test_other_namespaces_are_not_the_business_of_a_namespaced_release(crds: Cluster, pins: str) -> None:
    other = crds.namespace("policy-other")
    crds.apply(snapshot(other, "elsewhere", {}))
    crds.kubectl("-n", other, "delete", "osnap", "elsewhere", "--timeout=20s")
    crds.delete("Namespace", other)


def test_a_namespace_with_pinned_snapshots_can_be_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {}))
    crds.delete("Namespace", pins)
    crds.wait_gone("Namespace", pins, None, 60)


def test_a_crd_with_pinned_snapshots_can_be_removed(crds: Cluster, namespace: str) -> None:
    """The API server's own finalizer deletes the objects without asking admission. Shown with a copy of CRD and policy in another
    group, since removing ours would take every Snapshot of the cluster along.
    """
    group = f"{unique('t')}.ocore.dev"
    crd = copy.deepcopy(find(Helm(crds).render({}), "CustomResourceDefinition", "snapshots.ocore.dev"))
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
        wait_for("the policy", lambda: unlabelled in ask(mine))
        crds.patch("Namespace", namespace, None, {"metadata": {"labels": {"example.org/project": mine}}})
        wait_for("the label", lambda: "created" in ask(mine))
        assert f"projectId must be {mine}, the project of namespace {namespace}" in ask(other)


# --- requestedBy ----------------------------------------------------------------------------------------------------


TRUSTED = "system:serviceaccount:argocd:argocd-application-controller"


def asked_by(namespace: str, kind: str, requested_by: str | None) -> Object:
    """A Snapshot or Rollback that names who asked for it."""
    spec: Object = {"environmentRef": {"name": "shop"}} if kind == "Snapshot" else {"snapshotRef": {"name": "base"}}
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": "asked", "namespace": namespace},
        "spec": spec | ({"requestedBy": requested_by} if requested_by is not None else {}),
    }


def create_as(cluster: Cluster, user: str, obj: Object) -> str:
    """What the server says to a creation by that user, who has all rights."""
    arguments = ("create", "--dry-run=server", "-f", "-", f"--as={user}", "--as-group=system:masters")
    return cluster.kubectl(*arguments, stdin=json.dumps(obj), check=False)


@pytest.fixture
def requesters(crds: Cluster, namespace: str) -> Iterator[str]:
    """A namespace in which the policy on requestedBy is obeyed."""
    with Policy(crds, {"admissionPolicies": {"requestedByTrusted": [TRUSTED]}}, namespace) as policy:
        wait_for(
            "the policy",
            lambda: "leave it out" in create_as(crds, "ann", asked_by(namespace, "Rollback", "bob")),
            30,
        )
        yield policy.release


@pytest.mark.parametrize("kind", ["Snapshot", "Rollback"])
def test_a_user_names_no_other_user(crds: Cluster, namespace: str, requesters: str, kind: str) -> None:
    said = create_as(crds, "ann", asked_by(namespace, kind, "bob"))
    assert "spec.requestedBy is bob, and the user is ann: leave it out" in said
    for own in ("ann", "", None):
        assert "created" in create_as(crds, "ann", asked_by(namespace, kind, own))
    job = "system:serviceaccount:ocore-system:default"
    assert "leave it out" in create_as(crds, job, asked_by(namespace, kind, "bob"))


@pytest.mark.parametrize("kind", ["Snapshot", "Rollback"])
def test_operator_facade_and_trusted_users_name_others(
    crds: Cluster, namespace: str, requesters: str, kind: str
) -> None:
    own = f"{requesters}-ocore-snapshots"
    accounts = [f"system:serviceaccount:ocore-system:{name}" for name in (own, f"{own}-api")]
    for user in (*accounts, TRUSTED):
        assert "created" in create_as(crds, user, asked_by(namespace, kind, "bob")), user
    elsewhere = f"system:serviceaccount:{namespace}:{own}-api"
    assert "leave it out" in create_as(crds, elsewhere, asked_by(namespace, kind, "bob")), "another namespace's account"


def test_kubectl_ocore_enters_the_name_that_the_api_server_knows(
    crds: Cluster, namespace: str, requesters: str
) -> None:
    objects = KubernetesObjects(crds.env["KUBECONFIG"], None, namespace)
    assert objects.user() == crds.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    body = asked_by(namespace, "Snapshot", objects.user())
    assert objects.create(SNAPSHOT, body)["spec"]["requestedBy"] == objects.user()
