"""Builds the images with Docker, where buildah or root is missing, into the cache's OCI layout, as
`localcluster/cluster digests` does. Not run in our tests with Docker itself, which cannot run there."""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .archive import digest
from .source import ReleaseError

#: Debian of a major; the Containerfile's own has the others, or PGDG has them.
SUITES = {"15": "bookworm"}


def chosen() -> bool:
    """Whether images are built with Docker: buildah needs root."""
    return bool(shutil.which("docker")) and not (shutil.which("buildah") and os.geteuid() == 0)


def built(repository: Path, cache: Path, platform: str, names: Iterable[str], pgdg: str) -> dict[str, str]:
    """Builds images for a platform; name with tag → the digest of its manifest in the cache."""
    if subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode != 0:
        raise ReleaseError("Docker has no Buildx, which the Containerfiles need: install its plugin (docker-buildx)")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        for image in names:
            _run(repository, *_build(repository, image, platform, pgdg))
            _run(repository, "save", "--output", str(archive), _tag(image))
            found[image] = _keep(archive, cache / "oci/blobs", platform)
    return found


def _tag(image: str) -> str:
    return f"ocore-snapshots-build/{image}"


def _build(repository: Path, image: str, platform: str, pgdg: str) -> list[str]:
    name, _, tag = image.partition(":")
    # Attestations would make an index of each image.
    command = ["build", "--platform", platform, "--provenance=false", "--sbom=false", "--tag", _tag(image)]
    command += ["--file", f"images/{name}/Containerfile"]
    if name == "mover":
        command += ["--build-arg", f"PG_MAJOR={tag}"]
        command += ["--build-arg", f"BASE_IMAGE=debian:{SUITES[tag]}-slim"] if tag in SUITES else []
        command += ["--build-arg", f"PGDG_URL={pgdg}"] if pgdg and tag not in ("15", "17") else []
    if name == "api":
        page = subprocess.run(["make", "-s", "ui"], cwd=repository, stdout=subprocess.PIPE, text=True, check=False)
        if page.returncode != 0:
            raise ReleaseError("the page of the image api was not built; the lines above say why (npm is needed)")
        command += ["--build-context", f"ui={page.stdout.split()[-1]}"]
    return [*command, "."]


def _run(repository: Path, *arguments: str) -> None:
    if subprocess.run(["docker", *arguments], cwd=repository, stdout=2, check=False).returncode != 0:
        raise ReleaseError(f"docker {arguments[0]} {arguments[-1]} failed; the lines above say why")


def _keep(archive: Path, blobs: Path, platform: str) -> str:
    """Copies the blobs of an image that `docker save` wrote; the digest of its manifest."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> Any:
            member = tar.extractfile(name)
            return json.load(member) if member else None

        if "index.json" not in tar.getnames():
            raise ReleaseError("docker save wrote no OCI layout: Docker 25 or newer is needed")
        entries = read("index.json")["manifests"]
        while "manifests" in (found := read(_path(entries[0]["digest"]))):
            entries = [m for m in found["manifests"] if _platform(m) == platform]
            if not entries:
                raise ReleaseError(f"docker save wrote no image for {platform}")
        for each in (entries[0], found["config"], *found["layers"]):
            target = blobs / each["digest"].replace(":", "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            half = target.with_suffix(".half")
            with tar.extractfile(_path(each["digest"])) as source, half.open("wb") as out:  # type: ignore[union-attr]
                shutil.copyfileobj(source, out, 1 << 20)
            if digest(half) != each["digest"]:
                raise ReleaseError(f"docker save wrote other bytes than {each['digest']}")
            half.rename(target)
        return str(entries[0]["digest"])


def _path(name: str) -> str:
    return "blobs/" + name.replace(":", "/")


def _platform(entry: dict[str, Any]) -> str:
    return "{os}/{architecture}".format(**entry.get("platform", {"os": "", "architecture": ""}))
