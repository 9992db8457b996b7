"""Copies images and chart to the registry that they were built for. skopeo copies; it takes the passwords of
`skopeo login`, `docker login` or the file REGISTRY_AUTH_FILE, so no password is an argument."""

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .archive import root_of
from .source import ReleaseError

CHART = "ocore-snapshots-"
#: What skopeo says where a tag does not exist, by registry.
ABSENT = ("manifest unknown", "name unknown", "name not known", "statuscode: 404", "status code 404", "not found")
DENIED = ("unauthorized", "authentication required", "denied", "forbidden")
SECONDS = 30
#: For one image with all its platforms, over a slow line.
COPY_SECONDS = 3600


@dataclass(frozen=True)
class Registry:
    """How to reach a registry."""

    ca: str = ""
    plain: bool = False

    @classmethod
    def read(cls) -> "Registry":
        ca, plain = os.environ.get("REGISTRY_CA", ""), os.environ.get("PLAIN_HTTP", "")
        if plain not in ("", "0", "1"):
            raise ReleaseError(f"PLAIN_HTTP {plain!r} is unknown: set 1, or leave it out")
        if ca and not Path(ca).is_file():
            raise ReleaseError(
                f"REGISTRY_CA {ca!r} is not a file: give the certificates (PEM) that the registry's ends at"
            )
        if ca and plain == "1":
            raise ReleaseError("REGISTRY_CA is of no use with PLAIN_HTTP=1: leave one of them out")
        return cls(ca, plain == "1")

    def check(self, host: str) -> bool:
        """Whether the registry asks for a password. Raises ReleaseError where it is not reached as was asked."""
        url = f"{'http' if self.plain else 'https'}://{host}/v2/"
        try:
            trusted = None if self.plain else ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise ReleaseError(
                f"REGISTRY_CA {self.ca!r} is not read: {error}. Give the certificates (PEM) that the registry's ends at"
            ) from error
        try:
            urllib.request.urlopen(url, timeout=SECONDS, context=trusted).close()  # noqa: S310 - http or https
        except urllib.error.HTTPError as error:
            error.close()
            if self.plain and error.code == 400:
                raise ReleaseError(f"{host} does not answer to plain HTTP: leave PLAIN_HTTP out") from error
            return error.code == 401
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{host} is not reached: {error}{self._advice(error)}") from error
        return False

    def _advice(self, error: Exception) -> str:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            if self.ca:
                return (
                    f". REGISTRY_CA {self.ca!r} must hold the certificate of the CA that signed the registry's, and the"
                    " registry's must be valid for this name"
                )
            return ". If that registry has a CA of its own, set REGISTRY_CA to its certificate (PEM)"
        if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
            return (
                ". It does not speak TLS. PLAIN_HTTP=1 pushes over plain HTTP: others on the network can read the"
                " password and change the images"
            )
        return ""

    @contextmanager
    def options(self, prefix: str = "") -> Iterator[list[str]]:
        """skopeo's arguments; `prefix`: that of their names."""
        with tempfile.TemporaryDirectory() as folder:
            if self.ca:
                shutil.copy(self.ca, f"{folder}/ca.crt")
            yield [f"--{prefix}tls-verify={str(not self.plain).lower()}", f"--{prefix}cert-dir={folder}"]


def publish(folder: Path, registry: Registry) -> tuple[dict[str, str], bool]:
    """Copies all archives of a folder, the chart last; name with tag → digest, and whether the registry asks for a
    password. Signs each where COSIGN_KEY is set.

    A tag never changes: where one exists with other bytes, ReleaseError is raised before anything is copied. What was
    copied before an interruption is left as it is.
    """
    archives = sorted(folder.glob("*.oci.tar"), key=lambda path: (path.name.startswith(CHART), path.name))
    if not archives:
        raise ReleaseError(f"{folder} has no archives: make release")
    if not shutil.which("skopeo"):
        raise ReleaseError("skopeo is missing: install the package skopeo of your system")
    roots = {path: root_of(path) for path in archives}
    if unnamed := [path.name for path, (name, _) in roots.items() if name.startswith("localhost/")]:
        raise ReleaseError(f"{', '.join(unnamed)} was built without a registry: make release REGISTRY=…")
    asks = any(registry.check(host) for host in {name.partition("/")[0] for name, _ in roots.values()})
    missing = {}
    for path, (name, digest) in roots.items():
        found = _digest(name, registry)
        if found and found != digest:
            raise ReleaseError(
                f"{name} exists and is {found}, not {digest}: a published version never changes. Give another VERSION"
            )
        if not found:
            missing[path] = name
    for path, (name, digest) in roots.items():
        print(f"{name}@{digest}" + ("" if path in missing else " (exists)"), file=sys.stderr, flush=True)
        if path in missing:
            with registry.options("dest-") as options:
                source = f"oci-archive:{path}:{name.rpartition(':')[2]}"
                _skopeo("copy", "--quiet", "--all", "--preserve-digests", *options, source, f"docker://{name}")
            if (found := _digest(name, registry)) != digest:
                raise ReleaseError(
                    f"{name} is {found or 'absent'} after the copy, not {digest}: another push has its tag"
                )
        _sign(f"{name.rpartition(':')[0]}@{digest}", registry)
    return dict(roots.values()), asks


def _digest(name: str, registry: Registry) -> str:
    """The digest of what a tag names; empty where there is no such tag."""
    with registry.options() as options:
        try:
            manifest = _skopeo("inspect", "--raw", *options, f"docker://{name}")
        except ReleaseError as error:
            said = str(error).lower().replace(name.lower(), "")
            if any(word in said for word in ABSENT) and not any(word in said for word in DENIED):
                return ""
            raise
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def _skopeo(*arguments: str) -> bytes:
    seconds = COPY_SECONDS if arguments[0] == "copy" else 10 * SECONDS
    try:
        done = subprocess.run(["skopeo", *arguments], capture_output=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(
            f"skopeo {arguments[0]} {arguments[-1]} took more than {seconds} s and was stopped: look at the network and"
            " at the registry, then run it again. What was copied before stays"
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        host = arguments[-1].removeprefix("docker://").partition("/")[0]
        denied = any(word in said.lower() for word in DENIED)
        advice = f"\nLog in first, as a user that may push: skopeo login {host}" if denied else ""
        raise ReleaseError(f"skopeo {arguments[0]} {arguments[-1]} failed: {said}{advice}")
    return done.stdout


def _sign(name: str, registry: Registry) -> None:
    key = os.environ.get("COSIGN_KEY")
    if not key:
        return
    command = [os.environ.get("COSIGN") or "cosign", "sign", "--yes", "--key", key]
    command += ["--tlog-upload=false", "--use-signing-config=false"]
    command += [f"--registry-cacert={registry.ca}"] if registry.ca else []
    command += ["--allow-http-registry"] if registry.plain else []
    if subprocess.run([*command, name], check=False).returncode != 0:
        raise ReleaseError(f"{name} was not signed: cosign says why above")
