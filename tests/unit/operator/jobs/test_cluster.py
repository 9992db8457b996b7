"""What a CloudNativePG Cluster says about a database. The Clusters have the shapes of the samples of CloudNativePG
1.28, with the defaults that its webhook writes."""

import asyncio
import copy
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.resources.environment import Connection, Database, connection_of
from ocore_kube.errors import ApiError, Forbidden
from ocore_kube.types import Type
from ocore_operator.errors import Stalled
from ocore_operator.frame.actions import Idle
from ocore_operator.jobs.building import cloudnativepg as cnpg
from ocore_operator.jobs.building import inputs, request_parts
from ocore_operator.jobs.building.request_parts import Volumes
from ocore_operator.kube.resources import Environment, Object
from ocore_operator.readiness import plan_environment
from support.operator.objects import SETTINGS, environment
from support.operator.readiness import world

CLUSTER: Object = {
    "apiVersion": "postgresql.cnpg.io/v1",
    "kind": "Cluster",
    "metadata": {"name": "pg", "namespace": "shop"},
    "spec": {
        "instances": 2,
        "imageName": "ghcr.io/cloudnative-pg/postgresql:18.1-system-trixie",
        "enableSuperuserAccess": False,
        "bootstrap": {"initdb": {"database": "app", "owner": "app", "encoding": "UTF8"}},
        "storage": {"size": "10Gi", "resizeInUseVolumes": True},
    },
    "status": {
        "phase": "Cluster in healthy state",
        "currentPrimary": "pg-1",
        "instanceNames": ["pg-1", "pg-2"],
        "pgDataImageInfo": {"image": "ghcr.io/cloudnative-pg/postgresql:18.1-system-trixie", "majorVersion": 18},
        "writeService": "pg-rw",
    },
}
DATABASE: Object = {
    "kind": "Database",
    "metadata": {"name": "db-one", "namespace": "shop"},
    "spec": {"name": "one", "owner": "dante", "cluster": {"name": "pg"}, "ensure": "present"},
}
ROLES: Object = {
    "managed": {
        "roles": [
            {"name": "app", "createdb": True, "login": True},
            {"name": "dante", "login": True, "passwordSecret": {"name": "pg-dante"}},
            {"name": "virgil", "login": True},
        ]
    }
}


def a_cluster(spec: Object | None = None, *, annotations: Object | None = None, status: Object | None = None) -> Object:
    made = copy.deepcopy(CLUSTER)
    made["spec"] |= spec or {}
    made["status"] |= status or {}
    if annotations:
        made["metadata"]["annotations"] = annotations
    return made


def wanted(**changes: Any) -> Database:
    return Database.model_validate({"cnpg": {"cluster": "pg"}, **changes})


def read(cluster: Object, database: Database | None = None, **found: Any) -> Connection:
    database = database or wanted()
    assert database.cnpg is not None
    return cnpg.connection(cluster, database, cnpg.database_of(cluster, database.cnpg), **found)


def test_a_cluster_names_all_that_a_job_needs() -> None:
    assert read(CLUSTER) == Connection(
        secret_name="pg-app",
        cluster="pg",
        database="app",
        host="pg-rw",
        ca_secret_name="pg-ca",
        capacity="10Gi",
        server_major=18,
    )


@pytest.mark.parametrize(
    ("spec", "field", "value"),
    [
        ({"enableSuperuserAccess": True}, "admin_secret_name", "pg-superuser"),
        ({"enableSuperuserAccess": True, "superuserSecret": {"name": "root"}}, "admin_secret_name", "root"),
        ({"superuserSecret": {"name": "root"}}, "admin_secret_name", None),
        ({"bootstrap": {"initdb": {"database": "shop", "owner": "odoo"}}}, "database", "shop"),
        ({"bootstrap": {"initdb": {"secret": {"name": "app-secret"}}}}, "secret_name", "app-secret"),
        ({"bootstrap": {"recovery": {"source": "origin", "secret": {"name": "x"}}}}, "secret_name", "x"),
        ({"bootstrap": {"pg_basebackup": {"source": "origin", "database": "erp"}}}, "database", "erp"),
        ({"bootstrap": {}}, "database", "app"),
        ({"certificates": {"serverCASecret": "my-ca", "serverTLSSecret": "my-tls"}}, "ca_secret_name", "my-ca"),
        ({"imageCatalogRef": {"kind": "ImageCatalog", "name": "x", "major": 17}}, "server_major", 17),
    ],
)
def test_what_the_author_of_a_cluster_may_name(spec: Object, field: str, value: str | None) -> None:
    made = a_cluster(spec, status={"pgDataImageInfo": None} if "imageCatalogRef" in spec else None)
    assert getattr(read(made), field) == value


