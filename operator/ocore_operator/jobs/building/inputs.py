"""What the Jobs of an Environment depend on besides its spec, read before a Job is built."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources.environment import Connection, EnvironmentSpec, Jobs, connection_of
from ocore_crds.resources.workloads import targets
from ocore_kube.errors import ApiError, Forbidden
from ocore_kube.types import (
    CLAIMS,
    CLUSTERS,
    CNPG_DATABASES,
    CONFIG_MAPS,
    CRON_JOBS,
    WORKLOADS,
)
from ocore_operator import sources
from ocore_operator.context import Context
from ocore_operator.encryption import need_recipients
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.errors import Stalled
from ocore_operator.jobs import scalable_kinds
from ocore_operator.jobs.building import cloudnativepg as cnpg
from ocore_operator.jobs.building import pod_template, stores
from ocore_operator.jobs.building.node_of_claims import node_of
from ocore_operator.jobs.building.pod_template import Template
from ocore_operator.jobs.building.required import need
from ocore_operator.kube import resources
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Environment, Object, Store, label_value
from ocore_operator.settings import Settings
from ocore_operator.sources import Place

#: Reasons for which an Environment's workloads cannot be stopped.
OF_WORKLOADS = (c.WORKLOAD_NOT_FOUND, c.WORKLOAD_KIND_NOT_ALLOWED, c.WORKLOAD_NOT_SCALABLE)


@dataclass(frozen=True)
class PodTraits:
    """What a Job's pod inherits from the environment's first Deployment or StatefulSet. spec.jobs has precedence."""

    #: None: unknown. Only root is found, or nothing.
    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    tolerations: tuple[Object, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobInputs:
    """The store, the pod's traits, and the Environment where the Job needs it."""

    namespace: str
    store: Store
    traits: PodTraits
    environment: Environment | None = None
    #: The store that a restore reads from, where `store` has only the record of the rollback.
    source: Store | None = None
    #: Name of the node that a claim binds the pod to.
    node: str | None = None
    server_major: int = 0
    image: str = ""
    commit: str = ""
    #: See config_digest; empty without spec.config.configMapRef.
    config_sha256: str = ""
    #: Of the Environment, or of one that uses the store.
    template: Template = field(default_factory=Template)

    @property
    def user_unknown(self) -> bool:
        """Whether the Jobs mount a claim, and which user may use its files is unknown."""
        filestore = self.environment is not None and self.environment.spec.filestore is not None
        return self.traits.run_as_user is None and (filestore or stores.of(self.store).claim is not None)


async def load(ctx: Context, environment: Environment, *, lenient: bool = False) -> JobInputs:
    """The inputs of a Job that needs the Environment. Raises Stalled (StoreNotFound, ClaimNotFound, ClaimInUse,
    ConfigNotFound, JobTemplateRefused, RecipientInvalid, and those of OF_WORKLOADS and :func:`with_cluster`).

    `lenient`: what spec.jobs must not have is left out, and a Cluster that was read before is not read again. Where an
    operation is under way, its Jobs must not end because the Environment, the Cluster or the chart was changed: an
    application may be stopped.
    """
    if not lenient or connection_of(environment.spec, environment.status) is None:
        environment = await with_cluster(ctx, environment)
    namespace, spec = environment.meta.namespace, environment.spec
    store = await load_store(ctx, namespace, spec.store_ref.name)
    workload = await _workloads(ctx, environment)
    if not lenient:
        need_template(ctx.settings, environment, workload)
        need_recipients(spec.encryption, "Environment", environment.meta.name)
    config: Object | None = None
    if spec.config is not None and spec.config.config_map_ref is not None:
        name = spec.config.config_map_ref.name
        config = await need(ctx, CONFIG_MAPS, namespace, name, c.CONFIG_NOT_FOUND, "spec.config")
    tls = spec.database.tls if spec.database is not None else None
    if tls is not None and tls.ca is not None and tls.ca.config_map_ref is not None:
        name = tls.ca.config_map_ref.name
        await need(ctx, CONFIG_MAPS, namespace, name, c.CONFIG_NOT_FOUND, "spec.database.tls.ca")
    claims = [spec.filestore.claim_name] if spec.filestore is not None else []
    claims += stores.claims(store)
    return JobInputs(
        namespace=namespace,
        store=store,
        traits=traits(ctx.settings, workload, spec.jobs),
        environment=environment,
        node=await node_of(ctx, namespace, claims),
        server_major=server_major(environment),
        image=image_of(workload),
        commit=commit_of(workload, ctx.settings.commit_annotation),
        config_sha256=config_digest(config),
        template=template_of(ctx.settings, workload, spec.jobs),
    )


