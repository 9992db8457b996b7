"""What is listed was written by tenants: how much of it is kept, and that none of it ends what serves all."""

import asyncio
import json
from typing import Any, cast

import pytest

from ocore_crds import naming
from ocore_kube.errors import TooLarge
from ocore_kube.transport import Transport
from ocore_kube.types import ENVIRONMENTS, EVENTS, JOBS, OURS, PODS, ROLLBACKS, Type
from ocore_operator.jobs.slots import running
from ocore_operator.kube import client
from ocore_operator.kube.client import LISTED_BYTES, Kube
from ocore_operator.kube.resources import Object
from ocore_operator.kube.slim import slim
from support.operator.objects import UID, controller

#: As large as annotations may be.
LARGE = "x" * 250_000


def large(number: int = 0, namespace: str = "theirs") -> Object:
    """What the API server takes from a tenant: nothing that is read, and much of everything else."""
    return {
        "metadata": {
            "name": f"large-{number}",
            "namespace": namespace,
            "uid": f"uid-{number}",
            "labels": {naming.LABEL_UID: UID, **{f"ocore.dev/x{i}": "" for i in range(5_000)}},
            "annotations": {"ocore.dev/other": LARGE, naming.ANNOTATION_OWNER_NAME: LARGE, "other": LARGE},
            "managedFields": [{"manager": LARGE}],
            "ownerReferences": [
                {**controller("Snapshot", "before", UID), "name": LARGE},
                {**controller("Snapshot", "before", UID), "controller": False},
            ],
        },
        "spec": {},
        "status": {},
        "message": LARGE,
    }


@pytest.mark.parametrize("type_", [JOBS, PODS, EVENTS, *OURS.values()], ids=lambda t: t.plural)
def test_row_122_of_a_large_object_little_is_kept(type_: Type) -> None:
    kept = slim(type_, large() if type_ in (JOBS, PODS, EVENTS) else {**large(), "message": ""})
    assert len(json.dumps(kept)) < 3_000


def test_row_122_what_is_read_of_our_own_is_kept() -> None:
    owner = controller("Snapshot", "before", UID)
    meta = {
        "name": "a",
        "namespace": "shop",
        "labels": {naming.LABEL_UID: UID, naming.LABEL_JOB_NAME: "a"},
        "annotations": {naming.ANNOTATION_OWNER_NAME: "n" * 253},
        "ownerReferences": [owner],
    }
    for type_ in (JOBS, PODS):
        assert slim(type_, {"metadata": meta, "spec": {}})["metadata"] == meta
    ours = slim(ENVIRONMENTS, {"metadata": {**meta, "finalizers": ["f"]}, "spec": {"a": 1}, "status": {"b": 2}})
    assert ours == {"metadata": {**meta, "finalizers": ["f"]}, "spec": {"a": 1}, "status": {"b": 2}}
    event = {"reason": "R", "message": "M", "lastTimestamp": "t", "eventTime": None}
    assert slim(EVENTS, {**event, "involvedObject": {}}) == event


class Server:
    """A transport that answers each list with the same objects, in one page."""

    def __init__(self, *items: Object) -> None:
        self._items = items

    async def request(self, *_: Any, **__: Any) -> Object:
        return {"metadata": {}, "items": self._items}

    def client(self) -> Kube:
        return Kube(cast(Transport, self))


def rollback(number: int, text: str) -> Object:
    meta = {"name": f"r{number}", "namespace": "theirs", "uid": f"u{number}"}
    return {"metadata": meta, "spec": {}, "status": {"text": text}}


def test_row_122_a_list_is_kept_up_to_a_size() -> None:
    """A hundred small ones of a megabyte's annotations fit; what cannot be made small is an error of that namespace."""
    annotated = ({**large(n), "message": ""} for n in range(100))
    many = asyncio.run(Server(*annotated).client().list(ROLLBACKS, "theirs"))
    assert len(many) == 100
    too_many = Server(*(rollback(n, "x" * 100_000) for n in range(LISTED_BYTES // 100_000 + 1)))
    with pytest.raises(TooLarge, match="the rollbacks of namespace theirs that must be read have more than"):
        asyncio.run(too_many.client().list(ROLLBACKS, "theirs"))
    assert asyncio.run(too_many.client().list(ROLLBACKS, "theirs", keep=lambda _: False)) == []


def test_row_122_of_one_namespace_so_many_jobs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Jobs of all namespaces are listed for the slots: one namespace must not fill the memory, nor leave the others
    out."""
    assert client.PER_NAMESPACE > running.MOST, "one more than is remembered shows that the namespace is full"
    monkeypatch.setattr(client, "PER_NAMESPACE", 2)
    items = [*(large(n) for n in range(5)), large(9, "ours")]
    listed = asyncio.run(Server(*items).client().metadata(JOBS, None, labels=""))
    assert [o["metadata"]["namespace"] for o in listed] == ["theirs", "theirs", "ours"]
