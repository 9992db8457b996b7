"""Many objects of ours at a real API server, without a pod that runs: for tests and benchmarks of the operator at
scale."""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ocore_crds.commands.snapshot import SnapshotRequest
from ocore_crds.naming import LABEL_MANAGED_BY, MANAGED_BY, MOVER_CONTAINER
from ocore_crds.protocol import FilestoreFacts, Payload, ProbeResult, Result, SnapshotResult, StoreProbeResult
from ocore_kube import types
from ocore_kube.errors import ApiError
from ocore_kube.transport import MERGE_PATCH, Transport
from ocore_kube.types import Type
from ocore_operator import clock
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object
from support.cluster.cluster import GROUP, REPOSITORY, Cluster, wait_for
from support.operator.folder import JOB_USER
from support.operator.jobs import document_of
from support.operator.process import OperatorProcess

#: Requests at the same time while objects are made.
PARALLEL = 24
#: Bytes of a Snapshot as JSON, without managedFields.
SNAPSHOT_BYTES = 5000
PROJECT = "aaaaaaaa-2222-4333-8444-555555555555"


def apply_crds(cluster: Cluster) -> None:
    """Our CRDs as they are in the checkout; they are served when this returns."""
    for crd in sorted((REPOSITORY / "crds").glob("*.yaml")):
        cluster.kubectl("apply", "--server-side", "--filename", str(crd))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(crd))
        plural = crd.stem.partition("_")[2]
        wait_for(f"{plural} served", lambda name=plural: cluster.kubectl("get", name, "-n", "default") or True, 60)


