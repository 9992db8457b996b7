"""A Rollback that is deleted with its namespace does not keep it, whatever the operator may still read there."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds.naming import FINALIZER_ROLLBACK
from ocore_kube.errors import Forbidden
from ocore_kube.types import NAMESPACES, ROLLBACKS
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.kube.resources import Key
from ocore_operator.rollback import reconcile
from ocore_operator.rollback.memory import Memories
from support.operator.api import WithoutRole
from support.operator.catalogs import new_catalog
from support.operator.objects import NOW, SETTINGS, at, obj

KEY = Key("Rollback", "shop", "back")
OTHER = "example.org/other"


@pytest.mark.parametrize("stage", ["Preflight", "Restore", "Switch", "Resume"])
def test_row_33_its_finalizer_goes_without_the_role_of_the_namespace(stage: str) -> None:
    server = WithoutRole("shop", "rollbacks/back")
    server.put(NAMESPACES, {"metadata": {"name": "shop", "namespace": "", "deletionTimestamp": at(0)}})
    deleted = {"deletionTimestamp": at(0), "finalizers": [OTHER, FINALIZER_ROLLBACK]}
    status = {"stage": stage, "environmentName": "shop"}
    server.put(ROLLBACKS, obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, status, **deleted))
    ctx: Any = SimpleNamespace(
        kube=server.client(),
        catalog=new_catalog(),
        remembered=Remembered(lambda _: True),
        settings=SETTINGS,
        now=lambda: NOW,
    )
    with suppress(Forbidden):  # would be tried again without end
        asyncio.run(reconcile.reconcile(Memories(), ctx, KEY))
    assert server.read(ROLLBACKS, "shop", "back")["metadata"]["finalizers"] == [OTHER]
    assert server.writes() == [("PATCH", ROLLBACKS.path("shop", "back"))]
