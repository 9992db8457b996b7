"""What a CloudNativePG Cluster says about a database: host, Secrets, CA, capacity, major version. Pure.

Names and defaults are those of CloudNativePG 1.28 (api/v1/cluster_funcs.go, cluster_defaults.go).
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from ocore_crds import conditions as c
from ocore_crds.resources.environment import CloudNativePG, Connection, Database
from ocore_crds.text import quantity
from ocore_crds.text.sentences import shown
from ocore_crds.text.shell import command
from ocore_operator.errors import Stalled
from ocore_operator.kube.resources import Object

#: Seconds until a Cluster is read again that prevents Jobs: it is not watched.
PAUSE = 30.0
HIBERNATION = "cnpg.io/hibernation"
FENCED = "cnpg.io/fencedInstances"
_APP = "app"


def not_found(name: str, namespace: str) -> Stalled:
    """The Cluster does not exist."""
    text = (
        f"There is no CloudNativePG Cluster {name} in the namespace {namespace}. Create it, or correct"
        " spec.database.cnpg.cluster of the Environment. A Cluster of another namespace needs spec.database.secretRef."
    )
    return Stalled(c.CLUSTER_NOT_FOUND, text, PAUSE)


def not_installed() -> Stalled:
    """The API server has no such type."""
    text = (
        "The API server does not serve Clusters and Databases (postgresql.cnpg.io/v1): CloudNativePG is not installed,"
        " or is older than 1.25. Install it, or give spec.database.secretRef in place of cnpg."
    )
    return Stalled(c.CLOUDNATIVEPG_NOT_INSTALLED, text, PAUSE)


def access_denied(namespace: str) -> Stalled:
    """The operator's account may not read it."""
    text = (
        f"The operator may not read Clusters and Databases of CloudNativePG in the namespace {namespace}. Set the"
        " chart's value rbac.cnpg to true, or give spec.database.secretRef in place of cnpg."
    )
    return Stalled(c.CLUSTER_ACCESS_DENIED, text, PAUSE)


def need_usable(cluster: Object) -> None:
    """Raises Stalled (ClusterHibernated, ClusterFenced, ReplicaCluster, ClusterServiceDisabled) where no Job can reach
    a primary."""
    meta, spec = cluster["metadata"], cluster["spec"]
    name, annotations = meta["name"], meta.get("annotations") or {}
    if annotations.get(HIBERNATION) == "on":
        text = f"Cluster {name} is hibernated, so its database does not run. To end that: " + command(
            "kubectl", "-n", meta["namespace"], "annotate", "clusters.postgresql.cnpg.io", name, f"{HIBERNATION}-"
        )
        raise Stalled(c.CLUSTER_HIBERNATED, text, PAUSE)
    primary = (cluster.get("status") or {}).get("currentPrimary") or ""
    if {"*", primary} & _fenced(annotations.get(FENCED, "")):
        text = (
            f"The primary {primary or 'instance'} of Cluster {name} is fenced: its PostgreSQL is stopped. To lift the"
            " fence: " + command("kubectl", "cnpg", "fencing", "off", name, "*", "-n", meta["namespace"])
        )
        raise Stalled(c.CLUSTER_FENCED, text, PAUSE)
    if _is_replica(name, spec.get("replica")):
        primary = spec["replica"].get("primary") or spec["replica"].get("source") or "its source"
        text = (
            f"Cluster {name} is a replica of {primary}: its databases are read-only. Name the primary Cluster in"
            f" spec.database.cnpg, or promote {name}."
        )
        raise Stalled(c.REPLICA_CLUSTER, text, PAUSE)
    services = (spec.get("managed") or {}).get("services") or {}
    if "rw" in (services.get("disabledDefaultServices") or ()):
        text = (
            f"Cluster {name} has no Service {name}-rw. Remove rw from spec.managed.services.disabledDefaultServices of"
            " the Cluster, or give spec.database.secretRef in place of cnpg, with the host of the primary's Service."
        )
        raise Stalled(c.CLUSTER_SERVICE_DISABLED, text, PAUSE)


def _fenced(value: str) -> set[str]:
    """The fenced instances. CloudNativePG ignores a value that is no list, too."""
    try:
        found = json.loads(value or "[]")
    except ValueError:
        return set()
    return {each for each in found if isinstance(each, str) and each} if isinstance(found, list) else set()


def _is_replica(name: str, replica: Mapping[str, object] | None) -> bool:
    if replica is None:
        return False
    if replica.get("enabled") is not None:
        return bool(replica["enabled"])
    return (replica.get("self") or name) != replica.get("primary")


def database_of(cluster: Object, wanted: CloudNativePG) -> str:
    """Name of the database. Raises Stalled(DatabaseOwnerUnknown) where the bootstrap creates none."""
    name = wanted.database or _bootstrap(cluster)[0]
    if not name:
        text = (
            f"The bootstrap of Cluster {wanted.cluster} creates no database. Name one: spec.database.cnpg: {{cluster:"
            f" {wanted.cluster}, database: NAME}}."
        )
        raise Stalled(c.DATABASE_OWNER_UNKNOWN, text, PAUSE)
    return name


def is_of_bootstrap(cluster: Object, database: str) -> bool:
    """Whether the Cluster itself names the owner of the database. Another one's is named by a `Database` resource."""
    return database == _bootstrap(cluster)[0]


