"""The images as OCI archives: the layers that the local cluster's build made, compressed, with labels."""

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .archive import Json, Layout, encoded
from .source import Commit, ReleaseError

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
#: What images can be built for, as OCI names it.
PLATFORMS = ("linux/amd64", "linux/arm64")
#: What they are built for if nothing else is given. No release with arm64 has been built yet (docs/releasing.md).
DEFAULT = ("linux/amd64",)
TITLES = {
    "operator": "Operator of ocore-snapshots",
    "api": "REST facade of ocore-snapshots",
    "cli": "kubectl ocore",
    "mover": "Jobs of ocore-snapshots",
}
#: Imports each module of a package, and so each native module that its code uses.
IMPORTS = "import pkgutil, {0}; [__import__(m.name) for m in pkgutil.walk_packages({0}.__path__, '{0}.')]"
#: Each module of the virtual environment has a compiled file, which the image's Python takes: another one may have
#: written it.
COMPILED = """
import importlib.util, pathlib, sys
sources = [p for folder in ("lib", "app") for p in pathlib.Path(sys.prefix, folder).rglob("*.py")]
missing = [str(p) for p in sources if not (c := pathlib.Path(importlib.util.cache_from_source(str(p)))).exists()
  or c.open("rb").read(4) != importlib.util.MAGIC_NUMBER]
sys.exit(f"not compiled for Python {sys.version}: {missing[:5]}" if missing or not sources else 0)
"""
#: Programs of an image that end at once.
PROGRAMS = {
    "cli": "python3 -m ocore_cli --help",
    "mover": "/usr/lib/postgresql/*/bin/pg_dump --version; zstd --version; python3 -m ocore_mover --help",
}


def checked_platforms(given: str) -> tuple[str, ...]:
    """Platforms that are separated by commas, the default where none is given. Raises ReleaseError for what is none."""
    names = {name.strip() for name in given.split(",")} - {""} or set(DEFAULT)
    if unknown := names - set(PLATFORMS):
        raise ReleaseError(
            f"PLATFORMS has {', '.join(sorted(unknown))}: give one or several of {', '.join(PLATFORMS)}, separated by"
            " commas"
        )
    return tuple(name for name in PLATFORMS if name in names)


def built(repository: Path, platform: str, names: Iterable[str]) -> dict[str, str]:
    """Builds images for a platform; name with tag → the digest of its manifest in the cache."""
    command = [str(repository / "localcluster/cluster"), "digests", "--arch", _processor(platform), *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"the images for {platform} could not be built; the lines above say why")
    return dict(line.rsplit("=", 1) for line in done.stdout.split())


def start(repository: Path, archive: Path, platform: str) -> None:
    """Starts the image for a platform out of its archive. Raises ReleaseError where that fails."""
    name = archive.name.partition("-")[0]
    command = [str(repository / "localcluster/cluster"), "run-image", _processor(platform), str(archive)]
    steps = f'python3 -c "$0"; python3 -c "$1"; {PROGRAMS.get(name, "")}'
    command += ["sh", "-ec", steps, COMPILED, IMPORTS.format(f"ocore_{name}")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"the image in {archive.name} does not start on {platform}:\n{done.stdout[-4000:]}")


def _processor(platform: str) -> str:
    return platform.partition("/")[2]


def labels(name: str, major: str, version: str, commit: Commit, source: str) -> dict[str, str]:
    """Labels of the OCI image specification. `source`: the URL of the repository, or empty."""
    prefix = "org.opencontainers.image."
    found = {
        f"{prefix}title": TITLES[name] + (f", with the clients of PostgreSQL {major}" if major else ""),
        f"{prefix}version": version,
        f"{prefix}revision": commit.id,
        f"{prefix}created": commit.created,
        f"{prefix}licenses": "Apache-2.0",
    }
    return found | ({f"{prefix}source": source} if source else {})


def image(cache: Path, manifest_digest: str, layout: Layout, described: dict[str, str], platform: str) -> Json:
    """Adds an image of the cache's layout to another one; the descriptor of its manifest. Raises ReleaseError where it
    is for another platform.

    Time and layers stay as they were built, so that the layers that a version does not change are not pulled again.
    """
    manifest = json.loads(_blob(cache / "oci", manifest_digest).read_bytes())
    config = json.loads(_blob(cache / "oci", manifest["config"]["digest"]).read_bytes())
    if (found := f"{config['os']}/{config['architecture']}") != platform:
        raise ReleaseError(f"the image {manifest_digest} is for {found}, not for {platform}")
    config["config"]["Labels"] = described
    layers = [layout.add(compressed(cache, layer), LAYER) for layer in manifest["layers"]]
    root = layout.manifest(config=layout.add(encoded(config), CONFIG), layers=layers, annotations=described)
    return root | {"platform": {key: config[key] for key in ("architecture", "os", "variant") if key in config}}


def compressed(cache: Path, described: Json) -> Path:
    """A layer of the cache as gzip; kept there, because most layers are those of the last release."""
    layer, kind = described["digest"], described.get("mediaType", "")
    if kind.endswith("gzip"):
        return _blob(cache / "oci", layer)
    if kind.endswith("zstd"):
        raise ReleaseError(f"the layer {layer} is compressed with zstd: build the images with gzip or uncompressed")
    target = _blob(cache / "oci-gzip", layer)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_suffix(f".{os.getpid()}")
        with (
            _blob(cache / "oci", layer).open("rb") as source,
            half.open("wb") as out,
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=out, mtime=0) as packed,
        ):
            shutil.copyfileobj(source, packed, 1 << 20)
        half.rename(target)
    return target


def archive(layout: Layout, images: list[Json], target: Path, *, name: str, tag: str, commit: Commit) -> str:
    """Writes one image, for one or several platforms; its digest."""
    root = images[0] if len(images) == 1 else layout.index(images)
    layout.write(target, root, tag=tag, name=f"{name}:{tag}", epoch=commit.epoch)
    return str(root["digest"])


def _blob(layout: Path, name: str) -> Path:
    return layout / "blobs" / name.replace(":", "/")
