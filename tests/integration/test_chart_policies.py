"""The chart's admission policies on the real API server: what they refuse, what they say, and what they let through."""

import copy
import json
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from kubernetes.client.exceptions import ApiException

from ocore_cli.objects import Objects
from ocore_crds.kinds import SNAPSHOT
from support.cluster.admission_policies import AdmissionPolicies
from support.cluster.chart import Helm, find, snapshot
from support.cluster.cluster import GROUP as API
from support.cluster.cluster import Cluster, Object, unique, wait_for
from support.cluster.operator import NAMESPACE, RELEASE


@pytest.fixture(scope="module", autouse=True)
def _no_other_policies(crds: Cluster) -> None:
    """A release that holds everywhere would answer in place of the policies tried here."""
    Helm(crds).uninstall(RELEASE, NAMESPACE)


@pytest.fixture(scope="module")
def guarded(crds: Cluster) -> Iterator[Iterator[str]]:
    """Names of namespaces that do not exist yet, in which the chart's policies hold."""
    names = [unique("policy") for _ in range(30)]
    with AdmissionPolicies(crds, {}, *names):
        yield iter(names)


@pytest.fixture
def namespace(crds: Cluster, guarded: Iterator[str]) -> Iterator[str]:
    """A new namespace, in which the chart's policies hold soon."""
    name = crds.create_namespace(next(guarded))
    yield name
    remove(crds, name)


@pytest.fixture
def unguarded(crds: Cluster) -> Iterator[str]:
    """A new namespace in which no policy holds."""
    name = crds.namespace("policy")
    yield name
    remove(crds, name)


def remove(cluster: Cluster, namespace: str) -> None:
    for obj in cluster.objects("Snapshot", namespace):  # an operator may have been here
        cluster.patch("Snapshot", obj["metadata"]["name"], namespace, {"metadata": {"finalizers": None}})
    cluster.delete("Namespace", namespace)


def refused(cluster: Cluster, namespace: str, name: str | None) -> str:
    """What the server says to a deletion of a Snapshot, or of all of them, that it refuses."""
    return cluster.refusal("DELETE", "Snapshot", namespace, name, dry_run=name == "probe")


@pytest.fixture
def pins(crds: Cluster, namespace: str) -> str:
    """A namespace in which the policy on pins is obeyed."""
    crds.apply(snapshot(namespace, "probe", {}))
    wait_for("the policy", lambda: "is pinned" in refused(crds, namespace, "probe"), 30)
    crds.patch("Snapshot", "probe", namespace, {"spec": {"pin": None}})
    crds.delete("Snapshot", "probe", namespace)
    return namespace


def test_a_pinned_snapshot_is_not_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {"label": 'the "audit"'}))
    said = refused(crds, pins, "kept")
    assert """snapshot kept is pinned (the "audit"): remove spec.pin first""" in said
    command = said.split("for example with ")[1].strip()
    crds.kubectl("-n", pins, *shlex.split(command)[1:])  # what it says works as it stands
    assert refused(crds, pins, "kept") == ""
    crds.wait_gone("Snapshot", "kept", pins, 10)


def test_a_snapshot_without_pin_is_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "free", None))
    assert refused(crds, pins, "free") == ""
    crds.wait_gone("Snapshot", "free", pins, 10)


def test_deleting_all_leaves_the_pinned_ones(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {}), snapshot(pins, "free", None))
    assert "snapshot kept is pinned" in refused(crds, pins, None)
    assert crds.get("Snapshot", "kept", pins)


def enter(cluster: Cluster, namespace: str, name: str, *dependents: str) -> None:
    """As the operator enters differentials in a full Snapshot."""
    cluster.patch_status("Snapshot", name, namespace, {"dependents": list(dependents)})


@pytest.fixture
def needed(crds: Cluster, namespace: str) -> str:
    """A namespace in which the policy on needed Snapshots is obeyed, with the Snapshot `full`, which `a` needs."""
    crds.apply(snapshot(namespace, "full", None), snapshot(namespace, "probe", None))
    enter(crds, namespace, "full", "a")
    enter(crds, namespace, "probe", "a")
    wait_for("the policy", lambda: "is needed by" in refused(crds, namespace, "probe"), 30)
    enter(crds, namespace, "probe")
    crds.delete("Snapshot", "probe", namespace)
    return namespace