def server_major(environment: Environment) -> int:
    """The Cluster's, which a major upgrade changes before a probe finds it; else what the last probe found; 0: none."""
    connection, probe = connection_of(environment.spec, environment.status), environment.status.probe
    of_cluster = connection.server_major if connection is not None else None
    return of_cluster or (probe.server_major if probe is not None else 0)


async def with_cluster(ctx: Context, environment: Environment) -> Environment:
    """The Environment with what the Cluster of spec.database.cnpg says now. Raises Stalled where that cannot be read,
    or no Job could use its database: see ``cluster.py``."""
    found = await _connection(ctx, environment)
    return environment.with_status(environment.status.model_copy(update={"connection": found}))


async def _connection(ctx: Context, environment: Environment) -> Connection | None:
    namespace, wanted = environment.meta.namespace, environment.spec.database
    if wanted is None or wanted.cnpg is None:
        return None
    try:
        cluster = await ctx.kube.get(CLUSTERS, namespace, wanted.cnpg.cluster)
        if cluster is None:
            await ctx.kube.list(CNPG_DATABASES, namespace)  # a 404 of a list: the API server has no such type
            raise cnpg.not_found(wanted.cnpg.cluster, namespace)
        cnpg.need_usable(cluster)
        database = cnpg.database_of(cluster, wanted.cnpg)
        others = [] if cnpg.is_of_bootstrap(cluster, database) else await ctx.kube.list(CNPG_DATABASES, namespace)
    except Forbidden:
        raise cnpg.access_denied(namespace) from None
    except ApiError as error:
        if error.status != 404:
            raise
        raise cnpg.not_installed() from None
    claims = [await ctx.kube.get(CLAIMS, namespace, name) for name in cnpg.claims_of(cluster)]
    existing = [claim for claim in claims if claim is not None]
    return cnpg.connection(cluster, wanted, database, claims=existing, databases=others)


def need_template(settings: Settings, environment: Environment, workload: Object | None) -> None:
    """Raises Stalled(JobTemplateRefused) where spec.jobs has what it may not have. Pure."""
    found = tuple(pod_template.refusals(settings.jobs, environment.spec.jobs, _tolerations(workload)))
    if found:
        raise Stalled(c.JOB_TEMPLATE_REFUSED, pod_template.message(environment.meta.name, found))


def template_of(settings: Settings, workload: Object | None, jobs: Jobs | None) -> Template:
    """What the pods of the Environment's Jobs carry, without what it may not have; None: of Jobs without one. Pure."""
    return pod_template.of(settings.jobs, jobs, _tolerations(workload))


async def load_for_store(ctx: Context, namespace: str, store: Store, environment_name: str | None = None) -> JobInputs:
    """The inputs of a Job that needs only the store; the Environment may not exist. It runs as the user, and with the
    template, of an Environment that writes to the store (the one of that name, else the first whose user is known): on
    a claim, files of another user could not be deleted. Without one it has the chart's defaults."""
    claims = stores.claims(store)
    inherited, shape = traits(ctx.settings, None, Jobs()), template_of(ctx.settings, None, None)
    async for found in _users_of(ctx, namespace, store.meta.name, environment_name):
        workload = await first_template(ctx, namespace, found.spec)
        inherited = traits(ctx.settings, workload, found.spec.jobs)
        shape = template_of(ctx.settings, workload, found.spec.jobs)
        if inherited.run_as_user is not None or not claims:
            break
    return JobInputs(
        namespace=namespace,
        store=store,
        traits=inherited,
        node=await node_of(ctx, namespace, claims),
        template=shape,
    )


async def load_store(ctx: Context, namespace: str, name: str) -> Store:
    """The SnapshotStore. Raises Stalled(StoreNotFound)."""
    store = await read(ctx.kube, resources.store, namespace, name)
    if store is None:
        raise Stalled(
            c.STORE_NOT_FOUND,
            f"There is no SnapshotStore {name} in the namespace {namespace}. Create it, or correct spec.storeRef of the"
            " Environment.",
        )
    ctx.slots.set_store(namespace, label_value(name), store.spec.max_concurrent_jobs)
    return store


async def load_place(ctx: Context, namespace: str, place: Place) -> Store:
    """The SnapshotStore of the place. Raises Stalled(StoreNotFound), and StoreIdConflict where it is another store by
    now: nothing that was decided for the one is done in the other."""
    store = await load_store(ctx, namespace, place.store_name)
    need_place(place, store)
    return store


