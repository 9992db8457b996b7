"""The parts of a Job: arguments with the volumes that they refer to. Pure.

Secrets are mounted as files, never arguments or variables.
"""

from dataclasses import dataclass, replace
from typing import Any

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.environment import EnvironmentSpec, Tls
from ocore_crds.neutralize import Neutralize, Scripts
from ocore_crds.restore_test import RestoreTestServer
from ocore_crds.snapshotstore import S3
from ocore_operator.jobs.listeners import Listeners
from ocore_operator.kube.resources import Object, Store

#: Expanded by the kubelet: the pod's uid makes the attempt's id unique, whichever pod runs it.
ATTEMPT = "$(OCORE_POD_UID)"

DATABASE = "/secrets/database"
ADMIN = "/secrets/admin"
TLS = "/secrets/database-tls"
S3_CREDENTIALS = "/secrets/s3"
S3_CA = "/secrets/s3-ca"
CLAIM = "/claim"
STORE = "/store"
SOURCE_S3_CREDENTIALS = "/secrets/source-s3"
SOURCE_S3_CA = "/secrets/source-s3-ca"
SOURCE_STORE = "/source-store"
CONFIG = "/config"
SCRATCH = "/scratch"
SIGNAL = "/signal"
SIGNAL_FILE = f"{SIGNAL}/signal"
SCRIPTS = "/scripts"
ASSERTIONS = "/assertions"
SHARED = "/neutralize"
READY_FILE = "/tmp/ready"  # noqa: S108 - an emptyDir of the pod


@dataclass(frozen=True)
class Parts:
    """Arguments and the volumes for them. Parts can be added."""

    args: tuple[str, ...] = ()
    volumes: tuple[Object, ...] = ()
    mounts: tuple[Object, ...] = ()
    failpoints: str = ""
    readiness: Object | None = None

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(
            args=self.args + other.args,
            volumes=self.volumes + other.volumes,
            mounts=self.mounts + other.mounts,
            failpoints=self.failpoints or other.failpoints,
            readiness=self.readiness or other.readiness,
        )


def _mounted(name: str, path: str, source: Object, *, read_only: bool = False) -> Parts:
    mount: Object = {"name": name, "mountPath": path}
    if read_only:
        mount["readOnly"] = True
    return Parts(volumes=({"name": name, **source},), mounts=(mount,))


def _secret(name: str, path: str, secret: str, *, optional: bool = False) -> Parts:
    source: Object = {"secretName": secret, **({"optional": True} if optional else {})}
    return _mounted(name, path, {"secret": source}, read_only=True)


def _claim(name: str, path: str, claim_name: str, *, read_only: bool = False) -> Parts:
    return _mounted(name, path, {"persistentVolumeClaim": {"claimName": claim_name}}, read_only=read_only)


def options(**values: Any) -> Parts:
    """``environment_id="…"`` as ``--environment-id …``; None and empty are left out."""
    args: list[str] = []
    for name, value in values.items():
        if value not in (None, ""):
            args += [f"--{name.replace('_', '-')}", str(value)]
    return Parts(args=tuple(args))


def identity(*, environment_id: str = "", snapshot_id: str = "", rollback_id: str = "") -> Parts:
    """The ids of the objects that the command works on."""
    return options(environment_id=environment_id, snapshot_id=snapshot_id, rollback_id=rollback_id)


def database(spec: EnvironmentSpec) -> Parts:
    """The Secret of the application's role, and TLS to the server."""
    if spec.database is None:
        return Parts()
    parts = _secret("database", DATABASE, spec.database.secret_ref.name) + options(database=DATABASE)
    return parts + _tls(spec.database.tls) if spec.database.tls is not None else parts


def read_only(parts: Parts) -> Parts:
    """The parts with every volume mounted read-only."""
    return replace(parts, mounts=tuple({**mount, "readOnly": True} for mount in parts.mounts))


def administrator(spec: EnvironmentSpec) -> Parts:
    """The administrator's Secret: only for Jobs that create, rename or drop databases, or check whether it can
    (SECURITY.md)."""
    if spec.database is None or spec.database.admin_secret_ref is None:
        return Parts()
    return _secret("admin", ADMIN, spec.database.admin_secret_ref.name) + options(admin=ADMIN)


