"""What the tests of a release build from: images of one small layer, and a checkout that has built them."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocore_release.archive import digest


def cached(folder: Path, architecture: str) -> str:
    """Adds an image of one layer to a cache, as the local cluster's build leaves it; the image's digest."""

    def put(content: bytes) -> dict[str, Any]:
        path = folder / "oci/blobs" / digest(content).replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return {"digest": digest(content), "size": len(content)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(architecture))
    content = layer.getvalue()
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [digest(content)]},
    }
    manifest = {"schemaVersion": 2, "config": put(json.dumps(config).encode()), "layers": [put(content)]}
    return str(put(json.dumps(manifest).encode())["digest"])


#: localcluster/cluster, with the images of a cache instead of builds; what it is called with is in the file `called`.
CLUSTER = """#!/bin/sh
echo "$*" >>{folder}/called
case "$1 $2" in
  "digests --arch") arch=$3; shift 3; for name; do echo "$name=$(cat {folder}/$arch)"; done ;;
  "run-image arm64") echo "no loader" >&2; exit $(cat {folder}/code) ;;
esac
"""


def with_images(folder: Path, cache: Path) -> Path:
    """A folder whose local cluster has built each image for both platforms, in the cache."""
    (folder / "localcluster").mkdir(parents=True)
    for architecture in ("amd64", "arm64"):
        (folder / architecture).write_text(cached(cache, architecture))
    (folder / "code").write_text("0")
    (folder / "localcluster/cluster").write_text(CLUSTER.format(folder=folder))
    (folder / "localcluster/cluster").chmod(0o755)
    return folder


def committed(folder: Path) -> Callable[..., None]:
    """Makes a git checkout of the folder, with one commit of all files; a function that runs git there."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    return git
