"""A real cluster for tests: apply, get, wait, run Jobs, read logs. Refuses any cluster that is not a local one."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError

REPOSITORY = Path(__file__).resolve().parents[3]
T = TypeVar("T")
Object = dict[str, Any]
GROUP = "ocore.dev/v1alpha1"
#: The user of the local clusters' kubeconfig.
ADMIN = "admin"
#: Values of the chart that let it write what is the operator's: for tests that play the operator, or run it as a
#: process.
AS_OPERATOR: Object = {"statusWriters": [ADMIN], "jobWriters": [ADMIN]}
#: Waits for the cluster end after so many times the seconds that they name. Those suit a machine that does nothing
#: else; a test that passes never comes to the end. A test of a limit that the product keeps measures by itself.
PATIENCE = 3
#: Whether the tests run below `tests/with-apiserver`: an API server alone.
WITHOUT_CONTROLLERS = "OCORE_TEST_KUBECONFIG" in os.environ


class TimedOutError(AssertionError):
    """A wait ended at its deadline; the message has the last thing seen."""


def wait_for(what: str, poll: Callable[[], T | None], timeout: float = 60, interval: float = 0.2) -> T:
    """The first truthy answer of `poll`; fails with the last exception or answer at the deadline (`timeout` seconds
    times PATIENCE). The pauses are of `interval` seconds, and grow up to five times that where it takes long: what is
    asked for half a minute costs as much as a Job otherwise."""
    timeout *= PATIENCE
    began = time.monotonic()
    deadline = began + timeout
    last: object = None
    while True:
        try:
            answer = poll()
            if answer:
                return answer
            last = answer
        except (ApiException, HTTPError, OSError, AssertionError) as error:
            last = error
        if time.monotonic() > deadline:
            raise TimedOutError(f"{what}: not within {timeout:.0f} s; last seen: {last!r}")
        time.sleep(interval * min(max(1.0, (time.monotonic() - began) / 10), 5.0))


def unique(prefix: str) -> str:
    """A name that no earlier run has used."""
    return f"{prefix}-{secrets.token_hex(3)}"


def cluster_env(repository: Path = REPOSITORY) -> dict[str, str]:
    """KUBECONFIG and PATH of the local cluster, as `localcluster/cluster env` prints them; below `tests/with-apiserver`
    those of its API server."""
    if WITHOUT_CONTROLLERS:
        return dict(os.environ)
    script = f'eval "$({repository}/localcluster/cluster env)"; env -0'
    output = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    return dict(item.split("=", 1) for item in output.split("\0") if "=" in item)


class Cluster:
    """The local cluster."""

    def __init__(self) -> None:
        self.env = cluster_env()
        kubeconfig = self.env["KUBECONFIG"]
        loaded = yaml.safe_load(Path(kubeconfig).read_text())
        servers = {c["cluster"]["server"] for c in loaded["clusters"]}
        if not all(s.startswith("https://127.0.0.1:") for s in servers):
            raise RuntimeError(f"tests run on a local cluster only, not on {servers}")
        self.api = config.new_client_from_config(kubeconfig)
        self.dynamic = DynamicClient(self.api)
        self.core = client.CoreV1Api(self.api)

    # --- objects -----------------------------------------------------------------------------------------
    def resource(self, kind: str) -> Any:
        """`Deployment`, `Snapshot`, … of any group; the first that fits."""
        versions = {
            "Deployment": "apps/v1",
            "StatefulSet": "apps/v1",
            "ReplicaSet": "apps/v1",
            "Job": "batch/v1",
            "CronJob": "batch/v1",
            "Lease": "coordination.k8s.io/v1",
            "Environment": GROUP,
            "SnapshotStore": GROUP,
            "Snapshot": GROUP,
            "SnapshotPolicy": GROUP,
            "Rollback": GROUP,
            "Extract": GROUP,
            "CustomResourceDefinition": "apiextensions.k8s.io/v1",
            "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
            "ClusterRole": "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
            **dict.fromkeys(("Cluster", "Database", "Pooler"), "postgresql.cnpg.io/v1"),
        }
        return self.dynamic.resources.get(api_version=versions.get(kind, "v1"), kind=kind)

    def apply(self, *objects: Object, manager: str = "test") -> None:
        """Server-side apply, forced."""
        for obj in objects:
            self.dynamic.resources.get(api_version=obj["apiVersion"], kind=obj["kind"]).server_side_apply(
                body=obj,
                name=obj["metadata"]["name"],
                namespace=obj["metadata"].get("namespace"),
                field_manager=manager,
                force_conflicts=True,
            )

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None."""
        try:
            return self._read(kind, name=name, namespace=namespace)
        except NotFoundError:
            return None

    def objects(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[Object]:
        """All objects of the kind in the namespace."""
        return list(self._read(kind, namespace=namespace, label_selector=selector)["items"])

    def _read(self, kind: str, **options: Any) -> Object:
        """The plain answer: tests poll, and the client's own objects cost more than the request. Items of a list name
        their type."""
        resource = self.resource(kind)
        answer: Object = json.loads(resource.get(serialize=False, **options).data)
        for item in answer.get("items", ()):
            item.update(apiVersion=resource.group_version, kind=resource.kind)
        return answer

    def delete(self, kind: str, name: str, namespace: str | None = None, **body: Any) -> None:
        """Deletes in the background; an absent object does not matter."""
        try:
            self.resource(kind).delete(name=name, namespace=namespace, body={"propagationPolicy": "Background", **body})
        except NotFoundError:
            return

    def patch(self, kind: str, name: str, namespace: str | None, body: Object) -> None:
        """Merge patch."""
        self.resource(kind).patch(
            body=body, name=name, namespace=namespace, content_type="application/merge-patch+json"
        )

    def patch_pods(self, kind: str, name: str, namespace: str, template: Object) -> None:
        """Changes the template of a workload's pods, by a strategic merge patch."""
        self.resource(kind).patch(
            body={"spec": {"template": template}},
            name=name,
            namespace=namespace,
            content_type="application/strategic-merge-patch+json",
        )

    def patch_status(self, kind: str, name: str, namespace: str | None, status: Object) -> None:
        """Merge patch of the status, as the operator would write it."""
        self.resource(kind).status.patch(
            body={"status": status}, name=name, namespace=namespace, content_type="application/merge-patch+json"
        )

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        user: str = "",
        groups: tuple[str, ...] = (),
    ) -> tuple[int, Object]:
        """Status and answer of a plain request, over a connection that stays open: a process of kubectl costs twenty
        times as much. `user`: in its name."""
        headers = HTTPHeaderDict({"Content-Type": content_type, "Accept": "application/json"})
        for token in self.api.configuration.auth_settings().values():  # none where a client certificate is used
            headers[token["key"]] = token["value"]
        if user:
            headers["Impersonate-User"] = user
        for group in groups:
            headers.add("Impersonate-Group", group)
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.api.configuration.host}{path}"
        answer = self.api.rest_client.pool_manager.request(method, url, body=data, headers=headers, timeout=30)
        return answer.status, json.loads(answer.data)

    def refusal(
        self,
        method: str,
        kind: str,
        namespace: str,
        name: str | None = None,
        body: object = None,
        *,
        subresource: str = "",
        dry_run: bool = True,
        **who: Any,
    ) -> str:
        """What the API server says to a write that it refuses; empty where it takes it.

        POST creates `body`, PATCH merges it, DELETE deletes the object, or all objects of the kind. `who`: as `request`
        has it.
        """
        path = self.resource(kind).path(name=name, namespace=namespace)
        path += f"/{subresource}" if subresource else ""
        path += "?dryRun=All" if dry_run else ""
        type_ = "application/merge-patch+json" if method == "PATCH" else "application/json"
        status, answer = self.request(method, path, body, content_type=type_, **who)
        return "" if status < 300 else str(answer["message"])

    def wait(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        predicate: Callable[[Object], bool],
        timeout: float = 60,
        what: str = "",
    ) -> Object:
        """The object once the predicate holds; the deadline's message has its last status."""
        found = self._watch_until(
            kind,
            name,
            namespace,
            lambda o: o is not None and predicate(o),
            timeout,
            f"{kind} {namespace}/{name} {what}",
        )
        assert found is not None
        return found

    def wait_gone(self, kind: str, name: str, namespace: str | None, timeout: float = 60) -> None:
        """Until the object does not exist."""
        self._watch_until(kind, name, namespace, lambda o: o is None, timeout, f"{kind} {namespace}/{name} gone")

    def versions(self, kind: str, name: str, namespace: str | None, seconds: int = 5) -> Iterator[Object | None]:
        """The object now, then each change of it for so many seconds; None while it does not exist. Raises what a lost
        connection raises."""
        resource = self.resource(kind)
        found = self._read(kind, namespace=namespace, field_selector=f"metadata.name={name}")
        yield next(iter(found["items"]), None)
        version = found["metadata"]["resourceVersion"]
        for event in self.dynamic.watch(resource, namespace, name, resource_version=version, timeout=seconds):
            yield None if event["type"] == "DELETED" else event["raw_object"]

    def _watch_until(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        done: Callable[[Object | None], bool],
        timeout: float,
        what: str,
    ) -> Object | None:
        timeout *= PATIENCE
        deadline = time.monotonic() + timeout
        last: Object | None = None
        failure: Exception | None = None
        while True:
            left = deadline - time.monotonic()
            try:
                with closing(self.versions(kind, name, namespace, seconds=max(1, min(5, int(left))))) as versions:
                    for last in versions:
                        failure = None
                        if done(last):
                            return last
            except (ApiException, HTTPError, OSError, AssertionError) as error:
                failure = error
                time.sleep(0.2)
            if left <= 0:
                status = json.dumps((last or {}).get("status"), indent=1, default=str)
                raise TimedOutError(f"{what}: not within {timeout:.0f} s; {failure or ''}\nstatus: {status}")

    # --- namespaces and pods -----------------------------------------------------------------------------
    def namespace(self, prefix: str) -> str:
        """A new namespace under the restricted pod security standard."""
        return self.create_namespace(unique(prefix))

    def create_namespace(self, name: str) -> str:
        """The same, of that name."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": name,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted", "ocore.dev/test": "true"},
                },
            }
        )
        if not WITHOUT_CONTROLLERS:
            self.wait("ServiceAccount", "default", name, lambda _: True, 30)
        return name

    def pods(self, namespace: str, selector: str) -> list[Object]:
        """Pods by label selector."""
        return self.objects("Pod", namespace, selector)

    def logs(self, namespace: str, pod: str, **options: Any) -> str:
        """The log of a pod's only container."""
        return str(self.core.read_namespaced_pod_log(pod, namespace, **options))

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None, timeout: float = 120) -> str:
        """kubectl of the local cluster; its stdout."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env={**os.environ, **self.env},
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def exec_in(self, namespace: str, pod: str, *command: str, timeout: float = 120) -> tuple[int, str]:
        """Runs a command in a pod's only container; exit code and output."""
        done = subprocess.run(
            ["kubectl", "-n", namespace, "exec", pod, "--", *command],
            env={**os.environ, **self.env}, text=True, capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def run_pod(
        self, namespace: str, image: str, command: list[str], *, timeout: float = 120, **spec: Any
    ) -> tuple[int, str]:
        """Runs a pod to its end; exit code and log."""
        name = unique("run")
        self.apply(pod(name, namespace, image, command, **spec))
        done = self.wait(
            "Pod", name, namespace, lambda p: p.get("status", {}).get("phase") in ("Succeeded", "Failed"), timeout
        )
        state = done["status"]["containerStatuses"][0]["state"]["terminated"]
        log = self.logs(namespace, name)
        self.delete("Pod", name, namespace)
        return int(state["exitCode"]), log


RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(
    name: str,
    namespace: str,
    image: str,
    command: list[str],
    *,
    claims: dict[str, str] | None = None,
    secrets_: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
) -> Object:
    """A restricted pod; `claims` and `secrets_` map a mount path to a claim's or Secret's name."""
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[Object] = [{"name": "tmp", "mountPath": "/tmp"}]
    for index, (path, claim) in enumerate((claims or {}).items()):
        volumes.append({"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": f"claim-{index}", "mountPath": path})
    for index, (path, secret) in enumerate((secrets_ or {}).items()):
        volumes.append({"name": f"secret-{index}", "secret": {"secretName": secret, "defaultMode": 0o440}})
        mounts.append({"name": f"secret-{index}", "mountPath": path, "readOnly": True})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": POD_SECURITY,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                    "env": [{"name": k, "value": v} for k, v in (env or {}).items()],
                    "securityContext": RESTRICTED,
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        },
    }


def condition(obj: Object, type_: str) -> Object | None:
    """A condition of a resource."""
    return next((c for c in obj.get("status", {}).get("conditions", []) if c["type"] == type_), None)


def is_true(obj: Object, type_: str) -> bool:
    """Whether a condition is True."""
    found = condition(obj, type_)
    return found is not None and found["status"] == "True"


def documents(path: Path) -> Iterator[Object]:
    """The YAML documents of a file."""
    yield from (d for d in yaml.safe_load_all(path.read_text()) if d)
