"""Whether a Snapshot is deleted because its namespace or its CRD is. That never deletes a backup."""

from ocore_crds import conditions as c
from ocore_kube.errors import Forbidden
from ocore_kube.types import CRDS, NAMESPACES, SNAPSHOTS
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.snapshot.world import Cascade


async def cascade_of(ctx: Context, namespace: str) -> Cascade:
    """Reads the namespace and the CRD. Raises Stalled where it may not: without knowing, no data is deleted."""
    found = await ctx.kube.get(NAMESPACES, "", namespace)
    if found is None or "deletionTimestamp" in found["metadata"]:
        return Cascade.NAMESPACE
    name = f"{SNAPSHOTS.plural}.{SNAPSHOTS.api_version.partition('/')[0]}"
    try:
        crd = await ctx.kube.get(CRDS, "", name)
    except Forbidden as error:
        message = f"The operator may not read CustomResourceDefinition {name}: {error}. Grant it `get` on it."
        raise Stalled(c.INTERNAL_ERROR, message) from None
    if crd is None or "deletionTimestamp" in crd["metadata"]:
        return Cascade.CRD
    return Cascade.NO
