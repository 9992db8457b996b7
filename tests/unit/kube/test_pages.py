"""Lists in pages of a limited size in bytes, and what the operator keeps of them: a tenant decides how large its
objects are."""

import asyncio
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from ocore_crds import naming
from ocore_kube.errors import TooLarge
from ocore_kube.pages import PAGE_BYTES, pages
from ocore_kube.types import JOBS, PODS, SNAPSHOTS, Type
from ocore_operator.jobs.observing.outcome import finished
from ocore_operator.kube.client import PAGE, Kube
from ocore_operator.kube.resources import Object

MIB = 2**20
#: As many as a tenant's quota may allow, each as large as etcd takes it.
JOBS_OF_A_TENANT, BYTES = 100, 1_200_000


class ApiServer:
    """Answers a list with objects of these sizes, and counts the bytes that it sent."""

    def __init__(self, type_: Type, *sizes: int) -> None:
        self.type_, self.sizes, self.sent, self.asked = type_, sizes, 0, []  # type: ignore[var-annotated]

    def obj(self, number: int) -> str:
        env = [{"name": "A", "value": "x" * self.sizes[number]}]
        metadata = {
            "name": f"j{number}",
            "namespace": "shop",
            "uid": f"u{number}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {naming.LABEL_MANAGED_BY: naming.MANAGED_BY},
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {
                naming.ANNOTATION_OWNER_NAME: "before",
                "example.org/bulk": "y" * min(10 * self.sizes[number], 50_000),
            },
        }
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "mover", "image": "i", "env": env}]}}
        spec = {"template": template} if self.type_ == JOBS else {**template["spec"], "nodeName": "n1"}
        done = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
        return json.dumps({"metadata": metadata, "spec": spec, "status": done if number % 2 else {}})

    async def request(self, _: str, __: str, *, query: Mapping[str, str], accept: str, most: int) -> Any:
        self.accepted = accept
        limit, start = int(query["limit"]), int(query.get("continue", "0"))
        self.asked.append(limit)
        text, end = "", min(start + limit, len(self.sizes))
        for number in range(start, end):
            text += ("," if text else "") + self.obj(number)
            if len(text) > most:
                self.sent += most
                raise TooLarge(0, "AnswerTooLarge", "too large")
        self.sent += len(text)
        token = str(end) if end < len(self.sizes) else ""
        return json.loads(f'{{"metadata":{{"continue":"{token}"}},"items":[{text}]}}')


def test_row_78_a_list_of_metadata_asks_for_no_more() -> None:
    server = ApiServer(JOBS, 1, 1, 1)
    kube = Kube(server, ["shop"])  # type: ignore[arg-type]
    found = asyncio.run(kube.metadata(JOBS, "shop", labels="a=b", keep=lambda o: o["metadata"]["name"] != "j1"))
    assert [each["metadata"]["name"] for each in found] == ["j0", "j2"]
    assert "as=PartialObjectMetadataList" in server.accepted
    assert listed(server)
    assert "Partial" not in server.accepted


def listed(server: ApiServer) -> list[Object]:
    kube = Kube(server, ["shop"])  # type: ignore[arg-type]
    return asyncio.run(kube.list(server.type_, "shop"))


@pytest.mark.parametrize("type_", [JOBS, PODS])
def test_row_78_large_objects_of_a_tenant_cost_no_memory(type_: Type) -> None:
    """100 of them cost 896 MiB."""
    server = ApiServer(type_, *([BYTES] * JOBS_OF_A_TENANT))
    tracemalloc.start()
    try:
        found = listed(server)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == JOBS_OF_A_TENANT
    assert peak < 8 * PAGE_BYTES, f"{peak / MIB:.0f} MiB"
    assert len(json.dumps(found)) < 100_000
    assert server.sent < 4 * JOBS_OF_A_TENANT * BYTES  # what is read in vain is limited, too


def test_what_the_operator_reads_of_jobs_and_pods_is_kept() -> None:
    job, done = listed(ApiServer(JOBS, 10, 10))
    assert (finished(job) is None, finished(done) is None) == (True, False)
    assert job["metadata"]["annotations"] == {naming.ANNOTATION_OWNER_NAME: "before"}
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    (pod,) = listed(ApiServer(PODS, 10))
    assert pod["spec"] == {
        "nodeName": "n1",
        "restartPolicy": "Never",
        "containers": [{"name": "mover", "image": "i"}],
        "initContainers": [],
        "volumes": [],
    }
    (snapshot,) = listed(ApiServer(SNAPSHOTS, 10))
    assert "managedFields" not in snapshot["metadata"], "of our kinds no metadata of others"


def test_small_objects_come_in_large_pages_again() -> None:
    server = ApiServer(JOBS, *([BYTES] * 3), *([10] * 500))
    assert len(listed(server)) == 503
    assert PAGE in server.asked[-4:]
    assert len(server.asked) < 30


def test_one_object_that_is_too_large_is_an_error() -> None:
    async def ask(query: Mapping[str, str], most: int) -> dict[str, Any]:
        raise TooLarge(0, "AnswerTooLarge", "too large")

    async def read() -> None:
        async for _ in pages(ask, {}, 100):
            raise AssertionError

    with pytest.raises(TooLarge):
        asyncio.run(read())
