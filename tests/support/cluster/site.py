"""What an end-to-end test works on: servers (PostgreSQL of both majors, S3) once, and a site, shared or its own.

A site is a namespace with a database owned by a role that is no superuser, a filestore claim, the demo application
running on them, a store and an Environment.
"""

import json
import os
import random
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import boto3
import psycopg
from psycopg import sql

from demo_app.check import check
from demo_app.database import create_schema
from demo_app.filestore import Filestore
from demo_app.load import LoadPlan, content
from demo_app.shop import NewAttachment
from demo_app.targets import HttpTarget

from . import node
from .cluster import GROUP, POD_SECURITY, RESTRICTED, Cluster, Object, condition, is_true, unique, wait_for
from .shared import Shared

IMAGE = "localhost/ocore-snapshots"
DEMO_IMAGE = f"{IMAGE}/demo:dev"
PROJECT = "11111111-2222-3333-4444-555555555555"
ADMIN_PASSWORD = "only-for-tests-admin"
S3_ACCESS_KEY = "ocore-test"
S3_SECRET_KEY = "only-for-tests-secret"
#: Keys that may read and list.
S3_READER_KEY = "ocore-reader"
S3_READER_SECRET = "only-for-tests-reader"
#: Seconds for a connection to PostgreSQL: a machine whose processors and disk are all busy needs more than ten.
CONNECT_SECONDS = 30


def container(name: str, image: str, **extra: Any) -> Object:
    """A restricted container."""
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": RESTRICTED, **extra}


def probe(check: Object) -> Object:
    """A readiness probe each second. It waits for the answer of a machine whose processors are all busy: after three
    of the kubelet's own timeouts (1 s) a Service refuses the connections of every test that uses it."""
    return {**check, "periodSeconds": 1, "timeoutSeconds": 10}


def deployment(name: str, namespace: str, spec: Object, *, replicas: int = 1) -> Object:
    """A Deployment that recreates."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"securityContext": POD_SECURITY, "automountServiceAccountToken": False, **spec},
            },
        },
    }


def service(name: str, namespace: str, port: int) -> Object:
    """A Service in front of it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }


def secret(name: str, namespace: str, **values: str) -> Object:
    """A Secret from plain values."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": values,
    }


def claim(
    name: str, namespace: str, size: str = "5Gi", storage_class: str = "standard", mode: str = "ReadWriteOnce"
) -> Object:
    """A volume claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": [mode],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
        },
    }