class Api:
    """The API server, for making many objects."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.kube = Kube(transport)
        self._slots = asyncio.Semaphore(PARALLEL)

    async def create(self, type_: Type, obj: Object, status: Object | None = None) -> None:
        """Creates the object, and writes its status."""
        async with self._slots:
            await self.transport.request("POST", type_.path(obj["metadata"]["namespace"]), body=obj)
            if status is not None:
                await self.status(type_, obj["metadata"]["namespace"], obj["metadata"]["name"], status)

    async def patch(self, type_: Type, namespace: str, name: str, patch: Object) -> None:
        """Merges the patch into the object."""
        async with self._slots:
            await self.transport.request("PATCH", type_.path(namespace, name), body=patch, content_type=MERGE_PATCH)

    async def status(self, type_: Type, namespace: str, name: str, status: Object) -> None:
        """Writes fields of a status."""
        path = type_.path(namespace, name, "status")
        await self.transport.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)


async def together(work: Iterable[Awaitable[None]]) -> None:
    """Runs all of it; raises the first error."""
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)  # type: ignore[arg-type]


# --- objects --------------------------------------------------------------------------------------------------------


def ours(kind: str, namespace: str, name: str, spec: Object, **metadata: Any) -> Object:
    """An object of one of our kinds."""
    return {
        "apiVersion": GROUP,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": spec,
    }


def environment(namespace: str, name: str) -> Object:
    """One with a filestore only."""
    spec = {
        "projectId": PROJECT,
        "type": "staging",
        "storeRef": {"name": "store"},
        "filestore": {"claimName": "files", "path": f"data/{name}", "layout": "Plain"},
        "jobs": JOB_USER,
    }
    return ours("Environment", namespace, name, spec)


def finished(environment_name: str, namespace: str, number: int, *, told: bool) -> tuple[Object, Object]:
    """A Complete Snapshot of SNAPSHOT_BYTES, and its status. `told`: with why it is kept, which belongs to this client
    then: the operator could not change it any more."""
    moment = clock.text(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number))
    spec = {"environmentRef": {"name": environment_name}, "retention": "Policy", "trigger": "Scheduled"}
    obj = ours("Snapshot", namespace, f"{environment_name}-{number}", spec)
    true = {"status": "True", "lastTransitionTime": moment, "observedGeneration": 1, "message": ""}
    status: Object = {
        "observedGeneration": 1,
        "phase": "Complete",
        "residue": "None",
        "startedAt": moment,
        "consistentAt": moment,
        "completedAt": moment,
        "sizes": {"storedBytes": 1_000_000},
        "conditions": [
            {"type": "Complete", "reason": "Succeeded", **true},
            {"type": "Ready", "reason": "Succeeded", **true},
        ],
        "paths": {},
    }
    if told:
        status |= {"expiresAt": "2036-01-01T00:00:00Z", "keptBy": ["keepDaily"]}
    short = SNAPSHOT_BYTES - len(json.dumps(obj)) - len(json.dumps(status))
    status["paths"] = {f"artifact-{n}": "p" * 80 for n in range(short // 100)}
    return obj, status


async def prepare(api: Api, cluster: Cluster, prefix: str) -> str:
    """A namespace with a store and a claim."""
    namespace = cluster.namespace(prefix)
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    for name in ("files", "backups"):
        await api.create(types.CLAIMS, {**claim, "metadata": {"name": name, "namespace": namespace}})
    store = ours("SnapshotStore", namespace, "store", {"claim": {"claimName": "backups", "path": "all"}})
    await api.create(types.STORES, store)
    return namespace


# --- the fake kubelet -------------------------------------------------------------------------------------------------


class FakeKubelet:
    """Runs every pod of our Jobs to its end as soon as it exists, by writing its status. A context manager.

    `held`: of a Snapshot's name whether its Job runs on and never ends.
    """

    def __init__(self, api: Api, namespaces: set[str], held: Callable[[str], bool] = lambda _: False) -> None:
        self._api = api
        self._namespaces = namespaces
        self._held = held
        self._task: asyncio.Task[None] | None = None
        self._seen: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self.answered: Counter[str] = Counter()

    async def __aenter__(self) -> "FakeKubelet":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, *self._running, return_exceptions=True)

    async def _run(self) -> None:
        selector = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
        while True:
            for namespace in self._namespaces:
                try:
                    found = await self._api.kube.list(
                        types.PODS, namespace, labels=selector, fields="status.phase=Pending"
                    )
                except ApiError:
                    continue  # the next round asks again
                for pod in found:
                    if pod["metadata"]["uid"] not in self._seen:
                        self._seen.add(pod["metadata"]["uid"])
                        task = asyncio.create_task(self._answer(pod))
                        self._running.add(task)
                        task.add_done_callback(self._running.discard)
            await asyncio.sleep(0.2)

    async def _answer(self, pod: Object) -> None:
        meta = pod["metadata"]
        now = clock.text(datetime.now(UTC))
        container: Object = {"name": MOVER_CONTAINER, "image": "x", "imageID": "x", "restartCount": 0}
        containers = pod["spec"]["containers"]
        command = next(c for c in containers if c["name"] == MOVER_CONTAINER)["args"][0]
        held = self._held(meta["annotations"]["ocore.dev/name"])
        payload = None if held else answer(command, document_of(containers), meta["uid"])
        if payload is None:
            state: Object = {"running": {"startedAt": now}}
        else:
            message = Result(ok=True, payload=payload, time=now).termination_message()
            state = {
                "terminated": {
                    "exitCode": 0,
                    "startedAt": now,
                    "finishedAt": now,
                    "message": message,
                    "reason": "Completed",
                }
            }
        status = {
            "phase": "Running" if payload is None else "Succeeded",
            "containerStatuses": [{**container, "ready": payload is None, "started": payload is None, "state": state}],
        }
        self.answered[command] += 1
        try:
            await self._api.status(types.PODS, meta["namespace"], meta["name"], status)
        except ApiError as error:
            print(f"fake kubelet: {meta['name']}: {error}", file=sys.stderr)


def answer(command: str, document: str, uid: str) -> Payload | None:
    """What the command would report; None: it runs on."""
    now = clock.text(datetime.now(UTC))
    match command:
        case "probe":
            return ProbeResult(
                filestore=FilestoreFacts(file_count=10, size_bytes=10_000, hard_links=True, free_bytes=10**12)
            )
        case "probe-store":
            return StoreProbeResult(
                store_id="00000000-0000-4000-8000-000000000001", checksums="ReadBack", conditional_writes=True
            )
        case "snapshot":
            request = SnapshotRequest.model_validate_json(document)
            return SnapshotResult(
                attempt=f"{request.attempt}-{uid}",
                identity=request.identity,
                manifest_key="manifest.json",
                manifest_sha256="0" * 64,
                store_id="00000000-0000-4000-8000-000000000001",
                started_at=now,
                consistent_at=now,
                completed_at=now,
                filestore_bytes=10_000,
                filestore_files=10,
                stored_bytes=10_000,
                checksums={"filestore": "0" * 64},
                paths={"filestore": "filestore"},
            )
    return None


def memory(operator: OperatorProcess, field: str) -> float:
    """A field of /proc/PID/status, in MB."""
    assert operator.process is not None
    text = Path(f"/proc/{operator.process.pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1000  # type: ignore[index]
