"""docs/tutorial.md: every command of the page, from the chart of a release to a Complete Snapshot, a rollback and its
undo, for an application that no one prepared. Then the release is upgraded to the checkout while operations run."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_release.build import Settings
from ocore_release.publish import Registry
from ocore_release.push import push
from support import registry
from support.cluster import node, procedures, release
from support.cluster.chart import Helm
from support.cluster.cluster import REPOSITORY, Cluster, Object, is_true
from support.cluster.facade import Facade
from support.cluster.operator import NAMESPACE, RELEASE, SELECTOR, Operator
from support.cluster.plugin import ocore
from support.cluster.procedures import Shell
from support.cluster.promises import marker, set_marker
from support.cluster.site import (
    DEMO_IMAGE,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    Servers,
    Site,
    claim,
    container,
    deployment,
    make_site,
    probe,
    service,
)

PAGE = REPOSITORY / "docs/tutorial.md"
STORES = {"Claim": "With a store on a volume claim", "S3": "With a store in S3"}
#: What the page promises.
COMMANDS, SECONDS = 6, 300
IMAGE = "localhost/odoo:17.0"


@pytest.fixture(scope="module")
def dist(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a release has for `helm install`, its images loaded. The operator of the other tests is installed again
    afterwards."""
    packed = release.pack(tmp_path_factory.mktemp("release"))
    release.load(packed)
    yield packed
    operator.install(*Facade(cluster).values())


@pytest.fixture
def no_operator(cluster: Cluster, dist: Path) -> None:
    """No release is installed."""
    Helm(cluster).uninstall(RELEASE, NAMESPACE)