class Servers:
    """PostgreSQL and S3 servers in one namespace, started when a test of any worker first asks for them."""

    def __init__(self, cluster: Cluster, shared: Shared) -> None:
        self.cluster = cluster
        self._shared = shared
        self._s3_clients: dict[str, Any] = {}
        self.namespace = shared.once("namespace", lambda: cluster.namespace("servers"))

    def postgres(self, major: int) -> str:
        """Host name of the server of that major; superuser `postgres` with ADMIN_PASSWORD."""
        name = f"postgres-{major}"
        return self._shared.once(name, lambda: self.start_postgres(name, major))

    def start_postgres(self, name: str, major: int, *, respawn: bool = False, spec: Object | None = None) -> str:
        """A server of its own, for a test that harms it. `respawn`: one that dies is started again within its
        container, at once; the kubelet would wait longer each time. `spec` changes the pod's, by a strategic merge."""
        arguments = ["-c", "fsync=off", "-c", "max_connections=200"]
        again = 'while :; do /usr/local/bin/entrypoint "$@"; sleep 0.5; done'
        command: Object = {"command": ["bash", "-c", again, "respawn"]} if respawn else {}
        self.cluster.apply(
            secret(name, self.namespace, password=ADMIN_PASSWORD),
            deployment(
                name,
                self.namespace,
                {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [
                        container(
                            "postgres",
                            f"{IMAGE}/postgres:{major}",
                            env=[
                                {"name": "POSTGRES_USER", "value": "postgres"},
                                {"name": "POSTGRES_PASSWORD_FILE", "value": "/secret/password"},
                                {"name": "PGDATA", "value": "/data/pgdata"},
                            ],
                            **command,
                            args=arguments,
                            ports=[{"containerPort": 5432}],
                            # Not pg_isready: a process in the container each second costs a tenth of a processor.
                            readinessProbe=probe({"tcpSocket": {"port": 5432}}),
                            volumeMounts=[
                                {"name": "data", "mountPath": "/data"},
                                {"name": "run", "mountPath": "/var/run/postgresql"},
                                {"name": "tmp", "mountPath": "/tmp"},
                                {"name": "secret", "mountPath": "/secret"},
                            ],
                        )
                    ],
                    "volumes": [
                        {"name": "data", "emptyDir": {}},
                        {"name": "run", "emptyDir": {}},
                        {"name": "tmp", "emptyDir": {}},
                        {"name": "secret", "secret": {"secretName": name}},
                    ],
                },
            ),
            service(name, self.namespace, 5432),
        )
        if spec is not None:
            self.cluster.patch_pods("Deployment", name, self.namespace, {"spec": spec})
        self._ready(name, 120)
        host = f"{name}.{self.namespace}.svc.cluster.local"
        wait_for(f"{host} answers", lambda: self._answers(host), 60)
        return host

    def _answers(self, host: str) -> bool:
        """The Service's rules follow the pod's readiness a moment later."""
        try:
            self.admin(host).close()
        except psycopg.OperationalError:
            return False
        return True

    def s3(self) -> str:
        """URL of the S3 server."""
        return self._shared.once("s3", lambda: self.start_s3("s3"))

    def start_s3(self, name: str) -> str:
        """A server of its own, for a test that harms it."""
        identities = {
            "identities": [
                {
                    "name": "ocore",
                    "credentials": [{"accessKey": S3_ACCESS_KEY, "secretKey": S3_SECRET_KEY}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                },
                {
                    "name": "reader",
                    "credentials": [{"accessKey": S3_READER_KEY, "secretKey": S3_READER_SECRET}],
                    "actions": ["Read", "List"],
                },
            ]
        }
        self.cluster.apply(
            secret(name, self.namespace, **{"s3.json": json.dumps(identities)}),
            deployment(
                name,
                self.namespace,
                {
                    "terminationGracePeriodSeconds": 3,
                    "containers": [
                        container(
                            "s3",
                            f"{IMAGE}/s3:dev",
                            ports=[{"containerPort": 8333}],
                            readinessProbe=probe({"tcpSocket": {"port": 8333}}),
                            volumeMounts=[
                                {"name": "data", "mountPath": "/data"},
                                {"name": "tmp", "mountPath": "/tmp"},
                                {"name": "config", "mountPath": "/config"},
                            ],
                        )
                    ],
                    "volumes": [
                        {"name": "data", "emptyDir": {}},
                        {"name": "tmp", "emptyDir": {}},
                        {"name": "config", "secret": {"secretName": name}},
                    ],
                },
            ),
            service(name, self.namespace, 8333),
        )
        self._ready(name, 120)
        return f"http://{name}.{self.namespace}.svc.cluster.local:8333"

    def remove(self) -> None:
        """All of the servers."""
        self.cluster.delete("Namespace", self.namespace)

    def s3_client(self, endpoint: str | None = None) -> Any:
        """boto3 client of the server. Making one costs as much as twenty requests."""
        url = endpoint or self.s3()
        if url not in self._s3_clients:
            self._s3_clients[url] = boto3.client(
                "s3",
                endpoint_url=url,
                aws_access_key_id=S3_ACCESS_KEY,
                aws_secret_access_key=S3_SECRET_KEY,
                region_name="us-east-1",
            )
        return self._s3_clients[url]

    def bucket(self, endpoint: str | None = None) -> str:
        """A new bucket."""
        name = unique("bucket")
        s3 = self.s3_client(endpoint)

        def create() -> bool:
            s3.create_bucket(Bucket=name)
            return True

        wait_for(f"bucket {name}", create, 60)
        return name

    def admin(self, host: str, database: str = "postgres") -> psycopg.Connection[Any]:
        """A superuser's connection."""
        return psycopg.connect(
            host=host,
            user="postgres",
            password=ADMIN_PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
        )

    def _ready(self, name: str, timeout: float) -> None:
        self.cluster.wait(
            "Deployment",
            name,
            self.namespace,
            lambda d: (d.get("status", {}).get("readyReplicas") or 0) >= 1,
            timeout,
            "ready",
        )


@dataclass
class Site:
    """One environment with everything around it."""

    cluster: Cluster
    servers: Servers
    namespace: str
    host: str
    database: str
    role: str
    password: str
    major: int
    store_kind: Literal["S3", "Claim"]
    layout: Literal["Odoo", "Plain"]
    bucket: str = ""
    endpoint: str = ""
    environment: str = "shop"
    store: str = "store"
    filestore_claim: str = "filestore"
    #: Whether the server is in the namespace, and goes with it
    own_server: bool = False
    cleanups: list[Any] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The filestore's path below the claim's root."""
        return f"filestore/{self.database}"

    @property
    def environment_id(self) -> str:
        """The id of the Environment."""
        found = self.cluster.get("Environment", self.environment, self.namespace)
        assert found is not None
        return str(found["status"]["id"])

    # --- database ----------------------------------------------------------------------------------------
    @property
    def credentials(self) -> dict[str, str]:
        """The keys of the Secret `database`, but for the host."""
        keys = {"port": "5432", "dbname": self.database, "user": self.role, "password": self.password}
        # The servers have no TLS, and clients before 16 need it unless a mode is chosen.
        return keys | ({"sslmode": "disable"} if self.major < 16 else {})

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        """As the application's role."""
        return psycopg.connect(
            host=self.host,
            user=self.role,
            password=self.password,
            dbname=database or self.database,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
        )

    def query(self, text: str, *values: Any, database: str | None = None) -> list[Any]:
        """Rows of a query as the application's role."""
        with self.connect(database) as connection:
            return connection.execute(text, values).fetchall()  # type: ignore[arg-type]

    def ballast(self, table: str, rows: int) -> None:
        """A new table with 1.9 kB in each row that compress to half. Sent by COPY: the server would need ten times as
        long to make them."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE TABLE {} (t text)").format(sql.Identifier(table)))
            with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                for _ in range(rows // 100):
                    copy.write("".join(f"{os.urandom(960).hex()}\n" for _ in range(100)))

    def databases(self, name: str | None = None, *, scratch: bool = False) -> list[str]:
        """Names of all databases that begin with `name` (by default ours): nothing may be left over. `scratch`: also
        those of a proof and of a test restore, which come and go."""
        name = name or self.database
        with self.servers.admin(self.host) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND (%s OR NOT (starts_with(datname,"
                " %s) OR starts_with(datname, %s))) ORDER BY 1",
                [name, scratch, f"{name}_try_", f"{name}_test_"],
            )
            return [r[0] for r in rows]

    def accepts_connections(self) -> bool:
        """Whether the live database takes the application's connections."""
        try:
            return self.query("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    # --- application -------------------------------------------------------------------------------------
    @property
    def url(self) -> str:
        return f"http://shop.{self.namespace}.svc.cluster.local:8080"

    def http(self, path: str, data: bytes | None = None, method: str | None = None) -> Any:
        """The application's JSON answer."""
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return json.loads(response.read() or b"null")

    def app_ready(self, timeout: float = 60) -> None:
        """Waits until the application serves."""
        wait_for("application", lambda: self.http("/api/state") is not None, timeout)

    def load(self, seed: int | str, orders: int = 20) -> None:
        """The application places so many orders with files and deletes some drafts: the same seed, the same contents.
        Through its front door: a process in the pod for each load, which writes for some seconds, costs ten times as
        much."""
        self.app_ready()
        chance, plan = random.Random(seed), LoadPlan(seconds=1)  # noqa: S311 - data, not secrets
        shop = HttpTarget(self.url, timeout=60)
        for number in range(orders):
            files = [
                NewAttachment(f"document-{number}.txt", content(chance, plan), "text/plain")
                for _ in range(chance.randrange(1, 4))
            ]
            amount = Decimal(chance.randrange(1000, 500000)) / 100
            order = shop.place("Azure Interior", amount, "draft" if number % 2 else "sale", files)
            if number % 4 == 1:
                assert shop.delete(order)

    def scale(self, replicas: int) -> None:
        """Starts or stops the application, and waits for it."""
        self.cluster.patch("Deployment", "shop", self.namespace, {"spec": {"replicas": replicas}})
        if replicas:
            self.rolled_out()
            self.app_ready()
        else:
            wait_for("the pods are gone", lambda: not self.cluster.pods(self.namespace, "app=shop"), 60)

    def patch_shop(self, template: Object, *, ready: bool = True) -> None:
        """Changes the pods of the application (strategic merge patch of their template) and waits for the new ones."""
        self.cluster.patch_pods("Deployment", "shop", self.namespace, template)
        if ready:
            self.rolled_out()

    def rolled_out(self) -> None:
        """Waits until all pods of the application are of its current template, and ready."""

        def current(o: Object) -> bool:
            status, wanted = o.get("status", {}), o["spec"]["replicas"]
            seen = status.get("observedGeneration", 0) >= o["metadata"]["generation"]
            counts = [status.get(name) or 0 for name in ("updatedReplicas", "readyReplicas", "replicas")]
            return seen and counts == [wanted] * 3

        self.cluster.wait("Deployment", "shop", self.namespace, current, 90, "rolled out")

    def in_app(self, *arguments: str, timeout: float = 120) -> tuple[int, str]:
        """Runs `python3 -m demo_app ARGUMENTS` in the application's pod, which must run until it ends; exit code and
        output."""
        return self.in_shop("python3", "-m", "demo_app", *arguments, timeout=timeout)

    def in_shop(self, *command: str, timeout: float = 120) -> tuple[int, str]:
        """Runs a command in the application's pod; exit code and output. The filestore's claim is mounted at /claim."""
        return self.cluster.exec_in(self.namespace, self.app_pod()["metadata"]["name"], *command, timeout=timeout)

    def app_pod(self, app: str = "shop") -> Object:
        """The application's pod, once one runs that is not being deleted."""

        def running() -> Object | None:
            for pod in self.cluster.pods(self.namespace, f"app={app}"):
                if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"):
                    return pod
            return None

        return wait_for("the application's pod", running, 60)

    def in_pod(self, *arguments: str, timeout: float = 120) -> tuple[int, str]:
        """As `in_app`, in a pod of its own: for what runs while the application is stopped."""
        return self.cluster.run_pod(
            self.namespace,
            DEMO_IMAGE,
            ["python3", "-m", "demo_app", *arguments],
            claims={"/claim": self.filestore_claim},
            secrets_={"/database": "database"},
            env=self.app_env(),
            timeout=timeout,
        )

    def app_env(self) -> dict[str, str]:
        """The demo application's variables: where its data is."""
        return {"DEMO_DATABASE": "/database", "DEMO_FILESTORE": f"/claim/{self.path}"}

    @cached_property
    def claim_root(self) -> Path:
        """The root of the filestore's claim, on the node: a process in the application's pod costs a second of
        processor time."""
        return node.claim_folder(self.cluster, self.filestore_claim, self.namespace)

    def files_fit(self, database: str | None = None, path: str | None = None) -> None:
        """Every row of the database has its file, with its content: the application's own check, in this process. By
        default those that are live; `path`: the filestore's, below the claim's root."""
        with self.connect(database) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            report = check(connection, Filestore(self.claim_root / (path or self.path)))
        assert report.ok, report.wire()

    # --- resources ---------------------------------------------------------------------------------------
    def environment_object(self, **changes: Any) -> Object:
        """The Environment."""
        spec: Object = {
            "projectId": PROJECT,
            "type": "production",
            "storeRef": {"name": self.store},
            "database": {"secretRef": {"name": "database"}, "capacity": "50Gi"},
            "filestore": {"claimName": self.filestore_claim, "path": self.path, "layout": self.layout},
            "config": {"configMapRef": {"name": "config"}},
            "workloads": [{"kind": "Deployment", "name": "shop"}],
            "jobs": {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
            **changes,
        }
        return {
            "apiVersion": GROUP,
            "kind": "Environment",
            "metadata": {"name": self.environment, "namespace": self.namespace},
            "spec": {k: v for k, v in spec.items() if v is not None},
        }

    def snapshot(self, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> str:
        """Creates a Snapshot."""
        self.cluster.apply(
            {
                "apiVersion": GROUP,
                "kind": "Snapshot",
                "metadata": {"name": name, "namespace": self.namespace, "annotations": annotations or {}},
                "spec": {"environmentRef": {"name": self.environment}, "timeoutSeconds": 300, **spec},
            }
        )
        return name

    def extract(self, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> str:
        """Creates an Extract, of the snapshot `base` where the spec names no other one."""
        self.cluster.apply(
            {
                "apiVersion": GROUP,
                "kind": "Extract",
                "metadata": {"name": name, "namespace": self.namespace, "annotations": annotations or {}},
                "spec": {"snapshotRef": {"name": "base"}, "expiresAfterSeconds": 60, **spec},
            }
        )
        return name

    def rollback(self, name: str, snapshot: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> str:
        """Creates a Rollback."""
        self.cluster.apply(
            {
                "apiVersion": GROUP,
                "kind": "Rollback",
                "metadata": {"name": name, "namespace": self.namespace, "annotations": annotations or {}},
                "spec": {
                    "snapshotRef": {"name": snapshot},
                    "timeoutSeconds": 300,
                    "readyTimeoutSeconds": 60,
                    **spec,
                },
            }
        )
        return name

    def undo(self, name: str, of: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> str:
        """Creates a Rollback that undoes the Rollback `of`."""
        body: Object = {"undo": {"rollbackRef": {"name": of}}, "timeoutSeconds": 300, "readyTimeoutSeconds": 60, **spec}
        metadata = {"name": name, "namespace": self.namespace, "annotations": annotations or {}}
        self.cluster.apply({"apiVersion": GROUP, "kind": "Rollback", "metadata": metadata, "spec": body})
        return name

    def finished(self, kind: str, name: str, timeout: float = 180) -> Object:
        """The Snapshot or Rollback in its terminal state."""
        return self.cluster.wait(
            kind,
            name,
            self.namespace,
            lambda o: is_true(o, "Complete") or is_true(o, "Failed"),
            timeout,
            "terminal",
        )

    def completed(self, kind: str, name: str, timeout: float = 180) -> Object:
        """The same, and it went well."""
        obj = self.finished(kind, name, timeout)
        assert is_true(obj, "Complete"), json.dumps(obj["status"], indent=1, default=str)
        return obj

    def failed(self, kind: str, name: str, reason: str, timeout: float = 180) -> Object:
        """The same, and it failed for the reason, with words that say what to do."""
        obj = self.finished(kind, name, timeout)
        found = condition(obj, "Failed")
        assert found is not None, json.dumps(obj["status"], indent=1, default=str)
        assert found["reason"] == reason, found
        assert len(found["message"]) > 20, found
        return obj

    def previewed(self, name: str, timeout: float = 120) -> Object:
        """The status of the Rollback with `dryRun` once it has its report."""
        obj = self.cluster.wait(
            "Rollback", name, self.namespace, lambda o: is_true(o, "Previewed"), timeout, "previewed"
        )
        return dict(obj["status"])

    def gone(self, kind: str, *names: str) -> None:
        """Deletes Snapshots or Rollbacks, one after the other, and waits until they do not exist."""
        for name in names:
            self.cluster.delete(kind, name, self.namespace)
            self.cluster.wait_gone(kind, name, self.namespace, 120)

    def environment_ready(self, timeout: float = 90) -> Object:
        """Waits for the Environment's Ready and RollbackReady, as it is now and not as it was before a change."""
        return self.cluster.wait(
            "Environment",
            self.environment,
            self.namespace,
            lambda o: (
                o.get("status", {}).get("observedGeneration") == o["metadata"]["generation"]
                and is_true(o, "Ready")
                and is_true(o, "RollbackReady")
            ),
            timeout,
            "ready",
        )

    def remove(self) -> None:
        """The namespace and the databases."""
        self.cluster.delete("Namespace", self.namespace)
        if self.own_server:
            self.cluster.wait_gone("Namespace", self.namespace, None, 120)
        else:
            wait_for("databases and role dropped", self._drop, 60, interval=1)

    def _drop(self) -> bool:
        """False where a Job of the namespace, which is still being deleted, came between: a proof creates and drops its
        scratch database."""
        with self.servers.admin(self.host) as connection:
            try:
                for name in self.databases(scratch=True):
                    # One whose DROP was interrupted, with its Job, can only be dropped.
                    with suppress(psycopg.errors.ObjectNotInPrerequisiteState):
                        connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name)))
                    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(self.role)))
            except (psycopg.errors.InvalidCatalogName, psycopg.errors.DependentObjectsStillExist):
                return False
            except psycopg.OperationalError:
                return False  # seen once: the session was gone between two statements
        return True


def create_database(servers: Servers, host: str, name: str, role: str, password: str, *, createdb: bool = True) -> None:
    """A database owned by a role that is no superuser."""
    with servers.admin(host) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} NOSUPERUSER {}").format(
                sql.Identifier(role), sql.Literal(password), sql.SQL("CREATEDB" if createdb else "NOCREATEDB")
            )
        )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(role)))


