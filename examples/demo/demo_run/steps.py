"""The steps, in their order."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from .evidence import Mark, duration, seconds_between, show_state, status_of, wait_for_outage
from .kube import NAMESPACE, OPERATOR_NAMESPACE, RELEASE, REPOSITORY, Kube, Object, fingerprint
from .output import Observation, Output, StepFailed

#: Orders that the load generator places at once, before it continues at its rate (load.yaml).
_BURST = 600
#: The first build of the cluster takes minutes.
BUILD_SECONDS = 3600.0
_OPERATION_SECONDS = 900
#: Seconds that the previous database is kept: long enough to inspect it, short enough not to pile up.
_UNDO_SECONDS = 900
DEMO = REPOSITORY / "examples/demo"


class Demo:
    """One run."""

    def __init__(self, output: Output, kube: Kube) -> None:
        self.output = output
        self.kube = kube
        stamp = datetime.now(UTC).strftime("%m%d-%H%M%S")
        self.snapshot_name = f"before-{stamp}"
        self.rollback_name = f"back-{stamp}"
        self.states: dict[str, Any] = {}

    # --- set-up ------------------------------------------------------------------------------------------
    def operator(self) -> None:
        """The chart, as a user installs it."""
        build = fingerprint("crds/ocore_crds", "operator/ocore_operator", "requirements/operator.txt")
        command = (
            "helm", "upgrade", "--install", RELEASE, str(REPOSITORY / "charts/ocore-snapshots"),
            "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
            "--set-string", f"operator.podAnnotations.demo-build={build}",
        )  # fmt: skip
        self.output.say(
            "helm upgrade --install ocore charts/ocore-snapshots --namespace ocore-system --create-namespace"
        )
        self.kube.run(*command, timeout=180)
        self.output.wait(
            "operator",
            lambda: self._workload(f"app.kubernetes.io/instance={RELEASE}", OPERATOR_NAMESPACE),
            180,
            f"kubectl -n {OPERATOR_NAMESPACE} get pods",
            f"kubectl -n {OPERATOR_NAMESPACE} logs -l app.kubernetes.io/instance={RELEASE} --tail 30",
        )

    def application(self) -> None:
        """PostgreSQL, an S3 server, the shop, and the SnapshotStore and Environment that describe them."""
        self.output.say("kubectl apply -f examples/demo/manifests/")
        build = fingerprint("examples/demo/demo_app", "requirements/demo.txt")
        files = sorted((DEMO / "manifests").glob("*.yaml"))
        self.kube.apply(files[:-1], build)
        pods = f"kubectl -n {NAMESPACE} get pods"
        for kind, name in (
            ("statefulset", "postgres"), ("deployment", "s3"), ("job", "postgres-setup"), ("job", "s3-setup"),
            ("deployment", "shop"),
        ):  # fmt: skip
            describe = f"kubectl -n {NAMESPACE} describe {kind} {name}"
            self.output.wait(name, lambda kind=kind, name=name: self._object(kind, name), 300, pods, describe)  # type: ignore[misc]
        # Last, so that the first reconcile finds everything. Applied at once it becomes Ready a little later.
        self.kube.apply(files[-1:], build)
        for kind, name, types in (
            ("snapshotstore", "backups", ("Ready",)),
            ("environment", "shop", ("Ready", "RollbackReady")),
        ):
            self.output.wait(
                f"{kind} {name}",
                lambda kind=kind, name=name, types=types: self._conditions(kind, name, types),  # type: ignore[misc]
                180,
                f"kubectl -n {NAMESPACE} describe {kind} {name}",
                f"kubectl -n {NAMESPACE} get jobs,pods",
            )

    def load(self) -> None:
        """Customers."""
        self.kube.kubectl("delete", "job", "load", "--ignore-not-found", "--wait", timeout=90)
        self.output.wait("the shop", self._free, _OPERATION_SECONDS, f"kubectl -n {NAMESPACE} get osnap,orb")
        before = self.kube.app("/api/state")["orders"]["last_id"] or 0
        self.kube.apply([DEMO / "load.yaml"], "")

        def observe() -> Observation:
            state = self.kube.app("/api/state")
            placed = (state["orders"]["last_id"] or 0) - before
            return Observation(placed >= _BURST, f"{placed} orders placed, {state['attachments']['count']} attachments")

        self.output.wait("orders", observe, 300, f"kubectl -n {NAMESPACE} logs job/load --tail 5")

    # --- the story ---------------------------------------------------------------------------------------
    def snapshot(self) -> Mark:
        """A snapshot while orders are placed, drafts deleted and garbage collected."""
        self.states["before"] = before = self.kube.app("/api/state")
        mark = Mark.take(self.kube, before)
        self.output.say(f"kubectl ocore snapshot shop --name {self.snapshot_name} --wait")
        self._operate("snapshot", "shop", "--name", self.snapshot_name)
        placed = (self.kube.app("/api/state")["orders"]["last_id"] or 0) - before["orders"]["last_id"]
        self.output.good(f"{placed} orders were placed during the snapshot: the application never stopped")
        return mark

    def damage(self) -> None:
        """Deletes orders and files: what a rollback repairs."""
        lost = self.kube.in_app("damage")
        self.output.say(
            f"a script deleted {lost['orders_deleted']} orders with {lost['attachments_deleted']} attachments,"
            f" and {lost['files_unlinked']} files were removed by hand",
            "red",
        )

        def observe() -> Observation:
            self.states["damaged"] = state = self.kube.app("/api/state")
            missing = state["attachments"]["missing"]
            return Observation(missing > 0, f"{missing} attachments without a file")

        self.output.wait("the damage in the application", observe, 60)
        show_state(self.output, "What the application holds", self.states)

    def rollback(self) -> float:
        """Rolls back to the snapshot. Returns the downtime at the HTTP port in seconds."""
        asked = datetime.now(UTC).isoformat()
        self.output.say(f"kubectl ocore rollback {self.snapshot_name} --name {self.rollback_name} --yes --wait")
        undo = ("--undo-window", str(_UNDO_SECONDS))
        self._operate("rollback", self.snapshot_name, "--name", self.rollback_name, "--yes", *undo)
        return wait_for_outage(self.output, self.kube, asked)

    def check(self, mark: Mark) -> None:
        """Compares the confirmed orders one by one, and every attachment's file byte by byte."""

        def observe() -> Observation:
            self.states["after"] = state = self.kube.app("/api/state")
            return Observation(state["attachments"]["missing"] == 0, f"{state['attachments']['missing']} files missing")

        self.output.wait("the application's own count", observe, 60)
        show_state(self.output, "What the application holds", self.states)
        self.output.say("(customers have continued to place orders since)")
        now = Mark.of(self.kube, mark.up_to)
        if now != mark:
            raise StepFailed(
                f"confirmed orders up to S{mark.up_to:05d}: {mark.confirmed} before, {now.confirmed} now, or different ones",
                f"kubectl -n {NAMESPACE} describe rollback {self.rollback_name}",
            )
        self.output.good(f"all {mark.confirmed:,} confirmed orders up to S{mark.up_to:05d} are back, unchanged")
        report = self.kube.in_app("check", timeout=300, ok=(0, 1))
        if not report["ok"]:
            raise StepFailed(
                f"check: {report['missing']} files missing, {report['size'] + report['sha1'] + report['name']} wrong,"
                f" {report['torn_orders']} orders torn: {report['examples'][:3]}",
                f"kubectl -n {NAMESPACE} exec deploy/shop -- python3 -m demo_app check",
            )
        self.output.good(
            f"not one attachment is missing: {report['rows']:,} rows, {report['files']:,} files, {report['bytes']:,} bytes read,"
            " every SHA-1 right"
        )

    def figures(self, downtime: float) -> None:
        """Timings, from the resources' own status and from the port."""
        snapshot = status_of(self.kube, "snapshot", self.snapshot_name)
        rollback = status_of(self.kube, "rollback", self.rollback_name)
        steps = [
            (f"  {s['name']}", duration(seconds_between(s, "startedAt", "completedAt")))
            for s in rollback.get("steps", [])
            if s["state"] == "Done"
        ]
        refused = rollback.get("refusedSeconds")
        self.output.table(
            "Timings",
            ("", "time"),
            [
                ("snapshot, whole", duration(seconds_between(snapshot, "startedAt", "completedAt"))),
                ("rollback, whole", duration(seconds_between(rollback, "startedAt", "completedAt"))),
                *steps,
                (
                    "application stopped (asked to stop until ready)",
                    duration(seconds_between(rollback, "quiescedAt", "readyAt")),
                ),
                ("downtime at the HTTP port (first failed to first good)", duration(downtime)),
                ("of that, the database refused connections", duration(refused if refused is None else float(refused))),
            ],
        )
        last = [e for e in self.kube.load_events() if e["event"] == "progress"][-1]
        self.output.say(
            f"The load generator placed {last['orders']:,} orders with {last['attachments']:,} attachments, deleted"
            f" {last['deleted']:,} drafts and collected garbage {last['gc_runs']} times; failed requests: {last['errors'] or 'none'}."
        )
        self.kube.kubectl("delete", "job", "load", "--ignore-not-found", "--wait=false")

    def epilogue(self) -> None:
        """Prints what to inspect, and how to remove everything."""
        self.output.say(
            f"""
Inspect it:
  eval "$(localcluster/cluster env)"; export PATH=$PWD/cli:$PATH
  kubectl -n {NAMESPACE} port-forward svc/shop 8080:8080          # then open http://127.0.0.1:8080
  kubectl -n {NAMESPACE} get oenv,ostore,osnap,orb
  kubectl -n {NAMESPACE} describe rollback {self.rollback_name}
  kubectl ocore status -n {NAMESPACE}
  kubectl -n {NAMESPACE} apply -f examples/demo/load.yaml          # customers again, for half an hour
  kubectl ocore snapshot shop -n {NAMESPACE} --wait                # your own
The previous database is kept beside the live one for {_UNDO_SECONDS // 60} minutes.

Remove it:
  make demo-clean      # the demo and the operator
  make cluster-down    # the whole cluster; nothing is left behind"""
        )

    # --- observations -------------------------------------------------------------------------------------------
    def _operate(self, *arguments: str) -> None:
        kind, name = arguments[0], arguments[arguments.index("--name") + 1]
        code = self.kube.ocore(
            *arguments, "--wait", "--timeout", str(_OPERATION_SECONDS), timeout=_OPERATION_SECONDS + 60
        )
        if code != 0:
            raise StepFailed(
                f"the {kind} failed",
                f"kubectl -n {NAMESPACE} describe {kind} {name}",
                f"kubectl -n {NAMESPACE} get jobs,pods",
                f"kubectl -n {OPERATOR_NAMESPACE} logs -l app.kubernetes.io/instance={RELEASE} --tail 50",
            )

    def _free(self) -> Observation:
        """Done when the environment is unlocked and the shop answers. (Operations of an interrupted run continue.)"""
        status = (self.kube.get("environment", "shop") or {}).get("status", {})
        operation = status.get("operation")
        if operation:
            return Observation(
                False, f"{operation['kind'].lower()} {operation['name']} of an earlier run is still running"
            )
        return Observation(True, f"{self.kube.app('/api/state')['orders']['count']} orders so far")

    def _object(self, kind: str, name: str) -> Observation:
        obj = self.kube.get(kind, name) or {}
        status = obj.get("status", {})
        if kind == "job":
            failed = next(
                (c for c in status.get("conditions", []) if c["type"] == "Failed" and c["status"] == "True"), None
            )
            if failed is not None:
                raise StepFailed(f"job {name}: {failed.get('message')}", f"kubectl -n {NAMESPACE} logs job/{name}")
            return Observation(status.get("succeeded", 0) > 0, "done" if status.get("succeeded") else "running")
        done = rolled_out(obj)
        return Observation(done, "ready" if done else self._why_not(f"app={name}"))

    def _why_not(self, selector: str, namespace: str = NAMESPACE) -> str:
        """Why the pods' containers wait or failed."""
        pods = self._list("pods", selector, namespace)
        for pod in pods:
            for container in pod.get("status", {}).get("containerStatuses", []):
                waiting = container["state"].get("waiting")
                if waiting:
                    return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
        return "starting" if pods else "no pod yet"

    def _workload(self, selector: str, namespace: str) -> Observation:
        found = self._list("deployments", selector, namespace)
        done = bool(found) and all(rolled_out(o) for o in found)
        return Observation(done, "ready" if done else self._why_not(selector, namespace))

    def _list(self, kind: str, selector: str, namespace: str) -> list[Object]:
        text = self.kube.run("kubectl", "-n", namespace, "get", kind, "-l", selector, "-o", "json")
        return list(json.loads(text)["items"])

    def _conditions(self, kind: str, name: str, types: tuple[str, ...]) -> Observation:
        obj = self.kube.get(kind, name) or {}
        found = {c["type"]: c for c in obj.get("status", {}).get("conditions", [])}
        lacking = [found.get(t) for t in types if found.get(t, {}).get("status") != "True"]
        if not lacking:
            return Observation(True, ", ".join(types))
        messages = [f"{c['type']} {c['reason']}: {c['message']}" if c else "not reconciled yet" for c in lacking]
        return Observation(False, "; ".join(messages))


