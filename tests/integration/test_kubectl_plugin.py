"""`kubectl ocore` against the real API server; the test writes status as the operator does."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from support.cluster.cluster import REPOSITORY, Cluster, Object, wait_for
from support.crds.samples import UUID

NOW = "2026-01-31T12:00:00Z"


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace with an Environment and no operator that knows it."""
    name = crds.namespace("cli")
    crds.apply(
        {
            "apiVersion": "ocore.dev/v1alpha1",
            "kind": "Environment",
            "metadata": {"name": "shop", "namespace": name},
            "spec": {
                "projectId": UUID,
                "type": "production",
                "storeRef": {"name": "backups"},
                "database": {"secretRef": {"name": "none"}},
            },
        }
    )
    yield name
    crds.delete("Namespace", name)


def ocore(cluster: Cluster, *arguments: str, timeout: float = 60) -> tuple[int, str]:
    """Exit code and output of `kubectl ocore`: kubectl itself finds the plugin in the checkout."""
    env = {**os.environ, **cluster.env}
    env["PATH"] = f"{REPOSITORY}/cli:{env['PATH']}"
    done = subprocess.run(
        ["kubectl", "ocore", *arguments], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    return done.returncode, done.stdout + done.stderr


def write_status(cluster: Cluster, name: str, namespace: str, status: Object) -> None:
    """As the operator writes it, at the subresource."""
    cluster.resource("Snapshot").status.patch(
        body={"status": status}, name=name, namespace=namespace, content_type="application/merge-patch+json"
    )


def condition(type_: str, reason: str, message: str) -> Object:
    return {"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": NOW}


def test_a_snapshot_is_created_and_followed_to_its_failure(crds: Cluster, namespace: str) -> None:
    outcome: list[tuple[int, str]] = []
    waiter = threading.Thread(
        target=lambda: outcome.append(ocore(crds, "snapshot", "shop", "--name", "before", "--wait", "-n", namespace))
    )
    waiter.start()
    crds.wait("Snapshot", "before", namespace, lambda _: True, 30)
    steps = [{"name": "Prepare", "state": "Running", "startedAt": NOW, "message": ""}]
    write_status(crds, "before", namespace, {"phase": "Running", "steps": steps})
    assert ocore(crds, "status", "-n", namespace)[0] == 0
    write_status(
        crds,
        "before",
        namespace,
        {"phase": "Failed", "completedAt": NOW, "conditions": [condition("Failed", "DumpFailed", "pg_dump says no")]},
    )
    waiter.join(60)
    code, text = outcome[0]
    assert code == 1, text
    assert "snapshot.ocore.dev/before created" in text
    assert "Prepare" in text
    assert "Failed DumpFailed" in text
    assert text.count("pg_dump says no") == 1
    code, text = ocore(crds, "rollback", "before", "-n", namespace)
    assert (code, "is Failed, not Complete" in text) == (1, True)


def test_a_complete_one_is_exit_code_0_and_can_be_gone_back_to(crds: Cluster, namespace: str) -> None:
    code, text = ocore(crds, "snapshot", "shop", "--name", "good", "-n", namespace)
    assert code == 0, text
    status = {"phase": "Complete", "completedAt": NOW, "conditions": [condition("Complete", "Succeeded", "")]}
    write_status(crds, "good", namespace, status)
    assert ocore(crds, "watch", "snapshot", "good", "-n", namespace)[0] == 0
    code, text = ocore(crds, "rollback", "good", "--name", "back", "--undo-window", "60", "--yes", "-n", namespace)
    assert code == 0, text
    made = crds.get("Rollback", "back", namespace)
    assert made is not None
    assert made["spec"]["undoWindowSeconds"] == 60
    code, text = ocore(crds, "watch", "rollback", "back", "--timeout", "1", "-n", namespace)
    assert code == 1
    # The time that passed, not the limit: a busy machine makes it longer.
    waited = re.search(r"is not terminal after a wait of (\d+\.\d) s", text)
    assert waited, text
    assert float(waited[1]) >= 1
    code, text = ocore(crds, "status", "-n", namespace)
    assert "rollback back" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("snapshot", "nowhere"), "environment nowhere does not exist"),
        (("rollback", "nowhere"), "snapshot nowhere does not exist"),
        (("watch", "rollback", "nowhere"), "rollback nowhere does not exist"),
        (("watch", "orb/nowhere"), "rollback nowhere does not exist"),
        (("snapshot", "shop", "--name", "Not A Name"), "Invalid value"),
        (("status", "--context", "nowhere"), "cannot read the kubeconfig"),
        (("status", "--kubeconfig", "/nowhere"), "cannot read the kubeconfig"),
    ],
)
def test_errors_say_what_to_do(crds: Cluster, namespace: str, arguments: tuple[str, ...], message: str) -> None:
    code, text = ocore(crds, *arguments, "-n", namespace)
    assert code == 1, text
    assert message in text
    assert "Traceback" not in text


def test_an_api_server_that_is_not_there_ends_at_the_deadline(crds: Cluster, namespace: str, tmp_path: object) -> None:
    """No server listens: the first read fails at once, with a message."""
    config = subprocess.run(
        ["kubectl", "config", "view", "--raw", "--flatten"],
        env={**os.environ, **crds.env},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    broken = f"{tmp_path}/kubeconfig"
    lines = ["    server: https://127.0.0.1:1" if "server: https://" in line else line for line in config.splitlines()]
    with open(broken, "w") as file:  # noqa: PTH123 - a name, not a path, goes to the option
        file.write("\n".join(lines))
    code, text = ocore(crds, "status", "--kubeconfig", broken)
    assert code == 1
    assert "the API server does not answer" in text
    assert "Traceback" not in text


def test_in_a_checkout_and_as_a_module(crds: Cluster) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocore_cli", "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "kubectl ocore" in done.stdout
    wait_for("help of the plugin", lambda: ocore(crds, "--help")[0] == 0)