def test_a_full_snapshot_that_is_needed_is_not_deleted(crds: Cluster, needed: str) -> None:
    said = refused(crds, needed, "full")
    assert "snapshot full is needed by 1 differential snapshots (a): delete them first" in said
    enter(crds, needed, "full", *"abcdefg")
    assert "needed by 7 differential snapshots (a, b, c, d, e, …)" in refused(crds, needed, "full")
    assert (
        "deletionTimestamp"
        not in (crds.get("Snapshot", "full", needed) or {"metadata": {"deletionTimestamp": ""}})["metadata"]
    )
    enter(crds, needed, "full")
    assert refused(crds, needed, "full") == ""
    crds.wait_gone("Snapshot", "full", needed, 10)


def test_a_namespace_with_needed_snapshots_is_deleted(crds: Cluster, needed: str) -> None:
    crds.delete("Namespace", needed)
    crds.wait_gone("Namespace", needed, None, 60)


def test_deleting_all_leaves_the_needed_ones(crds: Cluster, needed: str) -> None:
    crds.apply(snapshot(needed, "free", None))
    assert "snapshot full is needed by" in refused(crds, needed, None)
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
    crds.apply(snapshot(pins, "free", None), snapshot(pins, "probe", None))
    set_pinned(crds, pins, 1)
    return pins


def set_pinned(cluster: Cluster, namespace: str, count: int) -> None:
    """As the operator reports it, once the policy has seen it."""
    cluster.patch_status("SnapshotPolicy", "shop", namespace, {"pinned": count})
    wait_for_pins(cluster, namespace, refused=count >= 1)


def wait_for_pins(cluster: Cluster, namespace: str, *, refused: bool) -> None:
    """Until the server's admission refuses or accepts a pin: it reads its parameters from a watch."""
    wait_for("the count of pins", lambda: bool(pin(cluster, namespace, "probe", dry_run=True)) == refused)


def pin(cluster: Cluster, namespace: str, name: str, *, dry_run: bool = False) -> str:
    """What the server says to a pin that it refuses."""
    patch = {"spec": {"pin": {"label": "audit"}}}
    return cluster.refusal("PATCH", "Snapshot", namespace, name, patch, dry_run=dry_run)


def test_more_pins_than_the_policy_allows_are_refused(crds: Cluster, limited: str) -> None:
    said = pin(crds, limited, "free")
    assert "1 snapshots of environment shop are pinned, and maxPinned of its SnapshotPolicy is 1" in said
    assert "raise maxPinned" in said
    with pytest.raises(ApiException, match="maxPinned"):
        crds.apply(snapshot(limited, "new", {}))
    set_pinned(crds, limited, 0)
    assert pin(crds, limited, "free") == ""


def test_a_pin_that_is_there_may_be_changed_and_removed(crds: Cluster, limited: str) -> None:
    set_pinned(crds, limited, 0)
    assert pin(crds, limited, "free") == ""
    set_pinned(crds, limited, 5)
    crds.patch("Snapshot", "free", limited, {"spec": {"pin": {"label": "another"}}})
    crds.patch("Snapshot", "free", limited, {"spec": {"pin": None}})


def test_other_environments_and_a_limit_of_0_are_free(crds: Cluster, limited: str) -> None:
    other = snapshot(limited, "other", {})
    other["spec"]["environmentRef"]["name"] = "another"
    crds.apply(other)
    crds.patch("SnapshotPolicy", "shop", limited, {"spec": {"maxPinned": 0}})
    wait_for("no limit", lambda: not pin(crds, limited, "free", dry_run=True))


@pytest.fixture
def unlimited(crds: Cluster, pins: str) -> str:
    """A namespace with an Environment that has no SnapshotPolicy, and says that one of one allowed Snapshot is
    pinned."""
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
    crds.apply(snapshot(pins, "free", None), snapshot(pins, "probe", None))
    count_pins(crds, pins, {"pinned": 1, "limit": 1})
    return pins


