"""Copies of a Snapshot in a remote store."""

from typing import Any

from ocore_crds.resources.remote_copy import RemoteCopy
from support.operator.objects import at


def copy(state: str = "Pending", **more: Any) -> RemoteCopy:
    return RemoteCopy.model_validate({"state": state, "storeName": "far", "requestedAt": at(61), **more})


DONE = copy("Completed", attempts=1, storeId="far")
