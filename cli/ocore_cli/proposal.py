"""What ``kubectl ocore init`` proposes for a workload, from objects as the API server holds them. Pure: objects in,
documents out."""

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from typer import Option

from ocore_crds.kinds import ENVIRONMENT, SNAPSHOT_POLICY, SNAPSHOT_STORE, Kind
from ocore_crds.resources.layouts import Layout
from ocore_crds.text.sentences import shown
from ocore_crds.text.shell import command

Object = dict[str, Any]
EnvironmentType = Literal["production", "staging", "development"]
#: Keys of a Secret that a Job can connect with, beside `uri`. The user has one of two names.
CONNECTION = ("host", "dbname", "password")
USERS = ("user", "username")


@dataclass(frozen=True)
class Rule:
    """How an application is recognised, and where it keeps its files."""

    name: str
    #: Found in the image's name, or in a variable of the environment.
    image: str
    variable: str = ""
    layout: Layout = "Plain"
    #: Folder of the container that holds the files; a mount of it, or of a folder above it, is the claim.
    folder: str = ""
    #: Below the folder; {database} is the database's name.
    path: str = ""
    #: Variable that names another folder.
    folder_variable: str = ""
    #: Configuration file in the container, where it is on the claim.
    config: str = ""


#: The first rule that fits is used. Others: layout Plain, and the path is asked for.
RULES = (
    Rule(
        "Odoo (Bitnami)",
        r"(^|/)bitnami[a-z]*/odoo([:@]|$)",
        layout="Odoo",
        folder="/bitnami/odoo/data",
        path="filestore/{database}",
        config="/bitnami/odoo/conf/odoo.conf",
    ),
    Rule("Odoo", r"(^|/)odoo[^/]*$", layout="Odoo", folder="/var/lib/odoo", path="filestore/{database}"),
    Rule("Tryton", r"(^|/)trytond?[^/]*$", folder="/var/lib/trytond/db", path="{database}"),
    Rule(
        "Django",
        r"(^|/)django[^/]*$",
        variable="DJANGO_SETTINGS_MODULE",
        folder="/app/media",
        folder_variable="MEDIA_ROOT",
    ),
)
OTHER = Rule("an application without a rule", "")

#: Variables that applications take their connection from.
_VARIABLES = {
    "host": ("ODOO_DATABASE_HOST", "PGHOST", "POSTGRES_HOST", "DATABASE_HOST", "DB_HOST", "HOST"),
    "port": ("ODOO_DATABASE_PORT_NUMBER", "PGPORT", "POSTGRES_PORT", "DATABASE_PORT", "DB_PORT", "PORT"),
    "dbname": ("ODOO_DATABASE_NAME", "PGDATABASE", "POSTGRES_DB", "DATABASE_NAME", "DB_NAME"),
    "user": ("ODOO_DATABASE_USER", "PGUSER", "POSTGRES_USER", "DATABASE_USER", "DB_USER", "USER"),
    "password": (
        *("ODOO_DATABASE_PASSWORD", "PGPASSWORD", "POSTGRES_PASSWORD"),
        *("DATABASE_PASSWORD", "DB_PASSWORD", "PASSWORD"),
    ),
}


@dataclass(frozen=True)
class Found:
    """What was read of the namespace."""

    namespace: str
    kind: Literal["Deployment", "StatefulSet"]
    workload: Object
    #: All Deployments, StatefulSets and CronJobs, by (kind, name). The spec of a CronJob is that of its Jobs.
    workloads: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    claims: Mapping[str, Object] = field(default_factory=dict)
    #: The keys of each Secret; of the values only the names of database and server.
    secrets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    database_names: Mapping[str, str] = field(default_factory=dict)
    #: The server in the connection of each Secret, where it is named.
    database_hosts: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Object] = field(default_factory=dict)
    config_maps: Mapping[str, Object] = field(default_factory=dict)
    #: CloudNativePG's, by name.
    clusters: Mapping[str, Object] = field(default_factory=dict)
    #: The specs of the SnapshotStores, by name.
    stores: Mapping[str, Object] = field(default_factory=dict)
    #: The Environment of that name, where there is one: its ids stay.
    existing: Object | None = None