@contextmanager
def make_site(
    cluster: Cluster,
    servers: Servers,
    *,
    major: int = 17,
    store: Literal["S3", "Claim"] = "S3",
    layout: Literal["Odoo", "Plain"] = "Odoo",
    application: bool = True,
    createdb: bool = True,
    environment: dict[str, Any] | None = None,
    postgres_host: str | None = None,
    own_server: Callable[[Site], None] | None = None,
    s3_endpoint: str | None = None,
    described: bool = True,
    storage_class: str = "standard",
    access_mode: str = "ReadWriteOnce",
) -> Iterator[Site]:
    """A new site; waits until the Environment is ready unless `environment` changes it (a test of bad input).
    `own_server` makes a server in the namespace with the database, and sets host and password. `described`: whether it
    has a store and an Environment. `storage_class` and `access_mode`: of the filestore's claim."""
    host = "" if own_server else postgres_host or servers.postgres(major)
    name = unique("shop").replace("-", "_")
    site = Site(
        cluster=cluster,
        servers=servers,
        namespace=cluster.namespace("site"),
        host=host,
        database=name,
        role=name,
        password=unique("only-for-tests"),
        major=major,
        store_kind=store,
        layout=layout,
        own_server=own_server is not None,
    )
    try:
        if own_server is None:
            create_database(servers, host, name, name, site.password, createdb=createdb)
        else:
            own_server(site)
        cluster.apply(claim(site.filestore_claim, site.namespace, storage_class=storage_class, mode=access_mode))
        _fill(site, s3_endpoint, application, described)
        if described:
            cluster.apply(site.environment_object(**(environment or {})))
        if described and environment is None and createdb:
            site.environment_ready()
        yield site
    finally:
        site.remove()