def _bootstrap(cluster: Object) -> tuple[str, str, str]:
    """Database, owner and the owner's Secret of the Cluster's bootstrap; empty where it creates none."""
    found = cluster["spec"].get("bootstrap") or {}
    method: Object = found.get("recovery") or found.get("pg_basebackup") or found.get("initdb") or {}
    # CloudNativePG writes the defaults into the Cluster, where its webhook runs.
    monolith = (method.get("import") or {}).get("type") == "monolith"
    database = method.get("database") or ("" if monolith else _APP)
    secret = (method.get("secret") or {}).get("name") or f"{cluster['metadata']['name']}-app"
    return database, method.get("owner") or database, secret


def claims_of(cluster: Object) -> tuple[str, ...]:
    """Names of the claims that hold the data and the tablespaces of every instance."""
    instances = (cluster.get("status") or {}).get("instanceNames") or ()
    spaces = [space["name"].replace("_", "-").lower() for space in _tablespaces(cluster["spec"])]
    return tuple(name for each in instances for name in (each, *(f"{each}-tbs-{space}" for space in spaces)))


def connection(
    cluster: Object, wanted: Database, database: str, *, claims: Iterable[Object] = (), databases: Sequence[Object] = ()
) -> Connection:
    """How Jobs reach the database. `claims`: of :func:`claims_of`, those that exist. `databases`: the `Database`
    resources of the namespace, where the database is not the bootstrap's.

    Raises Stalled(DatabaseOwnerUnknown) where the owner, or the Secret of the owner's password, is not named.
    """
    name, spec, status = cluster["metadata"]["name"], cluster["spec"], cluster.get("status") or {}
    certificates = spec.get("certificates") or {}
    return Connection(
        secret_name=_owner_secret(cluster, database, databases),
        admin_secret_name=_admin_secret(cluster, wanted),
        cluster=name,
        database=database,
        host=f"{name}-rw",
        ca_secret_name=certificates.get("serverCASecret") or f"{name}-ca",
        capacity=wanted.capacity or _capacity(spec, claims),
        server_major=(status.get("pgDataImageInfo") or {}).get("majorVersion")
        or (spec.get("imageCatalogRef") or {}).get("major"),
        managed_roles=tuple(sorted(role["name"] for role in _managed_roles(spec))),
    )


def _managed_roles(spec: Object) -> list[Object]:
    return (spec.get("managed") or {}).get("roles") or []


def _admin_secret(cluster: Object, wanted: Database) -> str | None:
    if wanted.admin_secret_ref is not None:
        return wanted.admin_secret_ref.name
    spec = cluster["spec"]
    if not spec.get("enableSuperuserAccess"):
        return None
    return (spec.get("superuserSecret") or {}).get("name") or f"{cluster['metadata']['name']}-superuser"


def _owner_secret(cluster: Object, database: str, databases: Sequence[Object]) -> str:
    name = cluster["metadata"]["name"]
    own, owner, secret = _bootstrap(cluster)
    if database == own:
        return secret
    found = next((each["spec"] for each in databases if _declares(each["spec"], name, database)), None)
    if found is None:
        text = (
            f"No Database resource of Cluster {name} declares database {database}, so its owner is unknown. Create one"
            " (CloudNativePG adopts a database that exists): {apiVersion: postgresql.cnpg.io/v1, kind: Database,"
            f" metadata: {{name: {name}-{database}}},"
            f" spec: {{cluster: {{name: {name}}}, name: {database}, owner: ROLE}}}}."
        )
        raise Stalled(c.DATABASE_OWNER_UNKNOWN, text, PAUSE)
    if found["owner"] == owner:
        return secret
    roles = _managed_roles(cluster["spec"])
    role: Object = next((each for each in roles if each["name"] == found["owner"]), {})
    password = (role.get("passwordSecret") or {}).get("name")
    if not password:
        text = (
            f"Database {shown(database)} belongs to role {shown(found['owner'])}, and Cluster {name} names no Secret"
            f" with"
            " its password. Set login: true and passwordSecret in the role's entry of spec.managed.roles of the"
            " Cluster,"
            " or give the role's Secret in spec.database.secretRef in place of cnpg."
        )
        raise Stalled(c.DATABASE_OWNER_UNKNOWN, text, PAUSE)
    return str(password)


def _declares(found: Object, cluster: str, database: str) -> bool:
    same = found["cluster"].get("name") == cluster and found["name"] == database
    return bool(same and found.get("ensure") != "absent")


def _capacity(spec: Object, claims: Iterable[Object]) -> str | None:
    """The smallest volume that holds data: the restored copy may be on any, and each instance has its own. What a claim
    really has counts; the size in the Cluster may not be applied yet. The volume of the WAL holds no data."""
    storages = [spec.get("storage") or {}, *(space.get("storage") or {} for space in _tablespaces(spec))]
    given = [((each.get("status") or {}).get("capacity") or {}).get("storage") or "" for each in claims]
    sizes = [size for size in (*map(_size, storages), *given) if size]
    try:
        return min(sizes, key=quantity.parse, default=None)
    except ValueError:  # a size in a unit such as m: unknown
        return None


def _tablespaces(spec: Object) -> list[Object]:
    """Those that may hold tables."""
    return [space for space in spec.get("tablespaces") or () if not space.get("temporary")]


def _size(storage: Object) -> str:
    template = storage.get("pvcTemplate") or {}
    return storage.get("size") or ((template.get("resources") or {}).get("requests") or {}).get("storage") or ""
