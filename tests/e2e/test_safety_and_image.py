"""createSafetySnapshot and restoreImage on a real cluster."""

from collections.abc import Iterator

import pytest

from support.cluster import node
from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.failpoints import armed
from support.cluster.kills import (
    OPERATOR_IMAGE_POINTS,
    OPERATOR_NEUTRALIZE_POINTS,
    OPERATOR_ROLLBACK_POINTS,
    OPERATOR_SAFETY_POINTS,
    everywhere,
    operator_killed,
)
from support.cluster.neutralising import ALWAYS, is_neutralised, neutralising
from support.cluster.operator import Operator
from support.cluster.promises import fresh, holds_all_promises, marker, old_or_new, roll_back, set_marker
from support.cluster.site import DEMO_IMAGE, Servers, Site, make_site

REPOSITORY = DEMO_IMAGE.rpartition(":")[0]
NEWER = f"{REPOSITORY}:newer"
COMMIT = "ocore.dev/commit-sha"


def steps(obj: Object) -> dict[str, str]:
    return {s["name"]: s["state"] for s in obj["status"]["steps"]}


# --- the safety snapshot ---------------------------------------------------------------------------------------------


def test_a_safety_snapshot_is_restorable_itself(cluster: Cluster, site: Site) -> None:
    """Back to the snapshot, then to what was there before, and retention knows until when it stays."""
    back, forth = fresh("back"), fresh("forth")
    set_marker(site, 7)
    site.rollback(back, "base", createSafetySnapshot=True, requestedBy="admin", undoWindowSeconds=3600)
    obj = site.completed("Rollback", back)
    status = obj["status"]
    assert marker(site) == 0
    assert steps(obj)["SafetySnapshot"] == "Done"
    assert status["recoveryEvidence"]["canWriteCleanSuccess"], status["recoveryEvidence"]
    name = status["safetySnapshotName"]
    saved = cluster.get("Snapshot", name, site.namespace)
    assert saved is not None
    assert is_true(saved, "Complete")
    assert (saved["spec"]["trigger"], saved["spec"]["requestedBy"]) == ("PreRollback", "admin")
    assert (saved["status"]["id"], saved["status"]["consistentAt"]) == (
        status["safetySnapshotId"],
        status["safetySnapshotAt"],
    )
    assert "ownerReferences" not in saved["metadata"]
    assert saved["status"]["consistentAt"] < status["quiescedAt"]
    cluster.wait(
        "Snapshot", name, site.namespace, lambda o: "undoWindow" in (o["status"].get("keptBy") or ()), 60, "kept"
    )
    cluster.wait(
        "Environment", site.environment, site.namespace, lambda o: "operation" not in o["status"], 30, "unlocked"
    )

    site.rollback(forth, name, undoWindowSeconds=0)
    site.completed("Rollback", forth)
    assert marker(site) == 7
    site.gone("Rollback", back)  # it keeps its previous database for an hour
    holds_all_promises(site)


def test_a_safety_snapshot_that_fails_ends_the_rollback_with_nothing_changed(cluster: Cluster, site: Site) -> None:
    """Its Job finds that a file of a row is lost. The application runs all the time."""
    named = "SELECT store_fname FROM ir_attachment WHERE store_fname IS NOT NULL ORDER BY id DESC"
    base, back = fresh("base"), fresh("back")
    old = site.query(named)
    site.completed("Snapshot", site.snapshot(base))
    set_marker(site, 3)
    site.load(base)  # files that no snapshot has: a differential has the others from its base
    before = cluster.get("Deployment", "shop", site.namespace)
    lost = next(row[0] for row in site.query(named) if row not in old)
    code, log = site.in_shop("rm", f"/claim/{site.path}/{lost}")
    assert code == 0, log

    site.rollback(back, base, createSafetySnapshot=True)
    obj = site.failed("Rollback", back, "SafetySnapshotFailed")
    assert obj["status"]["position"] == "Old"
    assert "switchedAt" not in obj["status"]
    assert marker(site) == 3
    after = cluster.get("Deployment", "shop", site.namespace)
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    cluster.wait("Rollback", back, site.namespace, lambda o: o["status"].get("residue") == "None", 120, "cleaned up")
    assert site.databases() == [site.database]
    site.load(base)  # the next test finds every file
    holds_all_promises(site)


