"""Whether an object is deleted because everything around it is: a namespace that goes, a CRD that goes. That never erases a backup."""

from enum import Enum

import structlog

from ocore_crds import conditions as c
from ocore_operator.context import Context
from ocore_operator.errors import Forbidden, Stalled
from ocore_operator.kube.client import CRDS, NAMESPACES, Type

_log = structlog.get_logger()


class Letting(Enum):
    """Why an object is let go with its data kept."""

    NO = ""
    NAMESPACE = "The namespace is being deleted"
    CRD = "The CustomResourceDefinition is being deleted"


async def letting_go(ctx: Context, namespace: str, type_: Type) -> Letting:
    """Looks at the namespace and at the CRD. Raises Stalled where it may not: without knowing, no data is removed."""
    there = await ctx.kube.get(NAMESPACES, "", namespace)
    if there is None or "deletionTimestamp" in there["metadata"]:
        return Letting.NAMESPACE
    name = f"{type_.plural}.{type_.api_version.partition('/')[0]}"
    try:
        crd = await ctx.kube.get(CRDS, "", name)
    except Forbidden as error:
        raise Stalled(
            c.INTERNAL_ERROR, f"The operator may not read the CustomResourceDefinition {name}: {error}"
        ) from None
    if crd is None or "deletionTimestamp" in crd["metadata"]:
        return Letting.CRD
    return Letting.NO
