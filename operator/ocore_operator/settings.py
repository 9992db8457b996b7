"""The operator's settings, read from the environment. Every setting is ``OCORE_<NAME>``. `make generate` writes
docs/settings.md from the descriptions."""

import os
import re
import secrets
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ocore_crds import naming
from ocore_crds.model import Model
from ocore_crds.resources.scheduling import PodTemplate, Toleration

Seconds = Annotated[float, Field(gt=0)]


class AllowedJobs(Model):
    """What an Environment may ask for in `spec.jobs`, beside the defaults."""

    #: What keys of labels and of annotations may begin with.
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()
    #: Tolerations that cover those of an Environment. The default covers all.
    tolerations: tuple[Toleration, ...] = (Toleration(operator="Exists"),)


class WorkloadKind(Model):
    """A kind with the scale subresource that an Environment may list in `spec.workloads`."""

    api_version: str
    kind: str
    #: Its plural name in URLs and in rules of RBAC.
    resource: str


class JobSettings(Model):
    """The pods of Jobs, as the chart's value `jobs` has them. The lists of objects are fields of a pod."""

    #: For what an Environment does not set.
    defaults: PodTemplate = PodTemplate()
    allowed: AllowedJobs = AllowedJobs()
    #: Of the mover's container only: an application's container, which neutralises, has foreign code.
    env: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()
    volume_mounts: tuple[dict[str, Any], ...] = ()
    runtime_class_name: str = ""
    dns_policy: str = ""
    dns_config: dict[str, Any] | None = None


