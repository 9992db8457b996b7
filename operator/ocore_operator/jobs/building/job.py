"""The Job around a command: name, labels, owner, security, deadline. Pure.

Labels and annotations are our own fixed ones and those of spec.jobs, never copies of the parent's: Argo CD prunes what
carries its tracking label (velero#2975).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ocore_crds import conditions as c
from ocore_crds import failpoints, naming
from ocore_crds.commands import request_transport
from ocore_crds.commands.base import Command, Request
from ocore_crds.commands.table import COMMANDS
from ocore_crds.protocol import TERMINATION_MESSAGE_PATH
from ocore_operator.errors import Failed
from ocore_operator.jobs.building import pod_template
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits
from ocore_operator.jobs.building.request_parts import Volumes
from ocore_operator.kube.resources import Object, Resource, label_value
from ocore_operator.settings import JobSettings, Settings

MAX_NAME = 63
#: Seconds between SIGTERM and SIGKILL: the mover stops pg_dump and removes what it has begun in 10 of them.
GRACE = 30
#: The row of a command by the class of its request.
COMMAND_OF = {row.request: row for row in COMMANDS.values()}
DEFAULT_RESOURCES: Object = {"requests": {"cpu": "100m", "memory": "256Mi"}}
#: Annotations of a pod that is not to be moved for convenience: of the cluster autoscaler, and of Karpenter.
STAYS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
#: Of a Job that needs only the store, where no Environment says more: a ResourceQuota may require limits of every pod.
STORE_RESOURCES: Object = {**DEFAULT_RESOURCES, "limits": {"cpu": "1", "memory": "1Gi"}}


@dataclass(frozen=True)
class JobRequest:
    """The Job to build: for whom, what its command is asked, with which volumes, its attempt and its limits."""

    owner: Resource  # type: ignore[type-arg]
    request: Request
    attempt: int | str
    volumes: Volumes
    deadline: float  # seconds
    beside: Object | None = None  # a second container, whose end does not matter
    of_operation: bool = False  # a Rollback or a person waits for it
    #: The application may be stopped while its pod runs: see STAYS.
    stays: bool = False

    @property
    def command(self) -> Command[Any]:
        """The row of its command."""
        return COMMAND_OF[type(self.request)]


def job_name(command: str, uid: str, attempt: int | str) -> str:
    """``<command>-<12 hex digits of the owner's uid>-<attempt>``; at most 63 characters."""
    name = f"{command}-{uid.replace('-', '')[:12]}-{attempt}"
    if len(name) > MAX_NAME:
        raise ValueError(f"Job name {name} is longer than {MAX_NAME} characters")
    return name


def owner_reference(owner: Resource) -> Object:  # type: ignore[type-arg]
    """The Job is deleted with its owner, and does not block the owner's deletion."""
    return {
        "apiVersion": owner.kind.api_version,
        "kind": owner.kind.kind,
        "name": owner.meta.name,
        "uid": owner.meta.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _owned(owner: Resource) -> Object:  # type: ignore[type-arg]
    """The owner reference; none where the owner is being deleted. A foreground deletion (Argo CD's default) makes the
    garbage collector delete every child, also the Job that cleans up for the finalizer. Without an owner, its TTL
    removes the Job."""
    return {} if owner.meta.deleted is not None else {"ownerReferences": [owner_reference(owner)]}


def labels(owner: Resource, command: str, store: str) -> dict[str, str]:  # type: ignore[type-arg]
    """Labels of the Job and its pod."""
    return {
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        naming.LABEL_KIND: owner.kind.kind,
        naming.LABEL_UID: owner.meta.uid,
        naming.LABEL_COMMAND: command,
        naming.LABEL_STORE: label_value(store),
    }


def job(settings: Settings, job_inputs: JobInputs, request: JobRequest) -> Object:
    """The Job."""
    owner, given = request.owner, job_inputs.template
    ours = labels(owner, request.command.name, job_inputs.store.meta.name)
    # Ours come last: they say whose the Job is, whatever has been let through.
    metadata = {
        "labels": {**given.labels, **ours},
        "annotations": {**given.annotations, naming.ANNOTATION_OWNER_NAME: owner.meta.name},
    }
    of_pod, of_job = metadata, dict(metadata["annotations"])
    if request.stays:
        of_pod = {**metadata, "annotations": {**metadata["annotations"], **STAYS}}
    if given.start_deadline is not None:
        of_job[naming.ANNOTATION_START_DEADLINE] = str(given.start_deadline)
    if request.of_operation:
        of_job[naming.ANNOTATION_OF_OPERATION] = "true"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(request.command.name, owner.meta.uid, request.attempt),
            "namespace": owner.meta.namespace,
            "labels": metadata["labels"],
            "annotations": of_job,
            **_owned(owner),
        },
        "spec": {
            "backoffLimit": request.command.restarts,
            "activeDeadlineSeconds": max(math.ceil(request.deadline), 1),
            "ttlSecondsAfterFinished": settings.job_ttl,
            "podReplacementPolicy": "Failed",
            "template": {"metadata": of_pod, "spec": _pod(settings, job_inputs, request)},
        },
    }


