"""The demo's manifests hold what they promise, and its run reports what happens."""

import ast
import io
import json
import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from demo_app.__main__ import _parser
from demo_run import __main__ as demo_main
from demo_run import evidence, kube
from demo_run.output import Observation, Output, StepFailed
from demo_run.steps import NEEDED, Demo, remove_all, rolled_out
from ocore_crds.kinds import ENVIRONMENT, SNAPSHOT_STORE
from ocore_crds.resources.rollback import RollbackSpec

REPOSITORY = Path(__file__).resolve().parents[3]
DEMO = REPOSITORY / "examples/demo"
Object = dict[str, Any]


def objects() -> list[Object]:
    files = [*sorted((DEMO / "manifests").glob("*.yaml")), DEMO / "load.yaml", DEMO / "copy.yaml"]
    return [d for f in files for d in yaml.safe_load_all(f.read_text()) if d]


def pods() -> list[tuple[str, Object]]:
    found = [o for o in objects() if o["kind"] in ("Deployment", "StatefulSet", "Job")]
    return [(f"{o['kind']} {o['metadata']['name']}", o["spec"]["template"]["spec"]) for o in found]


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_pod_is_restricted(name: str, pod: Object) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert container["image"].startswith("localhost/ocore-snapshots/")
        assert "requests" in container["resources"]


@pytest.mark.parametrize(("name", "workload"), [("shop", "shop"), ("staging", "shop-staging")])
def test_the_resources_are_valid_and_name_what_is_there(name: str, workload: str) -> None:
    by_name = {(o["kind"], o["metadata"]["name"]): o for o in objects()}
    environment = by_name["Environment", name]
    store = by_name["SnapshotStore", "backups"]
    ENVIRONMENT.spec.model_validate(environment["spec"])
    SNAPSHOT_STORE.spec.model_validate(store["spec"])
    assert environment["spec"]["workloads"] == [{"kind": "Deployment", "name": workload}]
    assert ("Secret", environment["spec"]["database"]["secretRef"]["name"]) in by_name
    assert ("PersistentVolumeClaim", environment["spec"]["filestore"]["claimName"]) in by_name
    maps = [environment["spec"].get("config"), environment["spec"].get("neutralize", {}).get("sql")]
    assert all(("ConfigMap", m["configMapRef"]["name"]) in by_name for m in maps if m)
    assert ("Secret", store["spec"]["s3"]["credentialsSecretRef"]["name"]) in by_name
    pod = by_name["Deployment", workload]["spec"]["template"]["spec"]
    variables = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
    assert variables["DEMO_FILESTORE"] == "/data/" + environment["spec"]["filestore"]["path"]
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert volumes["database"]["secret"]["secretName"] == environment["spec"]["database"]["secretRef"]["name"]
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == environment["spec"]["filestore"]["claimName"]
    assert {o["metadata"].get("namespace", kube.NAMESPACE) for o in by_name.values()} == {kube.NAMESPACE}


def test_staging_shares_nothing_with_production_but_the_project_and_the_store() -> None:
    specs = {o["metadata"]["name"]: o["spec"] for o in objects() if o["kind"] == "Environment"}
    production, staging = specs["shop"], specs["staging"]
    assert (production["type"], staging["type"]) == ("production", "staging")
    assert [production[k] == staging[k] for k in ("projectId", "storeRef")] == [True, True]
    assert production["database"]["secretRef"] != staging["database"]["secretRef"]
    assert production["filestore"]["claimName"] != staging["filestore"]["claimName"]
    secrets = {o["metadata"]["name"]: o["stringData"] for o in objects() if o["kind"] == "Secret"}
    connections = [secrets[s["database"]["secretRef"]["name"]] for s in (production, staging)]
    assert all(connections[0][key] != connections[1][key] for key in ("dbname", "user", "password"))


def test_the_copy_goes_into_staging_and_nowhere_else() -> None:
    copy = next(o for o in objects() if o["kind"] == "Rollback")
    spec = RollbackSpec.model_validate(copy["spec"])
    assert copy["spec"]["targetEnvironmentRef"] == {"name": "staging"}
    # Nothing of it prevents that it is neutralised.
    assert spec.neutralize == "Auto"
    assert spec.isolation == "Require"


@pytest.mark.parametrize("role", ["shop", "shop_staging"])
def test_the_applications_roles_are_no_superusers(role: str) -> None:
    setup = next(o for o in objects() if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "postgres-setup")
    statement = next(line for line in setup["data"]["setup.sql"].splitlines() if f"ALTER ROLE {role} " in line)
    assert "NOSUPERUSER" in statement
    assert " CREATEDB" in statement


def test_the_commands_in_the_manifests_parse() -> None:
    for name, pod in pods():
        for container in pod["containers"]:
            if container["image"].endswith("/demo:dev"):
                assert _parser().parse_args(container["args"]).command in ("serve", "load"), name


def output() -> tuple[Output, io.StringIO]:
    made = Output(ci=True, steps=2)
    text = io.StringIO()
    made.console = Console(file=text, width=100)
    return made, text