def test_the_environment_overrides_administrator_and_capacity() -> None:
    made = a_cluster({"enableSuperuserAccess": True})
    found = read(made, wanted(adminSecretRef={"name": "ocore-admin"}, capacity="5Gi"))
    assert (found.admin_secret_name, found.capacity) == ("ocore-admin", "5Gi")


def a_claim(size: str) -> Object:
    return {"status": {"phase": "Bound", "capacity": {"storage": size}}}


TEMPLATE: Object = {"storage": {"pvcTemplate": {"resources": {"requests": {"storage": "7Gi"}}}}}
SPACES: Object = {
    "tablespaces": [
        {"name": "atablespace", "storage": {"size": "1Gi"}, "temporary": True},
        {"name": "Another_tablespace", "storage": {"size": "2Gi"}},
    ]
}


@pytest.mark.parametrize(
    ("spec", "claims", "capacity"),
    [
        ({}, [a_claim("10Gi"), a_claim("11Gi")], "10Gi"),
        # Enlarged in the Cluster, and not on the claim of one instance (yet).
        ({"storage": {"size": "20Gi"}}, [a_claim("20Gi"), a_claim("10Gi")], "10Gi"),
        ({"walStorage": {"size": "1Gi"}}, [], "10Gi"),
        (SPACES, [], "2Gi"),
        (TEMPLATE, [], "7Gi"),
        ({"storage": {}}, [], None),
        ({}, [a_claim("128974848000m")], None),
    ],
)
def test_the_capacity_is_that_of_the_smallest_volume(spec: Object, claims: list[Object], capacity: str | None) -> None:
    assert read(a_cluster(spec), claims=claims).capacity == capacity


def test_the_claims_of_every_instance_are_asked() -> None:
    spaces = ["pg-1", "pg-1-tbs-another-tablespace", "pg-2", "pg-2-tbs-another-tablespace"]
    assert list(cnpg.claims_of(a_cluster(SPACES))) == spaces


@pytest.mark.parametrize(("owner", "secret"), [("dante", "pg-dante"), ("app", "pg-app")])
def test_another_database_has_the_secret_of_its_owner(owner: str, secret: str) -> None:
    one = {**DATABASE, "spec": {**DATABASE["spec"], "owner": owner}}
    others = [{"spec": {**one["spec"], "cluster": {"name": "other"}, "owner": "x"}}, one]
    found = read(a_cluster(ROLES), wanted(cnpg={"cluster": "pg", "database": "one"}), databases=others)
    assert (found.secret_name, found.database) == (secret, "one")


@pytest.mark.parametrize(
    ("databases", "says"),
    [
        ([], r"kind: Database, metadata: \{name: pg-one\}, spec: \{cluster: \{name: pg\}, name: one, owner: ROLE\}"),
        ([{"spec": {**DATABASE["spec"], "ensure": "absent"}}], "No Database resource"),
        ([{"spec": {**DATABASE["spec"], "owner": "virgil"}}], "Set login: true and passwordSecret in the role.s entry"),
        ([{"spec": {**DATABASE["spec"], "owner": "unmanaged"}}], "belongs to role unmanaged"),
    ],
)
def test_an_owner_without_a_secret_is_said_with_the_line_to_add(databases: list[Object], says: str) -> None:
    with pytest.raises(Stalled, match=says) as stalled:
        read(a_cluster(ROLES), wanted(cnpg={"cluster": "pg", "database": "one"}), databases=databases)
    assert stalled.value.reason == c.DATABASE_OWNER_UNKNOWN


def test_a_bootstrap_that_creates_no_database_needs_its_name() -> None:
    made = a_cluster({"bootstrap": {"initdb": {"import": {"type": "monolith", "databases": ["a"]}}}})
    with pytest.raises(Stalled, match=r"cnpg: \{cluster: pg, database: NAME\}"):
        read(made)


ALL = '["*"]'


