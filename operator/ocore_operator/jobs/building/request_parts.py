"""The parts of a Job: parts of the command's request, with the volumes that they refer to. Pure.

Secrets are mounted as files, never parts of the request.
"""

from dataclasses import dataclass, field

from ocore_crds import naming
from ocore_crds.commands.parts import (
    DatabaseAccess,
    DatabaseTls,
    FilestoreAccess,
    SignalWait,
)
from ocore_crds.model import KeyRef, LocalRef
from ocore_crds.resources.environment import CertificateAuthority, EnvironmentSpec, Tls, connection_of
from ocore_crds.resources.neutralize import Scripts
from ocore_crds.resources.restore_test import RestoreTestServer
from ocore_operator.kube.resources import Environment, Object

DATABASE = "/secrets/database"
ADMIN = "/secrets/admin"
TLS = "/secrets/database-tls"
CLAIM = "/claim"
CONFIG = "/config"
SCRATCH = "/scratch"
SIGNAL = "/signal"
SIGNAL_FILE = f"{SIGNAL}/signal"
SCRIPTS = "/scripts"
ASSERTIONS = "/assertions"
IDENTITY = "/secrets/identity"
JOB_IDENTITY = "/secrets/job-identity"
BASE_IDENTITY = "/secrets/base-identity"
SIGNING = "/secrets/signing"
SHARED = "/neutralize"
READY_FILE = "/tmp/ready"  # noqa: S108 - an emptyDir of the pod
#: Seconds until the kubelet first asks whether a Job waits for its signal, where its log says so at once. The kubelet
#: writes the signal's file up to a second late where it has just dealt with another change of the pod: it waits for its
#: next list of containers first (podCache.GetNewerThan in pkg/kubelet/pod_workers.go, Kubernetes 1.33).
SHOWN_BY_LOG = 5


@dataclass
class Volumes:
    """The volumes of a pod and where the mover's container mounts them, collected while the request is built."""

    #: Whether each one is mounted read-only.
    read_only: bool = False
    volumes: list[Object] = field(default_factory=list)
    mounts: list[Object] = field(default_factory=list)
    readiness: Object | None = None

    def mount(self, name: str, path: str, source: Object, *, read_only: bool = False) -> str:
        """Adds the volume. Returns its path."""
        mount: Object = {"name": name, "mountPath": path}
        if read_only or self.read_only:
            mount["readOnly"] = True
        self.volumes.append({"name": name, **source})
        self.mounts.append(mount)
        return path

    def secret(self, name: str, path: str, secret: str, *, optional: bool = False) -> str:
        """A Secret as files."""
        source: Object = {"secretName": secret, **({"optional": True} if optional else {})}
        return self.mount(name, path, {"secret": source}, read_only=True)

    def config_map(self, name: str, path: str, config_map: str) -> str:
        """A ConfigMap as files."""
        return self.mount(name, path, {"configMap": {"name": config_map}}, read_only=True)

    def claim(self, name: str, path: str, claim_name: str, *, read_only: bool = False) -> str:
        """A volume claim as a whole."""
        return self.mount(name, path, {"persistentVolumeClaim": {"claimName": claim_name}}, read_only=read_only)


def database(volumes: Volumes, environment: Environment, *, admin: bool) -> DatabaseAccess | None:
    """The Secret of the application's role, and TLS to the server. `admin`: also the administrator's Secret, only for
    Jobs that create, rename or drop databases, or check whether it can (SECURITY.md). Raises ValueError where the
    Cluster of the database was not read."""
    spec = environment.spec.database
    if spec is None:
        return None
    found = connection_of(environment.spec, environment.status)
    if found is None:
        raise ValueError(f"{environment.key}: the Cluster was not read: load the inputs with inputs.load")
    wanted = found.admin_secret_name if admin else None
    tls = spec.tls
    if found.ca_secret_name is not None:
        tls = Tls(ca=CertificateAuthority(secret_ref=KeyRef(name=found.ca_secret_name, key="ca.crt")))
    return DatabaseAccess(
        secret=volumes.secret("database", DATABASE, found.secret_name),
        admin=volumes.secret("admin", ADMIN, wanted) if wanted is not None else None,
        host=found.host,
        dbname=found.database,
        cluster=found.cluster,
        managed_roles=found.managed_roles,
        tls=_tls(volumes, tls),
    )


def restore_test_server(volumes: Volumes, found: RestoreTestServer) -> DatabaseAccess:
    """A server of its own for test restores, in place of the environment's."""
    secret, admin = volumes.secret("database", DATABASE, found.secret_ref.name), found.admin_secret_ref
    return DatabaseAccess(
        secret=secret,
        admin=volumes.secret("admin", ADMIN, admin.name) if admin is not None else None,
        tls=_tls(volumes, found.tls),
    )