def odoo(site: Site) -> None:
    """The demo application as the image of Odoo is run: its name, its folder, its connection from variables, its user
    by the image."""
    node.run('ctr -n k8s.io images tag --force "$1" "$2"', DEMO_IMAGE, IMAGE)
    site.cluster.delete("Deployment", "shop", site.namespace)
    keys = {"PGHOST": "host", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    env = [{"name": n, "valueFrom": {"secretKeyRef": {"name": "database", "key": key}}} for n, key in keys.items()]
    files = {"name": "DEMO_FILESTORE", "value": f"/var/lib/odoo/{site.path}"}
    mounts = [{"name": "data", "mountPath": "/var/lib/odoo"}, {"name": "tmp", "mountPath": "/tmp"}]
    volumes: list[Object] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": site.filestore_claim}},
        {"name": "tmp", "emptyDir": {}},
    ]
    app = container(
        "odoo", IMAGE, args=["serve"], env=[*env, files], ports=[{"containerPort": 8080}],
        readinessProbe=probe({"httpGet": {"path": "/readyz", "port": 8080}}), volumeMounts=mounts,
    )  # fmt: skip
    security = {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    made = deployment("odoo", site.namespace, {"containers": [app], "volumes": volumes})
    made["spec"]["template"]["spec"]["securityContext"] = security
    front = service("shop", site.namespace, 8080)
    front["spec"]["selector"] = {"app": "odoo"}
    site.cluster.apply(made, front)
    site.load(3)


@pytest.mark.exclusive
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_operator")
def test_a_newcomer_gets_a_snapshot_in_five_minutes(
    cluster: Cluster, servers: Servers, dist: Path, tmp_path: Path
) -> None:
    """With the store on a claim, then in S3: the application is described again between them."""
    (install,) = commands_below("Install the operator")
    with make_site(cluster, servers, described=False, application=False) as site:
        odoo(site)
        (tmp_path / "typed").write_text(f"accessKeyId={S3_ACCESS_KEY}\nsecretAccessKey={S3_SECRET_KEY}\n")
        names = {
            "CHART": str(release.chart(dist)),
            "APPLICATION": "odoo",
            "CAPACITY": "10Gi",
            "KEYS": str(tmp_path / "keys"),
            "EDITOR": f"cp {tmp_path}/typed",
            "BUCKET": site.bucket,
            "ENDPOINT": site.endpoint,
        }
        shell, began = Shell(cluster, site.namespace, tmp_path, names), time.monotonic()
        shell.run(install, SECONDS)
        seconds = time.monotonic() - began
        # What ran is what was packed, by its digest.
        assert installed(cluster) == chart_digest(dist)
        printed = init_of_the_doctor(site)
        is_described(shell, site, "Claim", seconds)
        forget(site)
        # As the doctor prints it. It need not ask for the store, which exists now.
        assert init_of_the_doctor(site) == printed
        shell.run(printed.replace("NAME", "odoo", 1), SECONDS)
        assert is_true(cluster.get("Environment", "odoo", site.namespace) or {}, "Ready")
        forget(site, "SnapshotPolicy", "Snapshot", "SnapshotStore")
        is_described(shell, site, "S3", seconds)
        returns_and_undoes(shell, site)


def commands_below(*titles: str) -> list[str]:
    """The commands of these sections of the page."""
    return [block for title in titles for block in procedures.blocks(procedures.section(title, PAGE))]


def is_described(shell: Shell, site: Site, store: str, seconds: float) -> None:
    """Runs the page's commands from the store to the first snapshot. `seconds`: what the installation took."""
    commands, began = commands_below(STORES[store], "Take a snapshot"), time.monotonic()
    assert len(commands) < COMMANDS
    output = [shell.run(command, SECONDS) for command in commands]
    assert seconds + time.monotonic() - began < SECONDS
    assert "is Complete after" in output[-1]
    environment = site.cluster.get("Environment", "odoo", site.namespace)
    assert environment is not None
    assert is_true(environment, "Ready")
    assert environment["spec"]["filestore"]["layout"] == "Odoo"
    (snapshot,) = site.cluster.objects("Snapshot", site.namespace)
    assert is_true(snapshot, "Complete")
    assert snapshot["status"]["recoveryEvidence"]["canWriteCleanSuccess"]


def forget(site: Site, *kinds: str) -> None:
    """Deletes the Environment, and the objects of these kinds."""
    for kind in ("Environment", *kinds):
        for obj in site.cluster.objects(kind, site.namespace):
            site.cluster.delete(kind, obj["metadata"]["name"], site.namespace)
            site.cluster.wait_gone(kind, obj["metadata"]["name"], site.namespace)


@pytest.fixture
def pushed(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[registry.Served, str]]:
    """A registry with a CA of its own, which the node's containerd knows, with this checkout; and what `make push`
    prints. With a password, but for the parameter False."""
    assert cluster
    cache = Path(os.environ.get("OCORE_CACHE", Path.home() / ".cache/ocore-snapshots"))
    with registry.served(tmp_path / "registry", tls=True, password=getattr(request, "param", True)) as served:
        assert served.ca is not None
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(served.login))
        settings = Settings(version="", cache=cache, out=tmp_path / "dist", registry=f"{served.host}/team")
        printed = push(REPOSITORY, settings, Registry(ca=str(served.ca)))
        hosts = f'server = "https://{served.host}"\n[host."https://{served.host}"]\n  ca = "$folder/ca.crt"\n'
        script = 'folder=/etc/containerd/certs.d/$1; mkdir -p "$folder"; echo "$2" >"$folder/ca.crt"; '
        node.run(f"{script} cat >$folder/hosts.toml <<EOF\n{hosts}EOF", served.host, served.ca.read_text())
        yield served, printed