def restore_test_server(found: RestoreTestServer) -> Parts:
    """A server of its own for test restores, in place of the environment's."""
    parts = _secret("database", DATABASE, found.secret_ref.name) + options(database=DATABASE)
    if found.admin_secret_ref is not None:
        parts += _secret("admin", ADMIN, found.admin_secret_ref.name) + options(admin=ADMIN)
    return parts + _tls(found.tls) if found.tls is not None else parts


def assertions(found: Scripts | None) -> Parts:
    """Queries that must return no row in a restored database."""
    if found is None:
        return Parts()
    source = {"configMap": {"name": found.config_map_ref.name}}
    return _mounted("assertions", ASSERTIONS, source, read_only=True) + options(assertions=ASSERTIONS)


def _tls(tls: Tls) -> Parts:
    """The mode, and CA and client certificate in one folder, whatever objects they come from."""
    parts, sources = options(tls_mode=tls.mode), []
    if tls.ca is not None:
        parts += options(tls_ca=f"{TLS}/ca.crt")
        for kind, ref in (("secret", tls.ca.secret_ref), ("configMap", tls.ca.config_map_ref)):
            if ref is not None:
                sources.append({kind: {"name": ref.name, "items": [{"key": ref.key, "path": "ca.crt"}]}})
    if (client := tls.client_certificate) is not None:
        items = [{"key": client.certificate_key, "path": "tls.crt"}, {"key": client.private_key, "path": "tls.key"}]
        sources.append({"secret": {"name": client.secret_ref.name, "items": items}})
        parts += options(tls_cert=f"{TLS}/tls.crt", tls_key=f"{TLS}/tls.key")
    if not sources:
        return parts
    return parts + _mounted("database-tls", TLS, {"projected": {"sources": sources}}, read_only=True)


def claim(spec: EnvironmentSpec) -> Parts:
    """The filestore's claim, as a whole: our own folder is at its root."""
    found = spec.filestore
    if found is None:
        return Parts()
    return _claim("claim", CLAIM, found.claim_name) + options(
        claim=CLAIM,
        filestore=found.path,
        layout=found.layout,
        missing_files=found.missing_files,
        consistency=found.consistency,
    )


def claim_folder(claim_name: str) -> Parts:
    """The claim without a filestore: only for our own folder on it."""
    return _claim("claim", CLAIM, claim_name) + options(claim=CLAIM)


def config(spec: EnvironmentSpec) -> Parts:
    """The ConfigMap, or the file on the filestore's claim, that each snapshot includes."""
    if spec.config is None:
        return Parts()
    if spec.config.config_map_ref is None:
        return config_file(spec)
    source = {"configMap": {"name": spec.config.config_map_ref.name}}
    return _mounted("config", CONFIG, source, read_only=True) + options(config=CONFIG)


def config_file(spec: EnvironmentSpec) -> Parts:
    """The configuration's file on the filestore's claim, if it is one; :func:`claim` mounts it."""
    return options(config_file=spec.config.path if spec.config is not None else None)


def neutralize(found: Neutralize, method: str | None, listeners: Listeners) -> Parts:
    """The scripts, or the folder that the mover shares with the application's container, and what its pod must not
    reach; and the environment's own assertions."""
    parts = Parts()
    if method == "Sql" and found.sql is not None:
        source = {"configMap": {"name": found.sql.config_map_ref.name}}
        parts += _mounted("scripts", SCRIPTS, source, read_only=True) + options(sql=SCRIPTS)
    if method == "Image":
        parts += _mounted("shared", SHARED, {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}) + options(
            hand_over=SHARED
        )
        parts += Parts(args=tuple(a for each in listeners.others for a in ("--listener", each)))
        parts += Parts(args=tuple(a for each in listeners.outside for a in ("--outside", each)))
    return parts + assertions(found.assertions) if method is not None else parts


def scratch(spec: EnvironmentSpec) -> Parts:
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
    return _mounted("scratch", SCRATCH, source) + options(scratch=SCRATCH)


def store_url(found: Store, mount: str = STORE) -> str:
    """The store's URL inside a Job."""
    if found.spec.s3 is not None:
        return f"s3://{found.spec.s3.bucket}/{found.spec.s3.prefix}".rstrip("/")
    path = found.spec.claim.path if found.spec.claim is not None else ""
    return f"file://{mount}/{path}".rstrip("/")


def public_url(found: Store) -> str:
    """The store's URL for users: ``s3://bucket/prefix`` or ``claim://name/path``."""
    if found.spec.claim is not None:
        return f"claim://{found.spec.claim.claim_name}/{found.spec.claim.path}".rstrip("/")
    return store_url(found)


