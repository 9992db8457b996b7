"""`kubectl ocore snapshot --before-deployment`: whether the deployment may continue is the exit code."""

import io
import uuid

import pytest
import typer
from rich.console import Console

from ocore_cli import before_deployment
from ocore_cli.errors import CliError
from support.cli import BROKEN, DONE, FakeObjects, Object

ENVIRONMENT: Object = {"metadata": {"name": "shop"}, "spec": {}}


def policy(**spec: object) -> Object:
    return {"metadata": {"name": "shop"}, "spec": {"environmentRef": {"name": "shop"}, **spec}}


def run(objects: FakeObjects, deployment: str = "build-17") -> str:
    """What it prints; raises where the deployment must not continue."""
    console = Console(file=io.StringIO(), width=160)
    try:
        before_deployment.run(objects, console, "shop", deployment, "ci")
    finally:
        assert isinstance(console.file, io.StringIO)
        run.said = console.file.getvalue()  # type: ignore[attr-defined]
    return str(run.said)  # type: ignore[attr-defined]


def test_a_complete_snapshot_lets_it_continue() -> None:
    objects = FakeObjects(environment=[ENVIRONMENT], snapshotpolicy=[policy(timeoutSeconds=900)], snapshot=[None, DONE])
    assert "Complete" in run(objects)
    ((kind, body),) = objects.created
    assert kind.kind == "Snapshot"
    spec = body["spec"]
    assert (spec["trigger"], spec["retention"], spec["deletionPolicy"]) == ("Deployment", "Policy", "Delete")
    assert spec["timeoutSeconds"] == 900
    assert spec["deploymentId"] == str(uuid.uuid5(before_deployment.DEPLOYMENTS, "build-17"))
    assert body["metadata"]["name"] == f"shop-deploy-{spec['deploymentId']}"


def test_without_a_policy_the_defaults_hold() -> None:
    objects = FakeObjects(environment=[ENVIRONMENT], snapshot=[None, BROKEN])
    with pytest.raises(typer.Exit) as ended:
        run(objects)
    assert ended.value.exit_code == 1
    assert objects.created[0][1]["spec"]["timeoutSeconds"] == 3600


def test_a_failed_snapshot_blocks_or_not() -> None:
    states = {"environment": [ENVIRONMENT], "snapshot": [None, BROKEN]}
    with pytest.raises(typer.Exit):
        run(FakeObjects(**states, snapshotpolicy=[policy(failurePolicy="Block")]))
    assert "must not continue" in run.said  # type: ignore[attr-defined]
    states = {"environment": [ENVIRONMENT], "snapshot": [None, BROKEN]}
    said = run(FakeObjects(**states, snapshotpolicy=[policy(failurePolicy="Continue")]))
    assert "continues WITHOUT a snapshot" in said
    assert "AuthenticationFailed" in said


def test_what_cannot_be_taken_blocks_or_not() -> None:
    with pytest.raises(CliError, match="does not exist"):
        run(FakeObjects(snapshotpolicy=[policy()]))
    said = run(FakeObjects(snapshotpolicy=[policy(failurePolicy="Continue")]))
    assert "does not exist" in said
    assert "continues WITHOUT" in said


def test_a_policy_that_cannot_be_read_blocks() -> None:
    with pytest.raises(CliError, match="permission"):
        run(FakeObjects(environment=[ENVIRONMENT], snapshotpolicy=[CliError("permission denied")]))


def test_auto_enabled_false_takes_none() -> None:
    objects = FakeObjects(environment=[ENVIRONMENT], snapshotpolicy=[policy(autoEnabled=False)])
    assert "no snapshot before this deployment" in run(objects)
    assert objects.created == []


def test_a_hook_that_runs_again_follows_the_same_snapshot() -> None:
    objects = FakeObjects(environment=[ENVIRONMENT], snapshot=[DONE])
    assert "exists: following it" in run(objects)
    assert objects.created == []


def test_ids() -> None:
    given = "0F2A1C3E-5B6D-4E7F-8A9B-0C1D2E3F4A5B"
    assert before_deployment.deployment_uuid(given) == given.lower()
    assert before_deployment.deployment_uuid("a") != before_deployment.deployment_uuid("b")
    with pytest.raises(CliError, match="needs an id"):
        before_deployment.deployment_uuid(" ")
    assert len(before_deployment.snapshot_name("e" * 200, before_deployment.deployment_uuid("x"))) <= 200
