"""Writes this machine's pip configuration, and the files it names, to a folder that a build mounts at /mnt.

pipconf.py FOLDER

The interpreter must be able to import pip. Where Debian's python3-pip is not installed: PYTHONPATH=PIP_WHEEL.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

MOUNT = "/mnt"


def settings() -> dict[str, str]:
    """The effective values: environment variables take precedence."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listing.splitlines():
            if match := re.fullmatch(rf"{section}\.([a-z-]+)=(.*)", line):
                found[match[1]] = str(ast.literal_eval(match[2]))
    return found


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    lines = ["[global]"]
    for key, value in settings().items():
        words = value.split()
        if key in ("cert", "client-cert", "find-links"):
            words = [copied(Path(w), folder) if w.startswith("/") and Path(w).exists() else w for w in words]
        lines.append(f"{key} = {' '.join(words)}")
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")


def copied(path: Path, folder: Path) -> str:
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copy(path, target)
    return f"{MOUNT}/{path.name}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
