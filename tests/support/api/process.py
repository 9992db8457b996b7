"""The real facade as a process of the test's own, as the chart's account with the chart's rights and under the chart's
admission policies."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.api.issuer import AUDIENCE, ISSUER, Issuer
from support.cluster.chart import Helm
from support.cluster.cluster import AS_OPERATOR, REPOSITORY, Cluster, Object, unique, wait_for
from support.ports import free_port

PACKAGES = ("crds", "kube", "api")
#: What the chart gives the facade's account, and what holds it and everyone else.
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


class FacadeProcess:
    """A running facade."""

    def __init__(self, url: str, issuer: Issuer, account: str) -> None:
        self.url = url
        self.issuer = issuer
        #: Its user name at the API server.
        self.account = account

    def client(self, subject: str = "alice", **how: Any) -> httpx.Client:
        """A client whose requests have a token."""
        return httpx.Client(base_url=self.url, headers=self.issuer.bearer(subject, **how), timeout=30)


@contextmanager
def chart_rights(cluster: Cluster, namespaces: list[str], release_namespace: str) -> Iterator[str]:
    """Applies what the chart grants; the name of the facade's service account."""
    values: Object = {
        "watchNamespaces": namespaces,
        "admissionPolicies": AS_OPERATOR,
        "api": {
            "enabled": True,
            "jwt": {"issuer": ISSUER, "audience": [AUDIENCE], "jwks": {"configMap": {"name": "keys"}}},
        },
    }
    rendered = Helm(cluster).render(values, release=unique("api"), namespace=release_namespace)
    objects = [o for o in rendered if o["kind"] in RIGHTS]
    (account,) = [
        o["metadata"]["name"]
        for o in objects
        if o["kind"] == "ServiceAccount" and o["metadata"]["name"].endswith("-api")
    ]
    cluster.apply(*objects)
    try:
        yield account
    finally:
        for obj in objects:
            cluster.delete(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace"))


def kubeconfig(cluster: Cluster, folder: Path, namespace: str, account: str) -> Path:
    """One with a token of the service account."""
    config = yaml.safe_load(Path(cluster.env["KUBECONFIG"]).read_text())
    token = cluster.kubectl("-n", namespace, "create", "token", account, "--duration=1h").strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "facade.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


@contextmanager
def running_facade(cluster: Cluster, folder: Path, namespaces: list[str]) -> Iterator[FacadeProcess]:
    """A ready facade of these namespaces. Its account is in the first one. Ended at the end of the block."""
    with chart_rights(cluster, namespaces, namespaces[0]) as account:
        issuer, port = Issuer(), free_port()
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(REPOSITORY / p) for p in PACKAGES),
            "OCORE_API_KUBECONFIG": str(kubeconfig(cluster, folder, namespaces[0], account)),
            "OCORE_API_NAMESPACES": ",".join(namespaces),
            "OCORE_API_HTTP_HOST": "127.0.0.1",
            "OCORE_API_HTTP_PORT": str(port),
            "OCORE_API_MONITORING_PORT": "0",
            "OCORE_API_JWT_ISSUER": ISSUER,
            "OCORE_API_JWT_AUDIENCE": AUDIENCE,
            "OCORE_API_JWKS_FILE": str(issuer.write_jwks(folder)),
        }
        log = folder / "facade.log"
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, "-m", "ocore_api"], env=env, stdout=out, stderr=out)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for("the facade", lambda: _ready(process, url, log), 60)
            yield FacadeProcess(url, issuer, f"system:serviceaccount:{namespaces[0]}:{account}")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def _ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"the facade ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