def need_place(place: Place, store: Store) -> None:
    """Raises Stalled(StoreIdConflict) where the SnapshotStore is not the store of the place. Pure."""
    other = sources.elsewhere(place, store)
    if other is not None:
        raise other


async def _workloads(ctx: Context, environment: Environment) -> Object | None:
    """The first Deployment or StatefulSet. Raises Stalled (OF_WORKLOADS) where any workload could not be stopped."""
    namespace, first = environment.meta.namespace, None
    for each in targets(environment.spec.workloads):
        if each.has_template:
            type_ = WORKLOADS[each.kind]
            obj = await need(ctx, type_, namespace, each.name, c.WORKLOAD_NOT_FOUND, "spec.workloads")
            first = first or obj
        elif each.is_cron_job:
            await need(ctx, CRON_JOBS, namespace, each.name, c.WORKLOAD_NOT_FOUND, "spec.workloads")
        else:
            found = await scalable_kinds.read(ctx, namespace, each)
            if isinstance(found, Failure):
                raise Stalled(found.reason, found.message)
    return first


async def first_template(ctx: Context, namespace: str, spec: EnvironmentSpec) -> Object | None:
    """The first Deployment or StatefulSet of spec.workloads that exists."""
    for each in targets(spec.workloads):
        obj = await ctx.kube.get(WORKLOADS[each.kind], namespace, each.name) if each.has_template else None
        if obj is not None:
            return obj
    return None


async def _users_of(ctx: Context, namespace: str, store: str, environment: str | None) -> AsyncIterator[Environment]:
    """Those that store into it first, then those that copy to it."""
    entries = [e for e in ctx.catalog.of_kind(EnvironmentEntry, namespace) if store in (e.store, e.remote_store)]
    names = [e.key.name for e in sorted(entries, key=lambda e: (e.store != store, e.key.name))]
    for name in ([environment] if environment else []) + names:
        found = await read(ctx.kube, resources.environment, namespace, name)
        if found is not None:
            yield found


def traits(settings: Settings, workload: Object | None, jobs: Jobs) -> PodTraits:
    """The traits of the Jobs' pods. User and group 0 are not inherited: the pods run under the restricted pod security
    standard. An fsGroup of 0 is not either: a start script may have given the files to another group, and the kubelet
    would change it."""
    pod = _pod_spec(workload)
    of_pod, of_container = pod.get("securityContext") or {}, _first_container(workload).get("securityContext") or {}

    def inherited(field: str, own: int | None) -> int | None:
        return own or of_container.get(field) or of_pod.get(field) or None

    secrets = [s["name"] for s in pod.get("imagePullSecrets") or ()]
    return PodTraits(
        run_as_user=inherited("runAsUser", jobs.run_as_user),
        run_as_group=inherited("runAsGroup", jobs.run_as_group),
        fs_group=jobs.fs_group or of_pod.get("fsGroup") or None,
        supplemental_groups=tuple(of_pod.get("supplementalGroups") or ()),
        tolerations=_tolerations(workload),
        image_pull_secrets=tuple(dict.fromkeys((*settings.image_pull_secrets, *secrets))),
    )


def image_of(workload: Object | None) -> str:
    """The image of the workload's first container; empty where there is none."""
    return str(_first_container(workload).get("image", ""))


def config_digest(config_map: Object | None) -> str:
    """SHA-256 over the names and values of the ConfigMap's keys; empty for None."""
    if config_map is None:
        return ""
    keys = {field: config_map.get(field) or {} for field in ("data", "binaryData")}
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()


def commit_of(workload: Object | None, annotation: str) -> str:
    """The commit of the workload's image: an annotation of its pod template, else of the workload; empty where there is
    none."""
    if workload is None:
        return ""
    template = workload["spec"]["template"].get("metadata") or {}
    for metadata in (template, workload["metadata"]):
        value = (metadata.get("annotations") or {}).get(annotation)
        if value:
            return str(value)[:256]
    return ""


def _pod_spec(workload: Object | None) -> Object:
    return dict(workload["spec"]["template"]["spec"]) if workload is not None else {}


def _tolerations(workload: Object | None) -> tuple[Object, ...]:
    return tuple(_pod_spec(workload).get("tolerations") or ())


def _first_container(workload: Object | None) -> Object:
    containers = _pod_spec(workload).get("containers") or [{}]
    return dict(containers[0])
