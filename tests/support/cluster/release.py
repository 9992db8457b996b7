"""The part of a release that `helm install` needs, packed by the release's own code: the chart as a file, and the
images that its values name by digest."""

import os
import shutil
import subprocess
from pathlib import Path

from ocore_release import source
from ocore_release.build import Settings, installable

from .cluster import REPOSITORY

#: Older than the checkout, which is what it is upgraded to.
VERSION = "0.0.1"


def pack(folder: Path) -> Path:
    """Writes `dist` into the folder, as `make release` does; its path. The checkout may have changes: these are packed
    too."""
    tree, out = folder / "tree", folder / "dist"
    shutil.copytree(REPOSITORY / "charts", tree / "charts")
    shutil.copy(REPOSITORY / "pyproject.toml", tree)
    source.write_version(tree, VERSION)
    out.mkdir()
    cache = Path(os.environ.get("OCORE_CACHE", Path.home() / ".cache/ocore-snapshots"))
    # The registry of the local cluster's images: nothing is pulled.
    settings = Settings(version=VERSION, cache=cache, out=out, registry="localhost", platforms=("linux/amd64",))
    commit = source.Commit("0" * 40, 1_700_000_000)
    installable(REPOSITORY, tree / "charts/ocore-snapshots", settings, commit, out)
    return out


def load(dist: Path) -> None:
    """Loads the images into the local cluster, under their names with digests."""
    archives = [str(path) for path in sorted(dist.glob("*.oci.tar")) if not path.name.startswith("ocore-snapshots-")]
    command = [str(REPOSITORY / "localcluster/cluster"), "import", *archives]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr


def chart(dist: Path) -> Path:
    """The packed chart."""
    return dist / f"ocore-snapshots-{VERSION}.tgz"
