"""The workflows run targets that exist, with as few rights as possible. `make lint` checks them with actionlint."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster.cluster import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yaml"))


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_each_action_is_named_by_its_commit(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", name) for name in used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_each_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    ran = {name for step in steps(path) for name in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    assert ran
    assert ran <= targets


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_can_only_read_and_does_not_keep_its_token(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_only_a_pull_request_that_does_not_run_with_secrets_is_checked() -> None:
    """`pull_request_target` would run the code of strangers with the repository's rights."""
    for path in WORKFLOWS:
        assert "pull_request_target" not in path.read_text()
        # YAML reads `on` as true.
        triggers = yaml.safe_load(path.read_text())[True]
        if "secrets." in path.read_text():
            assert set(triggers) == {"push"}
            assert set(triggers["push"]) == {"tags"}