@dataclass(frozen=True)
class Given:
    """What a person has said, by options. Empty: not said."""

    database_secret: Annotated[str, Option(help="Secret with uri, or host, dbname, user and password.")] = ""
    database: Annotated[str, Option(help="Name of the database, where the files' path has it.")] = ""
    capacity: Annotated[str, Option(help="Size of the database server's volume, for example 50Gi.")] = ""
    filestore_path: Annotated[str, Option(help="Folder of the files, below the claim's root.")] = ""
    store: Annotated[str, Option(help="A SnapshotStore that exists, s3://BUCKET/PREFIX, or claim://CLAIM/PATH.")] = ""
    endpoint: Annotated[str, Option(help="With s3://: URL of the store; the default is AWS S3.")] = ""
    store_name: Annotated[str, Option(help="Name of the new SnapshotStore; the default is main.")] = ""
    s3_secret: Annotated[str, Option(help="With s3://: Secret with accessKeyId and secretAccessKey.")] = ""
    s3_service_account: Annotated[
        str, Option(help="With s3://: service account with workload identity, in place of a Secret.")
    ] = ""
    type: Annotated[EnvironmentType, Option(help="Kind of environment.")] = "production"
    id: str = ""


class Unknown(Exception):
    """Something that the objects do not show. `option`: what answers it."""

    def __init__(self, option: str, question: str) -> None:
        super().__init__(f"{question} Give --{option}.")
        self.option, self.question = option, question


@dataclass(frozen=True)
class Document:
    """An object to create. `comments`: why, by the path of the field."""

    kind: Kind
    name: str
    spec: Object
    comments: Mapping[str, str]

    def body(self, namespace: str) -> Object:
        return self.kind.new(namespace, self.spec, name=self.name)


def propose(found: Found, given: Given) -> tuple[Document, ...]:
    """SnapshotStore (where it does not exist yet), Environment and SnapshotPolicy. Raises Unknown for what must be
    asked."""
    name = found.workload["metadata"]["name"]
    store, store_documents = _store(found, given)
    environment = _environment(found, given, name, store)
    policy = Document(
        SNAPSHOT_POLICY,
        name,
        {
            "environmentRef": {"name": name},
            "schedule": ["0 2 * * *"],
            "spreadMinutes": 30,
            "verify": {"schedule": ["0 4 * * 0"]},
        },
        {
            "schedule": "every night; the default keeps each snapshot for 30 days",
            "spreadMinutes": "a fixed delay for each environment: a fleet does not start at once",
            "verify": "each Sunday the newest snapshot is really restored, into a scratch database",
        },
    )
    documents = (*store_documents, environment, policy)
    for each in documents:
        each.kind.spec.model_validate(each.spec)
    return documents


# --- the store


