"""Image references, the application's containers, and which tool owns an image."""

from typing import Any

import pytest

from ocore_operator.workloads import images, scale
from ocore_operator.workloads.view import Commit, ContainerView, WorkloadView

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("image", "repository", "tag", "digest"),
    [
        ("shop", "shop", "", ""),
        ("shop:18", "shop", "18", ""),
        ("registry:5000/team/shop", "registry:5000/team/shop", "", ""),
        ("registry:5000/team/shop:18.0", "registry:5000/team/shop", "18.0", ""),
        (f"registry:5000/team/shop@{ONE}", "registry:5000/team/shop", "", ONE),
        (f"registry:5000/team/shop:18@{ONE}", "registry:5000/team/shop", "18", ONE),
        ("", "", "", ""),
    ],
)
def test_a_reference_has_parts(image: str, repository: str, tag: str, digest: str) -> None:
    found = images.parse(image)
    assert (found.repository, found.tag, found.digest) == (repository, tag, digest)
    assert found.text == image


@pytest.mark.parametrize(
    ("image", "digest", "expected"),
    [
        ("shop:18", ONE, f"shop:18@{ONE}"),
        ("shop:18", "", "shop:18"),
        (f"shop@{TWO}", ONE, f"shop@{TWO}"),  # what the workload names is what it ran
    ],
)
def test_an_image_is_named_by_its_digest(image: str, digest: str, expected: str) -> None:
    assert images.with_digest(image, digest) == expected


@pytest.mark.parametrize(
    ("current", "wanted", "same"),
    [
        (f"shop:18@{ONE}", f"shop:18@{ONE}", True),
        (f"mirror/shop@{ONE}", f"shop:18@{ONE}", True),
        (f"shop:18@{TWO}", f"shop:18@{ONE}", False),
        ("shop:18", f"shop:18@{ONE}", True),  # Git names tags
        ("shop:19", f"shop:18@{ONE}", False),
        ("other/shop:18", f"shop:18@{ONE}", False),
        ("shop:18", "shop:18", True),
    ],
)
def test_whether_a_container_has_an_image(current: str, wanted: str, *, same: bool) -> None:
    assert images.same(current, wanted) is same


@pytest.mark.parametrize(
    ("ids", "digest"),
    [
        ([f"registry/shop@{ONE}"], ONE),
        ([f"docker-pullable://registry/shop@{ONE}", f"registry/shop@{ONE}"], ONE),
        ([f"registry/shop@{ONE}", f"registry/shop@{TWO}"], ""),  # the tag was moved during a rollout
        ([ONE], ""),  # the id of an image that was loaded by hand: no registry has it
        ([""], ""),
        ([], ""),
    ],
)
def test_the_digest_is_that_of_the_pods(ids: list[str], digest: str) -> None:
    assert images.digest_of("registry/shop:18", [{"imageID": i} for i in ids]) == digest
    assert images.digest_of(f"registry/shop@{TWO}", [{"imageID": i} for i in ids]) == TWO


def pod(image: str, id_: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "proxy", "image": "proxy:1"}, {"name": "shop", "image": image}]},
        "status": {
            "containerStatuses": [{"name": "proxy", "imageID": f"proxy@{TWO}"}, {"name": "shop", "imageID": id_}],
            **status,
        },
    }


def test_only_pods_that_run_the_image_count() -> None:
    pods = [
        pod("shop:18", f"shop@{ONE}"),
        pod("shop:17", f"shop@{TWO}"),  # of an earlier rollout
        pod("shop:18", f"shop@{TWO}", phase="Succeeded"),
    ]
    assert images.digest_of("shop:18", scale._statuses(pods, "shop", "shop:18")) == ONE


# --- ownership -------------------------------------------------------------------------------------------------------


def fields(container: str = "shop", field: str = "f:containers", leaf: str = "f:image") -> dict[str, Any]:
    return {"f:spec": {"f:template": {"f:spec": {field: {f'k:{{"name":"{container}"}}': {leaf: {}}}}}}}


def workload(entries: list[dict[str, Any]] | None = None, **meta: Any) -> dict[str, Any]:
    template = {
        "spec": {
            "containers": [{"name": "shop", "image": "shop:2"}],
            "initContainers": [{"name": "migrate", "image": "shop:2"}],
        }
    }
    return {"metadata": {"name": "shop", "managedFields": entries or [], **meta}, "spec": {"template": template}}


