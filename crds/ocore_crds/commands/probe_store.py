"""The command ``probe-store``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import STORE, Command, Request
from ocore_crds.commands.parts import StoreAccess
from ocore_crds.reports.base import Line


class ProbeStoreRequest(Request):
    """Check a store and write its id where it has none. Run this first for a new store. With --store-read-only it
    writes nothing."""

    store: StoreAccess


class StoreProbeResult(Line):
    """Of ``probe-store``."""

    kind: Literal["probe-store"] = "probe-store"
    store_id: str
    checksums: Literal["Server", "ReadBack"] | None = Field(
        default=None,
        description=(
            "`Server`: the store refuses bytes that do not match their SHA-256. `ReadBack`: it does not; every object"
            " is read back. Absent: the store was probed without writing."
        ),
    )
    conditional_writes: bool = Field(default=False, description="Whether the store honours If-None-Match on a write.")
    warnings: tuple[str, ...] = ()


ROW = Command("probe-store", ProbeStoreRequest, (StoreProbeResult,), "light", 3, (STORE,), patience=0.0)
