"""``kubectl ocore ls`` and ``cp`` with a store on a claim: a pod of the caller, read by ``kubectl exec``. The
end-to-end test has a real kubectl; here a program of its name reads a folder."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ocore_cli import claims, extracts, selection
from ocore_cli.errors import CliError, TimedOut
from ocore_crds.naming import LABEL_COMMAND, LABEL_UID
from ocore_crds.resources.extract import ExtractStatus
from support.cli import DONE, FakeObjects, Object, condition

PODS = "/api/v1/namespaces/shop/pods"
READER = f"{PODS}/ocore-reader-x7k2p"
UID = "9c7d1f0a-1111-4222-8333-444455556666"
KEY = "environments/e/extracts/x/listing.jsonl"
STORE: Object = {"metadata": {"name": "store"}, "spec": {"claim": {"claimName": "backups", "path": "snapshots"}}}
LISTING = json.dumps({"name": "a.pdf", "type": "file", "bytes": 3}).encode() + b"\n"
RUNNING: Object = {"status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}}
SOURCE: Object = {
    "metadata": {"name": "extract-x", "creationTimestamp": "2026-03-01T12:00:00Z"},
    "spec": {
        "nodeName": "one",
        "containers": [{"name": "mover", "image": "registry/mover:17"}],
        "securityContext": {"runAsUser": 101, "runAsGroup": 101, "fsGroup": 101},
        "tolerations": [{"key": "backups"}],
        "imagePullSecrets": [{"name": "pull"}],
    },
}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What kubectl was called with, a line each. Its program prints the file of this folder."""
    program(tmp_path, monkeypatch, 'for last; do :; done; exec cat "$(dirname "$0")/claim$last"')
    place = tmp_path / "claim/store/snapshots" / KEY
    place.parent.mkdir(parents=True)
    place.write_bytes(LISTING)
    return tmp_path / "calls"


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (folder / "kubectl").write_text(f'#!/bin/sh\necho "$@" >>"$(dirname "$0")/calls"\n{text}\n')
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(claims, "PAUSE", 0.0)


def world(pod: Object | None = RUNNING, source: Object | None = SOURCE, **result: Any) -> FakeObjects:
    found = {"key": KEY, "sha256": hashlib.sha256(LISTING).hexdigest(), "size": len(LISTING), **result}
    status = {"id": UID, "storeName": "store", "result": found, "conditions": [condition("Complete")]}
    snapshot = {**DONE, "status": {**DONE["status"], "storeName": "store"}}
    objects = FakeObjects(snapshot=[snapshot], snapshotstore=[STORE], extract=[{"status": status}])
    objects.paths[PODS] = {"items": [source] if source is not None else []}
    if pod is not None:
        objects.paths[READER] = pod
    return objects


def listed(objects: FakeObjects) -> str:
    console = Console(file=io.StringIO(), width=200)
    notes = Console(file=io.StringIO(), width=200)
    extracts.show(objects, notes, console, "before", "", selection.Access())  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def body(source: Object) -> Object:
    return claims.body(source, "backups")


def test_a_listing_is_read_by_a_pod_that_is_removed(calls: Path) -> None:
    objects = world()
    objects.flags = ("--context", "other")
    assert "a.pdf" in listed(objects)
    assert calls.read_text().splitlines() == [
        f"--context other -n shop exec ocore-reader-x7k2p -c reader -- cat -- /store/snapshots/{KEY}"
    ]
    assert [path for path, _ in objects.posted] == [PODS]
    assert objects.removed == [READER]
    assert objects.deleted