def _store(found: Found, given: Given) -> tuple[str, tuple[Document, ...]]:
    """Name of the store, and its document where it is a new one."""
    if not given.store and given.store_name in found.stores:
        return given.store_name, ()
    if not given.store and not given.store_name and len(found.stores) == 1:
        return next(iter(found.stores)), ()
    if not given.store:
        known = f" It may be one of {', '.join(found.stores)}." if found.stores else ""
        raise Unknown("store", f"Where are snapshots stored: s3://BUCKET/PREFIX, or claim://CLAIM?{known}")
    scheme, _, rest = given.store.partition("://")
    if not rest:
        if given.store not in found.stores:
            raise Unknown(
                "store",
                f"There is no SnapshotStore {given.store} in namespace {found.namespace}. Which one, or"
                " s3://BUCKET/PREFIX, or claim://CLAIM?",
            )
        return given.store, ()
    place, _, below = rest.strip("/").partition("/")
    if scheme == "claim":
        if place not in found.claims:
            raise Unknown(
                "store",
                f"There is no PersistentVolumeClaim {place} in namespace {found.namespace}. Create it first, or name"
                " another store.",
            )
        claim = {"claimName": place} | ({"path": below} if below else {})
        why = {
            "claim": "a volume of this cluster: better than nothing, lost with the cluster. Prefer S3 on another site"
        }
        name = _store_name(found, given, {"claim": claim})
        return name, (Document(SNAPSHOT_STORE, name, {"claim": claim}, why),)
    if scheme != "s3":
        raise Unknown(
            "store", f"{given.store} is no store. Where are snapshots stored: s3://BUCKET/PREFIX, or claim://CLAIM?"
        )
    s3: Object = {"bucket": place}
    comments = {"s3.bucket": "it must exist, and cannot be changed later"}
    if below:
        s3["prefix"] = below
    if given.endpoint:
        s3["endpoint"] = given.endpoint
    name = _store_name(found, given, {"s3": s3})
    spec: Object = {"s3": s3}
    if name in found.stores and not given.s3_secret and not given.s3_service_account:
        comments["s3"] = "the store is there: its credentials stay"
        old = found.stores[name]
        s3 |= {key: old["s3"][key] for key in ("credentialsSecretRef",) if key in old["s3"]}
        spec |= {key: old[key] for key in ("serviceAccountName",) if key in old}
    elif given.s3_service_account:
        spec["serviceAccountName"] = given.s3_service_account
        comments["serviceAccountName"] = "its workload identity may use the bucket"
    else:
        s3["credentialsSecretRef"] = {"name": _s3_secret(found, given)}
        comments["s3.credentialsSecretRef"] = "has the keys accessKeyId and secretAccessKey"
    return name, (Document(SNAPSHOT_STORE, name, spec, comments),)


def _s3_secret(found: Found, given: Given) -> str:
    """The Secret with the keys of a bucket. Raises Unknown where it is not the only one: whose keys are meant is never
    guessed."""
    keys = {"accessKeyId", "secretAccessKey"}
    fitting = [name for name, has in found.secrets.items() if keys <= has]
    if given.s3_secret and given.s3_secret not in fitting:
        raise Unknown(
            "s3-secret",
            f"Secret {given.s3_secret} has no keys accessKeyId and secretAccessKey. Which one has the keys of the"
            f" bucket? With these keys: {', '.join(fitting) or 'none'}.",
        )
    if given.s3_secret or len(fitting) == 1:
        return given.s3_secret or fitting[0]
    if fitting:
        raise Unknown("s3-secret", f"Which Secret has the keys of the bucket: {', '.join(fitting)}?")
    name = _free("s3-credentials", found.secrets)
    raise Unknown(
        "s3-secret",
        f"No Secret of namespace {found.namespace} has the keys accessKeyId and secretAccessKey. To create one, run the"
        f" next lines. The file has a line KEY=VALUE for each of them.\n{_from_file(found, name, 's3-keys.env')}\nFor"
        " workload identity give --s3-service-account instead. Which Secret has the keys of the bucket?",
    )


def _from_file(found: Found, secret: str, file: str) -> str:
    """Commands that make a Secret of what is typed into an editor. Only the person can read the file. No value is in
    them: all users see the arguments of processes."""
    line = command(
        *("kubectl", "-n", found.namespace, "create", "secret", "generic", secret, f"--from-env-file={file}")
    )
    return f"(umask 077; ${{EDITOR:-vi}} {file})\n{line} && rm {file}"