def test_a_deleted_rollback_removes_its_copy_and_cancels_its_safety_snapshot(cluster: Cluster, site: Site) -> None:
    """Jobs are stopped, and what was restored is removed. The application was never stopped."""
    back = fresh("back")
    set_marker(site, 3)
    site.rollback(back, "base", annotations=armed("restore-database-loaded=sleep:120"), createSafetySnapshot=True)
    obj = cluster.wait("Rollback", back, site.namespace, lambda o: o["status"].get("safetySnapshotName"), 60, "saving")
    name = obj["status"]["safetySnapshotName"]
    wait_for("the copy exists", lambda: len(site.databases()) == 2, 120)
    site.gone("Rollback", back)
    left = cluster.get("Snapshot", name, site.namespace)
    assert left is None or is_true(left, "Complete") or "deletionTimestamp" in left["metadata"]
    assert marker(site) == 3
    holds_all_promises(site)


# --- the image -------------------------------------------------------------------------------------------------------


def with_newer_image() -> str:
    """The demo image under another tag, and by its digest, as a registry would have it. Returns the digest."""
    node.run('ctr -n k8s.io images tag --force "$1" "$2"', DEMO_IMAGE, NEWER)
    digest = node.run("ctr -n k8s.io images ls \"name==$1\" | awk 'NR==2 {print $3}'", DEMO_IMAGE).strip()
    assert digest.startswith("sha256:"), digest
    node.run('ctr -n k8s.io images tag --force "$1" "$2"', DEMO_IMAGE, f"{REPOSITORY}@{digest}")
    return digest


@pytest.fixture(scope="module")
def shop(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """A site whose Deployment several tools change: none of the shared ones. It has the snapshot `base` of the image
    DEMO_IMAGE and the commit c1."""
    with_newer_image()
    with make_site(cluster, servers) as site:
        set_marker(site, 0)
        by_hand(site, DEMO_IMAGE, "c1")
        site.completed("Snapshot", site.snapshot("base"))
        yield site


def by_hand(site: Site, image: str, commit: str) -> None:
    """As kubectl would: no tool owns the image afterwards."""
    containers = [{"name": "app", "image": image}]
    site.patch_shop({"metadata": {"annotations": {COMMIT: commit}}, "spec": {"containers": containers}}, ready=False)
    site.cluster.patch("Deployment", "shop", site.namespace, {"metadata": {"managedFields": [{}]}})
    site.rolled_out()


def now(site: Site) -> Object:
    """The template of the application's pods."""
    obj = site.cluster.get("Deployment", "shop", site.namespace)
    assert obj is not None
    return dict(obj["spec"]["template"])


def image(site: Site) -> tuple[str, str]:
    """Image and commit of the application, as its Deployment has them."""
    template = now(site)
    return template["spec"]["containers"][0]["image"], template["metadata"]["annotations"][COMMIT]


def test_the_image_comes_back_and_an_undo_puts_the_newer_one_back(shop: Site) -> None:
    digest, site = with_newer_image(), shop
    back, undo, again = (fresh(name) for name in ("back", "undo", "again"))
    source = site.completed("Snapshot", "base")["status"]["source"]
    assert (source["image"], source["commitSha"]) == (DEMO_IMAGE, "c1")
    recorded = f"{DEMO_IMAGE}@{source['imageDigest']}" if source.get("imageDigest") else DEMO_IMAGE
    assert source.get("imageDigest", "") in ("", digest)
    set_marker(site, 4)
    by_hand(site, NEWER, "c2")

    site.rollback(back, "base", restoreImage="Always", undoWindowSeconds=3600)
    obj = site.completed("Rollback", back)
    assert (marker(site), image(site)) == (0, (recorded, "c1"))
    assert steps(obj)["RestoreImage"] == "Done"
    assert obj["status"]["recoveryEvidence"]["canWriteCleanSuccess"], obj["status"]["recoveryEvidence"]
    (saved,) = obj["status"]["workloads"]
    assert saved["image"]["containers"] == [{"name": "app", "init": False, "image": NEWER}]

    site.completed("Rollback", site.undo(undo, back, undoWindowSeconds=3600))
    assert (marker(site), image(site)) == (4, (NEWER, "c2"))
    site.completed("Rollback", site.undo(again, undo, undoWindowSeconds=0))
    assert (marker(site), image(site)) == (0, (recorded, "c1"))


def test_what_a_tool_owns_is_known_before(shop: Site) -> None:
    """That it is not changed: tests/unit/operator/rollback/test_restore_image.py."""
    site, back = shop, fresh("back")
    set_marker(site, 4)
    applied(site, NEWER, "c2")
    site.rolled_out()
    site.rollback(back, "base", restoreImage="Always", dryRun=True)
    assert "field manager argocd-controller owns the image" in str(site.previewed(back)["warnings"])


def applied(site: Site, image_: str, commit: str) -> None:
    """As Argo CD with server-side apply."""
    template: Object = {
        "metadata": {"annotations": {COMMIT: commit}},
        "spec": {"containers": [{"name": "app", "image": image_}]},
    }
    obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": site.namespace},
        "spec": {"template": template},
    }
    site.cluster.apply(obj, manager="argocd-controller")