class Settings(BaseSettings):
    """Read once at start. Lists are written with commas."""

    model_config = SettingsConfigDict(env_prefix="OCORE_", frozen=True)

    # --- what is watched ------------------------------------------------------------------------------------
    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Namespaces that are watched, with commas; empty: all of the cluster."
    )
    kubeconfig: Path | None = Field(
        default=None, description="Outside a cluster: the kubeconfig file. Inside, the service account is used."
    )
    resync_interval: Seconds = Field(
        default=600,
        description=(
            "Seconds between full lists of all kinds, the last safety net: a watch that breaks continues where it"
            " stopped, after 70 s at most."
        ),
    )
    request_timeout: Seconds = Field(default=10, description="Seconds that one request to the API server may take.")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=8, description="Objects that are reconciled at the same time."
    )

    # --- Jobs -----------------------------------------------------------------------------------------------
    mover_image: str = Field(
        default="localhost/ocore-snapshots/mover:{major}",
        description="Image of the Jobs; `{major}` becomes the PostgreSQL major version.",
    )
    mover_majors: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(15, 17), description="PostgreSQL majors that have a mover image, with commas."
    )
    mover_digests: Annotated[dict[int, str], NoDecode] = Field(
        default_factory=dict,
        description=(
            "Digests of the mover images: `MAJOR=sha256:…`, with commas. An image without one is named by its tag"
            " alone."
        ),
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="Pull policy of the Jobs' image."
    )
    image_pull_secrets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names of pull Secrets, with commas. Each must exist in the namespace of each Environment.",
    )
    job_service_account: str = Field(
        default="",
        description="Service account of the Jobs (its token is never mounted); empty: the namespace's default one.",
    )
    jobs: JobSettings = Field(
        default=JobSettings(),
        description=(
            "The pods of Jobs, as JSON: `defaults` for what `spec.jobs` of an Environment does not set, `allowed` for"
            " what it may set, and what only the chart sets: `env`, `volumes`, `volumeMounts`, `runtimeClassName`,"
            " `dnsPolicy`, `dnsConfig`. In the chart: the value `jobs` ([job pods](job-pods.md#job-pods))."
        ),
    )
    workload_kinds: tuple[WorkloadKind, ...] = Field(
        default=(),
        description=(
            "Kinds that `spec.workloads` may have beside Deployment, StatefulSet and CronJob, as JSON: `apiVersion`,"
            " `kind`, `resource`. In the chart: `workloads.kinds`, which also grants the rights"
            " ([workloads.md](workloads.md#other-kinds))."
        ),
    )
    cluster_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
        description=(
            "Networks of the cluster, with commas: of pods, services and nodes. A test listener of a pod that"
            " neutralises must be outside of them. The default is every private network."
        ),
    )
    job_user: Annotated[int, Field(ge=1)] = Field(
        default=65532, description="User id of a Job that mounts no claim and inherits no user from a workload."
    )
    job_group: Annotated[int, Field(ge=1)] = Field(default=65532, description="Group id and fsGroup of such a Job.")
    start_deadline: Seconds = Field(
        default=180, description="Seconds until the container of a new Job must run: image, volumes, scheduling."
    )
    job_ttl: Annotated[int, Field(ge=60)] = Field(default=600, description="Seconds that a finished Job is kept.")
    max_concurrent_jobs: Annotated[int, Field(ge=1)] = Field(
        default=10,
        description=(
            "Jobs at the same time, in each of five pools ([operator.md](operator.md#job-slots)). What a Rollback needs"
            " has pools of its own; switches and cleanups never wait."
        ),
    )
    max_concurrent_jobs_per_namespace: Annotated[int, Field(ge=1)] = Field(
        default=5,
        description="The same, of one namespace. The namespaces share the slots in turns.",
    )
    commit_annotation: str = Field(
        default=naming.ANNOTATION_COMMIT,
        description="Annotation of a workload or its pod template that holds the commit its image was built from.",
    )

    restore_image: bool = Field(
        default=True,
        description=(
            "Whether a Rollback with restoreImage: Always may change the image of workloads. The chart grants the right"
            " with it."
        ),
    )

    application_images: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "What images may begin with that restoreImage sets, beside those of a container's own repository, with"
            " commas; `*`: any. In the chart: `admissionPolicies.applicationImages`, and `*` without"
            " `admissionPolicies.operatorAccount`; the policy on that account refuses others."
        ),
    )

    # --- times ----------------------------------------------------------------------------------------------
    probe_interval: Seconds = Field(
        default=3600, description="Seconds between probes of an Environment or SnapshotStore that is ready."
    )
    proof_interval: Seconds = Field(
        default=86400,
        description=(
            "Seconds between two schema-only restores of an Environment that prove RollbackReady; only a changed schema"
            " is proven again."
        ),
    )
    environment_wait: Seconds = Field(
        default=60, description="Seconds that a Snapshot waits for an Environment that does not exist."
    )
    cleanup_timeout: Seconds = Field(
        default=600,
        description=(
            "Seconds in which data in a store must be deleted; after that it stays there and an Event names it."
        ),
    )

    sweep_interval: Annotated[float, Field(ge=0)] = Field(
        default=86400,
        description="Seconds between two searches of a store for objects that no manifest names; 0: only when asked.",
    )
    import_limit: Annotated[int, Field(ge=1)] = Field(
        default=20000, description="Snapshots that a namespace may have after an import; the rest stays in the store."
    )
    rollback_history_limit: Annotated[int, Field(ge=0, le=100000)] = Field(
        default=1000,
        description=(
            "Finished Rollbacks of an environment that stay listed; 0: all. Those that are needed or were applied from"
            " a file are never removed ([rollback.md](rollback.md#the-history-limit))."
        ),
    )

    # --- one leader -----------------------------------------------------------------------------------------
    standby: bool = Field(
        default=False,
        description=(
            "Whether another pod of this release may hold the Lease: this one then knows all objects, and is ready,"
            " while it waits. The chart sets it with `operator.replicas`."
        ),
    )
    namespace: str = Field(default="default", description="The operator's own namespace, which has the Lease.")
    lease_name: str = Field(default="ocore-operator", description="Name of the Lease that guards against two.")
    lease_duration: Annotated[int, Field(ge=3)] = Field(
        default=15,
        description="Seconds after which a silent holder has lost the Lease and exits. Renewed three times as often.",
    )
    shutdown_seconds: Seconds = Field(
        default=150,
        description=(
            "Seconds after SIGTERM in which rollbacks that have stopped an application start it again. Less than the"
            " pod's terminationGracePeriodSeconds."
        ),
    )
    pod_name: str = Field(default="", description="Name of the operator's pod (downward API).")
    pod_uid: str = Field(
        default="", description="Its uid: a restarted container takes its Lease up again without waiting."
    )

    # --- being watched --------------------------------------------------------------------------------------
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8080, description="Port of /healthz, /readyz and /metrics."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")

    # --- tests ----------------------------------------------------------------------------------------------
    allow_failpoints: bool = Field(
        default=False, description="Honours the annotation ocore.dev/failpoints (tests only; the chart lacks it)."
    )
    failpoint_marks: Path = Field(
        default=Path("/tmp"),  # noqa: S108 - an emptyDir in the pod, and only for tests
        description="Folder that remembers which of the operator's own failpoints have fired.",
    )

    @field_validator("namespaces", "image_pull_secrets", "cluster_networks", "application_images", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return tuple(filter(None, (v.strip() for v in value.split(",")))) if isinstance(value, str) else value

    @field_validator("mover_majors", mode="before")
    @classmethod
    def _majors(cls, value: Any) -> Any:
        return tuple(sorted(int(v) for v in value.split(",") if v.strip())) if isinstance(value, str) else value

    @field_validator("mover_digests", mode="before")
    @classmethod
    def _digests(cls, value: Any) -> Any:
        return (
            dict(v.strip().partition("=")[::2] for v in value.split(",") if v.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("mover_digests")
    @classmethod
    def _well_formed(cls, value: dict[int, str]) -> dict[int, str]:
        for major, digest in value.items():
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                raise ValueError(f"the digest of major {major} is {digest!r}: give sha256: and 64 digits")
        return value

    @field_validator("cluster_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(each)) for each in value)

    @field_validator("mover_majors")
    @classmethod
    def _some_major(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("give at least one PostgreSQL major, for example OCORE_MOVER_MAJORS=15,17")
        return value

    def image(self, major: int) -> str:
        """The mover's image for a PostgreSQL major; the newest one where that major has none (for commands that need no
        client)."""
        chosen = major if major in self.mover_majors else self.mover_majors[-1]
        image = self.mover_image.replace("{major}", str(chosen))
        digest = self.mover_digests.get(chosen)
        return f"{image}@{digest}" if digest else image

    def identity(self) -> str:
        """The holder of the Lease: the same after a restart of the container in one pod, unique elsewhere."""
        if self.pod_uid:
            return f"{self.pod_name or 'operator'}_{self.pod_uid}"
        return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"