def count_pins(cluster: Cluster, namespace: str, pins: dict[str, int] | None) -> None:
    """As the operator reports it while there is no SnapshotPolicy, once the policy has seen it."""
    cluster.patch_status("Environment", "shop", namespace, {"pins": pins})
    wait_for_pins(cluster, namespace, refused=pins is not None and pins["pinned"] >= pins["limit"])


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
    assert pin(crds, unlimited, "free") == ""
    count_pins(crds, unlimited, {"pinned": 5, "limit": 1})
    crds.patch("Snapshot", "free", unlimited, {"spec": {"pin": {"label": "another"}}})
    crds.patch("Snapshot", "free", unlimited, {"spec": {"pin": None}})


def test_without_a_policy_and_without_pins_the_first_pin_is_accepted(crds: Cluster, unlimited: str) -> None:
    """And where a policy has taken over: the operator removes the field then."""
    count_pins(crds, unlimited, None)
    assert pin(crds, unlimited, "free") == ""


def test_other_namespaces_are_not_the_business_of_a_namespaced_release(crds: Cluster, pins: str) -> None:
    other = crds.namespace("policy-other")
    crds.apply(snapshot(other, "elsewhere", {}))
    assert refused(crds, other, "elsewhere") == ""
    crds.wait_gone("Snapshot", "elsewhere", other, 20)
    crds.delete("Namespace", other)


def test_a_namespace_with_pinned_snapshots_can_be_deleted(crds: Cluster, pins: str) -> None:
    crds.apply(snapshot(pins, "kept", {}))
    crds.delete("Namespace", pins)
    crds.wait_gone("Namespace", pins, None, 60)


def test_a_crd_with_pinned_snapshots_can_be_removed(crds: Cluster, unguarded: str) -> None:
    """The API server's own finalizer deletes the objects without asking admission. Shown with a copy of CRD and policy
    in another group, since removing ours would take every Snapshot of the cluster along.
    """
    group = f"{unique('t')}.ocore.dev"
    crd = copy.deepcopy(find(Helm(crds).render({}), "CustomResourceDefinition", "snapshots.ocore.dev"))
    crd["metadata"] = {"name": f"snapshots.{group}"}
    crd["spec"]["group"] = group
    crd["spec"]["names"] |= {"shortNames": [], "categories": []}
    crds.apply(crd)
    resource = f"snapshots.{group}"
    obj = snapshot(unguarded, "kept", {}, finalizers=["ocore.dev/data"]) | {"apiVersion": f"{group}/v1alpha1"}
    try:
        with AdmissionPolicies(crds, {}, unguarded, group=group):
            wait_for(
                "the copy of the CRD",
                lambda: (
                    "created" in crds.kubectl("create", "-f", "-", stdin=json.dumps(obj), check=False)
                    or crds.kubectl("-n", unguarded, "get", resource, "kept")
                ),
                30,
            )
            deletion = ("delete", resource, "kept", "--wait=false", "--dry-run=server")
            wait_for(
                "the policy",
                lambda: "is pinned" in crds.kubectl("-n", unguarded, *deletion, check=False),
                30,
            )
            crds.kubectl("delete", "crd", resource, "--wait=false")
            # Let through, and waiting for the finalizer: that is where the operator keeps the data in the store.
            wait_for(
                "deleted but for its finalizer",
                lambda: crds.kubectl(
                    "-n", unguarded, "get", resource, "kept", "-o", "jsonpath={.metadata.deletionTimestamp}"
                ),
                30,
            )
            crds.kubectl(
                "-n", unguarded, "patch", resource, "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
            )
            crds.wait_gone("CustomResourceDefinition", resource, None, 60)
    finally:
        crds.kubectl("delete", "crd", resource, "--ignore-not-found", "--wait=false")


def environment(namespace: str, project: str | None) -> Object:
    """An Environment of that project; None: it names none."""
    return {
        "apiVersion": API,
        "kind": "Environment",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            **({"projectId": project} if project is not None else {}),
            "type": "staging",
            "storeRef": {"name": "main"},
            "database": {"secretRef": {"name": "db"}},
        },
    }


