"""A namespace with a SnapshotStore over a real folder: an API server in memory, whose Jobs are run by the real mover in
this process."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ocore_crds.commands.base import Request
from ocore_crds.commands.list_manifests import ListManifestsRequest
from ocore_crds.commands.remove_orphans import RemoveOrphansRequest
from ocore_crds.commands.sweep import SweepRequest
from ocore_crds.protocol import Result
from ocore_kube.types import ENVIRONMENTS, JOBS, PODS, ROLLBACKS, SNAPSHOTS, STORES
from ocore_mover import requests
from ocore_mover.commands import list_manifests
from ocore_mover.commands import sweep as sweep_command
from ocore_mover.commands.runtime import Runtime, as_failure
from ocore_mover.deadline import Token
from ocore_mover.report import Reporter
from ocore_mover.store.folder import FolderStore
from ocore_mover.store.probe import probe_store
from ocore_operator.context import Context
from ocore_operator.imports import pages
from ocore_operator.imports import reconcile as import_reconcile
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, Store
from ocore_operator.settings import Settings
from ocore_operator.sweep import reconcile as sweep_reconcile
from support.operator.catalogs import new_catalog

from ..mover.contents import ENVIRONMENT, PROJECT
from .api import ApiServer, as_sent
from .jobs import document_of
from .objects import NOW, SETTINGS, at, environment_object, obj

STORE_UID = "77777777-7777-4777-8777-777777777777"


COLLECTIONS = ("environments", "snapshots", "snapshotstores", "rollbacks", "jobs", "pods", "events")


class ListingServer(ApiServer):
    """With lists, and the log of each pod."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, list[str]] = {}

    async def request(self, method: str, path: str, **options: Any) -> Object:
        if method == "GET" and path not in self.paths():
            self.requests.append((method, path))
            query: Mapping[str, str] = options.get("query") or {}
            wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
            below = (p for p in sorted(self.paths()) if p.rpartition("/")[0] == path)
            if "/namespaces/" not in path:
                kind = path.rpartition("/")[2]
                below = (p for p in sorted(self.paths()) if p.split("/")[-2] == kind)
            items = [as_sent(self._objects[p]) for p in below]
            items = [i for i in items if wanted.items() <= (i["metadata"].get("labels") or {}).items()]
            if path.rpartition("/")[2] in COLLECTIONS:
                return {"items": items, "metadata": {}}
        found = await super().request(method, path, **options)
        if method == "POST":
            meta = self._objects[f"{path}/{found['metadata']['name']}"]["metadata"]
            meta.setdefault("uid", f"uid-{found['metadata']['name']}")
            meta.setdefault("generation", 1)
            meta.setdefault("creationTimestamp", at(0))
            return as_sent(self._objects[f"{path}/{found['metadata']['name']}"])
        if method == "PATCH" and not path.endswith("/status"):
            self._objects[path]["metadata"]["generation"] = found["metadata"].get("generation", 1) + 1
            return as_sent(self._objects[path])
        return found

    async def lines(self, path: str, **_: Any) -> AsyncIterator[str]:
        for line in self.logs.get(path.split("/")[-2], []):
            yield f"2026-03-01T12:00:00Z {line}"


