"""Objects that the API server accepts, values for each pattern, and what to try for each CEL rule."""

from dataclasses import dataclass
from typing import Any

from ocore_crds import model
from ocore_crds.reports import extracted
from ocore_crds.resources import environment, neutralize, scheduling, snapshotpolicy, snapshotstore
from ocore_crds.schema.from_models import structural
from ocore_crds.text import age_keys, ssh_keys
from support.crds.rules import INT_OR_STRING, REMOVED, Object, changed

UUID = "0f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b"
OTHER_UUID = "1f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b"
TIME = "2026-01-31T23:59:59Z"


def recipients(count: int) -> list[str]:
    """So many different ones."""
    return [age_keys.recipient(bytes([number]) * age_keys.KEY_BYTES) for number in range(count)]


def public_keys(count: int) -> list[str]:
    """So many different ones that sign."""
    return [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'ABCDEFGHIJKLMNOP'[number] * 43}" for number in range(count)]


RECIPIENTS = recipients(2)
PUBLIC_KEYS = public_keys(2)

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _node_term() -> Object:
    return {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["1"]}]}


def _selector() -> Object:
    """Each call makes another object: a try changes one place only."""
    return {
        "matchLabels": {"key": "shop"},
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}],
    }


def _pod_affinity() -> Object:
    return {
        _REQUIRED: [{"labelSelector": _selector(), "topologyKey": "zone"}],
        _PREFERRED: [{"weight": 1, "podAffinityTerm": {"labelSelector": _selector(), "topologyKey": "zone"}}],
    }