def assertions(volumes: Volumes, found: Scripts | None) -> str | None:
    """Queries that must return no row in a restored database."""
    return volumes.config_map("assertions", ASSERTIONS, found.config_map_ref.name) if found is not None else None


def identity(volumes: Volumes, found: LocalRef | None) -> str | None:
    """Identity files that open an encrypted snapshot."""
    return volumes.secret("identity", IDENTITY, found.name) if found is not None else None


def job_identity(volumes: Volumes, path: str, secret: str | None) -> str | None:
    """A Job identity. Optional: without its Secret the folder is empty, and the snapshot is a full one."""
    return volumes.secret(path.rpartition("/")[2], path, secret, optional=True) if secret is not None else None


def signing_key(volumes: Volumes, found: LocalRef | None) -> str | None:
    """The private key that signs a snapshot."""
    return volumes.secret("signing", SIGNING, found.name) if found is not None else None


def _tls(volumes: Volumes, tls: Tls | None) -> DatabaseTls:
    """The mode, and CA and client certificate in one folder, whatever objects they come from."""
    if tls is None:
        return DatabaseTls()
    sources: list[Object] = []
    if tls.ca is not None:
        for kind, ref in (("secret", tls.ca.secret_ref), ("configMap", tls.ca.config_map_ref)):
            if ref is not None:
                sources.append({kind: {"name": ref.name, "items": [{"key": ref.key, "path": "ca.crt"}]}})
    client = tls.client_certificate
    if client is not None:
        items = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
        sources.append({"secret": {"name": client.secret_ref.name, "items": items}})
    if sources:
        volumes.mount("database-tls", TLS, {"projected": {"sources": sources}}, read_only=True)
    return DatabaseTls(
        mode=tls.mode,
        ca=f"{TLS}/ca.crt" if tls.ca is not None else None,
        cert=f"{TLS}/tls.crt" if client is not None else None,
        key=f"{TLS}/tls.key" if client is not None else None,
    )


def filestore(volumes: Volumes, spec: EnvironmentSpec, *, read_only: bool = False) -> FilestoreAccess | None:
    """The filestore's claim, as a whole: our own folder is at its root."""
    found = spec.filestore
    if found is None:
        return None
    return FilestoreAccess(
        claim=volumes.claim("claim", CLAIM, found.claim_name, read_only=read_only),
        path=found.path,
        layout=found.layout,
        missing_files=found.missing_files,
        consistency=found.consistency,
    )


def config(volumes: Volumes, spec: EnvironmentSpec) -> str | None:
    """The folder of the ConfigMap that each snapshot includes; None where there is none."""
    found = spec.config.config_map_ref if spec.config is not None else None
    return volumes.config_map("config", CONFIG, found.name) if found is not None else None


def config_file(spec: EnvironmentSpec) -> str:
    """The configuration's file on the filestore's claim, if it is one; :func:`filestore` mounts it."""
    return (spec.config.path if spec.config is not None else None) or ""


def scratch(volumes: Volumes, spec: EnvironmentSpec) -> str:
    """Scratch space for a dump: an ephemeral volume of the storage class, else an emptyDir."""
    found = spec.scratch
    source: Object = {"emptyDir": {"sizeLimit": found.size}}
    if found.storage_class_name is not None:
        template = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": found.storage_class_name,
            "resources": {"requests": {"storage": found.size}},
        }
        labels = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY}
        source = {"ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": labels}, "spec": template}}}
    return volumes.mount("scratch", SCRATCH, source)


def signal(volumes: Volumes, wait: float, job: str, *, delay: int = 0) -> SignalWait:
    """As :func:`late_signal`, and readiness once the mover waits for it, which the kubelet first looks for after
    `delay` seconds."""
    probe = {"exec": {"command": ["test", "-f", READY_FILE]}, "periodSeconds": 1, "timeoutSeconds": 5}
    volumes.readiness = {**probe, "initialDelaySeconds": delay} if delay else probe
    return late_signal(volumes, wait, job).model_copy(update={"ready_file": READY_FILE})


def late_signal(volumes: Volumes, wait: float, job: str) -> SignalWait:
    """The annotation ``ocore.dev/signal`` of the pod as a file. A Job that works before it waits says in its log when
    it is ready: a pod that is not ready for long counts as one that does not run. `wait`: seconds for the signal.
    `job`: its name, which the signal must have."""
    item = {"path": "signal", "fieldRef": {"fieldPath": f"metadata.annotations['{naming.ANNOTATION_SIGNAL}']"}}
    volumes.mount("signal", SIGNAL, {"downwardAPI": {"items": [item]}}, read_only=True)
    return SignalWait(signal_file=SIGNAL_FILE, wait=max(int(wait), 1), job=job)
