"""The example for namespaces that deny all traffic lets every Job reach what it needs, and no more than that.

The local cluster enforces no NetworkPolicies, so the manifest's selectors are evaluated here against the labels of
every Job that the builder makes."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ocore_operator.kube.resources import Object
from support.cluster.cluster import REPOSITORY
from support.operator.jobs import CASES, SITES, all_jobs, request_of

POLICIES: list[Object] = list(yaml.safe_load_all((REPOSITORY / "examples/networkpolicy/jobs.yaml").read_text()))
DNS, STORE, POSTGRES = 53, 9000, 5432


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """As Kubernetes evaluates a label selector."""

    def holds(requirement: Object) -> bool:
        key, values = requirement["key"], requirement.get("values", ())
        match requirement["operator"]:
            case "In":
                return labels.get(key) in values
            case "NotIn":
                return labels.get(key) not in values
            case "Exists":
                return key in labels
            case _:
                return key not in labels

    exact = all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())
    return exact and all(holds(each) for each in selector.get("matchExpressions", ()))


def ports(labels: dict[str, str], direction: str) -> Iterator[int]:
    """The ports that a pod with these labels may reach, or be reached at."""
    for policy in POLICIES:
        spec = policy["spec"]
        if selects(spec["podSelector"], labels):
            for found in spec.get(direction, ()):
                yield from (port["port"] for port in found["ports"])


def labels_of(job: Object) -> dict[str, str]:
    found: dict[str, str] = job["spec"]["template"]["metadata"]["labels"]
    return found


@pytest.mark.parametrize(("where", "name"), CASES)
def test_every_job_reaches_what_its_request_names(where: str, name: str) -> None:
    job = all_jobs(SITES[where])[name]
    request, reached = request_of(job), set(ports(labels_of(job), "egress"))
    assert DNS in reached
    if "database" in request:
        assert POSTGRES in reached
    if any("s3://" in str(request.get(store)) for store in ("store", "source")):
        assert STORE in reached
    assert set(ports(labels_of(job), "ingress")) == set(), "no Job accepts a connection"


def test_a_pod_with_the_applications_image_reaches_postgresql_only() -> None:
    job = all_jobs(SITES["s3"])["neutralize-image"]
    assert set(ports(labels_of(job), "egress")) == {DNS, POSTGRES}


def test_other_pods_of_the_namespace_get_nothing() -> None:
    for labels in (
        {"app": "shop"},
        {"app.kubernetes.io/managed-by": "ocore-snapshots"},
        {"ocore.dev/command": "probe"},
    ):
        assert set(ports(labels, "egress")) == set()


def test_the_server_lets_every_job_in() -> None:
    (policy,) = [p for p in POLICIES if p["metadata"]["name"] == "postgres-from-ocore-jobs"]
    peers: list[Any] = [peer["podSelector"] for rule in policy["spec"]["ingress"] for peer in rule["from"]]
    for name, job in all_jobs(SITES["admin"]).items():
        assert any(selects(peer, labels_of(job)) for peer in peers), name
    assert not any(selects(peer, {"app": "shop"}) for peer in peers)