@pytest.mark.exclusive
@pytest.mark.long  # tests/unit/release/test_push.py pushes small images to the same registry
@pytest.mark.timeout(480)
@pytest.mark.usefixtures("no_operator")
def test_a_cluster_installs_from_one_registry_and_rolls_back(
    cluster: Cluster, servers: Servers, pushed: tuple[registry.Served, str], tmp_path: Path
) -> None:
    """Every command that `make push` prints, with images that were pulled, to a rollback of deleted rows and files."""
    served, printed = pushed
    lines = [line for line in printed.splitlines() if line.startswith(("helm ", "kubectl "))]
    with make_site(cluster, servers, store="Claim", described=False, application=False) as site:
        odoo(site)
        cluster.apply(claim("backups", site.namespace))
        names = {"NAMESPACE": site.namespace, "NAME": "odoo", "CLAIM": "backups", "SIZE": "50Gi"}
        names |= {"LOGIN": str(served.login)}
        cluster.kubectl("-n", NAMESPACE, "delete", "secret", "registry", "--ignore-not-found")
        # What `helm registry login` writes, which asks for the password at a terminal.
        login, *rest = lines
        assert login.startswith(f"helm registry login {served.host} ")
        shell = Shell(cluster, site.namespace, tmp_path, {"HELM_REGISTRY_CONFIG": str(served.login)}, tmp_path)
        began = time.monotonic()
        for line in rest:
            # The namespace may be there from other tests.
            may_fail = " || true" if line.startswith("kubectl create namespace") else ""
            output = shell.run(
                re.sub(r"\b(NAMESPACE|NAME|CLAIM|SIZE|LOGIN)\b", lambda m: names[m[1]], line) + may_fail, SECONDS
            )
        assert "is Complete after" in output
        (snapshot,) = cluster.objects("Snapshot", site.namespace)
        back = f"kubectl ocore rollback osnap/{snapshot['metadata']['name']} --wait --yes"
        returns_to_what_was_deleted(shell, site, back, began)
        assert installed(cluster).startswith(f"{served.host}/team/ocore-snapshots/operator@sha256:")
        jobs = cluster.kubectl("get", "events", "-n", site.namespace, "-o", "jsonpath={.items[*].message}")
        pulled = re.findall(r'Successfully pulled image "([^"]+)"', jobs)
        assert any(each.startswith(f"{served.host}/team/ocore-snapshots/mover:") for each in pulled), pulled
        assert all("@sha256:" in each for each in pulled)


@pytest.mark.exclusive
@pytest.mark.long  # as the test before
@pytest.mark.timeout(480)
@pytest.mark.usefixtures("no_operator")
@pytest.mark.parametrize("pushed", [False], ids=["without-password"], indirect=True)
def test_the_page_of_one_registry_leads_to_a_rollback(
    cluster: Cluster, servers: Servers, pushed: tuple[registry.Served, str], tmp_path: Path
) -> None:
    """Every command of the chart's README, which is all that a registry shows, with helm and kubectl alone."""
    served, printed = pushed
    page = REPOSITORY / "charts/ocore-snapshots/README.md"
    _, *commands, back = procedures.blocks(procedures.section("From this page to a rollback", page))
    version = re.search(r"--version (\S+)", printed)
    assert version is not None
    with make_site(cluster, servers, store="Claim", described=False, application=False) as site:
        odoo(site)
        names = {
            "CHART": f"oci://{served.host}/team/charts/ocore-snapshots", "VERSION": version[1],
            "NAMESPACE": site.namespace, "APPLICATION": "odoo", "SECRET": "database", "CAPACITY": "10Gi",
            "FILES": site.filestore_claim, "FOLDER": site.path, "LAYOUT": "Odoo", "OWNER": "65532",
        }  # fmt: skip
        # As on a machine that trusts the registry's CA.
        shell = Shell(cluster, site.namespace, tmp_path, {**names, "SSL_CERT_FILE": str(served.ca)}, tmp_path)
        began = time.monotonic()
        output = [shell.run(command, SECONDS) for command in commands]
        assert "Complete" in output[-1]
        returns_to_what_was_deleted(shell, site, back, began)
        assert installed(cluster).startswith(f"{served.host}/team/ocore-snapshots/operator@sha256:")


def returns_to_what_was_deleted(shell: Shell, site: Site, back: str, began: float) -> None:
    """Deletes all rows and files, and runs the command that returns to the snapshot."""
    orders = "select count(*) from sale_order"
    before = site.query(orders)
    site.query("delete from sale_order returning 1")
    for each in (site.claim_root / site.path).iterdir():
        shutil.rmtree(each)
    shell.run(back, SECONDS)
    print(f"from helm to the end of the rollback: {time.monotonic() - began:.0f} s")
    assert time.monotonic() - began < SECONDS
    assert site.query(orders) == before
    assert before[0] != (0,)
    # Each file that a row names, with its content. Those of deleted drafts are in no snapshot.
    site.files_fit()


