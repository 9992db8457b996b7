"""An Extract that is deleted with its namespace does not keep it, whatever the operator may still read there."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds.naming import FINALIZER_EXTRACT
from ocore_kube.errors import Forbidden
from ocore_kube.types import EXTRACTS, NAMESPACES
from ocore_operator.extract import reconcile
from ocore_operator.kube.resources import Key
from support.operator.api import WithoutRole
from support.operator.catalogs import new_catalog
from support.operator.objects import NOW, SETTINGS, at, obj

KEY = Key("Extract", "shop", "letter")
OTHER = "example.org/other"
SPEC = {"snapshotRef": {"name": "before"}, "files": {"paths": ["letter.odt"]}, "target": {"store": {}}}
STARTED = {"phase": "Running", "startedAt": at(0), "environmentName": "shop", "storeName": "main", "attempt": 1}
RESULT = {**STARTED, "phase": "Complete", "residue": "Pending"}


@pytest.mark.parametrize("status", [{}, STARTED, RESULT])
def test_row_33_its_finalizer_goes_without_the_role_of_the_namespace(status: dict[str, Any]) -> None:
    server = WithoutRole("shop", "extracts/letter")
    server.put(NAMESPACES, {"metadata": {"name": "shop", "namespace": "", "deletionTimestamp": at(0)}})
    deleted = {"deletionTimestamp": at(0), "finalizers": [OTHER, FINALIZER_EXTRACT]}
    server.put(EXTRACTS, obj("Extract", "letter", SPEC, status, **deleted))
    ctx: Any = SimpleNamespace(kube=server.client(), catalog=new_catalog(), settings=SETTINGS, now=lambda: NOW)
    with suppress(Forbidden):  # would be tried again without end
        asyncio.run(reconcile.reconcile(ctx, KEY))
    assert server.read(EXTRACTS, "shop", "letter")["metadata"]["finalizers"] == [OTHER]
    assert server.writes() == [("PATCH", EXTRACTS.path("shop", "letter"))]
