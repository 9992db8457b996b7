"""Snapshots before a deployment, as the examples do it: a Job of a pipeline, and a Helm hook. Whether the deployment
continues is what counts."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.cluster.cluster import REPOSITORY, Cluster, Object, is_true, unique
from support.cluster.site import Site, secret

EXAMPLES = REPOSITORY / "examples/before-deployment"
IMAGE = "localhost/ocore-snapshots/cli:dev"


@pytest.fixture
def site(cluster: Cluster, site: Site) -> Iterator[Site]:
    """With the rights of the example, while the test runs. What it leaves are Snapshots."""
    rights = ("-n", site.namespace, "-f", str(EXAMPLES / "rights.yaml"))
    cluster.kubectl("apply", *rights)
    yield site
    cluster.kubectl("delete", *rights)
    for name in cluster.objects("SnapshotPolicy", site.namespace):
        cluster.delete("SnapshotPolicy", name["metadata"]["name"], site.namespace)


def policy(site: Site, environment: str | None = None, **spec: object) -> None:
    """The policy of that environment, by default of the site's."""
    environment = environment or site.environment
    site.cluster.apply(
        {
            "apiVersion": "ocore.dev/v1alpha1",
            "kind": "SnapshotPolicy",
            "metadata": {"name": environment, "namespace": site.namespace},
            "spec": {"environmentRef": {"name": environment}, **spec},
        }
    )


def run_job(site: Site, deployment: str, environment: str | None = None) -> tuple[bool, str]:
    """The example's Job: whether it is complete, and its log."""
    job: Object = yaml.safe_load((EXAMPLES / "job.yaml").read_text())
    name = unique("hook")
    job["metadata"] |= {"name": name, "namespace": site.namespace}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["image"] = IMAGE
    container["args"] = ["snapshot", environment or site.environment, "--before-deployment", deployment]
    site.cluster.apply(job)

    def ended(found: Object) -> bool:
        return is_true(found, "Complete") or is_true(found, "Failed")

    done = site.cluster.wait("Job", name, site.namespace, ended, 180, "the hook ended")
    (pod,) = site.cluster.pods(site.namespace, f"job-name={name}")
    return is_true(done, "Complete"), site.cluster.logs(site.namespace, pod["metadata"]["name"])


def deployments(site: Site) -> list[Object]:
    """Snapshots that precede a deployment."""
    return [s for s in site.cluster.objects("Snapshot", site.namespace) if s["spec"]["trigger"] == "Deployment"]


def test_a_job_takes_a_snapshot_and_lets_the_deployment_continue(site: Site) -> None:
    before = {snapshot["metadata"]["name"] for snapshot in deployments(site)}
    continues, log = run_job(site, "release-1")
    assert continues, log
    (snapshot,) = (found for found in deployments(site) if found["metadata"]["name"] not in before)
    assert is_true(snapshot, "Complete")
    assert (snapshot["spec"]["retention"], snapshot["spec"]["deletionPolicy"]) == ("Policy", "Delete")
    continues, log = run_job(site, "release-1")
    assert continues, log
    assert "following it" in log
    assert len(deployments(site)) == len(before) + 1


def test_a_snapshot_that_fails_stops_the_deployment_or_not(site: Site) -> None:
    """The environment's password is wrong."""
    name = unique("broken")
    site.cluster.apply(secret(name, site.namespace, host=site.host, **{**site.credentials, "password": "wrong"}))
    broken = site.environment_object(database={"secretRef": {"name": name}}, filestore=None, workloads=[])
    broken["metadata"]["name"] = name
    site.cluster.apply(broken)
    try:
        for failure_policy, continues in (("Block", False), ("Continue", True)):
            policy(site, name, failurePolicy=failure_policy, timeoutSeconds=60)
            found, log = run_job(site, f"release-{failure_policy}", name)
            assert found == continues, log
            assert ("continues WITHOUT a snapshot" in log) == continues
    finally:
        site.cluster.delete("Environment", name, site.namespace)


def test_auto_enabled_false_takes_none(site: Site) -> None:
    policy(site, autoEnabled=False)
    before = len(deployments(site))
    continues, log = run_job(site, "release-off")
    assert continues, log
    assert len(deployments(site)) == before


def helm(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["helm", *arguments, "--namespace", site.namespace, "--timeout", "180s"],
        env=site.cluster.env, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_helm_upgrade_is_preceded_by_a_snapshot(site: Site, tmp_path: Path) -> None:
    values = ["--set", f"environment={site.environment},cliImage={IMAGE}"]
    done = helm(site, "install", "shop", str(EXAMPLES / "helm"), *values)
    assert done.returncode == 0, done.stderr
    before = len(deployments(site))
    done = helm(site, "upgrade", "shop", str(EXAMPLES / "helm"), *values, "--set", "release=2")
    assert done.returncode == 0, done.stderr
    assert len(deployments(site)) == before + 1

    done = helm(site, "upgrade", "shop", str(EXAMPLES / "helm"), *values, "--set", "release=3,environment=nowhere")
    assert done.returncode != 0
    released = site.cluster.get("ConfigMap", "shop-release", site.namespace)
    assert released is not None
    assert released["data"]["release"] == "2", "the upgrade was blocked before it changed anything"
    assert helm(site, "uninstall", "shop").returncode == 0
