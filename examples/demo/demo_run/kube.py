"""The local cluster, through kubectl and helm. Never a cluster that localcluster/cluster did not create."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from .output import StepFailed, Unavailable

REPOSITORY = Path(__file__).resolve().parents[3]
CLUSTER = REPOSITORY / "localcluster/cluster"
NAMESPACE = "demo"
OPERATOR_NAMESPACE = "ocore-system"
RELEASE = "ocore"
#: The Deployments and Services of the application: production and staging.
PRODUCTION, STAGING = SHOPS = ("shop", "shop-staging")
Object = dict[str, Any]
#: Seconds in which a command ends after SIGTERM.
_END_SECONDS = 30


def cluster_environment() -> dict[str, str] | None:
    """KUBECONFIG and PATH of the local cluster; None if it does not run."""
    script = 'set -e; exports=$("$0" env); eval "$exports"; env -0'
    done = subprocess.run(["bash", "-c", script, str(CLUSTER)], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        return None
    return dict(item.split("=", 1) for item in done.stdout.split("\0") if "=" in item)


def fingerprint(*paths: str) -> str:
    """Digest of an image's files. A change replaces the pods, though the image tag stays `dev`."""
    digest = hashlib.sha256()
    files = [
        f for p in paths for f in sorted((REPOSITORY / p).rglob("*")) if f.is_file() and "__pycache__" not in f.parts
    ]
    for file in files:
        digest.update(str(file.relative_to(REPOSITORY)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command with all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_END_SECONDS)


class Kube:
    """Commands against the cluster. Each has a deadline; a failure raises StepFailed with the command's output."""

    def __init__(self, env: dict[str, str], *, plain: bool) -> None:
        self.env = {**env, **({"TERM": "dumb", "NO_COLOR": "1"} if plain else {})}

    def run(self, *command: str, stdin: str | None = None, timeout: float = 60, ok: tuple[int, ...] = (0,)) -> str:
        """The command's stdout."""
        try:
            done = subprocess.run(
                command, env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"{' '.join(command[:6])} …: not finished after {timeout:.0f} s") from error
        if done.returncode not in ok:
            raise StepFailed(f"{' '.join(command[:8])}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def show(self, *command: str, timeout: float) -> int:
        """Runs the command with its output on the terminal. Returns its exit code."""
        try:
            return subprocess.run(command, env=self.env, timeout=timeout, check=False).returncode
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"{' '.join(command[:6])}: not finished after {timeout:.0f} s") from error

    def show_beside(self, *commands: tuple[str, ...], timeout: float) -> tuple[str, ...] | None:
        """Runs the commands beside each other, with their messages on the terminal. Returns the first that fails, and
        ends the others; None: none did."""
        left = {
            command: subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, start_new_session=True)
            for command in commands
        }
        until = time.monotonic() + timeout
        try:
            while left:
                for command, process in list(left.items()):
                    if process.poll():
                        return command
                    if process.returncode == 0:
                        del left[command]
                if time.monotonic() >= until:
                    raise StepFailed(f"{' '.join(next(iter(left))[:6])}: not finished after {timeout:.0f} s")
                time.sleep(0.1)
            return None
        finally:
            for process in left.values():
                _end(process)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """kubectl in the demo's namespace."""
        return self.run("kubectl", "-n", NAMESPACE, *arguments, stdin=stdin, timeout=timeout)

    def get(self, kind: str, name: str) -> Object | None:
        """An object; None if it does not exist."""
        text = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        return dict(json.loads(text)) if text.strip() else None

    def apply(self, files: list[Path], build: str) -> None:
        """The files' manifests; Deployments of the demo's own image carry the build's fingerprint."""
        objects = [d for f in files for d in yaml.safe_load_all(f.read_text()) if d]
        for obj in objects:
            if obj["kind"] == "Deployment" and obj["metadata"]["name"] in SHOPS:
                obj["spec"]["template"]["metadata"].setdefault("annotations", {})["demo-build"] = build
        self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}), timeout=120
        )

    def app(self, path: str, shop: str = PRODUCTION) -> Any:
        """JSON of the application's API, through the API server's own proxy: no port needs to be forwarded.

        Raises Unavailable if it does not answer.
        """
        try:
            raw = f"/api/v1/namespaces/{NAMESPACE}/services/{shop}:http/proxy{path}"
            return json.loads(self.run("kubectl", "get", "--raw", raw))
        except StepFailed as error:
            raise Unavailable(f"{shop} does not answer: {error}", *error.look_at) from error

    def in_app(self, *arguments: str, shop: str = PRODUCTION, timeout: float = 120, ok: tuple[int, ...] = (0,)) -> Any:
        """JSON that a command of the application prints, run in its pod."""
        command = ("kubectl", "-n", NAMESPACE, "exec", f"deploy/{shop}", "--", "python3", "-m", "demo_app", *arguments)
        return json.loads(self.run(*command, timeout=timeout, ok=ok))

    def load_events(self) -> list[Object]:
        """The load generator's log lines so far."""
        lines = self.kubectl("logs", "job/load").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def ocore(self, *arguments: str, timeout: float) -> int:
        """`kubectl ocore`, with its progress on the terminal; its exit code."""
        return self.show("kubectl", "ocore", *arguments, "-n", NAMESPACE, timeout=timeout)


def with_plugin(env: dict[str, str]) -> dict[str, str]:
    """The environment with the checkout's `kubectl ocore` on the PATH."""
    return {**env, "PATH": f"{REPOSITORY}/cli:{env.get('PATH', os.defpath)}"}