class Place:
    """The namespace, its operator, and the folder of the store."""

    def __init__(self, folder: Path, settings: Settings = SETTINGS) -> None:
        self.store = FolderStore(folder)
        self.store_id = probe_store(self.store).store_id
        self.api = ListingServer()
        self.catalog = new_catalog()
        self.now: datetime = NOW
        self.restart()
        self.environment()
        self.set_store(**{"import": True})
        self.ctx = cast(
            Context,
            SimpleNamespace(
                settings=settings,
                kube=self.api.client(),
                catalog=self.catalog,
                remembered=Remembered(lambda _: True),
                now=lambda: self.now,
                events=SimpleNamespace(record=lambda *_: None),
                slots=SimpleNamespace(slot=lambda *_: contextlib.nullcontext(), set_store=lambda *_: None),
            ),
        )
        self.ctx.slots.slot = _slot  # type: ignore[method-assign,assignment]

    def environment(self, id_: str = ENVIRONMENT, project: str | None = PROJECT, name: str = "shop") -> None:
        """An Environment of the namespace."""
        made = environment_object({"id": id_, "projectId": project}, uid=f"uid-{name}")
        made["metadata"]["name"] = name
        self.catalog.put("Environment", self.api.put(ENVIRONMENTS, made))

    def set_store(self, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Creates the SnapshotStore, or changes its spec."""
        status: Object = {
            "observedGeneration": 1,
            "storeId": self.store_id,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(0)}
            ],
        }
        with contextlib.suppress(KeyError):
            status = self.api.read(STORES, "shop", "store")["status"]
        made = obj("SnapshotStore", "store", {"s3": {"bucket": "snapshots"}, **spec}, status, uid=STORE_UID)
        made["metadata"]["annotations"] = annotations or {}
        self.api.put(STORES, made)

    def read_store(self) -> Store:
        """As it is now."""
        return resources.store(self.api.read(STORES, "shop", "store"))

    def snapshots(self) -> dict[str, Object]:
        """All Snapshots by id."""
        every = (self.api.read(SNAPSHOTS, "shop", p.rpartition("/")[2]) for p in self.api.paths() if "/snapshots/" in p)
        return {o["spec"].get("id") or o["metadata"]["uid"]: o for o in every}

    def rollbacks(self) -> dict[str, Object]:
        """All Rollbacks by id."""
        names = (p.rpartition("/")[2] for p in self.api.paths() if "/rollbacks/" in p)
        every = (self.api.read(ROLLBACKS, "shop", name) for name in names)
        return {o["spec"].get("id") or o["metadata"]["uid"]: o for o in every}

    def restart(self) -> None:
        """The operator forgets what it only remembers."""
        self._memories = pages.Memories()

    def step(self, run: Any = None) -> None:
        """One reconcile (None: of the import), then the Jobs that it has started."""

        async def once() -> None:
            store = self.read_store()
            step = run or partial(import_reconcile.once, self._memories)
            await step(self.ctx, store)

        asyncio.run(once())
        self.run_jobs()

    def run(self, steps: int = 40, run: Any = None) -> None:
        """Until nothing changes."""
        for _ in range(steps):
            before = (self.read_store().status, sorted(self.api.paths()))
            self.step(run)
            if (self.read_store().status, sorted(self.api.paths())) == before:
                return
            self.now += timedelta(seconds=1)
        raise AssertionError(f"it does not end: {self.read_store().status}")

    def sweep(self) -> None:
        """The same for the sweep."""
        self.run(run=sweep_reconcile.once)

    # --- Jobs ---------------------------------------------------------------------------------------------------
    def run_jobs(self) -> None:
        """Runs what has no pod yet."""
        for path in [p for p in self.api.paths() if "/jobs/" in p]:
            name = path.rpartition("/")[2]
            if name not in self.api.logs:
                self._run(name)

    def _run(self, name: str) -> None:
        job = self.api.read(JOBS, "shop", name)
        containers = job["spec"]["template"]["spec"]["containers"]
        _, request = requests.from_document(containers[0]["args"], document_of(containers))
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            result = self._command(request)
        text = result.termination_message()
        self.api.logs[name] = output.getvalue().splitlines()
        state = {"terminated": {"exitCode": 0 if result.ok else 1, "message": text, "finishedAt": at(0)}}
        self.api.put(
            PODS,
            {
                "metadata": {
                    "name": name,
                    "namespace": "shop",
                    "uid": f"pod-{name}",
                    "creationTimestamp": at(0),
                    "labels": job["metadata"]["labels"],
                    "ownerReferences": [
                        {"kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
                    ],
                },
                "status": {"phase": "Succeeded", "containerStatuses": [{"name": "mover", "state": state}]},
            },
        )

    def _command(self, request: Request) -> Result:
        runtime = Runtime(Reporter(Path("/nowhere")), Token(None))
        try:
            if isinstance(request, ListManifestsRequest):
                payload: Any = list_manifests.ListManifests(
                    runtime, self.store, request.environments, request.after
                ).run()
            elif isinstance(request, SweepRequest):
                payload = sweep_command.sweep(runtime, self.store, older_than=-10, report_id=request.report_id or "")
            else:
                assert isinstance(request, RemoveOrphansRequest)
                payload = sweep_command.remove(runtime, self.store, report_id=request.report_id, sha256=request.sha256)
        except Exception as error:
            return Result(ok=False, failure=as_failure(error), time=at(0))
        return Result(ok=True, payload=payload, time=at(0))


@contextlib.asynccontextmanager
async def _slot(*_: Any) -> AsyncIterator[Callable[[Object], None]]:
    yield lambda _: None


def as_json(value: Any) -> str:
    """For comparisons."""
    return json.dumps(value, sort_keys=True)