def _store_name(found: Found, given: Given, spec: Object) -> str:
    """That of the store in the same place: a second `init` proposes what the first one has created. Else a new one.
    Raises Unknown where the given name is that of another place."""
    same = next((name for name, other in found.stores.items() if _place(other) == _place(spec)), "")
    name = given.store_name
    if name and name in found.stores and name != same:
        raise Unknown("store-name", f"SnapshotStore {name} exists, in another place. It stays as it is. Which name?")
    if name and same and name != same:
        raise Unknown(
            "store-name", f"SnapshotStore {same} is in this place already. Two stores cannot share it. Which?"
        )
    return name or same or _free("main", found.stores)


def _place(spec: Object) -> list[Object]:
    """Where a store is, without its credentials."""
    fields = ("bucket", "prefix", "endpoint", "claimName", "path")
    return [{key: (spec.get(kind) or {}).get(key) or "" for key in fields} for kind in ("s3", "claim")]


def _free(name: str, taken: Container[str]) -> str:
    """The name, or with a number where an object has it."""
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next(each for each in names if each not in taken)


# --- the Environment


def _environment(found: Found, given: Given, name: str, store: str) -> Document:
    rule = rule_of(found.workload)
    spec: Object = {"type": given.type, "storeRef": {"name": store}}
    comments = {"type": "copies of production into other environments are neutralised"}
    old = (found.existing or {}).get("spec") or {}
    ids = (
        {key: old[key] for key in ("id", "projectId") if key in old} if found.existing is not None else {"id": given.id}
    )
    spec = {**{key: value for key, value in ids.items() if value}, **spec}
    if "id" in spec:
        comments["id"] = "in every manifest: keep it when the cluster is rebuilt"
    secret, why, cluster = _database_secret(found, given)
    database: Object = {"cnpg": {"cluster": cluster}} if cluster else {"secretRef": {"name": secret}}
    if cluster:
        comments["database.cnpg"] = (
            f"{why}: Secret {secret}. Host, Secrets, CA and capacity come from the Cluster; the operator needs the"
            " chart's value rbac.cnpg: true"
        )
    else:
        comments["database.secretRef"] = why
    capacity, of = (given.capacity, "the server's volume") if given.capacity else _capacity(found, secret)
    if capacity and (given.capacity or not cluster):
        database["capacity"] = capacity
        comments["database.capacity"] = f"of {of}"
    elif not cluster:
        comments["database"] = (
            "capacity is missing: the size of the server's volume. Without it no rollback is possible (CapacityUnknown)"
        )
    spec["database"] = database
    comments |= {"": f"{rule.name}, by {'its image' if rule is not OTHER else 'its claim'}"}
    _add_files(found, given, rule, secret, spec, comments)
    beside, others = _beside(found, spec, secret)
    spec["workloads"] = [{"kind": kind, "name": each} for kind, each in ((found.kind, name), *beside)]
    comments["workloads"] = "stopped for the seconds of a switchover. The first one's image is recorded" + (
        f". Not stopped, though it uses the Secret: {', '.join(others)}. Add what writes to the database"
        if others
        else ""
    )
    if jobs := old.get("jobs"):
        spec["jobs"] = jobs
        comments["jobs"] = "as the Environment has it"
    pod = pod_of(found.workload)
    own = (first_container(found.workload).get("securityContext") or {}).get("runAsUser") or (
        pod.get("securityContext") or {}
    ).get("runAsUser")
    if "filestore" in spec and not own and not jobs:
        comments["filestore"] += (
            ". The workload names no user: the operator reads the owner of the files and shows the line for spec.jobs"
            " (JobUserUnknown)"
        )
    return Document(ENVIRONMENT, name, spec, comments)


def rule_of(workload: Object) -> Rule:
    """The first rule that the workload's first container fits."""
    container = first_container(workload)
    names = {e["name"] for e in container.get("env") or ()}
    repository = str(container.get("image", "")).partition("@")[0]
    for rule in RULES:
        if re.search(rule.image, repository) or (rule.variable and rule.variable in names):
            return rule
    return OTHER