ENVIRONMENT: Object = {
    "id": UUID,
    "projectId": UUID,
    "type": "production",
    "storeRef": {"name": "main"},
    "remoteStoreRef": {"name": "far"},
    "encryption": {"recipients": RECIPIENTS, "mode": "Current"},
    "database": {
        "secretRef": {"name": "shop-db"},
        "adminSecretRef": {"name": "shop-db-admin"},
        "tls": {
            "mode": "verify-full",
            "ca": {"secretRef": {"name": "shop-db-ca", "key": "ca.crt"}},
            "clientCertificate": {"secretRef": {"name": "shop-db-client"}},
        },
        "capacity": "100Gi",
    },
    "filestore": {
        "claimName": "shop-files",
        "path": "filestore/shop",
        "layout": "Odoo",
        "missingFiles": "Fail",
        "consistency": "Strict",
    },
    "config": {"configMapRef": {"name": "shop-conf"}},
    "allowRollbackTo": [{"namespace": "shop-staging"}],
    "workloads": [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "shop"},
        {"kind": "StatefulSet", "name": "shop-cron"},
    ],
    "scratch": {"size": "20Gi", "storageClassName": "fast"},
    "jobs": {
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
        "parallelism": 4,
        "runAsUser": 101,
        "runAsGroup": 101,
        "fsGroup": 101,
        "tolerations": [{"key": "tier", "operator": "Equal", "value": "db", "effect": "NoSchedule"}],
        "labels": {"key": "shop"},
        "annotations": {"key": "false"},
        "nodeSelector": {"key": "backup"},
        "affinity": {
            "nodeAffinity": {
                _REQUIRED: {"nodeSelectorTerms": [_node_term()]},
                _PREFERRED: [{"weight": 1, "preference": _node_term()}],
            },
            "podAffinity": _pod_affinity(),
            "podAntiAffinity": _pod_affinity(),
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": _selector(),
            }
        ],
        "priorityClassName": "backup",
        "startDeadlineSeconds": 300,
    },
    "neutralize": {
        "sql": {"configMapRef": {"name": "neutralise"}},
        "command": ["odoo", "neutralize", "-d", "$(PGDATABASE)"],
        "image": "registry.example.org/shop:1",
        "testListeners": ["mail.example.org:25"],
        "assertions": {"configMapRef": {"name": "assertions"}},
        "baseUrl": "https://staging.example.org",
    },
}
S3_STORE: Object = {
    "s3": {
        "bucket": "snapshots",
        "prefix": "team-a/shop",
        "endpoint": "https://s3.example.org:9000",
        "region": "eu-central-1",
        "pathStyle": True,
        "caBundle": {"name": "ca", "key": "ca.crt"},
        "serverSideEncryption": {"algorithm": "aws:kms", "kmsKeyId": "alias/key"},
        "lock": {"mode": "Compliance", "days": 40, "renew": True},
        "credentialsSecretRef": {"name": "s3-keys"},
        "instanceMetadata": False,
    },
    "access": "ReadWrite",
    "serviceAccountName": "mover",
    "maxConcurrentJobs": 4,
    "encryption": {"recipients": RECIPIENTS, "mode": "Current"},
    "signing": {"publicKeys": PUBLIC_KEYS, "secretRef": {"name": "signing"}},
    "import": True,
    "importHidden": False,
    "takeOver": False,
}
CLAIM_STORE: Object = {"claim": {"claimName": "backups", "path": "shop"}}
SNAPSHOT: Object = {
    "id": UUID,
    "environmentRef": {"name": "shop"},
    "trigger": "Deployment",
    "deploymentId": OTHER_UUID,
    "requestedBy": "ann@example.org",
    "timeoutSeconds": 3600,
    "pin": {"label": "before the audit"},
    "retention": "Policy",
    "deletionPolicy": "Retain",
    "verify": "Checksums",
    "filestoreMode": "Full",
    "quiesce": True,
}
SNAPSHOT_POLICY: Object = {
    "environmentRef": {"name": "sample"},
    "autoEnabled": True,
    "failurePolicy": "Block",
    "schedule": ["@hourly", "30 2 * * 1-5"],
    "timeZone": "Europe/Berlin",
    "spreadMinutes": 20,
    "startingDeadlineSeconds": 1800,
    "fullEvery": "36h",
    "suspend": False,
    "retentionDays": 30,
    "remoteRetentionDays": 365,
    "keepLast": 5,
    "keepHourly": 24,
    "keepDaily": 7,
    "keepWeekly": 5,
    "keepMonthly": 12,
    "keepYearly": 10,
    "maxPinned": 10,
    "timeoutSeconds": 3600,
    "verify": {
        "schedule": ["@weekly"],
        "restore": True,
        "server": {
            "secretRef": {"name": "tester"},
            "adminSecretRef": {"name": "tester-admin"},
            "tls": {
                "mode": "verify-full",
                "ca": {"secretRef": {"name": "tester-ca", "key": "ca.crt"}},
                "clientCertificate": {"secretRef": {"name": "tester-client"}},
            },
            "capacity": "50Gi",
        },
        "assertions": {"configMapRef": {"name": "own-queries"}},
        "timeoutSeconds": 14400,
        "identitySecretRef": {"name": "drawer"},
    },
}
ROLLBACK: Object = {
    "id": UUID,
    "snapshotRef": {"name": "shop-1", "namespace": "production"},
    "targetEnvironmentRef": {"name": "shop"},
    "sourceStoreRef": {"name": "production-read"},
    "identitySecretRef": {"name": "drawer"},
    "requestedBy": "ann@example.org",
    "undoWindowSeconds": 3600,
    "notAfter": TIME,
    "timeoutSeconds": 7200,
    "readyTimeoutSeconds": 300,
    "createSafetySnapshot": True,
    "restoreImage": "Always",
    "allowReplicationLoss": True,
    "neutralize": "Auto",
    "isolation": "Require",
    "allowNeutralizedProduction": True,
}
UNDO: Object = {"undo": {"rollbackRef": {"name": "back"}}, "undoWindowSeconds": 3600}
PREVIEW: Object = {"snapshotRef": {"name": "shop-1"}, "dryRun": True}
EXTRACT: Object = {
    "snapshotRef": {"name": "shop-1"},
    "files": {"paths": ["documents/a.pdf", "images"]},
    "target": {"claim": {"path": "restored"}},
    "identitySecretRef": {"name": "drawer"},
    "requestedBy": "ann@example.org",
    "timeoutSeconds": 3600,
    "expiresAfterSeconds": 86400,
}
ATTACHMENTS: Object = {
    "snapshotRef": {"name": "shop-1"},
    "attachments": {"model": "res.partner", "recordId": 7, "name": "contract.pdf"},
    "target": {"store": {}},
}
TABLES: Object = {
    "snapshotRef": {"name": "shop-1"},
    "tables": [
        {
            "schema": "public",
            "name": "partner",
            "where": [{"allOf": [{"column": "id", "operator": "In", "values": ["1"]}]}],
        }
    ],
    "target": {"store": {"format": "SQL"}},
}
INTO_DATABASE: Object = {
    "snapshotRef": {"name": "shop-1"},
    "tables": [{"schema": "public", "name": "partner"}],
    "target": {"database": {}},
}
TABLE_LISTING: Object = {
    "snapshotRef": {"name": "shop-1"},
    "listing": {"tables": True},
    "target": {"store": {}},
}
LISTING: Object = {"snapshotRef": {"name": "shop-1"}, "listing": {"path": "images"}, "target": {"store": {}}}
#: The CA in a ConfigMap; limits without requests, which must not be more.
TLS_ENVIRONMENT: Object = changed(
    {"spec": ENVIRONMENT},
    {
        "spec.database.tls.ca": {"configMapRef": {"name": "ca", "key": "ca.crt"}},
        "spec.config": {"path": "etc/odoo.conf"},
        "spec.jobs.resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
    },
)["spec"]
#: A CloudNativePG Cluster instead of the Secret, which says what TLS needs.
CNPG_ENVIRONMENT: Object = changed(
    {"spec": ENVIRONMENT},
    {
        "spec.database.secretRef": REMOVED,
        "spec.database.tls": REMOVED,
        "spec.database.cnpg": {"cluster": "pg", "database": "shop"},
    },
)["spec"]
TLS_POLICY: Object = changed(
    {"spec": SNAPSHOT_POLICY}, {"spec.verify.server.tls.ca": {"configMapRef": {"name": "ca", "key": "ca.crt"}}}
)["spec"]
#: Kind → complete specs; together they have every field.
SPECS: dict[str, tuple[Object, ...]] = {
    "Environment": (ENVIRONMENT, TLS_ENVIRONMENT, CNPG_ENVIRONMENT),
    "SnapshotStore": (S3_STORE, CLAIM_STORE),
    "Snapshot": (SNAPSHOT,),
    "SnapshotPolicy": (SNAPSHOT_POLICY, TLS_POLICY),
    "Rollback": (ROLLBACK, UNDO, PREVIEW),
    "Extract": (EXTRACT, LISTING, ATTACHMENTS, TABLES, INTO_DATABASE, TABLE_LISTING),
}
#: Kind → a spec with nothing that may be left out.
MINIMAL: dict[str, tuple[Object, ...]] = {
    "Environment": (
        {
            "type": "staging",
            "storeRef": {"name": "main"},
            "database": {"secretRef": {"name": "shop-db"}},
        },
        {
            "type": "staging",
            "storeRef": {"name": "main"},
            "database": {
                "secretRef": {"name": "shop-db"},
                "tls": {
                    "ca": {"secretRef": {"name": "shop-db-ca"}},
                    "clientCertificate": {"secretRef": {"name": "shop-db-client"}},
                },
            },
        },
        {
            "type": "staging",
            "storeRef": {"name": "main"},
            "database": {"secretRef": {"name": "shop-db"}, "tls": {"ca": {"configMapRef": {"name": "ca"}}}},
        },
        {"type": "staging", "storeRef": {"name": "main"}, "database": {"cnpg": {"cluster": "pg"}}},
        {
            "type": "staging",
            "storeRef": {"name": "main"},
            "filestore": {"claimName": "shop-files", "path": "files", "layout": "Plain"},
            "workloads": [{"name": "shop"}],
            "scratch": {},
            "jobs": {"tolerations": [{"key": "tier"}]},
        },
    ),
    "SnapshotStore": (
        {"s3": {"bucket": "snapshots", "caBundle": {"name": "ca"}, "serverSideEncryption": {}, "lock": {"days": 1}}},
        {"claim": {"claimName": "backups"}},
    ),
    "Snapshot": ({"environmentRef": {"name": "shop"}, "pin": {}},),
    "SnapshotPolicy": (
        {"environmentRef": {"name": "sample"}},
        {
            "environmentRef": {"name": "sample"},
            "verify": {"schedule": ["@weekly"], "server": {"secretRef": {"name": "tester"}}},
        },
        {
            "environmentRef": {"name": "sample"},
            "verify": {
                "schedule": ["@weekly"],
                "server": {
                    "secretRef": {"name": "tester"},
                    "tls": {
                        "ca": {"secretRef": {"name": "tester-ca"}},
                        "clientCertificate": {"secretRef": {"name": "tester-client"}},
                    },
                },
            },
        },
        {
            "environmentRef": {"name": "sample"},
            "verify": {
                "schedule": ["@weekly"],
                "server": {"secretRef": {"name": "tester"}, "tls": {"ca": {"configMapRef": {"name": "tester-ca"}}}},
            },
        },
    ),
    "Rollback": ({"snapshotRef": {"name": "shop-1"}}, {"undo": {"rollbackRef": {"name": "back"}}}),
    "Extract": (
        {"snapshotRef": {"name": "shop-1"}, "files": {"paths": ["a"]}, "target": {"store": {}}},
        {"snapshotRef": {"name": "shop-1"}, "listing": {}, "target": {"store": {}}},
    ),
}
_TLS = "spec.database.tls"
_CNPG: Object = {"spec.database.cnpg": {"cluster": "pg"}}
#: What must change along with an enum's value (None: the default), or another rule refuses it.
COMPANIONS: dict[tuple[str, str | None], Object] = {
    ("spec.s3.serverSideEncryption.algorithm", value): {"spec.s3.serverSideEncryption.kmsKeyId": REMOVED}
    for value in ("AES256", None)
} | {
    ("spec.access", "ReadOnly"): {"spec.s3.lock": REMOVED},
    ("spec.filestore.consistency", "BestEffort"): {"spec.filestore.layout": "Plain"},
    ("spec.jobs.tolerations[].operator", "Exists"): {"spec.jobs.tolerations[].value": REMOVED},
}
_COMPARED = "spec.tables[].where[].allOf[]"
COMPANIONS |= {(f"{_COMPARED}.operator", value): {f"{_COMPARED}.values": REMOVED} for value in ("IsNull", "IsNotNull")}
COMPANIONS[f"{_COMPARED}.values", None] = {f"{_COMPARED}.operator": "IsNull"}
_NODE = f"spec.jobs.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[].matchExpressions[]"
_PREFERRED_NODE = f"spec.jobs.affinity.nodeAffinity.{_PREFERRED}[].preference.matchExpressions[]"
_POD_TERMS = [
    f"spec.jobs.affinity.{kind}.{which}"
    for kind in ("podAffinity", "podAntiAffinity")
    for which in (f"{_REQUIRED}[]", f"{_PREFERRED}[].podAffinityTerm")
]
_LABEL_REQUIREMENTS = [
    f"{path}.labelSelector.matchExpressions[]" for path in (*_POD_TERMS, "spec.jobs.topologySpreadConstraints[]")
]
COMPANIONS |= {
    (f"{path}.operator", value): {f"{path}.values": REMOVED}
    for path in (_NODE, _PREFERRED_NODE, *_LABEL_REQUIREMENTS)
    for value in ("Exists", "DoesNotExist")
}
for _tls in (_TLS, "spec.verify.server.tls"):
    COMPANIONS[f"{_tls}.mode", "disable"] = {f"{_tls}.ca": REMOVED, f"{_tls}.clientCertificate": REMOVED}
    COMPANIONS[f"{_tls}.mode", "require"] = {f"{_tls}.ca": REMOVED}