def rolled_out(workload: Object) -> bool:
    """Whether every pod of a Deployment or StatefulSet is up to date and ready."""
    status = workload.get("status", {})
    replicas = status.get("replicas", 0)
    return bool(
        status.get("observedGeneration", 0) >= workload.get("metadata", {}).get("generation", 1)
        and replicas >= 1
        and status.get("updatedReplicas", 0) == replicas
        and status.get("readyReplicas", 0) == replicas
    )


def clean(output: Output, kube: Kube) -> None:
    """Removes the demo while the operator still runs (it deletes the stored data), then the operator."""
    output.heading("Removing the demo")
    started = time.monotonic()
    for plural in ("rollbacks", "snapshots", "environments", "snapshotstores"):
        kind = f"{plural}.ocore.dev"
        if not kube.run("kubectl", "get", "crd", kind, "--ignore-not-found", "-o", "name").strip():
            continue
        kube.kubectl("delete", kind, "--all", "--ignore-not-found", "--timeout=240s", timeout=270)
        output.say(f"{plural} removed")
    kube.run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=180s", timeout=200)
    output.say(f"namespace {NAMESPACE} removed")
    output.heading("Removing the operator")
    kube.run("helm", "uninstall", RELEASE, "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait", timeout=180)
    kube.run("kubectl", "delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout=150)
    output.good(
        f"removed in {time.monotonic() - started:.0f} s. The CRDs stay; `make cluster-down` removes the cluster"
    )
