"""What an Extract has put into a store on a claim, read by a pod of the caller that mounts the claim read-only.

The caller's own rights decide: to create pods, and ``pods/exec``. kubectl carries the bytes, because it knows the
protocol of ``exec``.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.text import Text

from ocore_crds.naming import LABEL_COMMAND, LABEL_UID, MOVER_CONTAINER
from ocore_crds.reports.extracted import Extracted
from ocore_crds.resources.extract import ExtractStatus
from ocore_crds.resources.snapshotstore import Claim

from .errors import CliError, TimedOut
from .interrupts import pause
from .objects import Object, Objects, items

#: Seconds after which the kubelet ends the pod, where this process was killed.
DEADLINE = 3600
#: Seconds in which the pod must start.
START = 120.0
#: Seconds before the wait says what it waits for, and between two reads.
QUIET, PAUSE = 3.0, 0.5
CONTAINER = "reader"
_MOUNT = "/store"
_CHUNK = 1024 * 1024
#: Of the security context of the Job's pod: whose files the claim has. Nothing that gives rights.
_IDENTITY = (
    "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "supplementalGroups", "seLinuxOptions",
)  # fmt: skip


def need_kubectl() -> str:
    """The path of kubectl. Raises CliError where it is not on the PATH."""
    found = shutil.which("kubectl")
    if found is None:
        raise CliError("a store on a claim is read by kubectl exec: install kubectl, or add it to the PATH")
    return found


def read(
    objects: Objects, notes: Console, extract: str, status: ExtractStatus, claim: Claim, *, start: float = START
) -> Iterator[bytes]:
    """What the Extract has made, in chunks. `start`: seconds in which the pod must start. Raises CliError."""
    key = (status.result or Extracted()).key or ""
    path = "/".join(part for part in (_MOUNT, claim.path, key) if part)
    with _pod(objects, body(_source(objects, extract, status), claim.claim_name)) as name:
        _wait(objects, notes, name, start)
        program = [need_kubectl(), *objects.flags, "-n", objects.namespace, "exec", name, "-c", CONTAINER]
        yield from _output([*program, "--", "cat", "--", path])


def body(source: Object, claim: str) -> Object:
    """The pod, with image, user and node of a pod of the Extract's Job. That one may be forged: nothing else of it is
    believed. Pure."""
    spec = source["spec"]
    image = next(each["image"] for each in spec["containers"] if each["name"] == MOVER_CONTAINER)
    context = {k: v for k, v in (spec.get("securityContext") or {}).items() if k in _IDENTITY}
    pod: Object = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {**context, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "command": ["sleep", str(DEADLINE)],
                "resources": {
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"cpu": "1", "memory": "64Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "store", "mountPath": _MOUNT, "readOnly": True}],
            }
        ],
        "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": claim}}],
        "imagePullSecrets": spec.get("imagePullSecrets") or [],
        "tolerations": spec.get("tolerations") or [],
    }
    if node := spec.get("nodeName"):  # that has the claim, which others may not be able to mount
        fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
        needed = {"nodeSelectorTerms": [{"matchFields": fields}]}
        pod["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": needed}}
    # Neither labels nor an owner of ours: the chart's policy on writers refuses them to everyone but the operator.
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "ocore-reader-"}, "spec": pod}


def _pods(objects: Objects) -> str:
    return f"/api/v1/namespaces/{objects.namespace}/pods"


def _source(objects: Objects, extract: str, status: ExtractStatus) -> Object:
    """The newest pod of the Extract's Job, which stays for some minutes after its end."""
    query = {"labelSelector": f"{LABEL_UID}={status.id},{LABEL_COMMAND}=extract"}
    found = [
        pod
        for pod in items(objects.read(_pods(objects), query))
        if any(each["name"] == MOVER_CONTAINER for each in pod["spec"]["containers"])
    ]
    if not found:
        raise CliError(f"extract/{extract} has no pod any more, which the image of the mover is read from. Try again")
    return max(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))


@contextmanager
def _pod(objects: Objects, wanted: Object) -> Iterator[str]:
    """The name of the pod, which is deleted after the block."""
    made = objects.post(_pods(objects), wanted)
    if made is None:
        raise CliError(f"namespace {objects.namespace} does not exist. List all: kubectl get namespaces")
    name = str(made["metadata"]["name"])
    try:
        yield name
    finally:
        with suppress(CliError):  # it ends at its deadline
            objects.remove(f"{_pods(objects)}/{name}")


def _wait(objects: Objects, notes: Console, name: str, start: float) -> None:
    """Returns once the container runs. Raises CliError."""
    began, shown = time.monotonic(), ""
    while True:
        pod = objects.read(f"{_pods(objects)}/{name}")
        if pod is None:
            raise CliError(f"pod/{name} was deleted by another client. Try again")
        status = pod.get("status") or {}
        (state,) = [each.get("state") or {} for each in status.get("containerStatuses") or ()] or [{}]
        if "running" in state:
            return
        text = _waits_for(status, state)
        if status.get("phase") in ("Failed", "Succeeded"):
            raise CliError(f"pod/{name}, which reads the store, has ended: {text}")
        if time.monotonic() - began > start:
            raise TimedOut(f"pod/{name}, which reads the store, has not started after {start:.0f} s: {text}")
        if text != shown and time.monotonic() - began > QUIET:
            notes.print(Text(f"pod/{name}: {text}", style="dim"), soft_wrap=True)
            shown = text
        pause(PAUSE)


def _waits_for(status: Object, state: dict[str, Any]) -> str:
    """Why the container does not run, as Kubernetes reports it."""
    for found in (state.get("waiting"), state.get("terminated"), status, *(status.get("conditions") or ())):
        if found and found.get("message"):
            return f"{found.get('reason') or found.get('phase') or ''}: {found['message']}".removeprefix(": ")
    return str((state.get("waiting") or {}).get("reason") or status.get("reason") or "it waits for its node")


def _output(program: list[str]) -> Iterator[bytes]:
    """What the program writes, in chunks. Raises CliError with its errors if it fails."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            while process.stdout is not None and (chunk := process.stdout.read(_CHUNK)):
                yield chunk
        except BaseException:  # the caller has enough, too: a generator that is closed
            process.kill()
            raise
        if process.wait() != 0:
            errors.seek(0)
            said = errors.read(4096).decode(errors="replace").strip()
            raise CliError(f"kubectl exec has failed with exit code {process.returncode}: {said}")