def entry(manager: str, operation: str, owned: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": owned, **more}


@pytest.mark.parametrize(
    ("entries", "owner"),
    [
        ([], ""),
        ([entry("argocd-controller", "Apply", fields())], "field manager argocd-controller"),
        ([entry("any-tool", "Apply", fields())], "field manager any-tool"),
        ([entry("any-tool", "Update", fields())], ""),
        ([entry("helm", "Update", fields())], "field manager helm"),
        ([entry("kustomize-controller", "Apply", fields())], "field manager kustomize-controller"),
        ([entry("argocd-controller", "Apply", fields(leaf="f:resources"))], ""),  # it owns something else
        ([entry("argocd-controller", "Apply", fields("proxy"))], ""),
        ([entry("argocd-controller", "Apply", fields(field="f:initContainers"))], ""),
        ([entry("kubectl", "Apply", fields())], ""),
        ([entry("kubectl-client-side-apply", "Update", fields())], ""),
        ([entry("ocore-operator", "Update", fields())], ""),
        ([entry("any-tool", "Apply", fields(), subresource="scale")], ""),
        # Two owners: the tool sets it again.
        ([entry("ocore-operator", "Update", fields()), entry("flux", "Apply", fields())], "field manager flux"),
    ],
)
def test_who_owns_the_image_by_managed_fields(entries: list[dict[str, Any]], owner: str) -> None:
    assert images.owner(workload(entries), "shop") == owner


@pytest.mark.parametrize(
    ("meta", "owner"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/shop"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"annotations": {"meta.helm.sh/release-name": "shop"}}, "Helm"),
        ({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, ""),
        ({"labels": {"app.kubernetes.io/instance": "shop"}}, ""),  # a recommended label, which people set too
    ],
)
def test_who_owns_the_image_by_marks(meta: dict[str, Any], owner: str) -> None:
    assert images.owner(workload(**meta), "shop") == owner


def test_containers_are_observed_with_their_owner() -> None:
    obj = workload([entry("argocd-controller", "Apply", fields(field="f:initContainers", container="migrate"))])
    assert images.containers(obj) == (
        ContainerView("shop", init=False, image="shop:2"),
        ContainerView("migrate", init=True, image="shop:2", owner="field manager argocd-controller"),
    )


# --- which containers, and the patch ---------------------------------------------------------------------------------


def view(name: str, *containers: ContainerView, commits: Commit | None = None) -> WorkloadView:
    return WorkloadView("Deployment", name, containers=containers, commits=commits or Commit("commit"))


WEB = view(
    "web",
    ContainerView("app", init=False, image="registry/shop:2"),
    ContainerView("proxy", init=False, image="registry/proxy:7"),
    ContainerView("migrate", init=True, image="registry/shop:2"),
)
WORKER = view(
    "worker", ContainerView("app", init=False, image="registry/shop:3"), ContainerView("log", init=False, image="log:1")
)


def test_the_containers_of_the_application() -> None:
    """Every container and init container that runs it, in every workload: code and data of one version."""
    found = images.of_application((WEB, WORKER), "registry/shop:1")
    assert [(w.name, x.name) for w, x in found] == [("web", "app"), ("web", "migrate"), ("worker", "app")]
    moved = images.of_application((WEB, WORKER), "mirror/shop:1")
    assert [(w.name, x.name) for w, x in moved] == [("web", "app"), ("web", "migrate"), ("worker", "app")]
    assert images.of_application((), "registry/shop:1") == ()
    assert images.of_application((WorkloadView("Deployment", "gone", exists=False), WEB), "registry/shop:1") == ()


@pytest.mark.parametrize(
    ("before", "commit", "template", "of_workload"),
    [
        (Commit("commit", "c2", None), "c1", "c1", None),
        (Commit("commit", None, "c2"), "c1", None, "c1"),
        (Commit("commit", "c2", "c2"), "c1", "c1", "c1"),
        (Commit("commit", None, None), "c1", "c1", None),
        (Commit("commit", "c2", None), "", None, None),  # the snapshot has none: c2 would be false
    ],
)
def test_the_commit_comes_back_with_the_image(
    before: Commit, commit: str, template: str | None, of_workload: str | None
) -> None:
    workload_ = view("web", *WEB.containers, commits=before)
    saved = images.saved_image(workload_, [("app", False), ("migrate", True)])
    change = images.change_to(f"registry/shop:1@{ONE}", commit, saved, "commit")
    assert change.patch() == {
        "metadata": {"annotations": {"commit": of_workload}},
        "spec": {
            "template": {
                "metadata": {"annotations": {"commit": template}},
                "spec": {
                    "containers": [{"name": "app", "image": f"registry/shop:1@{ONE}"}],
                    "initContainers": [{"name": "migrate", "image": f"registry/shop:1@{ONE}"}],
                },
            }
        },
    }
    assert not change.holds(workload_)
    back = images.change_back(saved, "commit")
    assert back.holds(workload_)


def test_a_container_that_is_gone_is_not_added() -> None:
    saved = images.saved_image(WEB, [("app", False), ("migrate", True)])
    change = images.change_to("registry/shop:1", "", saved, "commit")
    smaller = view("web", *WEB.containers[:2])
    assert [x.name for x in change.within(smaller).containers] == ["app"]
    now = view("web", ContainerView("app", init=False, image="registry/shop:1"), WEB.containers[1])
    assert change.holds(now)