@dataclass(frozen=True)
class Pattern:
    """Values that a pattern takes and refuses, and how to make a long one."""

    good: tuple[str, ...]
    bad: tuple[str, ...]
    prefix: str = ""
    fill: str = "a"
    suffix: str = ""

    def long(self, length: int) -> str:
        """A good value of that many characters."""
        return self.prefix + self.fill * (length - len(self.prefix) - len(self.suffix)) + self.suffix


def _pattern(of: type[model.Model], field: str) -> str:
    return str(structural(of)["properties"][field]["pattern"])


_PATHS = Pattern(
    ("", "a", "a/b", ".hidden/x.y", "a=b"), ("/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a b", "a\n")
)
_FILE_PATHS = ("a", "a/b c/ü", ".a", "..a", "...", "a/.../b")
#: Folders of a claim that an Extract may not make: an application may load programs from them.
NO_NEW_FOLDERS = (
    *("", "addons", "addons/x", "back", "Restored", "xrestored-a", ".ocore", ".ocore/restored", "../restored"),
    *("restored/a", "restored-a/b", "restored-a/..", "restored/", "/restored", "restored\n", "restored-a\n"),
    *("restored.py", "restored-1.dist-info", "restored.pth", "restored_a", "restoreda", "restored-\u00e4"),
)
_HOSTILE_PATHS = ("..", ".", "/a", "a/", "a//b", "a/../b", "../a", "a/.", "a\nb", "a\tb", "a\u0000b")
PATTERNS: dict[str, Pattern] = {
    age_keys.RECIPIENT_PATTERN: Pattern(
        tuple(recipients(4)[2:]),  # a list of them is a set, and has the others
        ("", "age1", RECIPIENTS[0].upper(), RECIPIENTS[0][:-1] + "b", f"{RECIPIENTS[0][:-1]}\n"),
        suffix=RECIPIENTS[0],
    ),
    ssh_keys.PUBLIC_KEY_PATTERN: Pattern(
        (public_keys(3)[2], f"{public_keys(4)[3]} jobs@shop"),
        ("", "ssh-ed25519", PUBLIC_KEYS[0][:-1], PUBLIC_KEYS[0].replace("ed25519", "rsa"), f"{PUBLIC_KEYS[0]} a\n"),
        prefix=f"{PUBLIC_KEYS[0]} ",
    ),
    "^[0-9a-f]{64}$": Pattern(("0" * 64,), ("G" * 64, "A" * 64)),
    model.UUID_PATTERN: Pattern((UUID,), (UUID.upper(), UUID.replace("-", "0"), f"{UUID[:-1]}g"), suffix=UUID),
    model.NAMESPACE_PATTERN: Pattern(("a", "a-b", "0"), ("A", "-a", "a-", "a.b", "a/b", "a\n")),
    model.NAME_PATTERN: Pattern(("a", "a-b.c", "0"), ("A", "-a", "a-", "a_b", "a/b", "a\n")),
    model.TIME_PATTERN: Pattern(
        (TIME, "2026-01-31T23:59:59.123456Z"),
        (
            *("2026-01-31", "2026-01-31T23:59:59+01:00", "2026-01-31 23:59:59Z", "2026-13-01T00:00:00Z"),
            *("0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2026-01-31T23:59:60Z"),
        ),
        prefix="2026-01-31T23:59:59.",
        fill="0",
        suffix="Z",
    ),
    _pattern(environment.Scratch, "size"): Pattern(
        ("1", "20Gi", "1.5G", "100k"), ("", "-1", "1Kib", "Gi", "1 Gi", "1e3", "500m"), fill="1"
    ),
    _pattern(scheduling.ResourceList, "cpu"): Pattern(
        ("1", "0.5", "500m"), ("", "-1", "1Gi", "m", "1.m", "half"), fill="1"
    ),
    scheduling.KEY_PATTERN: Pattern(
        ("a", "example.org/team", "A_b.c"),
        ("", "/a", "a/", "-a", "a-", "a b", "Example.org/a", "a/b/c", "ä"),
        prefix="a" * 253 + "/",
    ),
    scheduling.VALUE_PATTERN: Pattern(("", "a", "A_b.c", "1"), ("-a", "a-", "a b", "a/b", "ä")),
    _pattern(environment.Workload, "apiVersion"): Pattern(
        ("apps/v1", "argoproj.io/v1alpha1"), ("apps", "Apps/v1", "apps/", "//v1", "apps/v1/v1", "a b/v1"), suffix="/v1"
    ),
    _pattern(environment.Workload, "kind"): Pattern(("Rollout", "A1"), ("rollout", "1A", "A-b", "A b"), prefix="A"),
    _pattern(environment.Filestore, "path"): _PATHS,
    _pattern(snapshotstore.S3, "prefix"): _PATHS,
    _pattern(snapshotstore.S3, "bucket"): Pattern(("abc", "a-b.c", "0a0"), ("Abc", "-ab", "ab-", "a_b", "a/b")),
    _pattern(snapshotstore.S3, "endpoint"): Pattern(
        ("http://s3", "https://s3.example.org:9000", "https://[::1]:9000/"),
        ("s3.example.org", "ftp://s3", "https://", "https://s3/path", "https://s3?x=1"),
        prefix="https://",
    ),
    _pattern(neutralize.Neutralize, "baseUrl"): Pattern(
        ("https://staging.example.org", "http://localhost:8069"),
        ("staging.example.org", "https://", "https://a b", "ftp://x"),
        prefix="https://",
    ),
    str(structural(neutralize.Neutralize)["properties"]["testListeners"]["items"]["pattern"]): Pattern(
        ("mail.example.org:25", "10.0.0.1:443", "a:1"),
        ("mail.example.org", ":25", "mail:", "mail:x", "a b:25", "-a:25"),
        fill="a",
        suffix=":25",
    ),
    snapshotpolicy.AGE_PATTERN: Pattern(
        ("7d", "36h", "2w", "99999d"), ("", "0d", "7", "d", "1.5d", "-1d", "7 d", "7m"), fill="9", suffix="d"
    ),
    r"^[A-Za-z_][A-Za-z0-9_.]*$": Pattern(("res.partner", "a", "_x9"), ("", "9a", "a-b", "a b", "a/b", "a'b")),
    r"^[^\x00-\x1f\x7f]+$": Pattern(("a", "a b/ü.pdf"), ("", "a\nb", "a\u0000b", "a\u007fb")),
    r"^[^\x00]*$": Pattern(("", "1", "a\n\tb"), ("a\u0000b",)),
    extracted.FILE_PATH_PATTERN: Pattern(_FILE_PATHS, _HOSTILE_PATHS),
    extracted.FILE_PATH_OR_ROOT_PATTERN: Pattern(("", *_FILE_PATHS), _HOSTILE_PATHS),
    extracted.NEW_FOLDER_PATTERN: Pattern(
        ("restored", "restored-", "restored-contract", "restored-2026_01"), NO_NEW_FOLDERS, prefix="restored-", fill="a"
    ),
    r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$": Pattern(("A", "JobFailed"), ("", "1A", "Job Failed", "Job-Failed")),
}
FREE = Pattern(("", "x"), ())


