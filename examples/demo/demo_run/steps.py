"""The steps, in their order."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import yaml

from .evidence import (
    COPY_FIGURES,
    Mark,
    changed_by_a_copy,
    duration,
    not_neutralised,
    outages_since,
    seconds_between,
    show_state,
    status_of,
    wait_for_outage,
)
from .kube import (
    NAMESPACE,
    OPERATOR_NAMESPACE,
    PRODUCTION,
    RELEASE,
    REPOSITORY,
    SHOPS,
    STAGING,
    Kube,
    Object,
    fingerprint,
)
from .output import Observation, Output, StepFailed
from .rest import LIFETIME, SUBJECT, VALUES, Issuer, Rest, forwarded

#: Orders that the load generator places at once, before it continues at its rate (load.yaml).
_BURST = 600
#: The first build of the cluster takes minutes.
BUILD_SECONDS = 3600.0
_OPERATION_SECONDS = 900
#: Seconds that the previous database is kept: long enough to inspect it, short enough not to pile up.
_UNDO_SECONDS = 900
#: How the refusal ends that a differential of the Snapshot causes (admission policy "needed snapshots" of the chart).
NEEDED = "delete them first"
DEMO = REPOSITORY / "examples/demo"


def token(kube: Kube) -> str:
    """A fresh token for the shop's project. Raises StepFailed where the demo is not installed."""
    shop = kube.get("environment", "shop")
    if shop is None:
        raise StepFailed("the demo is not installed: run `make demo` first")
    return Issuer.install(kube).token(shop["spec"]["projectId"])