def test_it_waits_for_git_and_goes_on_when_git_has_the_image(cluster: Cluster, shop: Site) -> None:
    site, back = shop, fresh("back")
    set_marker(site, 4)
    applied(site, NEWER, "c2")
    site.rolled_out()
    site.rollback(back, "base", restoreImage="WaitForGit", undoWindowSeconds=0)

    def waits(o: Object) -> bool:
        found = condition(o, "Reconciling")
        return found is not None and found["reason"] == "WaitingForImage"

    obj = cluster.wait("Rollback", back, site.namespace, waits, 120, "waiting for the image")
    found = condition(obj, "Reconciling")
    assert found is not None
    assert f"In Git, set image {DEMO_IMAGE}" in found["message"]
    assert f"has {NEWER}" in found["message"]
    assert marker(site) == 4
    site.app_ready(5)  # nothing is stopped while it waits
    applied(site, DEMO_IMAGE, "c1")
    obj = site.completed("Rollback", back)
    assert (marker(site), image(site)) == (0, (DEMO_IMAGE, "c1"))
    assert steps(obj)["RestoreImage"] == "Done"
    assert obj["status"]["recoveryEvidence"]["canWriteCleanSuccess"], obj["status"]["recoveryEvidence"]


@pytest.mark.timeout(900)
def test_row_01_operator_killed_in_a_rollback(cluster: Cluster, site: Site, operator: Operator) -> None:
    """At each step of one that takes a safety snapshot, neutralises and restores the image, until its cleanup: the next
    operator adopts what runs, and nothing is done twice."""
    with_newer_image()
    before = {o["metadata"]["name"] for o in cluster.objects("Snapshot", site.namespace)}
    set_marker(site, 8)
    by_hand(site, NEWER, "c2")
    points = (
        *OPERATOR_SAFETY_POINTS,
        *OPERATOR_NEUTRALIZE_POINTS,
        *OPERATOR_ROLLBACK_POINTS,
        *OPERATOR_IMAGE_POINTS,
    )
    wanted = {"createSafetySnapshot": True, "restoreImage": "Always", **ALWAYS}
    with neutralising(site), operator_killed(operator, *points):
        obj = roll_back(site, fresh("killed"), everywhere(*points), timeoutSeconds=900, **wanted)
        old_or_new(site, obj)
        assert is_true(obj, "Complete"), obj["status"]
        holds_all_promises(site)
    is_neutralised(site)
    assert now(site)["spec"]["containers"][0]["image"].startswith(DEMO_IMAGE)
    assert [w["image"]["containers"][0]["image"] for w in obj["status"]["workloads"]] == [NEWER]
    found = {o["metadata"]["name"] for o in cluster.objects("Snapshot", site.namespace)}
    assert found - before == {obj["status"]["safetySnapshotName"]}