def test_a_wait_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    observations = iter(
        [Observation(False, "one"), Observation(False, "one"), Observation(False, "two"), Observation(True, "three")]
    )
    made, text = output()
    made.heading("A step")
    made.wait("something", lambda: next(observations), 60)
    lines = text.getvalue().split("\n")
    assert lines[1].startswith("== 1/2  A step")
    assert [line.strip() for line in lines[2:5]] == ["waiting for something", "one", "two"]
    assert "✓ something: three" in lines[5]


def test_a_wait_ends_at_its_deadline_with_the_last_message() -> None:
    made, _ = output()
    with pytest.raises(StepFailed, match=r"something: not done within 0 s; last message: ImagePullBackOff") as failed:
        made.wait("something", lambda: Observation(False, "ImagePullBackOff"), 0, "kubectl get pods")
    assert failed.value.look_at == ("kubectl get pods",)


class FakeKube:
    """Load events only."""

    def load_events(self) -> list[Object]:
        return [
            {"event": "outage", "since": "2026-01-01T12:00:00.000+00:00", "seconds": 9.0},
            {"event": "progress"},
            {"event": "outage", "since": "2026-01-01T13:00:00.500+00:00", "seconds": 2.5},
        ]


def test_only_the_outages_of_this_rollback_count() -> None:
    found = evidence.outages_since(FakeKube(), "2026-01-01T13:00:00+00:00")  # type: ignore[arg-type]
    assert [o["seconds"] for o in found] == [2.5]


def state(uuid: str, *, active: int, neutralized: bool, rollback: str | None = None) -> Object:
    acting = {"mail_servers": active, "jobs": active, "payment_providers": active, "neutralized": neutralized}
    return {"database": {"uuid": uuid, "rollback_id": rollback}, "acting": acting}


PRODUCTION = state("a", active=1, neutralized=False)


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        (state("b", active=0, neutralized=True), ""),
        (state("b", active=1, neutralized=True), "staging still has active mail_servers, jobs, payment_providers"),
        (state("b", active=0, neutralized=False), "staging has no database.is_neutralized"),
        (state("a", active=0, neutralized=True), "staging has production's database.uuid, or none"),
    ],
)
def test_a_copy_that_could_act_fails_the_demo(copy: Object, expected: str) -> None:
    assert evidence.not_neutralised(copy, PRODUCTION) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (PRODUCTION, ""),
        (state("b", active=1, neutralized=False), "production has changed: database.uuid was a, is b"),
        (state("a", active=0, neutralized=False), "production has changed: acting.mail_servers was 1, is 0"),
        (state("a", active=1, neutralized=True), "production has changed: acting.neutralized was False, is True"),
        (
            state("a", active=1, neutralized=False, rollback="x"),
            "production has changed: database.rollback_id was None, is x",
        ),
    ],
)
def test_a_copy_that_changed_production_fails_the_demo(after: Object, expected: str) -> None:
    assert evidence.changed_by_a_copy(PRODUCTION, after) == expected


class FakeDemo:
    """Records the steps."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.called.append(name)


def test_as_many_headings_as_the_output_counts() -> None:
    made, text = output()
    fake = FakeDemo()
    # The first heading is the cluster's.
    made.heading("A Kubernetes")
    demo_main._story(made, fake)  # type: ignore[arg-type]
    assert text.getvalue().count("\n== ") == demo_main.STEPS
    assert all(callable(getattr(Demo, name)) for name in fake.called)
    assert fake.called[-4:] == ["undo", "rest", "figures", "epilogue"]


def test_times_between() -> None:
    status = {"startedAt": "2026-01-01T12:00:00Z", "completedAt": "2026-01-01T12:00:01.500Z"}
    assert evidence.seconds_between(status, "startedAt", "completedAt") == 1.5
    assert evidence.seconds_between(status, "startedAt", "readyAt") is None
    assert evidence.duration(None) == "-"
    assert evidence.duration(0.038) == "38 ms"
    assert evidence.duration(1.26) == "1.3 s"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"updatedReplicas": 0}, False),
        ({"readyReplicas": 0}, False),
        ({"replicas": 2}, False),
        ({"replicas": 0, "updatedReplicas": 0, "readyReplicas": 0}, False),
    ],
)
def test_rolled_out(change: Object, expected: bool) -> None:
    status = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, **change}
    assert rolled_out({"metadata": {"generation": 2}, "status": status}) is expected


def test_a_command_that_fails_says_so() -> None:
    made = kube.Kube({"PATH": "/usr/bin:/bin"}, plain=True)
    with pytest.raises(StepFailed, match=r"ls: .*nowhere"):
        made.run("ls", "/nowhere")
    with pytest.raises(StepFailed, match="not finished after"):
        made.run("sleep", "30", timeout=0.1)
    assert made.run("sh", "-c", "echo x; exit 1", ok=(0, 1)) == "x\n"


def test_the_images_that_it_builds_are_those_that_it_runs() -> None:
    containers = [c for _, pod in pods() for c in (*pod["containers"], *pod.get("initContainers", ()))]
    written = {c["image"].removeprefix("localhost/ocore-snapshots/") for c in containers}
    assert set(demo_main.IMAGES) == written | {"operator:dev", "api:dev"}


def test_what_it_imports_is_in_the_virtual_environment_of_the_plugin() -> None:
    """`make demo-venv`, for both. They share no other package with the checks and tests."""
    files = [ast.parse(file.read_text()) for file in (DEMO / "demo_run").glob("*.py")]
    nodes = [node for file in files for node in ast.walk(file)]
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found = packages_distributions()
    imported = {name.lower() for module in modules for name in found.get(module.partition(".")[0], [])}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (REPOSITORY / "requirements/cli.txt").read_text(), re.MULTILINE))
    assert imported == {"pyyaml", "rich"}
    assert imported <= locked


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A localcluster/cluster that writes down what it is asked for, and runs the script `do-COMMAND` beside it."""
    script = tmp_path / "cluster"
    script.write_text(f"""#!/bin/sh
cd {tmp_path}
touch began-$1
[ ! -e do-$1 ] || . ./do-$1
echo $@ >>done
""")
    script.chmod(0o755)
    monkeypatch.setattr(demo_main, "CLUSTER", script)
    monkeypatch.setattr(demo_main, "cluster_environment", dict)
    monkeypatch.setattr(demo_main, "with_plugin", lambda env: env)
    return tmp_path


