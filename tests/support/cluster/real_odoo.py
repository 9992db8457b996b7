"""A real Odoo in the cluster (`localcluster/cluster images odoo:dev`), its users, and its Environment."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from support.mover.postgres_majors import installation
from support.mover.real_odoo import OLDEST, load, prepared

from .administrator import create_administrator
from .cluster import Cluster, Object, condition, is_true, unique, wait_for
from .odoo_client import STORED, Attachment, OdooClient, files_fit
from .site import (
    DEMO_IMAGE,
    IMAGE,
    Servers,
    Site,
    claim,
    container,
    create_database,
    deployment,
    probe,
    secret,
    service,
    store_objects,
)

NAME = "odoo"
PORT = 8069
#: As the pods have it.
USER = 65532
ADMIN = "admin"


@dataclass
class OdooSite(Site):
    """An Odoo with its database and filestore, and its Environment."""

    environment: str = NAME
    type: str = "production"
    database_spec: Object | None = None  # the default is the Secret `database`
    neutralize: Object | None = None
    granted: list[str] = field(default_factory=list)  # namespaces

    @property
    def url(self) -> str:
        return f"http://{NAME}.{self.namespace}.svc.cluster.local:{PORT}"

    def environment_object(self, **changes: Any) -> Object:
        database: Object = self.database_spec or {"secretRef": {"name": "database"}, "capacity": "50Gi"}
        if self.neutralize is not None:
            database["adminSecretRef"] = {"name": ADMIN}
        spec: Object = {
            "type": self.type,
            "database": database,
            "config": None,
            "workloads": [{"kind": "Deployment", "name": NAME}],
            "neutralize": self.neutralize,
            "allowRollbackTo": [{"namespace": name} for name in self.granted] or None,
        }
        return super().environment_object(**spec, **changes)

    def awaits_a_copy(self) -> None:
        """Waits until only the contents of its database are missing. Odoo answers no request until then."""

        def ready(obj: Object) -> bool:
            found = condition(obj, "Ready") or {}
            return found.get("reason") == "DatabaseEmpty" and is_true(obj, "RollbackReady")

        self.cluster.wait("Environment", self.environment, self.namespace, ready, 120, "waits for a copy")

    @property
    def pod_address(self) -> str:
        """Of the pod that runs."""
        return str(self.app_pod(NAME)["status"]["podIP"])

    @property
    def app(self) -> OdooClient:
        """What serves."""
        return OdooClient(self.url, self.database)

    def app_ready(self, timeout: float = 90) -> None:
        wait_for("Odoo answers", lambda: self.app.page("/web/health"), timeout)

    def shell(self, text: str, seconds: float = 300) -> str:
        """Python in `odoo shell` in the pod, committed at the end; its output."""
        return self._odoo("shell", stdin=text + "\nenv.cr.commit()\n", seconds=seconds)

    def upgrade(self, module: str) -> None:
        """`odoo -u MODULE` in the pod, beside the server that runs."""
        self._odoo("server", "-u", module, "--stop-after-init")

    def _odoo(self, *arguments: str, stdin: str = "", seconds: float = 300) -> str:
        done = self.cluster.kubectl(
            *("-n", self.namespace, "exec", "-i", self.app_pod(NAME)["metadata"]["name"], "--"),
            *("odoo", *arguments, "-d", self.database, "--data-dir=/claim", "--no-http"),
            stdin=stdin, timeout=seconds,
        )  # fmt: skip
        assert "Traceback" not in done, done[-3000:]
        return done

    # --- what must hold
    def files_fit(self, database: str | None = None, path: str | None = None) -> None:
        """Every `store_fname` has its file, with its SHA-1."""
        rows = self.query(STORED, database=database)
        files_fit(rows, self.claim_root / (path or self.path))

    def holds(self, *attachments: Attachment) -> None:
        """They exist, with what was in them."""
        rows = self.query("SELECT id, checksum FROM ir_attachment WHERE id = ANY(%s)", [a.id for a in attachments])
        assert dict(rows) == {a.id: a.sha1 for a in attachments}

    def misses(self, attachment: Attachment) -> None:
        """It does not exist."""
        assert self.query("SELECT id FROM ir_attachment WHERE id = %s", attachment.id) == []


@contextmanager
def odoo_site(
    cluster: Cluster,
    servers: Servers,
    *,
    filled: bool = True,
    own_server: Callable[[Site], None] | None = None,
    options: tuple[str, ...] = (),
    storage_class: str = "standard",
    **more: Any,
) -> Iterator[OdooSite]:
    """A new one; waits until its Environment is ready. `filled`: with the prepared database and filestore; otherwise
    its database is empty, and it waits for a copy. `own_server`: as of :func:`.site.make_site`. `options`: more of
    Odoo's server. `storage_class`: of the filestore's claim. `more`: fields of the OdooSite."""
    name = unique(NAME).replace("-", "_")
    site = OdooSite(
        cluster=cluster, servers=servers, namespace=cluster.namespace(NAME),
        host="" if own_server else servers.postgres(17), own_server=own_server is not None,
        database=name, role=name, password=unique("only-for-tests"), major=17, store_kind="S3", layout="Odoo", **more,
    )  # fmt: skip
    administrator = f"{name}_admin"
    try:
        if own_server is None:
            create_database(servers, site.host, name, name, site.password)
        else:
            own_server(site)
        if site.neutralize is not None:
            create_administrator(site, administrator)
        site.endpoint, site.bucket = servers.s3(), servers.bucket()
        credentials = secret("database", site.namespace, host=site.host, **site.credentials)
        cluster.apply(
            credentials, *store_objects(site), claim(site.filestore_claim, site.namespace, storage_class=storage_class)
        )
        if filled:
            _fill(site)
        cluster.apply(_odoo(site, options), service(NAME, site.namespace, PORT), site.environment_object())
        if filled:
            site.app_ready()
            site.environment_ready()
        else:
            site.awaits_a_copy()
        yield site
    finally:
        site.remove()
        if own_server is None:
            with servers.admin(site.host) as connection:
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(administrator)))


def _fill(site: OdooSite) -> None:
    """The prepared database, and its filestore on the claim, which a pod binds."""
    made = prepared()
    load(made, installation(OLDEST).bin, site.host, 5432, site.role, site.password, site.database)
    folder = f"/claim/{site.path}"
    code, log = site.cluster.run_pod(
        site.namespace, DEMO_IMAGE, ["mkdir", "-p", folder], claims={"/claim": site.filestore_claim}
    )
    assert code == 0, log
    target = site.claim_root / site.path
    shutil.copytree(made.filestore, target, dirs_exist_ok=True)
    for path in (target, *target.rglob("*")):
        os.chown(path, USER, USER)


def _odoo(site: OdooSite, more: tuple[str, ...]) -> Object:
    """The Deployment, with the variables of the official image."""

    def from_secret(variable: str, key: str) -> Object:
        return {"name": variable, "valueFrom": {"secretKeyRef": {"name": "database", "key": key}}}

    options = (f"--database={site.database}", "--data-dir=/claim", f"--http-port={PORT}", "--no-database-list")
    app = container(
        NAME, f"{IMAGE}/odoo:dev",
        args=["server", *options, "--max-cron-threads=0", *more],
        env=[from_secret("HOST", "host"), from_secret("USER", "user"), from_secret("PASSWORD", "password")],
        ports=[{"containerPort": PORT}],
        readinessProbe=probe({"httpGet": {"path": "/web/health", "port": PORT}}),
        volumeMounts=[{"name": "claim", "mountPath": "/claim"}, {"name": "tmp", "mountPath": "/tmp"}],
    )  # fmt: skip
    volumes = [
        {"name": "claim", "persistentVolumeClaim": {"claimName": site.filestore_claim}},
        {"name": "tmp", "emptyDir": {}},
    ]
    spec = {"terminationGracePeriodSeconds": 5, "containers": [app], "volumes": volumes}
    return deployment(NAME, site.namespace, spec)