def sample(schema: Object) -> Any:
    """A value that the schema takes, with every field."""
    if "enum" in schema:
        return schema["enum"][0]
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]].good[0] or "a"
    if schema.get(INT_OR_STRING):
        return "1"
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return {"key": sample(schema["additionalProperties"])}
        case "object":
            return {name: sample(child) for name, child in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema["items"])]
        case "integer":
            return max(1, schema.get("minimum", 1))
        case "number":
            return 1.5
        case "boolean":
            return True
    return "x."  # as a sentence ends: messages are stored so


@dataclass(frozen=True)
class Cel:
    """What a CEL rule takes and refuses: changes to a complete object, on its creation or (with `update`) to a stored
    one."""

    good: tuple[Object, ...]
    bad: tuple[Object, ...]
    update: bool = False
    spec: int = 0


def _fixed(field: str, other: Any, *, optional: bool = False, keep: Object | None = None, spec: int = 0) -> Cel:
    """An immutable field: what may change beside it, and that it can be neither changed nor removed."""
    bad: tuple[Object, ...] = ({field: other},)
    if optional:
        bad += ({field: REMOVED},)
    return Cel(({}, keep or {}), bad, update=True, spec=spec)


def _immutable(field: str) -> str:
    return f"{field} cannot be changed; create a new object instead"