class Sites:
    """Sites that tests share, one of each kind, each with some data and one snapshot, `base`, that has no marker. A
    test leaves its site as it was, but for Complete snapshots of other names. The site of a test that failed is not
    used again."""

    def __init__(self, cluster: Cluster, servers: Servers) -> None:
        self._cluster, self._servers = cluster, servers
        self._made: dict[tuple[object, ...], Site] = {}
        self._stack = ExitStack()

    def of(
        self, *, major: int = 17, store: Literal["S3", "Claim"] = "S3", layout: Literal["Odoo", "Plain"] = "Odoo"
    ) -> Site:
        """The site of that kind, made when a test first asks for it."""
        kind = (major, store, layout)
        if kind not in self._made:
            made = make_site(self._cluster, self._servers, major=major, store=store, layout=layout)
            site = self._stack.enter_context(made)
            site.load(5)
            site.completed("Snapshot", site.snapshot("base"))
            self._made[kind] = site
        return self._made[kind]

    def discard(self) -> None:
        """A test failed: what comes next gets new ones. Those that it may have harmed are removed at the end, with the
        others."""
        self._made.clear()

    def remove(self) -> None:
        """All of them."""
        self._made.clear()
        self._stack.close()


def store_objects(site: Site, namespace: str = "") -> tuple[Object, ...]:
    """The SnapshotStore, and what it needs; of another namespace, a store of its own in the same bucket."""
    ns = namespace or site.namespace
    spec: Object
    if site.store_kind == "S3":
        needed = secret("s3", ns, accessKeyId=S3_ACCESS_KEY, secretAccessKey=S3_SECRET_KEY)
        spec = {
            "s3": {
                "bucket": site.bucket,
                "prefix": namespace or "test",
                "endpoint": site.endpoint,
                "credentialsSecretRef": {"name": "s3"},
            }
        }
    else:
        needed = claim("store", ns)
        spec = {"claim": {"claimName": "store", "path": "snapshots"}}
    metadata = {"name": site.store, "namespace": ns}
    return needed, {"apiVersion": GROUP, "kind": "SnapshotStore", "metadata": metadata, "spec": spec}