class Demo:
    """One run."""

    def __init__(self, output: Output, kube: Kube) -> None:
        self.output = output
        self.kube = kube
        stamp = datetime.now(UTC).strftime("%m%d-%H%M%S")
        self.snapshot_name = f"before-{stamp}"
        self.rollback_name = f"back-{stamp}"
        self.copy_name = f"staging-{stamp}"
        self.undo_name = f"undo-{stamp}"
        self.redo_name = f"redo-{stamp}"
        self.states: dict[str, Any] = {}
        #: Of the damaged data.
        self.damaged: Mark | None = None
        #: Seconds without an answer at the HTTP port, by operation.
        self.downtimes: dict[str, float] = {}
        #: Seconds of the operations over REST.
        self.rest_seconds: dict[str, float] = {}
        self._issuer: Issuer | None = None

    # --- set-up ------------------------------------------------------------------------------------------
    def operator(self) -> None:
        """The chart, as a user installs it."""
        build = fingerprint(
            "crds/ocore_crds", "kube/ocore_kube", "operator/ocore_operator", "requirements/operator.txt"
        )
        api_build = fingerprint("crds/ocore_crds", "kube/ocore_kube", "api/ocore_api", "requirements/api.txt", "ui")
        # Before the facade, whose pods mount the key.
        self._issuer = Issuer.install(self.kube)
        command = (
            "helm", "upgrade", "--install", RELEASE, str(REPOSITORY / "charts/ocore-snapshots"),
            "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
            "--values", str(REPOSITORY / "localcluster/values.yaml"), "--values", str(VALUES),
            "--set-string", f"operator.podAnnotations.demo-build={build}",
            "--set-string", f"api.podAnnotations.demo-build={api_build}",
        )  # fmt: skip
        self.output.say(
            "helm upgrade --install ocore charts/ocore-snapshots --namespace ocore-system --create-namespace --values"
            " localcluster/values.yaml --values examples/demo/rest.yaml"
        )
        self.kube.run(*command, timeout=180)
        self.output.wait(
            "operator and REST facade",
            lambda: self._workload(f"app.kubernetes.io/instance={RELEASE}", OPERATOR_NAMESPACE),
            180,
            f"kubectl -n {OPERATOR_NAMESPACE} get pods",
            f"kubectl -n {OPERATOR_NAMESPACE} logs -l app.kubernetes.io/instance={RELEASE} --tail 30",
        )

    def application(self) -> None:
        """PostgreSQL, an S3 server, the shop and its staging, and the SnapshotStore and Environments that describe
        them."""
        self.output.say("kubectl apply -f examples/demo/manifests/")
        build = fingerprint("examples/demo/demo_app", "requirements/demo.txt")
        files = sorted((DEMO / "manifests").glob("*.yaml"))
        # A Job cannot be changed. One of an older version has not set up staging.
        self.kube.kubectl("delete", "job", "postgres-setup", "--ignore-not-found", "--wait", timeout=90)
        self.kube.apply(files[:-1], build)
        pods = f"kubectl -n {NAMESPACE} get pods"
        for kind, name in (
            ("statefulset", "postgres"), ("deployment", "s3"), ("job", "postgres-setup"), ("job", "s3-setup"),
            *(("deployment", shop) for shop in SHOPS),
        ):  # fmt: skip
            describe = f"kubectl -n {NAMESPACE} describe {kind}s.ocore.dev {name}"
            self.output.wait(name, lambda kind=kind, name=name: self._object(kind, name), 300, pods, describe)  # type: ignore[misc]
        # Last, so that the first reconcile finds everything. Applied at once it becomes Ready a little later.
        self.kube.apply(files[-1:], build)
        for kind, name, types in (
            ("snapshotstore", "backups", ("Ready",)),
            ("environment", "shop", ("Ready", "RollbackReady")),
            ("environment", "staging", ("Ready", "RollbackReady")),
        ):
            self.output.wait(
                f"{kind} {name}",
                lambda kind=kind, name=name, types=types: self._conditions(kind, name, types),  # type: ignore[misc]
                180,
                f"kubectl -n {NAMESPACE} describe {kind}s.ocore.dev {name}",
                f"kubectl -n {NAMESPACE} get jobs,pods",
            )

    def load(self) -> None:
        """Customers."""
        self.kube.kubectl("delete", "job", "load", "--ignore-not-found", "--wait", timeout=90)
        self.output.wait(
            "the shop",
            self._free,
            _OPERATION_SECONDS,
            f"kubectl -n {NAMESPACE} get snapshots.ocore.dev,rollbacks.ocore.dev",
        )
        self._repair()
        before = self.kube.app("/api/state")["orders"]["last_id"] or 0
        self.kube.apply([DEMO / "load.yaml"], "")

        def observe() -> Observation:
            state = self.kube.app("/api/state")
            placed = (state["orders"]["last_id"] or 0) - before
            return Observation(placed >= _BURST, f"{placed} orders placed, {state['attachments']['count']} attachments")

        self.output.wait("orders", observe, 300, f"kubectl -n {NAMESPACE} logs job/load --tail 5")

    def _repair(self) -> None:
        """Where a run ended after its damage, the damaged data is live, and no snapshot of it can be Complete: rolls
        back to the snapshot of that run."""
        missing = self.kube.app("/api/state")["attachments"]["missing"]
        if not missing:
            return
        found = [s for s in self._list("snapshots.ocore.dev", "", NAMESPACE) if _may_repair(s)]
        if not found:
            raise StepFailed(f"{missing} attachments have no file, and no snapshot has them: `make demo-clean`")
        newest = max(found, key=lambda s: str(s["metadata"]["creationTimestamp"]))["metadata"]["name"]
        name = self.rollback_name.replace("back-", "repair-")
        self.output.say(f"An earlier run ended after its damage: {missing} attachments have no file.")
        self.output.say(f"kubectl ocore rollback {newest} --name {name} --yes --wait")
        self._operate("rollback", newest, "--name", name, "--yes", "--undo-window", "0")
        self._nothing_missing(PRODUCTION)

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

    def damage(self, mark: Mark) -> None:
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
        self.damaged = Mark.of(self.kube, mark.up_to)
        show_state(self.output, "What the application holds", self.states)

    def rollback(self) -> None:
        """Rolls back to the snapshot."""
        asked = datetime.now(UTC).isoformat()
        self.output.say(f"kubectl ocore rollback {self.snapshot_name} --name {self.rollback_name} --yes --wait")
        undo = ("--undo-window", str(_UNDO_SECONDS))
        self._operate("rollback", self.snapshot_name, "--name", self.rollback_name, "--yes", *undo)
        self.downtimes["rollback"] = wait_for_outage(self.output, self.kube, asked)

    def check(self, mark: Mark) -> None:
        """Compares the confirmed orders one by one, and every attachment's file byte by byte."""
        self.states["after"] = self._nothing_missing(PRODUCTION)
        show_state(self.output, "What the application holds", self.states)
        self.output.say("(customers have continued to place orders since)")
        self._holds(mark, "are back, unchanged", self.rollback_name)
        self._every_file(PRODUCTION)

    def staging(self, mark: Mark) -> None:
        """Restores production's snapshot into staging. Compares staging with the snapshot, and production with
        itself."""
        manifest = yaml.safe_load((DEMO / "copy.yaml").read_text())
        manifest["metadata"]["name"] = self.copy_name
        manifest["spec"]["snapshotRef"]["name"] = self.snapshot_name
        text = yaml.safe_dump(manifest, sort_keys=False)
        self.output.say(f"kubectl apply -f - <<END\n{text}END\nkubectl ocore watch rollback/{self.copy_name}")
        asked = datetime.now(UTC).isoformat()
        before, pods = self.kube.app("/api/state"), self._pods()
        self.kube.kubectl("apply", "-f", "-", stdin=text)
        self._operate("watch", f"rollback/{self.copy_name}")
        copy = self._nothing_missing(STAGING)
        after = self.kube.app("/api/state")
        show_state(
            self.output,
            "What both hold",
            {"production before": before, "production now": after, "staging": copy},
            COPY_FIGURES,
        )
        describe = f"kubectl -n {NAMESPACE} describe rollbacks.ocore.dev {self.copy_name}"
        self._holds(mark, "are in staging, as the snapshot has them", self.copy_name, STAGING)
        self._every_file(STAGING)
        problem = not_neutralised(copy, after)
        if problem:
            raise StepFailed(problem, describe)
        self.output.good("staging is neutralised: mail, jobs and payments are off; it has a database.uuid of its own")
        problem = changed_by_a_copy(before, after) or (
            "" if self._pods() == pods else "a pod of production was replaced"
        )
        if problem:
            raise StepFailed(problem, describe, f"kubectl -n {NAMESPACE} get pods -l app={PRODUCTION}")
        placed = after["orders"]["last_id"] - before["orders"]["last_id"]
        # On a busy machine a request of the probe may take longer than its limit of a second. That is no downtime of
        # the rollback.
        slow = sum(o["seconds"] for o in outages_since(self.kube, asked))
        answers = f"requests failed for {slow:.1f} s" if slow else "every request was answered"
        self.output.good(f"production was not touched: the same pods, {placed:,} orders placed, {answers}")

    def undo(self, mark: Mark) -> None:
        """Undoes production's rollback: the damaged data is live again. Then undoes the undo, so that the demo ends
        with good data."""
        now = self.kube.app("/api/state")
        newer = Mark.take(self.kube, now)
        self.output.say(
            "The rollback can be undone within its undo window: the data from before it is kept. Here that is the"
            " damaged data."
        )
        undone = self._undo(self.rollback_name, self.undo_name)
        states = {"damaged": self.states["damaged"], "before the undo": now, "undone": undone}
        show_state(self.output, "What the application holds", states)
        self.output.say("(files that the rollback added stay in the filestore: fewer are missing now)")
        live = Mark.of(self.kube, mark.up_to)
        if live != self.damaged:
            raise StepFailed(
                f"confirmed orders up to S{mark.up_to:05d}: not those of the damaged data ({live.confirmed} now)",
                f"kubectl -n {NAMESPACE} describe rollbacks.ocore.dev {self.undo_name}",
            )
        self.output.good(
            f"the data from before the rollback is live again: {live.confirmed:,} of {mark.confirmed:,} confirmed"
            f" orders up to S{mark.up_to:05d}, the ones that the damage had left"
        )
        self.output.say(
            "\nAn undo can be undone too: the restored data was kept, with the orders that were placed on it."
        )
        self._undo(self.undo_name, self.redo_name)
        self._nothing_missing(PRODUCTION)
        placed = newer.up_to > self.states["after"]["orders"]["last_id"]
        later = ", those that were placed after the rollback too" if placed else ""
        self._holds(newer, f"are live again{later}", self.redo_name)
        self._every_file(PRODUCTION)

    def _undo(self, rollback: str, name: str) -> Object:
        """Undoes the rollback. Returns the application's state afterwards."""
        self.output.say(f"kubectl ocore undo {rollback} --name {name} --yes --wait")
        asked = datetime.now(UTC).isoformat()
        self._operate("undo", rollback, "--name", name, "--yes", "--undo-window", str(_UNDO_SECONDS))
        self.downtimes[name] = wait_for_outage(self.output, self.kube, asked)
        return dict(self.kube.app("/api/state"))

    def rest(self) -> None:
        """A snapshot and a rollback to it, with curl and live streams."""
        shop = self.kube.get("environment", "shop") or {}
        environment, project = shop["status"]["id"], shop["spec"]["projectId"]
        if self._issuer is None:
            raise StepFailed("the issuer of the tokens is not installed")
        self.output.say(
            f"TOKEN is a JWT of the demo's own issuer: subject {SUBJECT}, project {project}."
            " The facade reads the issuer's public key from the ConfigMap demo-issuer."
        )
        with forwarded(self.kube) as url:
            self.output.say(
                f"kubectl -n {OPERATOR_NAMESPACE} port-forward service/{RELEASE}-ocore-snapshots-api :80\nURL={url}"
            )
            rest = Rest(self.output, url, self._issuer.token(project))
            mark = Mark.take(self.kube, self.kube.app("/api/state"))
            started = time.monotonic()
            _, location = rest.request("POST", f"/environments/{environment}/snapshots")
            snapshot_id = location.rpartition("/")[2]
            rest.follow(f"/environments/{environment}/snapshots/{snapshot_id}/progress")
            self.rest_seconds["snapshot"] = time.monotonic() - started
            page, _ = rest.request("GET", f"/environments/{environment}/snapshots?limit=3")
            columns = ("status", "trigger", "totalSizeBytes", "createdAt")
            self.output.table(
                f"{page['total']} snapshots, the newest",
                ("id", *columns),
                [(f"{s['id'][:8]}…", *(str(s[c]) for c in columns)) for s in page["snapshots"]],
            )
            newest = page["snapshots"][0]
            if (newest["id"], newest["status"], newest["trigger"]) != (snapshot_id, "completed", "manual"):
                raise StepFailed(f"the list does not begin with the new snapshot {snapshot_id}: {newest}")
            started = time.monotonic()
            answer, _ = rest.request("POST", f"/environments/{environment}/rollback", {"snapshotId": snapshot_id})
            rest.follow(f"/deployments/{answer['deploymentId']}/rollback/progress")
            self.rest_seconds["rollback"] = time.monotonic() - started
            logs, _ = rest.request("GET", f"/environments/{environment}/rollback-logs")
            log = logs["rollbackLogs"][0]
            if (log["id"], log["performedBy"]) != (answer["deploymentId"], SUBJECT):
                raise StepFailed(f"the newest rollback log is not that of {answer['deploymentId']} by {SUBJECT}: {log}")
            self.output.good(f"the log of {log['id']}: {log['status']}, performed by {log['performedBy']}")
        self._nothing_missing(PRODUCTION)
        self._holds(mark, "are live, as the snapshot has them", answer["message"].split()[1])

    def figures(self) -> None:
        """Timings, from the resources' own status and from the port."""
        snapshot = status_of(self.kube, "snapshot", self.snapshot_name)
        rollback = status_of(self.kube, "rollback", self.rollback_name)
        copy = status_of(self.kube, "rollback", self.copy_name)
        undo = status_of(self.kube, "rollback", self.undo_name)
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
                ("downtime at the HTTP port (first failed to first good)", duration(self.downtimes["rollback"])),
                ("of that, the database refused connections", duration(refused if refused is None else float(refused))),
                ("rollback into staging, whole", duration(seconds_between(copy, "startedAt", "completedAt"))),
                ("undo, whole", duration(seconds_between(undo, "startedAt", "completedAt"))),
                ("downtime of the undo at the HTTP port", duration(self.downtimes[self.undo_name])),
                *((f"{what} over REST, until its final event", f"{s:.1f} s") for what, s in self.rest_seconds.items()),
            ],
        )
        last = [e for e in self.kube.load_events() if e["event"] == "progress"][-1]
        self.output.say(
            f"The load generator placed {last['orders']:,} orders with {last['attachments']:,} attachments, deleted"
            f" {last['deleted']:,} drafts and collected garbage {last['gc_runs']} times; failed requests:"
            f" {last['errors'] or 'none'}."
        )
        self.kube.kubectl("delete", "job", "load", "--ignore-not-found", "--wait=false")

    def epilogue(self) -> None:
        """Prints what to inspect, and how to remove everything."""
        self.output.say(f"""
The page: what you have just seen, by clicks
  eval "$(localcluster/cluster env)"
  kubectl -n {OPERATOR_NAMESPACE} port-forward svc/{RELEASE}-ocore-snapshots-api 8082:80
  examples/demo/run --token      # prints a token that is valid for {LIFETIME // 60} minutes
  Open http://127.0.0.1:8082/ui and paste the token to sign in. Click shop, then "Roll back to …": the page
  shows what would be set aside. Nothing starts before you type "production demo/shop" and click "Roll back now".

Inspect it:
  export PATH=$PWD/cli:$PATH
  kubectl -n {NAMESPACE} port-forward svc/shop 8080:8080          # then open http://127.0.0.1:8080
  kubectl -n {NAMESPACE} port-forward svc/shop-staging 8081:8080  # staging: http://127.0.0.1:8081
  kubectl -n {NAMESPACE} get ocore
  kubectl -n {NAMESPACE} describe rollbacks.ocore.dev {self.copy_name}
  kubectl ocore status -n {NAMESPACE}
  http://127.0.0.1:8082/docs                                      # the REST API, with the same token
  kubectl -n {NAMESPACE} apply -f examples/demo/load.yaml          # customers again, for half an hour
  kubectl ocore snapshot shop -n {NAMESPACE} --wait                # your own
The database that was live before a rollback is kept for {_UNDO_SECONDS // 60} minutes, before the one over REST for a
day (the default).

Remove it:
  make demo-clean      # the demo and the operator
  make cluster-down    # the whole cluster; nothing is left behind""")

    # --- observations -------------------------------------------------------------------------------------------
    def _operate(self, command: str, *arguments: str) -> None:
        """`kubectl ocore COMMAND`, until the operation is terminal."""
        wait = () if command == "watch" else ("--wait",)
        code = self.kube.ocore(
            command, *arguments, *wait, "--timeout", str(_OPERATION_SECONDS), timeout=_OPERATION_SECONDS + 60
        )
        if code != 0:
            kind = "snapshot" if command == "snapshot" else "rollback"
            name = arguments[arguments.index("--name") + 1] if "--name" in arguments else arguments[0].split("/")[-1]
            raise StepFailed(
                f"the {kind} {name} failed",
                f"kubectl -n {NAMESPACE} describe {kind}s.ocore.dev {name}",
                f"kubectl -n {NAMESPACE} get jobs,pods",
                f"kubectl -n {OPERATOR_NAMESPACE} logs -l app.kubernetes.io/instance={RELEASE} --tail 50",
            )

    def _nothing_missing(self, shop: str) -> Object:
        """The application's state, as soon as it counts no missing file."""
        state: Object = {}

        def observe() -> Observation:
            nonlocal state
            state = self.kube.app("/api/state", shop)
            return Observation(state["attachments"]["missing"] == 0, f"{state['attachments']['missing']} files missing")

        self.output.wait(f"{shop}: the application's own count", observe, 60)
        return state

    def _holds(self, mark: Mark, where: str, rollback: str, shop: str = PRODUCTION) -> None:
        """Raises StepFailed unless the shop has exactly the mark's confirmed orders."""
        now = Mark.of(self.kube, mark.up_to, shop)
        if now != mark:
            raise StepFailed(
                f"confirmed orders up to S{mark.up_to:05d}: {mark.confirmed} before, {now.confirmed} now, or different"
                " ones",
                f"kubectl -n {NAMESPACE} describe rollbacks.ocore.dev {rollback}",
            )
        self.output.good(f"all {mark.confirmed:,} confirmed orders up to S{mark.up_to:05d} {where}")

    def _every_file(self, shop: str) -> None:
        """Reads every attachment. Raises StepFailed if a file is missing or wrong."""
        report = self.kube.in_app("check", shop=shop, timeout=300, ok=(0, 1))
        if not report["ok"]:
            raise StepFailed(
                f"check: {report['missing']} files missing, {report['size'] + report['sha1'] + report['name']} wrong,"
                f" {report['torn_orders']} orders torn: {report['examples'][:3]}",
                f"kubectl -n {NAMESPACE} exec deploy/{shop} -- python3 -m demo_app check",
            )
        self.output.good(
            f"not one attachment is missing: {report['rows']:,} rows, {report['files']:,} files, {report['bytes']:,}"
            " bytes read, every SHA-1 right"
        )

    def _pods(self) -> set[tuple[str, int]]:
        """Production's pods, with the number of restarts."""
        return {
            (pod["metadata"]["uid"], sum(c["restartCount"] for c in pod["status"].get("containerStatuses", [])))
            for pod in self._list("pods", f"app={PRODUCTION}", NAMESPACE)
            if "deletionTimestamp" not in pod["metadata"]
        }

    def _free(self) -> Observation:
        """Done when both environments are unlocked and the shop answers. (Operations of an interrupted run
        continue.)"""
        for name in ("shop", "staging"):
            operation = (self.kube.get("environment", name) or {}).get("status", {}).get("operation")
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


