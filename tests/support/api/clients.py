"""Clients of the REST API in TypeScript (tests/clients): generated from docs/openapi.json, checked by the compiler, run
by Node.js."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCES = REPOSITORY / "tests/clients"
OPENAPI = REPOSITORY / "docs/openapi.json"


def modules() -> Path:
    """The folder with the locked npm packages: `make clients` installs them."""
    digest = hashlib.sha256()
    for name in ("package-lock.json", "package.json"):  # the order of the Makefile's
        digest.update((SOURCES / name).read_bytes())
    cache = Path(os.environ.get("OCORE_CACHE") or Path.home() / ".cache/ocore-snapshots")
    folder = cache / f"clients-{digest.hexdigest()[:12]}"
    if not folder.exists():
        subprocess.run(["make", "-C", str(REPOSITORY), "clients"], check=True, timeout=300)
    return folder / "node_modules"


class Clients:
    """The compiled clients in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """Generates and compiles them. Fails if the program does not fit the types of the OpenAPI document."""
        self.folder = folder
        shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
        (folder / "node_modules").symlink_to(modules())
        self._node("node_modules/openapi-typescript/bin/cli.js", str(OPENAPI), "-o", "src/api.d.ts")
        self._node("node_modules/typescript/bin/tsc", "-p", ".")

    def run(self, program: str, *arguments: str, api: str, token: str, timeout: float = 60) -> str:
        """Runs a compiled program to its end; its output. `api`: base URL."""
        return self._node(f"dist/{program}.js", *arguments, timeout=timeout, OCORE_API=api, OCORE_TOKEN=token)

    def start(self, program: str, *arguments: str, api: str, token: str) -> "subprocess.Popen[str]":
        """Starts a compiled program; its output is a pipe."""
        env = {**os.environ, "OCORE_API": api, "OCORE_TOKEN": token}
        command = ["node", f"dist/{program}.js", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def compile(self, program: str, source: str) -> str:
        """Compiles another program; its path. Fails if the compiler does."""
        (self.folder / f"src/{program}.ts").write_text(source + "\nexport {};\n")
        self._node("node_modules/typescript/bin/tsc", "-p", ".")
        return f"dist/{program}.js"

    def _node(self, *arguments: str, timeout: float = 120, **env: str) -> str:
        done = subprocess.run(
            ["node", *arguments], cwd=self.folder, env={**os.environ, **env},
            text=True, capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
