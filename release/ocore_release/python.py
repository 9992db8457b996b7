"""The wheel, and `kubectl ocore` as one file.

The file is a PEX: it has the wheels of pydantic-core for each platform and version of Python, and unpacks the one that
fits at the first start. docs/decisions/0150-a-release.md.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from .source import Commit, ReleaseError

PYTHONS = ("311", "312", "313", "314")
PLATFORMS = ("manylinux2014_x86_64", "manylinux2014_aarch64", "macosx_11_0_arm64", "macosx_11_0_x86_64")
#: Of the asynchronous half of the client of Kubernetes, which the command never imports, and of Windows.
LEFT_OUT = (
    "aiohttp",
    "aiohttp-retry",
    "aiohappyeyeballs",
    "aiosignal",
    "attrs",
    "frozenlist",
    "multidict",
    "propcache",
    "yarl",
    "colorama",
)
#: What the command's file has of our wheel.
PACKAGES = ("ocore_cli/", "ocore_crds/")


def wheel(source: Path, out: Path, commit: Commit) -> Path:
    """Builds the wheel of an exported tree."""
    _run(commit, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out.resolve()), folder=source)
    (found,) = out.glob("*.whl")
    return found


def command(built: Path, requirements: Path, out: Path, folder: Path, commit: Commit, version: str) -> Path:
    """Builds `kubectl-ocore` from the wheel and its locked requirements. `folder`: for temporary files."""
    sources = folder / "cli"
    with zipfile.ZipFile(built) as packed:
        for name in packed.namelist():
            if name.startswith(PACKAGES) or ".dist-info/" in name:
                packed.extract(name, sources)
    target = out / f"kubectl-ocore-{version}"
    arguments = ["-m", "pex", "-r", str(requirements), "-D", str(sources), "-m", "ocore_cli", "-o", str(target)]
    arguments += ["--venv", "--no-build", "--no-compile", "--python-shebang", "/usr/bin/env python3"]
    arguments += [a for p in PLATFORMS for v in PYTHONS for a in ("--platform", f"{p}-cp-{v}-cp{v}")]
    arguments += [a for name in LEFT_OUT for a in ("--exclude", name)]
    _run(commit, *arguments, folder=folder)
    return target


def _run(commit: Commit, *arguments: str, folder: Path) -> None:
    # The salt of hashes decides on the order in sets.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(commit.epoch), "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(arguments[:2])} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