def _may_repair(snapshot: Object) -> bool:
    """Whether it is one of a run's, from before the damage."""
    conditions = snapshot.get("status", {}).get("conditions", [])
    is_complete = any((c["type"], c["status"]) == ("Complete", "True") for c in conditions)
    return is_complete and str(snapshot["metadata"]["name"]).startswith("before-")


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


def remove_all(kube: Kube, kind: str, seconds: float = 300) -> None:
    """Deletes all objects of a kind, in rounds: the deletion of a full snapshot is refused until its differentials are
    gone. Raises StepFailed after `seconds`, and for any other refusal at once."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            kube.kubectl("delete", kind, "--all", "--ignore-not-found", "--timeout=240s", timeout=270)
        except StepFailed as error:
            if NEEDED not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def clean(output: Output, kube: Kube) -> None:
    """Removes the demo while the operator still runs (it deletes the stored data), then the operator."""
    output.heading("Removing the demo")
    started = time.monotonic()
    for plural in ("rollbacks", "snapshots", "environments", "snapshotstores"):
        kind = f"{plural}.ocore.dev"
        if not kube.run("kubectl", "get", "crd", kind, "--ignore-not-found", "-o", "name").strip():
            continue
        remove_all(kube, kind)
        output.say(f"{plural} removed")
    kube.run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=180s", timeout=200)
    output.say(f"namespace {NAMESPACE} removed")
    output.heading("Removing the operator")
    kube.run("helm", "uninstall", RELEASE, "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait", timeout=180)
    kube.run("kubectl", "delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout=150)
    output.good(
        f"removed in {time.monotonic() - started:.0f} s. The CRDs stay; `make cluster-down` removes the cluster"
    )