def test_a_project_is_held_to_the_namespaces_label(crds: Cluster, unguarded: str) -> None:
    mine, other = "0f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b", "1f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b"

    def ask(project: str | None) -> str:
        return crds.refusal("POST", "Environment", unguarded, body=environment(unguarded, project))

    with AdmissionPolicies(crds, {"admissionPolicies": {"projectLabel": "example.org/project"}}, unguarded):
        unlabelled = f"namespace {unguarded} has no label example.org/project: ask a cluster administrator"
        wait_for("the policy", lambda: unlabelled in ask(mine))
        assert unlabelled in ask(None)
        crds.patch("Namespace", unguarded, None, {"metadata": {"labels": {"example.org/project": mine}}})
        wait_for("the label", lambda: not ask(mine))
        assert f"projectId must be {mine}, the project of namespace {unguarded}" in ask(other)
        assert f"projectId must be {mine}, the project of namespace {unguarded}" in ask(None)


# --- requestedBy ----------------------------------------------------------------------------------------------------


TRUSTED = "system:serviceaccount:argocd:argocd-application-controller"


class Requesters(NamedTuple):
    """Where the policy on requestedBy is obeyed, and the release it is of."""

    namespace: str
    release: str


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
    """What the server says to a creation by that user, who has all rights, if it refuses it."""
    namespace = obj["metadata"]["namespace"]
    return cluster.refusal("POST", obj["kind"], namespace, body=obj, user=user, groups=("system:masters",))


@pytest.fixture(scope="module")
def requesters(crds: Cluster) -> Iterator[Requesters]:
    """A namespace in which the policy on requestedBy is obeyed."""
    name = crds.namespace("policy")
    with AdmissionPolicies(crds, {"admissionPolicies": {"requestedByTrusted": [TRUSTED]}}, name) as policies:
        wait_for("the policy", lambda: "leave it out" in create_as(crds, "ann", asked_by(name, "Rollback", "bob")), 30)
        yield Requesters(name, policies.release)
    remove(crds, name)


@pytest.mark.parametrize("kind", ["Snapshot", "Rollback"])
def test_a_user_names_no_other_user(crds: Cluster, requesters: Requesters, kind: str) -> None:
    said = create_as(crds, "ann", asked_by(requesters.namespace, kind, "bob"))
    assert "spec.requestedBy is bob, and the user is ann: leave it out" in said
    for own in ("ann", "", None):
        assert create_as(crds, "ann", asked_by(requesters.namespace, kind, own)) == ""
    job = "system:serviceaccount:ocore-system:default"
    assert "leave it out" in create_as(crds, job, asked_by(requesters.namespace, kind, "bob"))


@pytest.mark.parametrize("kind", ["Snapshot", "Rollback"])
def test_operator_facade_and_trusted_users_name_others(crds: Cluster, requesters: Requesters, kind: str) -> None:
    own = f"{requesters.release}-ocore-snapshots"
    accounts = [f"system:serviceaccount:ocore-system:{name}" for name in (own, f"{own}-api")]
    for user in (*accounts, TRUSTED):
        assert create_as(crds, user, asked_by(requesters.namespace, kind, "bob")) == "", user
    elsewhere = f"system:serviceaccount:{requesters.namespace}:{own}-api"
    assert "leave it out" in create_as(crds, elsewhere, asked_by(requesters.namespace, kind, "bob")), (
        "another namespace's account"
    )


def test_kubectl_ocore_enters_the_name_that_the_api_server_knows(crds: Cluster, requesters: Requesters) -> None:
    objects = Objects(crds.env["KUBECONFIG"], None, requesters.namespace)
    assert objects.user() == crds.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    body = asked_by(requesters.namespace, "Snapshot", objects.user())
    body["metadata"]["name"] = "stored"  # the only one that is: the others are dry runs
    assert objects.create(SNAPSHOT, body)["spec"]["requestedBy"] == objects.user()
