"""Row 81: every kind of text goes through each text field of spec and status, by the operator's own client."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ocore_kube.errors import Conflict
from ocore_kube.transport import Transport, connect
from ocore_kube.types import OURS
from ocore_operator.kube import resources
from ocore_operator.kube.client import Kube
from support.cluster.cluster import GROUP, Cluster
from support.crds.rules import Object, schema_of
from support.crds.rules import crds as shipped_crds
from support.crds.samples import SPECS, sample

#: Astral, right to left, NUL, ESC, what YAML does not allow as it is, a line end of Unicode.
TEXT = "\U0001f600\u202e\x00\x1b[31m\x7f\x9f\u2028\ufeff\uffff."
SCHEMAS = {kind: schema_of(crd)["properties"] for kind, crd in shipped_crds().items()}


def filled(schema: Object, value: Any) -> Any:
    """The value with TEXT in each field whose text is free."""
    free = schema.get("type") == "string" and not {"pattern", "enum", "format"} & schema.keys()
    if free and schema.get("maxLength", len(TEXT)) >= len(TEXT):
        return TEXT
    if isinstance(value, dict):
        below = schema.get("properties", {})
        return {k: filled(below.get(k) or schema.get("additionalProperties") or {}, v) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(schema["items"], each) for each in value]
    return value


@pytest.mark.parametrize("kind", SPECS)
def test_row_81_every_kind_of_text_goes_through_each_text_field(crds: Cluster, kind: str) -> None:
    namespace = crds.namespace("texts")
    spec = SPECS[kind][0]
    if kind in ("Snapshot", "Rollback"):
        # Admission compares requestedBy with the user's own name.
        spec = {**filled(SCHEMAS[kind]["spec"], spec), "requestedBy": ""}
    status = filled(SCHEMAS[kind]["status"], sample(SCHEMAS[kind]["status"]))

    async def main() -> Object | None:
        transport = Transport(await connect(Path(crds.env["KUBECONFIG"])), timeout=20, program="test")
        kube = Kube(transport)
        try:
            meta = {"name": SPECS[kind][0].get("environmentRef", {}).get("name", "sample"), "namespace": namespace}
            created = await kube.create(OURS[kind], {"apiVersion": GROUP, "kind": kind, "metadata": meta, "spec": spec})
            found: Object | None = created
            for _ in range(20):
                assert found is not None
                try:
                    return await kube.apply_status(resources.any_kind(kind, found), status)
                except Conflict:  # an operator that runs in the cluster has written its status
                    found = await kube.get(OURS[kind], namespace, meta["name"])
            raise AssertionError("the object changes all the time")
        finally:
            await transport.close()

    try:
        found = asyncio.run(main())
    finally:
        crds.delete("Namespace", namespace)
    assert found is not None
    assert found["status"].items() >= status.items()
    assert {k: v for k, v in spec.items() if v != ""}.items() <= found["spec"].items()
    resources.any_kind(kind, found)