def returns_and_undoes(shell: Shell, site: Site) -> None:
    """The rest of the page, with the store in S3."""
    back, undo = (procedures.blocks(procedures.section(title, PAGE)) for title in ("Return to it", "Undo it"))
    set_marker(site, 3)
    shell.run(back[0], SECONDS, typed="odoo\n")
    assert marker(site) == 0
    shell.run(undo[0], SECONDS, typed="odoo\n")
    assert marker(site) == 3
    assert len(back) == len(undo) == 1


def init_of_the_doctor(site: Site) -> str:
    """The line that fixes it where there is no Environment."""
    code, text = ocore(site.cluster, "doctor", "-n", site.namespace)
    assert code == 5, text
    _, _, after = text.partition("there is none.")
    line = after.splitlines()[1].partition("fix: ")[2]
    assert line == f"kubectl ocore init deployment/NAME --apply -n {site.namespace}"
    return line


def installed(cluster: Cluster) -> str:
    """The image of the operator's Deployment."""
    (found,) = cluster.objects("Deployment", NAMESPACE, SELECTOR)
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def chart_digest(dist: Path) -> str:
    """The operator's image as the release's list of images names it."""
    (line,) = [line for line in (dist / "images.txt").read_text().splitlines() if line.endswith(" operator")]
    return line.removesuffix(" operator")


def slow_to_stop(site: Site) -> None:
    """The application needs half a minute to stop: an operation that stops it is still running when the operator is
    replaced."""
    slow = {"name": "app", "lifecycle": {"preStop": {"exec": {"command": ["sleep", "30"]}}}}
    site.patch_shop({"spec": {"terminationGracePeriodSeconds": 60, "containers": [slow]}})


@pytest.mark.exclusive
@pytest.mark.long  # test_failure_rows_operator.py also upgrades the chart under a rollback
@pytest.mark.timeout(480)
@pytest.mark.usefixtures("no_operator")
def test_a_release_is_upgraded_while_operations_run(cluster: Cluster, servers: Servers, dist: Path) -> None:
    """From the packed release to the checkout, with the chart's CRDs and policies. The next operator adopts what
    runs."""
    helm, before = Helm(cluster), Operator(cluster)
    options = ("--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s")
    helm.run("upgrade", "--install", RELEASE, str(release.chart(dist)), *options)
    with make_site(cluster, servers, store="Claim") as first, make_site(cluster, servers) as second:
        for site in (first, second):
            site.load(4)
        first.completed("Snapshot", first.snapshot("base"))
        first.load(5, orders=3)
        for site in (first, second):
            slow_to_stop(site)
        old = before.pod()["metadata"]["uid"]
        first.rollback("back", "base")
        second.snapshot("quiesced", quiesce=True)
        in_drain(first, "Rollback", "back", "stage")
        in_drain(second, "Snapshot", "quiesced", "quiesce", "stage")
        helm.install(RELEASE, NAMESPACE, {}, "--wait")
        after = before.pod()
        assert after["metadata"]["uid"] != old
        assert "@" not in installed(cluster)
        began = after["status"]["startTime"]
        for site, kind, name in ((first, "Rollback", "back"), (second, "Snapshot", "quiesced")):
            status = site.completed(kind, name)["status"]
            assert status["startedAt"] < began < status["completedAt"], (kind, began, status)
        first.app_ready(120)
        first.files_fit()
        second.app_ready(120)


def in_drain(site: Site, kind: str, name: str, *path: str) -> None:
    """Waits until the operation waits for the application's pods to end. `path`: to the stage in its status."""

    def drains(obj: Object) -> bool:
        found: Object = obj.get("status", {})
        for key in path[:-1]:
            found = found.get(key) or {}
        return found.get(path[-1]) == "Drain"

    site.cluster.wait(kind, name, site.namespace, drains, 120, "at Drain")
