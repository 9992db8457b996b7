"""The node that the pod of a Job must run on: that of a claim that only one node can mount."""

from collections.abc import Iterable

from ocore_crds import conditions as c
from ocore_kube.types import CLAIMS, PODS
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.jobs.building.required import need
from ocore_operator.jobs.observing.outcome import claims_of, holds_claims, pod_ended
from ocore_operator.kube.resources import Object


async def node_of(ctx: Context, namespace: str, claims: Iterable[str]) -> str | None:
    """The node on which a pod must run to mount the claims: a claim that only one node can mount is in use there.
    Raises Stalled where no node can mount all of them (ClaimNotFound, ClaimInUse)."""
    bound: dict[str, str] = {}
    pods: list[Object] | None = None
    for name in dict.fromkeys(claims):
        claim = await need(ctx, CLAIMS, namespace, name, c.CLAIM_NOT_FOUND, "the claim's name")
        modes = claim["spec"].get("accessModes") or []
        if "ReadWriteMany" in modes:
            continue
        if pods is None:
            pods = await ctx.kube.list(PODS, namespace, keep=holds_claims)
        user = user_of(pods, name)
        if user is None:
            continue
        if modes == ["ReadWriteOncePod"]:
            raise Stalled(
                c.CLAIM_IN_USE,
                f"Claim {name} is ReadWriteOncePod and pod {user['metadata']['name']} uses it, so no Job can mount it."
                " Use a claim with the access mode ReadWriteOnce or ReadWriteMany.",
            )
        bound[user["spec"]["nodeName"]] = name
    if len(bound) > 1:
        where = " and ".join(f"{claim} on the node {node}" for node, claim in sorted(bound.items()))
        raise Stalled(
            c.CLAIM_IN_USE,
            f"One Job must mount both claims, but they are in use on different nodes: {where}. Run their pods on one"
            " node, or use ReadWriteMany claims or an S3 store.",
        )
    return next(iter(bound), None)


def user_of(pods: Iterable[Object], claim: str) -> Object | None:
    """A pod that has a node and mounts the claim; one that is being deleted only where there is no other: after a
    drain, the application's new pod says where the claim goes."""
    users = (pod for pod in pods if claim in claims_of(pod) and pod["spec"].get("nodeName") and not pod_ended(pod))
    return min(users, key=lambda pod: "deletionTimestamp" in pod["metadata"], default=None)
