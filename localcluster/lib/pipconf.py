"""Writes this machine's pip configuration to a file and prints the mounts that a build needs to use it.

pipconf.py FILE
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

TARGET = "/etc/pip.conf"


def settings() -> dict[str, str]:
    """The effective values: what stands in the environment counts most."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listing.splitlines():
            if match := re.fullmatch(rf"{section}\.([a-z-]+)=(.*)", line):
                found[match[1]] = str(ast.literal_eval(match[2]))
    return found


def main(file: Path) -> None:
    values = settings()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text("[global]\n" + "".join(f"{k} = {v.replace(chr(10), ' ')}\n" for k, v in values.items()))
    print(f"{file}:{TARGET}:ro")
    for key in ("cert", "client-cert", "find-links"):
        for path in values.get(key, "").split():
            if path.startswith("/") and Path(path).exists():
                print(f"{path}:{path}:ro")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