def _database_secret(found: Found, given: Given) -> tuple[str, str, str]:
    """The Secret, why it is this one, and its CloudNativePG Cluster (empty: of none)."""
    named = set(secrets_of(found.workload))
    if given.database_secret:
        missing = _missing_keys(found, given.database_secret)
        if missing:
            raise Unknown("database-secret", f"Secret {given.database_secret} {missing}.")
        return given.database_secret, "as given", _cluster_of(found, given.database_secret)
    usable = sorted(name for name in named if not _missing_keys(found, name))
    if len(usable) == 1:
        return usable[0], "the workload takes its connection from it", _cluster_of(found, usable[0])
    apps = [f"{name}-app" for name in found.clusters if f"{name}-app" in found.secrets]
    if not usable and len(apps) == 1:
        return (
            apps[0],
            f"of the only CloudNativePG Cluster, {apps[0].removesuffix('-app')}",
            apps[0].removesuffix("-app"),
        )
    if usable or apps:
        raise Unknown("database-secret", f"Which Secret has the connection: {', '.join(usable or apps)}?")
    raise Unknown("database-secret", _no_secret(found))


def _capacity(found: Found, secret: str) -> tuple[str, str]:
    """The size of the only claim of the workload behind the Service that the Secret names, and where it is from; empty
    where the server is elsewhere."""
    host = found.database_hosts.get(secret, "").rstrip(".").removesuffix(".cluster.local").removesuffix(".svc")
    service = host.removesuffix(f".{found.namespace}")
    selector = ((found.services.get(service) or {}).get("spec") or {}).get("selector")
    if not selector:
        return "", ""
    claims = {
        claim
        for (kind, _), each in found.workloads.items()
        if kind != "CronJob"
        and selector.items() <= ((each["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
        for claim, _, _ in _claims_of(each)
    }
    if len(claims) != 1:
        return "", ""
    (claim,) = claims
    size = (((found.claims.get(claim) or {}).get("status") or {}).get("capacity") or {}).get("storage")
    return (str(size), f"claim {claim}, behind Service {service}") if size else ("", "")


def _missing_keys(found: Found, name: str) -> str:
    """Why a Secret cannot be used; empty where it can."""
    keys = found.secrets.get(name)
    if keys is None:
        return f"does not exist in namespace {found.namespace}"
    missing = [key for key in CONNECTION if key not in keys] + ([] if keys & set(USERS) else ["user"])
    return "" if "uri" in keys or not missing else f"has no key uri, and lacks {', '.join(missing)}"


def _cluster_of(found: Found, secret: str) -> str:
    name = secret.removesuffix("-app")
    return name if name in found.clusters else ""


def _no_secret(found: Found) -> str:
    """The question, with commands that make a Secret, and where the workload has its values. No value is shown: any
    may be a password, and text of a shell."""
    values, lines = variables(found.workload), []
    for key, names in _VARIABLES.items():
        name = next((each for each in names if each in values), None)
        value = values[name] if name is not None else None
        if isinstance(value, tuple):
            lines.append(f"  {key}: key {shown(value[1])} of Secret {shown(value[0])}")
        elif name is not None:
            lines.append(f"  {key}: variable {shown(name)} of the workload")
        elif key == "dbname" and _database_argument(found.workload):
            lines.append(f"  {key}: option -d or --database among the workload's arguments")
        elif key != "port":
            lines.append(f"  {key}: the workload's variables do not show it")
    secret = _free(f"{found.workload['metadata']['name']}-db", found.secrets)
    return (
        "No Secret with the keys uri, or host, dbname, user and password is used by the workload. To create one,"
        f" run\n{_from_file(found, secret, 'db.env')}\nThe file has a line KEY=VALUE for each of these keys:\n"
        + "\n".join(lines)
        + "\nWhich Secret has the connection?"
    )


def _add_files(found: Found, given: Given, rule: Rule, secret: str, spec: Object, comments: dict[str, str]) -> None:
    """The filestore and the configuration."""
    mounts = list(_claims_of(found.workload))
    folder = _folder(found, given, rule, secret) if mounts and not given.filestore_path else ""
    fits = [m for m in mounts if folder and _inside(folder, m[1])]
    mount = max(fits, key=lambda m: len(m[1])) if fits else mounts[0] if len(mounts) == 1 else None
    if mount is not None:
        claim, at, sub = mount
        path, why = given.filestore_path, "as given"
        if fits:
            path, why = _joined(sub, folder[len(at) :]), f"{folder} in the container, where {rule.name} keeps its files"
        elif not path and sub:
            path, why = sub, f"subPath of the mount {at}"
        if not path:
            raise Unknown(
                "filestore-path",
                f"Which folder of claim {claim} holds the files? The container sees the root of the claim as {at};"
                " layout Plain cannot be the root itself.",
            )
        spec["filestore"] = {"claimName": claim, "path": path.strip("/"), "layout": rule.layout}
        comments["filestore"] = why
        if rule.config and _inside(rule.config, at):
            spec["config"] = {"path": _joined(sub, rule.config[len(at) :])}
            comments["config"] = "stored with each snapshot"
    elif len(mounts) > 1:
        raise Unknown(
            "filestore-path",
            f"The workload mounts {', '.join(m[0] for m in mounts)}, and no rule says which one holds the files. Write"
            " the Environment by hand.",
        )
    volumes = pod_of(found.workload).get("volumes") or ()
    maps = [v["configMap"]["name"] for v in volumes if (v.get("configMap") or {}).get("name") in found.config_maps]
    if "config" not in spec and len(maps) == 1:
        spec["config"] = {"configMapRef": {"name": maps[0]}}
        comments["config"] = "mounted by the workload; stored with each snapshot"


def _folder(found: Found, given: Given, rule: Rule, secret: str) -> str:
    """The folder of the files, as the container sees it; empty where the rule does not know. Raises Unknown."""
    base = variables(found.workload).get(rule.folder_variable, rule.folder)
    if not rule.path or not isinstance(base, str):
        return base if isinstance(base, str) else rule.folder
    return f"{base}/{rule.path.format(database=_database_name(found, given, secret))}"


def _database_name(found: Found, given: Given, secret: str) -> str:
    """The name that is in the path. Raises Unknown."""
    if name := given.database or found.database_names.get(secret):
        return name
    values = variables(found.workload)
    for each in _VARIABLES["dbname"]:
        if isinstance(value := values.get(each), str) and value:
            return value
    if name := _database_argument(found.workload):
        return name
    raise Unknown("database", "What is the name of the database? It is in the path of the files.")


def _database_argument(workload: Object) -> str:
    """The database that the container's arguments name; empty where they name none."""
    container = first_container(workload)
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    for word, following in zip(words, (*words[1:], ""), strict=False):
        match = re.fullmatch(r"(?:-d|--database|--db_name)(?:=(.+))?", word)
        if match and (match[1] or following):
            return str(match[1] or following)
    return ""


def _beside(found: Found, spec: Object, secret: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Other workloads that use the claim, or the Secret with the same image; and the names of those that use the Secret
    with another image, which may be the database server itself: they are never stopped unasked."""
    me = (found.kind, found.workload["metadata"]["name"])
    claim = (spec.get("filestore") or {}).get("claimName")
    stopped, named = [], []
    for key, workload in sorted(found.workloads.items()):
        if key == me:
            continue
        uses_secret = secret in secrets_of(workload)
        if any(c[0] == claim for c in _claims_of(workload)) or (
            uses_secret and _repository(workload) == _repository(found.workload)
        ):
            stopped.append(key)
        elif uses_secret:
            named.append(key[1])
    return stopped, named


def _repository(workload: Object) -> str:
    return re.sub(r":[^/]*$", "", str(first_container(workload).get("image", "")).partition("@")[0])


# --- what a workload shows


def pod_of(workload: Object) -> Object:
    return dict(workload["spec"]["template"]["spec"])


def first_container(workload: Object) -> Object:
    return dict((pod_of(workload).get("containers") or [{}])[0])


def secrets_of(workload: Object) -> Iterator[str]:
    """Names of the Secrets that its containers take variables from."""
    for container in pod_of(workload).get("containers") or ():
        for each in container.get("env") or ():
            if ref := (each.get("valueFrom") or {}).get("secretKeyRef"):
                yield ref["name"]
        for each in container.get("envFrom") or ():
            if ref := each.get("secretRef"):
                yield ref["name"]


def variables(workload: Object) -> dict[str, str | tuple[str, str]]:
    """Its first container's variables: the value, or (Secret, key)."""
    values: dict[str, str | tuple[str, str]] = {}
    for each in first_container(workload).get("env") or ():
        ref = (each.get("valueFrom") or {}).get("secretKeyRef")
        values[each["name"]] = (ref["name"], ref["key"]) if ref else str(each.get("value", ""))
    return values


def _claims_of(workload: Object) -> Iterator[tuple[str, str, str]]:
    """(claim, mount path, subPath) of the first container. A StatefulSet's template gives its first pod's claim."""
    name = workload["metadata"]["name"]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"]
        for v in pod_of(workload).get("volumes") or ()
        if "persistentVolumeClaim" in v
    }
    for template in workload["spec"].get("volumeClaimTemplates") or ():
        volume = template["metadata"]["name"]
        claims[volume] = f"{volume}-{name}-0"
    for mount in first_container(workload).get("volumeMounts") or ():
        if mount["name"] in claims:
            yield claims[mount["name"]], mount["mountPath"].rstrip("/"), mount.get("subPath", "")


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _joined(*parts: str) -> str:
    return "/".join(p for p in (part.strip("/") for part in parts) if p)


# --- YAML

_PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no|on|off)$)[A-Za-z][A-Za-z0-9_./-]*|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    re.IGNORECASE,
)


