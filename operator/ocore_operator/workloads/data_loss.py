"""Whether scaling a workload to zero would delete data: Kubernetes deletes some claims together with their pods.

A StatefulSet does so by ``persistentVolumeClaimRetentionPolicy.whenScaled: Delete``. A claim that is being deleted, or
that belongs to a pod, lasts as long as its pods. Nothing is scaled then: no rollback can bring the filestore back.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from ocore_crds import conditions as c
from ocore_crds.model import NAME_PATTERN
from ocore_crds.protocol import Failure
from ocore_crds.resources.workloads import Target
from ocore_crds.text.sentences import shown
from ocore_crds.text.shell import command
from ocore_kube.types import CLAIMS, WORKLOADS
from ocore_operator.context import Context
from ocore_operator.jobs import scalable_kinds
from ocore_operator.kube.resources import Object

POLICY = "persistentVolumeClaimRetentionPolicy"
#: Kinds that are deleted without a person: by a controller, a history limit or a time to live.
SHORT_LIVED = ("Pod", "Job", "ReplicaSet")
#: Ways to read the name of a claim that are tried, at most.
MOST_NAMES = 20
#: Kinds that delete the claims of their templates with each pod, and have no policy for it.
DELETES_ALWAYS = ("CloneSet",)
#: Characters of the name of an object.
LONGEST_NAME = 253


async def of_targets(ctx: Context, namespace: str, targets: Sequence[Target], claim: str) -> Failure | None:
    """Why none of the workloads may be scaled to zero, whether they run or not. `claim`: of the filestore; empty
    without one."""
    for target in targets:
        if target.has_template:
            found = of_template(target, await ctx.kube.get(WORKLOADS[target.kind], namespace, target.name))
        else:
            found = None if target.is_cron_job else await of_listed(ctx, namespace, target, claim)
        if found is not None:
            return found
    return await of_claim(ctx, namespace, claim) if targets else None


def of_template(target: Target, workload: Object | None) -> Failure | None:
    """The same of a Deployment or StatefulSet. Pure."""
    if workload is None or target.kind != "StatefulSet":
        return None
    return _of_policy(target, workload, "statefulset")


async def of_listed(ctx: Context, namespace: str, target: Target, claim: str) -> Failure | None:
    """The same of a workload of a listed kind: by a policy of its own, or by that of the StatefulSet that has made the
    filestore's claim. What its controller deletes beside that cannot be known."""
    kind = scalable_kinds.listed(ctx.settings, target)
    own = await ctx.kube.get(kind, namespace, target.name) if kind is not None else None
    if kind is not None and own is not None:
        group = kind.api_version.partition("/")[0]
        found = _of_policy(target, own, f"{kind.plural}.{group}") or _always(target, own)
        if found is not None:
            return found
    for template, name in sets_of(claim):
        made = await ctx.kube.get(WORKLOADS["StatefulSet"], namespace, name)
        if made is not None and template in _templates(made):
            return of_template(Target("StatefulSet", name), made)
    return None


async def of_claim(ctx: Context, namespace: str, claim: str) -> Failure | None:
    """Why the filestore's claim does not outlast the workloads' pods; None where it does, or does not exist."""
    found = await ctx.kube.get(CLAIMS, namespace, claim) if claim else None
    return _of_claim(found) if found is not None else None


def sets_of(claim: str) -> Iterator[tuple[str, str]]:
    """Claim template and StatefulSet that may have made a claim of that name: ``<template>-<StatefulSet>-<number>``.
    Each name may have hyphens. Pure."""
    found = re.fullmatch(r"(.+)-\d+", claim)
    parts = found[1].split("-") if found else []
    for cut in range(1, min(len(parts), MOST_NAMES + 1)):
        template, name = "-".join(parts[:cut]), "-".join(parts[cut:])
        if template and name:
            yield template, name


def _templates(workload: Object) -> tuple[str, ...]:
    found: Iterable[Object] = workload.get("spec", {}).get("volumeClaimTemplates") or ()
    return tuple(str((each.get("metadata") or {}).get("name", "")) for each in found)


def _of_policy(target: Target, workload: Object, resource: str) -> Failure | None:
    spec = workload.get("spec") or {}
    policy = spec.get(POLICY)
    if not isinstance(policy, dict) or policy.get("whenScaled") != "Delete":
        return None
    if target.kind == "StatefulSet" and not _templates(workload):  # it has no claim to delete
        return None
    meta = workload["metadata"]
    retain = f'{{"spec":{{"{POLICY}":{{"whenScaled":"Retain"}}}}}}'
    fix = command("kubectl", "-n", meta["namespace"], "patch", resource, target.name, "--type", "merge", "-p", retain)
    return _failure(
        f"{target.kind} {target.name} deletes its claims, with their data, when it is scaled to zero"
        f" (spec.{POLICY}.whenScaled: Delete). Run `{fix}`"
    )


def _always(target: Target, workload: Object) -> Failure | None:
    if target.kind not in DELETES_ALWAYS or not _templates(workload):
        return None
    return _failure(
        f"{target.kind} {target.name} deletes the claims of its volumeClaimTemplates together with its pods. Put the"
        f" data on a claim of its own: replace spec.volumeClaimTemplates by a volume with persistentVolumeClaim."
    )


def _of_claim(claim: Object) -> Failure | None:
    meta = claim["metadata"]
    name, deleted = meta["name"], meta.get("deletionTimestamp")
    if deleted:
        retain = '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'
        fix = command("kubectl", "patch", "persistentvolume", _volume(claim), "--type", "merge", "-p", retain)
        return _failure(
            f"Claim {name} of the filestore was deleted at {deleted}: it lasts only as long as pods use it. Keep its"
            f" volume: `{fix}`. Then bind the volume to a new claim, and name that in spec.filestore.claimName and in"
            " the workloads."
        )
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("kind") in SHORT_LIVED), None)
    if owner is None:
        return None
    return _failure(
        f"Claim {name} of the filestore belongs to {owner['kind']} {shown(str(owner['name']))} and is deleted with it,"
        " as a generic ephemeral volume is. Copy the files to a claim of its own, and name that in"
        " spec.filestore.claimName and in the workloads."
    )


def _volume(claim: Object) -> str:
    """Name of the claim's volume, for a command line; VOLUME where it is not bound. Who creates a claim writes any text
    as the name, also that of another tenant's volume: only Kubernetes sets the phase."""
    name = str((claim.get("spec") or {}).get("volumeName") or "")
    is_bound = (claim.get("status") or {}).get("phase") == "Bound"
    return name if is_bound and len(name) <= LONGEST_NAME and re.fullmatch(NAME_PATTERN, name) else "VOLUME"


def _failure(message: str) -> Failure:
    return Failure(reason=c.SCALING_DELETES_CLAIM, message=message)
