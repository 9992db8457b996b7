"""Workloads of kinds that the chart's value workloads.kinds lists. Only their scale subresource is used."""

from dataclasses import dataclass

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources.workloads import Target
from ocore_kube.errors import ApiError, Forbidden
from ocore_kube.types import Type
from ocore_operator.context import Context
from ocore_operator.kube.resources import Object
from ocore_operator.settings import Settings


@dataclass(frozen=True)
class Scale:
    """What the scale subresource shows."""

    #: spec.replicas and status.replicas.
    wanted: int
    present: int
    #: Label selector of its pods.
    selector: str
    #: resourceVersion of the workload.
    version: str


def listed(settings: Settings, target: Target) -> Type | None:
    """The type of the target, where the chart lists its kind."""
    for each in settings.workload_kinds:
        if (each.api_version, each.kind) == (target.api_version, target.kind):
            return Type(each.api_version, each.resource, each.kind)
    return None


async def read(ctx: Context, namespace: str, target: Target) -> Scale | Failure:
    """Its scale, or why it cannot be stopped."""
    type_ = listed(ctx.settings, target)
    if type_ is None:
        return await _not_listed(ctx, target)
    try:
        found = await ctx.kube.scale(type_, namespace, target.name)
        exists = found is not None or await ctx.kube.get(type_, namespace, target.name) is not None
    except Forbidden as error:
        text = (
            f"The operator may not read {type_.plural}/scale: {error.message.rstrip('.')}. Grant it get of"
            f" {type_.plural}, and get and patch of {type_.plural}/scale, or set the chart's value rbac.create."
        )
        return Failure(reason=c.WORKLOAD_KIND_NOT_ALLOWED, message=text)
    except ApiError as error:
        if "spec replicas field" not in error.message:
            raise
        # As the API server answers for a custom resource without the field: 500, InternalError.
        text = f"{_name(target)} has no replicas, so it cannot be scaled. Add to it: spec: {{replicas: 1}}."
        return Failure(reason=c.WORKLOAD_NOT_SCALABLE, message=text)
    if not exists:
        text = (
            f"There is no {target.kind} {target.name} in the namespace {namespace}. Create it, or correct"
            " spec.workloads."
        )
        return Failure(reason=c.WORKLOAD_NOT_FOUND, message=text)
    return _scale(target, found)


def _scale(target: Target, found: Object | None) -> Scale | Failure:
    if found is None:
        return _without_scale(target)
    selector = str(found.get("status", {}).get("selector") or "")
    if not selector:
        # An empty selector would be all pods of the namespace.
        text = (
            f"The scale subresource of {_name(target)} has no status.selector, so its pods are unknown. Its controller"
            " must set it (labelSelectorPath of its CustomResourceDefinition). Or remove it from spec.workloads: the"
            " switchover refuses its connections and ends its sessions in any case."
        )
        return Failure(reason=c.WORKLOAD_NOT_SCALABLE, message=text)
    wanted, present = found.get("spec", {}).get("replicas", 0), found["status"].get("replicas", 0)
    return Scale(int(wanted), int(present), selector, found["metadata"]["resourceVersion"])


async def _not_listed(ctx: Context, target: Target) -> Failure:
    """With the line to add, as the API server names the resource."""
    served = await ctx.kube.served(target.api_version) or {}
    resources = [r for r in served.get("resources") or () if r.get("kind") == target.kind and "/" not in r["name"]]
    if not resources:
        text = (
            f"The API server has no kind {target.kind} in {target.api_version}. Install it, or correct apiVersion and"
            f" kind of {target.name} in spec.workloads."
        )
        return Failure(reason=c.WORKLOAD_NOT_FOUND, message=text)
    plural = resources[0]["name"]
    if not any(r["name"] == f"{plural}/scale" for r in served["resources"]):
        return _without_scale(target)
    text = (
        f"The operator has no rights for {_name(target)}. Add to the chart's value workloads.kinds:"
        f" {{apiVersion: {target.api_version}, kind: {target.kind}, resource: {plural}}}."
    )
    return Failure(reason=c.WORKLOAD_KIND_NOT_ALLOWED, message=text)


def _without_scale(target: Target) -> Failure:
    text = (
        f"{_name(target)} has no scale subresource, so it cannot be stopped. Remove it from spec.workloads: the"
        " switchover refuses its connections and ends its sessions in any case. Or stop it by hand before a Rollback."
    )
    return Failure(reason=c.WORKLOAD_NOT_SCALABLE, message=text)


def _name(target: Target) -> str:
    return f"{target.kind} {target.name} ({target.api_version})"
