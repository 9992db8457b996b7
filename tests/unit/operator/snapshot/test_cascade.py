"""A Snapshot that goes with its namespace or its CRD keeps its data: whether that is so is read from the API server."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_kube.errors import Forbidden
from ocore_kube.types import CRDS, NAMESPACES, Type
from ocore_operator.errors import Stalled
from ocore_operator.snapshot.cascade import cascade_of
from ocore_operator.snapshot.world import Cascade
from support.operator.api import ApiServer
from support.operator.objects import at

NAMES = {NAMESPACES: "shop", CRDS: "snapshots.ocore.dev"}


def found(*absent: Type, terminating: Type | None = None) -> Cascade:
    """The answer where the API server has the namespace and the CRD but for these, and one of them is being deleted."""
    server = ApiServer()
    for type_, name in NAMES.items():
        if type_ not in absent:
            meta = {"deletionTimestamp": at(0)} if type_ == terminating else {}
            server.put(type_, {"metadata": {"name": name, "namespace": "", **meta}})
    ctx: Any = SimpleNamespace(kube=server.client())
    return asyncio.run(cascade_of(ctx, "shop"))


def test_a_snapshot_that_is_deleted_alone() -> None:
    assert found() is Cascade.NO


@pytest.mark.parametrize(("type_", "cascade"), [(NAMESPACES, Cascade.NAMESPACE), (CRDS, Cascade.CRD)])
def test_row_08_a_snapshot_that_goes_with_what_holds_it(type_: Type, cascade: Cascade) -> None:
    assert found(terminating=type_) is cascade
    assert found(type_) is cascade


def test_no_data_is_deleted_where_the_crd_may_not_be_read() -> None:
    class Refusing(ApiServer):
        async def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
            if "customresourcedefinitions" in path:
                raise Forbidden(403, "Forbidden", "no rights")
            return await super().request(method, path, **options)

    server = Refusing()
    server.put(NAMESPACES, {"metadata": {"name": "shop", "namespace": ""}})
    ctx: Any = SimpleNamespace(kube=server.client())
    with pytest.raises(Stalled, match=r"may not read CustomResourceDefinition snapshots\.ocore\.dev"):
        asyncio.run(cascade_of(ctx, "shop"))