_NEW_CLAIM = {"spec.s3": REMOVED, "spec.claim": CLAIM_STORE["claim"]}
_AS_UNDO: Object = {
    "spec.snapshotRef": REMOVED,
    "spec.targetEnvironmentRef": REMOVED,
    "spec.sourceStoreRef": REMOVED,
    "spec.identitySecretRef": REMOVED,
    "spec.createSafetySnapshot": REMOVED,
    "spec.restoreImage": REMOVED,
    "spec.undo": UNDO["undo"],
}
_NAME: dict[str, Cel] = {
    "name too long: choose one of at most 200 characters": Cel(
        ({"metadata.name": "a" * 200},), ({"metadata.name": "a" * 201}, {"metadata.name": "a" * 253})
    )
}


#: Kind → path → message → what to try.
def _tls_rules(tls: str) -> dict[str, dict[str, Cel]]:
    """Of TLS to a database's server, at this path."""
    return {
        tls: {
            "give mode, ca or clientCertificate": Cel(
                (
                    {tls: {"mode": "require"}},
                    {tls: {"ca": {"secretRef": {"name": "ca"}}}},
                    {tls: {"clientCertificate": {"secretRef": {"name": "client"}}}},
                ),
                ({tls: {}},),
            ),
            "mode verify-ca and verify-full need ca": Cel(
                ({}, {f"{tls}.mode": "verify-ca"}, {f"{tls}.mode": "require", f"{tls}.ca": REMOVED}),
                ({f"{tls}.ca": REMOVED}, {f"{tls}.mode": "verify-ca", f"{tls}.ca": REMOVED}),
            ),
            "ca goes with mode verify-ca or verify-full, or without mode": Cel(
                ({f"{tls}.mode": "verify-ca"}, {f"{tls}.mode": REMOVED}),
                (
                    {f"{tls}.mode": "require"},
                    {f"{tls}.mode": "disable", f"{tls}.clientCertificate": REMOVED},
                ),
            ),
            "clientCertificate needs TLS: choose another mode than disable": Cel(
                ({f"{tls}.mode": "require", f"{tls}.ca": REMOVED}, {tls: {"mode": "disable"}}),
                ({f"{tls}.mode": "disable", f"{tls}.ca": REMOVED},),
            ),
        },
        f"{tls}.ca": {
            "give exactly one of secretRef, configMapRef": Cel(
                ({}, {f"{tls}.ca": {"configMapRef": {"name": "ca"}}}),
                ({f"{tls}.ca": {}}, {f"{tls}.ca.configMapRef": {"name": "ca"}}),
            )
        },
    }


def _map_rules(field: str) -> dict[str, Cel]:
    """Of labels or annotations of Jobs."""
    path = f"spec.jobs.{field}"
    reserved = (
        *("ocore.dev/uid", "ocore.dev/signal", "batch.kubernetes.io/job-name", "controller-uid", "job-name"),
        "app.kubernetes.io/managed-by",
    )
    return {
        f"{field} cannot have keys of ocore.dev/, of the Job controller (batch.kubernetes.io/, controller-uid,"
        " job-name) and app.kubernetes.io/managed-by: remove the key": Cel(
            (
                {path: {}},
                {path: {"ocore.dev": "a", "dev/ocore.dev": "a", "kubernetes.io/job-name": "a", "job": "a"}},
                {path: {"app.kubernetes.io/name": "a", "example.org/job-name": "a"}},
            ),
            tuple({path: {"team": "shop", key: "a"}} for key in reserved),
        ),
        f"a key of {field} is not valid: write a name of at most 63 letters, digits, -, _ and ., with a DNS name"
        " and / before it or without": Cel(
            ({path: {"a": "a", "example.org/A_b.c": "a", "a" * 63: "a"}},),
            tuple({path: {key: "a"}} for key in ("", "/a", "a/", "-a", "a b", "Example.org/a", "a/b/c", "a" * 64)),
        ),
    }


def _requirement(path: str, *, numbers: bool) -> dict[str, dict[str, Cel]]:
    """Of a requirement on labels; `numbers`: with Gt and Lt."""
    with_values, without = "In, NotIn, Gt and Lt" if numbers else "In and NotIn", "Exists and DoesNotExist"
    found = {
        f"give values with {with_values}, and none with {without}": Cel(
            ({}, {f"{path}.operator": "Exists", f"{path}.values": []}),
            ({f"{path}.values": REMOVED}, {f"{path}.values": []}, {f"{path}.operator": "Exists"}),
        )
    }
    if numbers:
        found["Gt and Lt take exactly one value"] = Cel(
            ({f"{path}.operator": "Gt"}, {f"{path}.values": ["1", "2"]}),
            ({f"{path}.operator": "Lt", f"{path}.values": ["1", "2"]},),
        )
    return {path: found}