@pytest.mark.parametrize(
    ("made", "reason", "says"),
    [
        (a_cluster(annotations={cnpg.HIBERNATION: "on"}), c.CLUSTER_HIBERNATED, f"pg {cnpg.HIBERNATION}-"),
        (a_cluster(annotations={cnpg.FENCED: '["pg-1"]'}), c.CLUSTER_FENCED, "primary pg-1 .*fencing off pg"),
        (a_cluster(annotations={cnpg.FENCED: ALL}), c.CLUSTER_FENCED, "fenced"),
        (a_cluster({"replica": {"enabled": True, "source": "origin"}}), c.REPLICA_CLUSTER, "replica of origin"),
        (a_cluster({"replica": {"primary": "west", "source": "west"}}), c.REPLICA_CLUSTER, "replica of west"),
        (
            a_cluster({"managed": {"services": {"disabledDefaultServices": ["rw"]}}}),
            c.CLUSTER_SERVICE_DISABLED,
            "no Service pg-rw",
        ),
    ],
)
def test_a_cluster_without_a_primary_to_reach(made: Object, reason: str, says: str) -> None:
    with pytest.raises(Stalled, match=says) as stalled:
        cnpg.need_usable(made)
    assert (stalled.value.reason, stalled.value.after) == (reason, cnpg.PAUSE)
    assert reason in c.OF_CLUSTER


@pytest.mark.parametrize(
    "made",
    [
        CLUSTER,
        a_cluster(annotations={cnpg.HIBERNATION: "off", cnpg.FENCED: '["pg-2"]'}),
        a_cluster(annotations={cnpg.FENCED: "[]"}),
        a_cluster(annotations={cnpg.FENCED: "not JSON"}),
        a_cluster(annotations={cnpg.FENCED: '["", 1]'}, status={"currentPrimary": ""}),
        a_cluster({"replica": {"enabled": False, "source": "origin"}}),
        a_cluster({"replica": {"primary": "pg", "source": "west"}}),
        a_cluster({"replica": {"self": "east", "primary": "east", "source": "west"}}),
        a_cluster({"managed": {"services": {"disabledDefaultServices": ["r", "ro"]}}}),
    ],
)
def test_a_cluster_with_a_primary(made: Object) -> None:
    cnpg.need_usable(made)


class Fake:
    """The API server, as far as a Cluster is read."""

    settings = SETTINGS

    def __init__(
        self, clusters: Object | Exception | None = None, databases: tuple[Object, ...] | Exception = ()
    ) -> None:
        self.clusters, self.databases, self.asked = clusters, databases, list[str]()
        self.kube = self

    async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
        assert namespace == "shop"
        self.asked.append(f"{type_.kind} {name}")
        if type_.kind != "Cluster":
            return a_claim("4Gi") if type_.kind == "PersistentVolumeClaim" and name == "pg-2" else None
        if isinstance(self.clusters, Exception):
            raise self.clusters
        return self.clusters

    async def list(self, type_: Type, namespace: str) -> list[Object]:
        assert (type_.kind, namespace) == ("Database", "shop")
        self.asked.append("list Database")
        if isinstance(self.databases, Exception):
            raise self.databases
        return list(self.databases)


def of_cluster(database: Object | None = None) -> Environment:
    return environment({"database": {"cnpg": {"cluster": "pg", **(database or {})}}})


def loaded(fake: Fake, made: Environment | None = None) -> Environment:
    ctx: Any = fake
    return asyncio.run(inputs.with_cluster(ctx, made or of_cluster()))


def test_what_is_read_of_the_api_server() -> None:
    fake = Fake(CLUSTER)
    found = loaded(fake)
    assert found.status.connection == read(CLUSTER, claims=[a_claim("4Gi")])
    assert fake.asked == ["Cluster pg", "PersistentVolumeClaim pg-1", "PersistentVolumeClaim pg-2"]
    other = Fake(a_cluster(ROLES), (DATABASE,))
    found = loaded(other, of_cluster({"database": "one"}))
    assert found.status.connection is not None
    assert found.status.connection.secret_name == "pg-dante"
    assert other.asked[1] == "list Database"
    plain = Fake()
    assert loaded(plain, environment()).status.connection is None
    assert plain.asked == []


