"""The demo's manifests hold what they promise, and its run reports what happens."""

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from demo_app.__main__ import _parser
from demo_run import evidence, kube
from demo_run.output import Observation, Output, StepFailed
from demo_run.steps import rolled_out
from ocore_crds.kinds import ENVIRONMENT, SNAPSHOT_STORE

DEMO = Path(__file__).resolve().parents[3] / "examples/demo"
Object = dict[str, Any]


def objects() -> list[Object]:
    files = [*sorted((DEMO / "manifests").glob("*.yaml")), DEMO / "load.yaml"]
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


def test_the_resources_are_valid_and_name_what_is_there() -> None:
    by_name = {(o["kind"], o["metadata"]["name"]): o for o in objects()}
    environment = by_name["Environment", "shop"]
    store = by_name["SnapshotStore", "backups"]
    ENVIRONMENT.spec.model_validate(environment["spec"])
    SNAPSHOT_STORE.spec.model_validate(store["spec"])
    assert ("Secret", environment["spec"]["database"]["secretRef"]["name"]) in by_name
    assert ("PersistentVolumeClaim", environment["spec"]["filestore"]["claimName"]) in by_name
    assert ("ConfigMap", environment["spec"]["config"]["configMapRef"]["name"]) in by_name
    assert ("Secret", store["spec"]["s3"]["credentialsSecretRef"]["name"]) in by_name
    shop = by_name["Deployment", "shop"]["spec"]["template"]["spec"]["containers"][0]
    variables = {e["name"]: e.get("value") for e in shop["env"]}
    assert variables["DEMO_FILESTORE"] == "/data/" + environment["spec"]["filestore"]["path"]
    assert {o["metadata"].get("namespace", kube.NAMESPACE) for o in by_name.values()} == {kube.NAMESPACE}


def test_the_applications_role_is_no_superuser() -> None:
    setup = next(o for o in objects() if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "postgres-setup")
    statement = next(line for line in setup["data"]["setup.sql"].splitlines() if "ALTER ROLE shop" in line)
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


def test_help_needs_no_cluster() -> None:
    done = subprocess.run([str(DEMO / "run"), "--help"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "--clean" in done.stdout


def test_what_is_applied_carries_the_builds_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images keep the tag `dev`: without the fingerprint a new build would not be used."""
    applied: list[str] = []
    made = kube.Kube({}, plain=True)
    monkeypatch.setattr(made, "kubectl", lambda *_, stdin, timeout: applied.append(stdin))
    made.apply([DEMO / "manifests/30-shop.yaml"], "abc")
    shop = next(
        o for o in json.loads(applied[0])["items"] if o["kind"] == "Deployment" and o["metadata"]["name"] == "shop"
    )
    assert shop["spec"]["template"]["metadata"]["annotations"]["demo-build"] == "abc"
    assert kube.fingerprint("examples/demo/demo_app") != kube.fingerprint("examples/demo/demo_run")
