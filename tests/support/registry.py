"""A registry on loopback: Debian's docker-registry, which `make docker-registry` unpacks."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from support.cluster.cluster import REPOSITORY
from support.mover.certificates import Authority

USER, PASSWORD = "team", "pull and push"
#: bcrypt of the password, the only kind that it reads; with few rounds.
HTPASSWD = f"{USER}:$2b$04$p/Swdn3zuSF5BrittK7MG.vSqo0IUd8CEL9uJG7PPyWL8JdO8nptK\n"


@dataclass(frozen=True)
class Served:
    """A registry that runs. `ca`: the certificate of its authority; without one it speaks plain HTTP."""

    host: str
    ca: Path | None
    #: Of a login that may push and pull.
    login: Path
    data: Path

    def tags(self) -> set[str]:
        """Each tag, as repository:tag."""
        found = (self.data / "docker/registry/v2/repositories").rglob("_manifests/tags/*")
        root = self.data / "docker/registry/v2/repositories"
        return {f"{p.parents[2].relative_to(root)}:{p.name}" for p in found if p.parent.name == "tags"}

    def digest(self, tag: str) -> str:
        """Of what a tag names."""
        name, _, tag = tag.rpartition(":")
        link = self.data / "docker/registry/v2/repositories" / name / "_manifests/tags" / tag / "current/link"
        return link.read_text()

    def blob(self, digest: str) -> bytes:
        """A blob, or a manifest."""
        found = digest.removeprefix("sha256:")
        return (self.data / f"docker/registry/v2/blobs/sha256/{found[:2]}/{found}/data").read_bytes()


def program() -> Path:
    """Its path; fetches it where it is missing, with skopeo."""
    cache = Path(os.environ.get("OCORE_CACHE") or Path.home() / ".cache/ocore-snapshots")
    path = cache / "docker-registry/docker-registry"
    # skopeo is there where `make test` runs: only a single test may have to install it.
    subprocess.run(["make", "-s", "-C", str(REPOSITORY), "docker-registry", "skopeo"], check=True, timeout=300,
                   stdout=subprocess.DEVNULL, env={**os.environ, "MAKEFLAGS": ""})  # fmt: skip
    return path


@contextmanager
def served(folder: Path, *, tls: bool, password: bool, address: str = "127.0.0.1") -> Iterator[Served]:
    """Runs one, on a free port, with its data in the folder."""
    folder.mkdir(parents=True)
    http, auth, ca = {"addr": f"{address}:0"}, {}, None
    if tls:
        authority = Authority(folder / "authority")
        issued = authority.issue("registry", f"IP:{address}")
        ca = authority.certificate
        http["tls"] = {"certificate": str(issued.certificate), "key": str(issued.key)}  # type: ignore[assignment]
    if password:
        (folder / "htpasswd").write_text(HTPASSWD)
        auth = {"auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}}
    storage = {
        "filesystem": {"rootdirectory": str(folder / "data")},
        "maintenance": {"uploadpurging": {"enabled": False}},
    }
    (folder / "config.yml").write_text(json.dumps({"version": 0.1, "storage": storage, "http": http, **auth}))
    command = [str(program()), "serve", str(folder / "config.yml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"listening on ([\d.]+:\d+)", line):
                break
        else:
            raise AssertionError("".join(lines))
        Thread(target=process.stderr.read, daemon=True).start()  # it must not wait for a reader
        login = folder / "login.json"
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        login.write_text(json.dumps({"auths": {found[1]: {"auth": pair}}}))
        yield Served(found[1], ca, login, folder / "data")
    finally:
        process.kill()
        process.wait(timeout=30)