def _fill(site: Site, s3_endpoint: str | None, application: bool, described: bool) -> None:
    ns, cluster = site.namespace, site.cluster
    cluster.apply(
        secret("database", ns, host=site.host, **site.credentials),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "config", "namespace": ns},
            "data": {"app.conf": "workers = 2\n"},
        },
    )
    if site.store_kind == "S3":
        site.endpoint = s3_endpoint or site.servers.s3()
        site.bucket = site.servers.bucket(site.endpoint)
    if described:
        cluster.apply(*store_objects(site))
    with site.connect() as connection:
        create_schema(connection)
    if not application:
        code, log = site.in_pod("init")  # for its folder, and a claim that is bound
        assert code == 0, log
    cluster.apply(
        deployment(
            "shop",
            ns,
            {
                "terminationGracePeriodSeconds": 5,
                "containers": [
                    container(
                        "app",
                        DEMO_IMAGE,
                        command=["sh", "-c", 'mkdir -p "$DEMO_FILESTORE" && exec python3 -m demo_app serve'],
                        env=[{"name": k, "value": v} for k, v in site.app_env().items()],
                        ports=[{"containerPort": 8080}],
                        readinessProbe=probe({"httpGet": {"path": "/readyz", "port": 8080}}),
                        volumeMounts=[
                            {"name": "claim", "mountPath": "/claim"},
                            {"name": "database", "mountPath": "/database"},
                            {"name": "tmp", "mountPath": "/tmp"},
                        ],
                    )
                ],
                "volumes": [
                    {"name": "claim", "persistentVolumeClaim": {"claimName": site.filestore_claim}},
                    {"name": "database", "secret": {"secretName": "database", "defaultMode": 0o440}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            },
            replicas=1 if application else 0,
        ),
        service("shop", ns, 8080),
    )
    if application:
        site.app_ready()