def _pod(settings: Settings, job_inputs: JobInputs, request: JobRequest) -> Object:
    traits, given = job_inputs.traits, job_inputs.template
    volumes, mounts = _each_claim_once(request.volumes)
    security = _security(settings, traits, volumes)
    pod: Object = {
        "restartPolicy": "OnFailure" if request.command.restarts else "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": security,
        "containers": [
            _container(settings, job_inputs, request, mounts),
            *([request.beside] if request.beside else []),
        ],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            *(_readable(v, security) for v in (*volumes, *settings.jobs.volumes)),
        ],
        **given.pod,
        **_of_chart(settings.jobs),
    }
    stores = [s for s in (job_inputs.store, job_inputs.source) if s is not None]
    accounts = [s.spec.service_account_name for s in stores if s.spec.service_account_name]
    account = accounts[0] if accounts else settings.job_service_account
    if account:
        pod["serviceAccountName"] = account
    tolerations = [*traits.tolerations, *given.tolerations]
    if tolerations:
        pod["tolerations"] = tolerations
    if traits.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": n} for n in traits.image_pull_secrets]
    if job_inputs.node is not None:
        pod["affinity"] = pod_template.pinned(given.pod.get("affinity", {}), job_inputs.node)
    return pod


def _of_chart(jobs: JobSettings) -> Object:
    """Fields that no Environment can set."""
    fields = {
        "runtimeClassName": jobs.runtime_class_name,
        "dnsPolicy": jobs.dns_policy,
        "dnsConfig": jobs.dns_config,
    }
    return {name: value for name, value in fields.items() if value}


def _each_claim_once(found: Volumes) -> tuple[list[Object], list[Object]]:
    """Volumes and mounts, with one volume for each claim, which may be mounted at several paths. Two volumes of one
    claim: the kubelet mounts it once, and with some drivers waits for the other one without end."""
    volumes: list[Object] = []
    first: dict[str, str] = {}  # claim → its volume
    kept: dict[str, str] = {}  # volume → the one in its place
    for volume in found.volumes:
        name = volume["name"]
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        kept[name] = first.setdefault(claim, name) if claim else name
        if kept[name] == name:
            volumes.append(volume)
    return volumes, [{**mount, "name": kept[mount["name"]]} for mount in found.mounts]


def _security(settings: Settings, traits: PodTraits, volumes: Iterable[Object]) -> Object:
    """Where the user is unknown, the default one. The kubelet gives the files of a claim to the fsGroup, also of one
    that is mounted read-only: a pod with a claim has no fsGroup before the user is known, and never one of ours."""
    user, group, fs_group = traits.run_as_user, traits.run_as_group, traits.fs_group
    if user is None:
        claim = any("persistentVolumeClaim" in volume for volume in volumes)
        user, group = settings.job_user, group or settings.job_group
        fs_group = None if claim else fs_group or settings.job_group
    context: Object = {"runAsNonRoot": True, "runAsUser": user, "seccompProfile": {"type": "RuntimeDefault"}}
    if group is not None:
        context["runAsGroup"] = group
    if fs_group is not None:
        # Without OnRootMismatch the kubelet changes the owner of every file of a filestore at every start.
        context |= {"fsGroup": fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    if traits.supplemental_groups:
        context["supplementalGroups"] = list(traits.supplemental_groups)
    return context


def _readable(volume: Object, security: Object) -> Object:
    """A Secret's files are owned by root and the fsGroup. Without an fsGroup our user can read them only through the
    mode for others. The mover copies a private key before libpq, which requires 0600, reads it."""
    kind = next((kind for kind in ("secret", "projected") if kind in volume), None)
    if kind is None:
        return volume
    mode = 0o440 if "fsGroup" in security else 0o444
    return {**volume, kind: {**volume[kind], "defaultMode": mode}}


def _container(settings: Settings, job_inputs: JobInputs, request: JobRequest, mounts: Iterable[Object]) -> Object:
    uid = {"fieldRef": {"fieldPath": "metadata.uid"}}
    env: list[Object] = [{"name": "OCORE_POD_UID", "valueFrom": uid}]
    env += [{"name": name, "value": value} for name, value in _document(request).items()]
    armed = _failpoints(request) if settings.allow_failpoints else ""
    if armed:
        env += [
            {"name": failpoints.ENVIRONMENT_VARIABLE, "value": armed},
            {"name": failpoints.MARKS_VARIABLE, "value": "/tmp"},  # noqa: S108 - an emptyDir of the pod
        ]
    env += settings.jobs.env
    container: Object = {
        "name": naming.MOVER_CONTAINER,
        "image": settings.image(job_inputs.server_major),
        "imagePullPolicy": settings.image_pull_policy,
        "args": [request.command.name],
        "env": env,
        "resources": _resources(job_inputs),
        "terminationMessagePath": TERMINATION_MESSAGE_PATH,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod
            *mounts,
            *settings.jobs.volume_mounts,
        ],
    }
    if request.volumes.readiness is not None:
        container["readinessProbe"] = request.volumes.readiness
    return container


def _failpoints(request: JobRequest) -> str:
    """Those that the owner's annotation arms for the attempt."""
    number = str(request.attempt).rpartition("-")[2]
    annotation = request.owner.meta.annotations.get(naming.ANNOTATION_FAILPOINTS, "")
    return failpoints.for_attempt(annotation, int(number) if number.isdigit() else 1)


def _document(request: JobRequest) -> dict[str, str]:
    """The variables with the request. Raises Failed where it is too long."""
    try:
        return request_transport.variables(request.request)
    except ValueError as error:
        raise Failed(c.JOB_REFUSED, f"The Job {request.command.name} cannot be started: {error}.") from error


def _resources(job_inputs: JobInputs) -> Object:
    if job_inputs.template.resources is not None:
        return job_inputs.template.resources
    return DEFAULT_RESOURCES if job_inputs.environment is not None else STORE_RESOURCES