_RESOURCES = "spec.jobs.resources"
JOBS: dict[str, dict[str, Cel]] = {
    "spec.jobs": {**_map_rules("labels"), **_map_rules("annotations")},
    _RESOURCES: {
        f"requests.{name} is more than limits.{name}: decrease the request, or increase the limit": Cel(
            (
                {_RESOURCES: {"requests": {name: same}, "limits": {name: same}}},
                {_RESOURCES: {"requests": {name: more}, "limits": {}}},
                {_RESOURCES: {"requests": {name: 1}, "limits": {name: "2"}}},
            ),
            ({_RESOURCES: {"requests": {name: more}, "limits": {name: same}}},),
        )
        for name, same, more in (("cpu", "1500m", "1.6"), ("memory", "1Gi", "1.1Gi"))
    },
    "spec.jobs.tolerations[]": {
        "a toleration without key tolerates every taint: it needs operator Exists": Cel(
            ({"spec.jobs.tolerations": [{"operator": "Exists"}]}, {"spec.jobs.tolerations": [{"key": "a"}]}),
            ({"spec.jobs.tolerations": [{}]}, {"spec.jobs.tolerations": [{"key": "", "operator": "Equal"}]}),
        ),
        "a toleration with operator Exists has no value": Cel(
            ({"spec.jobs.tolerations": [{"key": "a", "operator": "Exists"}]},),
            ({"spec.jobs.tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},),
        ),
    },
    **_requirement(_NODE, numbers=True),
    **_requirement(_PREFERRED_NODE, numbers=True),
}
for _path in _LABEL_REQUIREMENTS:
    JOBS |= _requirement(_path, numbers=False)

CEL: dict[str, dict[str, dict[str, Cel]]] = {
    "Environment": {
        "": _NAME,
        "spec.workloads[]": {
            "a DaemonSet cannot be scaled to zero: run its pods as a Deployment, or leave it out. The switchover"
            " refuses its connections and ends its sessions in any case": Cel(
                (
                    {"spec.workloads": [{"apiVersion": "apps.example.org/v1", "kind": "DaemonSet", "name": "shop"}]},
                    {"spec.workloads": [{"kind": "CronJob", "name": "shop"}]},
                ),
                (
                    {"spec.workloads": [{"kind": "DaemonSet", "name": "shop"}]},
                    {"spec.workloads": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "shop"}]},
                ),
            ),
            "give apiVersion, for example argoproj.io/v1alpha1: only Deployment, StatefulSet and CronJob need"
            " none": Cel(
                (
                    {"spec.workloads": [{"name": "shop"}]},
                    {"spec.workloads": [{"kind": k, "name": "shop"} for k in ("Deployment", "StatefulSet", "CronJob")]},
                    {"spec.workloads": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "shop"}]},
                ),
                ({"spec.workloads": [{"kind": "Rollout", "name": "shop"}]},),
            ),
        },
        "spec": {
            _immutable("id"): _fixed("spec.id", OTHER_UUID, optional=True, keep={"spec.type": "staging"}),
            _immutable("projectId"): _fixed("spec.projectId", OTHER_UUID, optional=True, keep={"spec.type": "staging"}),
            "config.path is on the filestore's claim: give filestore, or config.configMapRef": Cel(
                (
                    {"spec.config": {"path": "odoo.conf"}},
                    {"spec.filestore": REMOVED},
                    {"spec.config": REMOVED, "spec.filestore": REMOVED},
                ),
                ({"spec.config": {"path": "odoo.conf"}, "spec.filestore": REMOVED},),
            ),
            "give a database, a filestore or both": Cel(
                (
                    {"spec.filestore": REMOVED},
                    {"spec.database": REMOVED, "spec.filestore.layout": "Plain"},
                ),
                ({"spec.database": REMOVED, "spec.filestore": REMOVED},),
            ),
            "remoteStoreRef must name another SnapshotStore than storeRef": Cel(
                (
                    {"spec.storeRef.name": "near", "spec.remoteStoreRef": {"name": "far"}},
                    {"spec.remoteStoreRef": REMOVED},
                ),
                ({"spec.storeRef.name": "near", "spec.remoteStoreRef": {"name": "near"}},),
            ),
            "layout Odoo needs the database that names the files": Cel(
                ({"spec.database": REMOVED, "spec.filestore.layout": "Plain"}, {"spec.filestore.layout": "Plain"}),
                ({"spec.database": REMOVED},),
            ),
        },
        **JOBS,
        **_tls_rules("spec.database.tls"),
        "spec.database": {
            "give exactly one of secretRef, cnpg": Cel(
                ({}, {"spec.database.secretRef": REMOVED, "spec.database.tls": REMOVED, **_CNPG}),
                ({"spec.database.secretRef": REMOVED}, {"spec.database.tls": REMOVED, **_CNPG}),
            ),
            "tls goes with secretRef: with cnpg the Jobs trust the Cluster's CA and check the host name": Cel(
                ({"spec.database.secretRef": REMOVED, "spec.database.tls": REMOVED, **_CNPG},),
                ({"spec.database.secretRef": REMOVED, **_CNPG},),
            ),
        },
        "spec.config": {
            "give exactly one of configMapRef, path": Cel(
                ({}, {"spec.config": {"path": "odoo.conf"}}),
                ({"spec.config": {}}, {"spec.config.path": "odoo.conf"}),
            ),
            "path cannot be in .ocore: that folder belongs to ocore-snapshots": Cel(
                ({"spec.config": {"path": ".ocorerc"}}, {"spec.config": {"path": "etc/.ocore"}}),
                ({"spec.config": {"path": ".ocore"}}, {"spec.config": {"path": ".ocore/odoo.conf"}}),
            ),
        },
        "spec.filestore": {
            "consistency BestEffort needs layout Plain: the files of layout Odoo never change": Cel(
                (
                    {"spec.filestore.consistency": "BestEffort", "spec.filestore.layout": "Plain"},
                    {"spec.filestore.consistency": "Strict", "spec.filestore.layout": "Plain"},
                    {"spec.filestore.consistency": REMOVED},
                ),
                (
                    {"spec.filestore.consistency": "BestEffort"},
                    {"spec.filestore.consistency": "BestEffort", "spec.filestore.layout": REMOVED},
                ),
            ),
            "layout Plain needs a path below the claim's root": Cel(
                ({"spec.filestore.layout": "Plain"}, {"spec.filestore.path": ""}),
                (
                    {"spec.filestore.layout": "Plain", "spec.filestore.path": ""},
                    {"spec.filestore.layout": "Plain", "spec.filestore.path": REMOVED},
                ),
            ),
        },
    },
    "SnapshotStore": {
        "": _NAME,
        "spec": {
            "give exactly one of s3, claim": Cel(
                ({}, _NEW_CLAIM), ({"spec.s3": REMOVED}, {"spec.claim": CLAIM_STORE["claim"]})
            ),
            "takeOver goes with import": Cel(
                ({}, {"spec.import": True, "spec.takeOver": True}, {"spec.import": True}),
                ({"spec.takeOver": True},),
                spec=1,
            ),
            "importHidden goes with import": Cel(
                ({}, {"spec.importHidden": True}),
                (
                    {"spec.importHidden": True, "spec.import": False},
                    {"spec.importHidden": True, "spec.import": REMOVED},
                ),
            ),
            "importHidden needs s3: a claim has no versions": Cel(
                ({}, _NEW_CLAIM), ({**_NEW_CLAIM, "spec.importHidden": True},)
            ),
            "takeOver needs access ReadWrite": Cel(
                ({}, {"spec.takeOver": True}),
                ({"spec.takeOver": True, "spec.access": "ReadOnly", "spec.s3.lock": REMOVED},),
            ),
            "lock needs access ReadWrite": Cel(
                ({}, {"spec.access": "ReadOnly", "spec.s3.lock": REMOVED}),
                ({"spec.access": "ReadOnly"},),
            ),
            _immutable("claim"): Cel(
                ({}, {"spec.maxConcurrentJobs": 1}),
                ({"spec.claim.claimName": "other"}, {"spec.claim.path": "other"}),
                update=True,
                spec=1,
            ),
            "the kind of store cannot be changed; create a new SnapshotStore": Cel(
                ({"spec.s3.endpoint": "https://moved.example.org"},), (_NEW_CLAIM,), update=True
            ),
        },
        "spec.s3": {
            _immutable("bucket"): _fixed("spec.s3.bucket", "other", keep={"spec.s3.region": "us-west-1"}),
            _immutable("prefix"): _fixed("spec.s3.prefix", "other", optional=True, keep={"spec.s3.region": "eu"}),
            "instanceMetadata goes without credentialsSecretRef": Cel(
                ({}, {"spec.s3.instanceMetadata": True, "spec.s3.credentialsSecretRef": REMOVED}),
                ({"spec.s3.instanceMetadata": True},),
            ),
        },
        "spec.s3.serverSideEncryption": {
            "kmsKeyId goes with algorithm aws:kms": Cel(
                (
                    {},
                    {"spec.s3.serverSideEncryption": {"algorithm": "AES256"}},
                    {"spec.s3.serverSideEncryption": {"algorithm": "aws:kms"}},
                ),
                (
                    {"spec.s3.serverSideEncryption.algorithm": "AES256"},
                    {"spec.s3.serverSideEncryption": {"kmsKeyId": "k"}},
                ),
            )
        },
    },
    "Snapshot": {
        "": _NAME,
        "spec": {
            _immutable("id"): _fixed("spec.id", OTHER_UUID, optional=True, keep={"spec.pin": REMOVED}),
            _immutable("environmentRef"): _fixed("spec.environmentRef.name", "other", keep={"spec.pin.label": "x"}),
            _immutable("trigger"): _fixed("spec.trigger", "Manual", optional=True, keep={"spec.verify": "Full"}),
            _immutable("deploymentId"): _fixed(
                "spec.deploymentId", UUID, optional=True, keep={"spec.deletionPolicy": "Delete"}
            ),
            _immutable("requestedBy"): _fixed("spec.requestedBy", "bob", optional=True),
            _immutable("timeoutSeconds"): _fixed("spec.timeoutSeconds", 60, keep={"spec.pin": {}}),
            _immutable("filestoreMode"): _fixed(
                "spec.filestoreMode", "Differential", optional=True, keep={"spec.pin": {}}
            ),
            _immutable("quiesce"): _fixed("spec.quiesce", False, optional=True, keep={"spec.pin": {}}),
            "verify cannot go back from Full": Cel(
                ({"spec.pin": REMOVED},), ({"spec.verify": "Checksums"}, {"spec.verify": REMOVED}), update=True, spec=1
            ),
        },
    },
    "SnapshotPolicy": {
        "": (
            _NAME
            | {
                (
                    "the policy of an environment has the environment's name;"
                    " set metadata.name to spec.environmentRef.name"
                ): Cel(({},), ({"spec.environmentRef.name": "other"},))
            }
        ),
        "spec": {
            _immutable("environmentRef"): _fixed("spec.environmentRef.name", "other", keep={"spec.suspend": True}),
        },
        **_tls_rules("spec.verify.server.tls"),
    },
    "Rollback": {
        "": _NAME,
        "spec": {
            "a Rollback cannot be changed; create a new one": Cel(
                ({}, {"metadata.labels": {"a": "b"}}),
                (
                    {"spec.snapshotRef.name": "other"},
                    {"spec.snapshotRef.namespace": "other"},
                    {"spec.targetEnvironmentRef.name": "other"},
                    {"spec.sourceStoreRef": REMOVED},
                    {"spec.notAfter": REMOVED},
                    {"spec.undoWindowSeconds": 0},
                    {"spec.requestedBy": ""},
                    {"spec.createSafetySnapshot": False},
                    {"spec.restoreImage": "WaitForGit"},
                    {"spec.allowReplicationLoss": False},
                    {"spec.neutralize": "Never"},
                    {"spec.isolation": "BestEffort"},
                ),
                update=True,
            ),
            "an undo restores nothing, so neutralize does not apply to it": Cel(
                ({"spec.neutralize": "Always"}, _AS_UNDO),
                ({**_AS_UNDO, "spec.neutralize": "Always"},),
            ),
            "give exactly one of snapshotRef, undo": Cel(
                ({}, _AS_UNDO),
                (
                    {**_AS_UNDO, "spec.undo": REMOVED},
                    {"spec.undo": UNDO["undo"]},
                ),
            ),
            "targetEnvironmentRef goes with snapshotRef": Cel(
                ({}, _AS_UNDO), ({**_AS_UNDO, "spec.targetEnvironmentRef": {"name": "shop"}},)
            ),
            "sourceStoreRef goes with snapshotRef": Cel(
                ({}, {"spec.sourceStoreRef": REMOVED}, _AS_UNDO),
                ({**_AS_UNDO, "spec.sourceStoreRef": {"name": "production-read"}},),
            ),
            "identitySecretRef goes with snapshotRef: an undo reads no snapshot": Cel(
                ({}, {"spec.identitySecretRef": REMOVED}, _AS_UNDO),
                ({**_AS_UNDO, "spec.identitySecretRef": {"name": "drawer"}},),
            ),
            "snapshotRef.namespace needs targetEnvironmentRef": Cel(
                ({}, {"spec.snapshotRef.namespace": REMOVED, "spec.targetEnvironmentRef": REMOVED}),
                ({"spec.targetEnvironmentRef": REMOVED},),
            ),
            "dryRun needs snapshotRef: an undo restores nothing, so it has no preview": Cel(
                (
                    {},
                    {"spec.dryRun": True, "spec.id": REMOVED},
                    {**_AS_UNDO, "spec.dryRun": REMOVED},
                ),
                ({**_AS_UNDO, "spec.dryRun": True, "spec.id": REMOVED},),
            ),
            "a preview has no id: the id belongs to the rollback that runs; remove id or dryRun": Cel(
                ({}, {"spec.dryRun": True, "spec.id": REMOVED}, {"spec.dryRun": False}),
                ({"spec.dryRun": True},),
            ),
            "createSafetySnapshot needs snapshotRef; an undo keeps what is live now for its own undo window": Cel(
                ({}, _AS_UNDO),
                ({**_AS_UNDO, "spec.createSafetySnapshot": True},),
            ),
            "restoreImage needs snapshotRef; an undo puts back the images that the undone rollback replaced": Cel(
                ({}, _AS_UNDO, {"spec.restoreImage": "WaitForGit"}),
                ({**_AS_UNDO, "spec.restoreImage": "Always"}, {**_AS_UNDO, "spec.restoreImage": "WaitForGit"}),
            ),
        },
    },
    "Extract": {
        "": _NAME,
        "spec.target.claim": {
            f"path is {extracted.NEW_FOLDER_RULE}": Cel(
                ({}, {"spec.target.claim.path": "restored-2026_01"}),
                tuple({"spec.target.claim.path": name} for name in NO_NEW_FOLDERS),
            ),
        },
        "spec": {
            "an Extract cannot be changed; create a new one": Cel(
                ({}, {"metadata.labels": {"a": "b"}}),
                (
                    {"spec.snapshotRef.name": "other"},
                    {"spec.files.paths": ["other"]},
                    {"spec.target.claim.path": "restored-other"},
                    {"spec.expiresAfterSeconds": 60},
                ),
                update=True,
            ),
            "only tables go into target.database": Cel(
                ({}, {"spec.files": REMOVED, "spec.tables": [{"name": "a"}], "spec.target": {"database": {}}}),
                ({"spec.target": {"database": {}}},),
            ),
            "tables go into target.store or target.database": Cel(
                ({}, {"spec.files": REMOVED, "spec.tables": [{"name": "a"}], "spec.target": {"store": {}}}),
                ({"spec.files": REMOVED, "spec.tables": [{"name": "a"}]},),
            ),
            "target.store.format goes with tables": Cel(
                (
                    {"spec.target": {"store": {}}},
                    {
                        "spec.files": REMOVED,
                        "spec.tables": [{"name": "a"}],
                        "spec.target": {"store": {"format": "CSV"}},
                    },
                ),
                ({"spec.target": {"store": {"format": "CSV"}}},),
            ),
            "give exactly one of files, attachments, tables, listing": Cel(
                ({}, {"spec.files": REMOVED, "spec.listing": {"path": "a"}, "spec.target": {"store": {}}}),
                ({"spec.files": REMOVED}, {"spec.listing": {"path": "a"}, "spec.target": {"store": {}}}),
            ),
            "a listing goes into target.store": Cel(
                ({}, {"spec.files": REMOVED, "spec.listing": {"path": "a"}, "spec.target": {"store": {}}}),
                ({"spec.files": REMOVED, "spec.listing": {"path": "a"}},),
            ),
        },
        _COMPARED: {
            "values: one or more with In and NotIn, none with IsNull and IsNotNull, else exactly one": Cel(
                (
                    {f"{_COMPARED}.values": ["1", "2"]},
                    {f"{_COMPARED}.operator": "IsNull", f"{_COMPARED}.values": REMOVED},
                    {f"{_COMPARED}.operator": "LessThan"},
                ),
                (
                    {f"{_COMPARED}.values": REMOVED},
                    {f"{_COMPARED}.values": []},
                    {f"{_COMPARED}.operator": "IsNotNull"},
                    {f"{_COMPARED}.operator": "LessThan", f"{_COMPARED}.values": REMOVED},
                    {f"{_COMPARED}.operator": "Contains", f"{_COMPARED}.values": ["1", "2"]},
                ),
                spec=3,
            ),
        },
        "spec.listing": {
            "path goes without tables": Cel(
                ({"spec.listing": {"path": "a"}}, {"spec.listing": {"tables": True}}),
                ({"spec.listing": {"path": "a", "tables": True}},),
                spec=1,
            ),
        },
        "spec.target": {
            "give exactly one of claim, store, database": Cel(
                ({}, {"spec.target": {"store": {}}}),
                ({"spec.target": {}}, {"spec.target.store": {}}, {"spec.target.database": {}}),
            ),
        },
    },
}
#: Kind → specs of stored objects that updates begin from, by `Cel.spec`.
STORED: dict[str, tuple[Object, ...]] = {
    **SPECS,
    "Snapshot": (SNAPSHOT, changed({"spec": SNAPSHOT}, {"spec.verify": "Full"})["spec"]),
}