def as_yaml(documents: Sequence[Document], namespace: str) -> str:
    """The documents with their comments."""
    return "---\n".join("".join(_rendered(each, namespace)) for each in documents)


def _rendered(document: Document, namespace: str) -> Iterator[str]:
    if document.comments.get(""):
        yield f"# {_line(document.comments[''])}\n"
    body = document.body(namespace)
    for key in ("apiVersion", "kind"):
        yield f"{key}: {body[key]}\n"
    yield f"metadata:\n  name: {_scalar(document.name)}\n  namespace: {_scalar(namespace)}\nspec:\n"
    yield from _fields(body["spec"], "", 1, document.comments)


def _fields(value: Object, path: str, depth: int, comments: Mapping[str, str]) -> Iterator[str]:
    indent = "  " * depth
    for key, each in value.items():
        here = f"{path}.{key}" if path else key
        if here in comments:
            yield f"{indent}# {_line(comments[here])}\n"
        if isinstance(each, dict):
            yield f"{indent}{key}:\n"
            yield from _fields(each, here, depth + 1, comments)
        elif isinstance(each, list):
            yield f"{indent}{key}:\n"
            for item in each:
                yield f"{indent}  - {_flow(item)}\n"
        else:
            yield f"{indent}{key}: {_scalar(each)}\n"


def _line(comment: str) -> str:
    """On one line: a path of a container may hold what ends a comment."""
    return " ".join(comment.split())


def _flow(item: object) -> str:
    if isinstance(item, dict):
        return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in item.items()) + "}"
    return _scalar(item)


def _scalar(value: object) -> str:
    """A scalar of YAML: as it is where no reader can take it for something else, else as JSON has it."""
    text = str(value)
    return text if isinstance(value, str) and _PLAIN.fullmatch(text) else json.dumps(value, ensure_ascii=False)