@pytest.mark.parametrize(
    ("fake", "reason", "says"),
    [
        (Fake(None), c.CLUSTER_NOT_FOUND, "no CloudNativePG Cluster pg in the namespace shop"),
        (Fake(None, ApiError(404, "NotFound", "")), c.CLOUDNATIVEPG_NOT_INSTALLED, "not installed"),
        (Fake(Forbidden(403, "Forbidden", "")), c.CLUSTER_ACCESS_DENIED, r"chart's value rbac\.cnpg to true"),
        (Fake(None, Forbidden(403, "Forbidden", "")), c.CLUSTER_ACCESS_DENIED, "in the namespace shop"),
        (Fake(a_cluster(annotations={cnpg.HIBERNATION: "on"})), c.CLUSTER_HIBERNATED, "hibernated"),
    ],
)
def test_a_cluster_that_cannot_be_used_stalls_the_environment(fake: Fake, reason: str, says: str) -> None:
    """No Job runs in vain; what was read before stays for a rollback that is under way."""
    made = of_cluster()
    made = made.with_status(made.status.model_copy(update={"connection": read(CLUSTER)}))
    with pytest.raises(Stalled, match=says) as stalled:
        loaded(fake, made)
    assert stalled.value.reason == reason
    decided = plan_environment.decide(world(made, needs=stalled.value))
    assert isinstance(decided, Idle)
    assert decided.seconds == cnpg.PAUSE
    for type_, value in ((c.READY, "False"), (c.STALLED, "True"), (c.ROLLBACK_READY, "False")):
        got = c.find(decided.status.conditions, type_)
        assert got is not None
        assert (got.status, got.reason) == (value, reason)
    assert plan_environment.final(made, decided.status).connection == read(CLUSTER)


def test_an_outage_of_the_api_server_is_no_verdict() -> None:
    with pytest.raises(ApiError):
        loaded(Fake(ApiError(503, "Unavailable", "")))


def test_a_job_gets_names_only() -> None:
    volumes, made = Volumes(), loaded(Fake(a_cluster({"enableSuperuserAccess": True, **ROLES})))
    access = request_parts.database(volumes, made, admin=True)
    assert access is not None
    assert (access.host, access.dbname, access.cluster) == ("pg-rw", "app", "pg")
    assert access.managed_roles == ("app", "dante", "virgil")
    assert access.tls.ca == "/secrets/database-tls/ca.crt"
    by_name = {volume["name"]: volume for volume in volumes.volumes}
    assert by_name["database"]["secret"] == {"secretName": "pg-app"}
    assert by_name["admin"]["secret"] == {"secretName": "pg-superuser"}
    assert by_name["database-tls"]["projected"]["sources"] == [
        {"secret": {"name": "pg-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    ]
    without = request_parts.database(Volumes(), made, admin=False)
    assert without is not None
    assert without.admin is None
    with pytest.raises(ValueError, match="the Cluster was not read"):
        request_parts.database(Volumes(), of_cluster(), admin=True)


def test_what_was_read_of_another_cluster_is_not_used() -> None:
    made = loaded(Fake(CLUSTER))
    for database, same in (({}, True), ({"database": "app"}, True), ({"database": "one"}, False)):
        assert (connection_of(of_cluster(database).spec, made.status) is not None) == same
    other = environment({"database": {"cnpg": {"cluster": "west"}}})
    assert connection_of(other.spec, made.status) is None
    assert plan_environment.final(environment().with_status(made.status), made.status).connection is None


def test_an_operation_under_way_does_not_read_the_cluster_again() -> None:
    """Its Jobs must not end because the Cluster was fenced: an application may be stopped."""

    class Store(Fake):
        async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
            if type_.kind == "SnapshotStore":
                raise Reached
            return await super().get(type_, namespace, name)

    class Reached(Exception):
        """The Cluster is behind us."""

    made, fenced = loaded(Fake(CLUSTER)), Store(a_cluster(annotations={cnpg.FENCED: ALL}))
    ctx: Any = fenced
    with pytest.raises((Reached, Stalled)) as ended:
        asyncio.run(inputs.load(ctx, made, lenient=True))
    assert (ended.type, fenced.asked) == (Reached, [])
    for lenient, current in ((False, made), (True, of_cluster())):
        with pytest.raises(Stalled):
            asyncio.run(inputs.load(ctx, current, lenient=lenient))