def waits_for(name: str) -> str:
    return f"for i in $(seq 600); do [ -e {name} ] && break; sleep 0.1; done; [ -e {name} ] || exit 1\n"


def test_the_cluster_is_built_while_images_are_made(cluster: Path) -> None:
    (cluster / "do-up").write_text(waits_for("began-digests"))
    (cluster / "do-digests").write_text(waits_for("began-up"))
    demo_main._cluster(output()[0])
    names = " ".join(demo_main.IMAGES)
    done = (cluster / "done").read_text().splitlines()
    assert sorted(done[:2]) == [f"digests {names}", "up"]
    assert done[2:] == [f"images {names}"]


@pytest.mark.parametrize(("failing", "other"), [("up", "digests"), ("digests", "up")])
def test_what_fails_ends_what_runs_beside_it(cluster: Path, failing: str, other: str) -> None:
    (cluster / f"do-{failing}").write_text(waits_for("began-sleep") + "exit 3\n")
    (cluster / f"do-{other}").write_text("trap 'touch ended; exit 143' TERM; sleep 300 & touch began-sleep; wait\n")
    with pytest.raises(StepFailed, match=f"localcluster/cluster {failing} failed"):
        demo_main._cluster(output()[0])
    assert not (cluster / "done").exists()
    assert (cluster / "ended").exists()


def test_help_needs_no_cluster() -> None:
    done = subprocess.run([str(DEMO / "run"), "--help"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "--clean" in done.stdout


def test_what_a_differential_needs_is_removed_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [StepFailed(f"snapshot full is needed by 1 differential snapshots (d): {NEEDED}")] * 2
    made = kube.Kube({}, plain=True)

    def kubectl(*_: str, timeout: float) -> str:
        if answers:
            raise answers.pop()
        return ""

    monkeypatch.setattr(made, "kubectl", kubectl)
    monkeypatch.setattr("demo_run.steps.time.sleep", lambda _: None)
    remove_all(made, "snapshots.ocore.dev")
    assert not answers
    answers[:] = [StepFailed("the server is away")] * 2
    with pytest.raises(StepFailed, match="is away"):
        remove_all(made, "snapshots.ocore.dev")
    assert len(answers) == 1
    answers[:] = [StepFailed(NEEDED)] * 2
    with pytest.raises(StepFailed, match=NEEDED):
        remove_all(made, "snapshots.ocore.dev", seconds=-1)


def test_the_refusal_is_the_admission_policys() -> None:
    policies = DEMO.parents[1] / "charts/ocore-snapshots/templates"
    assert any(NEEDED in path.read_text() for path in policies.rglob("*needed*"))


def test_what_is_applied_carries_the_builds_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images keep the tag `dev`: without the fingerprint a new build would not be used."""
    applied: list[str] = []
    made = kube.Kube({}, plain=True)
    monkeypatch.setattr(made, "kubectl", lambda *_, stdin, timeout: applied.append(stdin))
    made.apply(sorted((DEMO / "manifests").glob("*.yaml")), "abc")
    marked = {
        o["metadata"]["name"]: o["spec"]["template"]["metadata"].get("annotations", {}).get("demo-build")
        for o in json.loads(applied[0])["items"]
        if o["kind"] == "Deployment"
    }
    assert marked == {"shop": "abc", "shop-staging": "abc", "s3": None}
    assert kube.fingerprint("examples/demo/demo_app") != kube.fingerprint("examples/demo/demo_run")