def test_the_pod_is_that_of_the_job_without_rights() -> None:
    pod = body(SOURCE)
    spec = pod["spec"]
    assert spec["containers"][0]["image"] == "registry/mover:17"
    assert spec["containers"][0]["volumeMounts"] == [{"name": "store", "mountPath": "/store", "readOnly": True}]
    assert spec["volumes"] == [{"name": "store", "persistentVolumeClaim": {"claimName": "backups"}}]
    assert spec["securityContext"] == {
        "runAsUser": 101,
        "runAsGroup": 101,
        "fsGroup": 101,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert (spec["automountServiceAccountToken"], spec["activeDeadlineSeconds"]) == (False, claims.DEADLINE)
    assert '"values": ["one"]' in json.dumps(spec["affinity"])
    assert (spec["tolerations"], spec["imagePullSecrets"]) == ([{"key": "backups"}], [{"name": "pull"}])
    # With a label or an owner of ours the chart's policy would refuse it to a tenant.
    assert pod["metadata"] == {"generateName": "ocore-reader-"}


def test_row_147_a_forged_pod_of_the_job_gives_no_rights() -> None:
    """Anyone who may create pods in the namespace can write our labels. An administrator who lists files must not
    start what that person could not."""
    forged: Object = {
        **SOURCE,
        "spec": {
            **SOURCE["spec"],
            "serviceAccountName": "admin",
            "automountServiceAccountToken": True,
            "hostPID": True,
            "hostNetwork": True,
            "priorityClassName": "system-node-critical",
            "runtimeClassName": "host",
            "securityContext": {"runAsNonRoot": False, "sysctls": [{}], "seccompProfile": {"type": "Unconfined"}},
            "volumes": [{"name": "store", "hostPath": {"path": "/"}}],
            "initContainers": [{"name": "evil"}],
            "containers": [
                {"name": "evil", "image": "evil"},
                {
                    "name": "mover",
                    "image": "registry/mover:17",
                    "command": ["evil"],
                    "env": [{}],
                    "securityContext": {"privileged": True},
                },
            ],
        },
    }
    clean = {**SOURCE, "spec": {**SOURCE["spec"], "securityContext": {}}}
    assert body(forged) == body(clean)


@pytest.mark.parametrize("data", [b"forged", LISTING + b"more"])
def test_other_bytes_than_the_extract_has_written(data: bytes, calls: Path) -> None:
    (calls.parent / "claim/store/snapshots" / KEY).write_bytes(data)
    objects = world()
    with pytest.raises(CliError, match="SHA-256 differs"):
        listed(objects)
    assert objects.removed == [READER]


def test_row_147_what_is_too_long_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, f"head -c 9000000 /dev/zero && touch {tmp_path}/all")
    with pytest.raises(CliError, match="SHA-256 differs"):
        listed(world())
    assert not (tmp_path / "all").exists()


def test_kubectl_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "echo 'pods \"ocore-reader\" is forbidden' >&2; exit 1")
    objects = world()
    with pytest.raises(CliError, match=r"exit code 1: pods \"ocore-reader\" is forbidden"):
        listed(objects)
    assert objects.removed == [READER]
    assert objects.deleted


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}],
            },
            TimedOut,
            "has not started after 0 s: ErrImagePull: no",
        ),
        (
            {"phase": "Pending", "conditions": [{"reason": "Unschedulable", "message": "0/1 nodes are available"}]},
            TimedOut,
            "Unschedulable: 0/1 nodes are available",
        ),
        ({}, TimedOut, "it waits for its node"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, CliError, "has ended: Evicted: low"),
    ],
)
def test_a_pod_that_does_not_run(status: Object, error: type[CliError], message: str) -> None:
    objects, store = world({"status": status}), claims.Claim(claim_name="backups")
    found = ExtractStatus.model_validate({"id": UID})
    with pytest.raises(error, match=message):
        list(claims.read(objects, Console(file=io.StringIO()), "x", found, store, start=0))  # type: ignore[arg-type]
    assert objects.removed == [READER]


@pytest.mark.usefixtures("calls")
def test_what_was_removed_by_others() -> None:
    with pytest.raises(CliError, match="has no pod any more"):
        listed(world(source=None))
    with pytest.raises(CliError, match="was deleted by another client"):
        listed(world(pod=None))


def test_without_kubectl_nothing_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    objects = world()
    with pytest.raises(CliError, match="install kubectl"):
        listed(objects)
    assert (objects.created, objects.posted) == ([], [])


def test_the_pods_of_the_extract_are_asked_for() -> None:
    asked: list[object] = []
    objects = world()
    objects.read = lambda path, query=None, accept="": asked.append(query) or {"items": []}  # type: ignore[method-assign, func-returns-value, assignment]
    with pytest.raises(CliError, match="no pod any more"):
        claims._source(objects, "x", ExtractStatus(id=UID))  # type: ignore[arg-type]
    assert asked == [{"labelSelector": f"{LABEL_UID}={UID},{LABEL_COMMAND}=extract"}]