def store(found: Store) -> Parts:
    """The store with its credentials and certificates, or its claim. With access ReadOnly the mover refuses to write to
    it."""
    read_only = found.spec.access == "ReadOnly"
    parts = options(store=store_url(found)) + Parts(args=("--store-read-only",) if read_only else ())
    if found.spec.claim is not None:
        return parts + _claim("store", STORE, found.spec.claim.claim_name, read_only=read_only)
    return parts + _s3(found.spec.s3) if found.spec.s3 is not None else parts


def claim_store(found: Store) -> Parts:
    """The store for a probe of its rights: on a claim, ready and writable; nothing for another one. One that is not
    ready may not be mountable, and rollbacks from a remote copy must not wait for it."""
    if found.spec.claim is None or found.spec.access == "ReadOnly" or not c.is_true(found.status.conditions, c.READY):
        return Parts()
    return store(found) + options(store_name=public_url(found))


def source_store(found: Store | None) -> Parts:
    """The store that a restore only reads from, with what it needs; nothing where there is none."""
    if found is None:
        return Parts()
    parts = options(source_store=store_url(found, SOURCE_STORE))
    if found.spec.claim is not None:
        return parts + _claim("source-store", SOURCE_STORE, found.spec.claim.claim_name, read_only=True)
    s3 = found.spec.s3
    if s3 is None:
        return parts
    parts += options(source_s3_endpoint=s3.endpoint, source_s3_region=s3.region)
    parts += Parts(args=("--source-s3-path-style" if s3.path_style else "--no-source-s3-path-style",))
    if s3.instance_metadata:
        parts += Parts(args=("--source-s3-instance-metadata",))
    if s3.credentials_secret_ref is not None:
        parts += _secret("source-s3", SOURCE_S3_CREDENTIALS, s3.credentials_secret_ref.name)
        parts += options(source_s3_credentials=SOURCE_S3_CREDENTIALS)
    if s3.ca_bundle is not None:
        source = {"name": s3.ca_bundle.name, "items": [{"key": s3.ca_bundle.key, "path": "ca.crt"}]}
        parts += _mounted("source-s3-ca", SOURCE_S3_CA, {"configMap": source}, read_only=True)
        parts += options(source_s3_ca=f"{SOURCE_S3_CA}/ca.crt")
    return parts


def optional_store(found: Store | None) -> Parts:
    """The store for a Job that has to start without it: its Secret and ConfigMap may be missing. A claim must exist, so
    it is not mounted."""
    if found is None or found.spec.s3 is None:
        return Parts()
    return options(store=store_url(found)) + _s3(found.spec.s3, optional=True)


def _s3(found: S3, *, optional: bool = False) -> Parts:
    parts = options(s3_endpoint=found.endpoint, s3_region=found.region)
    parts += Parts(args=("--s3-path-style" if found.path_style else "--no-s3-path-style",))
    if found.instance_metadata:
        parts += Parts(args=("--s3-instance-metadata",))
    encryption = found.server_side_encryption
    if encryption is not None:
        parts += options(s3_sse=encryption.algorithm, s3_kms_key=encryption.kms_key_id)
    if found.credentials_secret_ref is not None:
        parts += _secret("s3", S3_CREDENTIALS, found.credentials_secret_ref.name, optional=optional)
        parts += options(s3_credentials=S3_CREDENTIALS)
    if found.ca_bundle is not None:
        items = [{"key": found.ca_bundle.key, "path": "ca.crt"}]
        source: Object = {"name": found.ca_bundle.name, "items": items, **({"optional": True} if optional else {})}
        parts += _mounted("s3-ca", S3_CA, {"configMap": source}, read_only=True) + options(s3_ca=f"{S3_CA}/ca.crt")
    return parts


def signal() -> Parts:
    """The annotation ``ocore.dev/signal`` of the pod as a file, and readiness once the mover waits for it."""
    item = {"path": "signal", "fieldRef": {"fieldPath": f"metadata.annotations['{naming.ANNOTATION_SIGNAL}']"}}
    readiness = {"exec": {"command": ["test", "-f", READY_FILE]}, "periodSeconds": 1, "timeoutSeconds": 5}
    return _mounted("signal", SIGNAL, {"downwardAPI": {"items": [item]}}, read_only=True) + Parts(readiness=readiness)
