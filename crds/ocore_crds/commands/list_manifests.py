"""The command ``list-manifests``: its request, and its row. Pure."""

from typing import Annotated

from pydantic import Field

from ocore_crds.commands.base import STORE, Command, Request
from ocore_crds.commands.parts import Option, StoreAccess
from ocore_crds.model import Uuid
from ocore_crds.reports.stored_contents import ManifestsResult


class ListManifestsRequest(Request):
    """List one page of the snapshots that a store has for these environments, one JSON line each. Writes nothing."""

    store: StoreAccess
    environments: Annotated[dict[Uuid, Uuid], Option("environment")] = Field(
        default={}, description="ENVIRONMENT:PROJECT, ids of an environment and of its project."
    )
    after: str = Field(default="", description="ENVIRONMENT/SNAPSHOT: `next` of the page before.")
    hidden: bool = Field(
        default=False,
        description=(
            "Also list what was deleted or overwritten in a bucket with versioning, from the oldest versions that are"
            " valid. Snapshots that retention deleted appear again, as long as a lock keeps them."
        ),
    )


ROW = Command(
    "list-manifests",
    ListManifestsRequest,
    (ManifestsResult,),
    "background",
    3,
    (f"{STORE} --environment 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01:3f0a4c52-6f1c-4f6e-9a54-0e8e0c5f6a01",),
)
