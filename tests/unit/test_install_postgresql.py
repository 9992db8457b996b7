"""images/common/install-postgresql with apt's programs replaced: which repository it uses, and what it leaves."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY

SCRIPT = REPOSITORY / "images/common/install-postgresql"
#: Each stub notes its arguments; a list of sources that it is given is noted as well.
_STUB = """#!/bin/sh
echo "$(basename "$0") $*" >>{log}
for word; do
  case $word in Dir::Etc::SourceParts=*) cat "${{word#*=}}"/pgdg.list >>{log} ;; esac
done
"""
_DOWNLOADED = """#!/bin/sh
mkdir -p usr/share/postgresql-common/pgdg && echo key >usr/share/postgresql-common/pgdg/pgdg.asc
"""
_LACKS = "#!/bin/sh\nexit 100\n"


@dataclass
class Base:
    """A base image whose Debian has a package or lacks it."""

    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def run(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [SCRIPT, "postgresql-client-18", "zstd"],
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", "TMPDIR": str(self.folder), **environment},
            capture_output=True,
            text=True,
            check=False,
        )


def base(folder: Path, *, lacks: bool) -> Base:
    for name in ("apt-get", "apt-cache", "dpkg-deb", "rm"):
        text = {"dpkg-deb": _DOWNLOADED}.get(name, _STUB.format(log=folder / "log"))
        path = folder / name
        path.write_text(_LACKS if name == "apt-cache" and lacks else text)
        path.chmod(0o755)
    return Base(folder)


def test_a_major_of_debian_comes_from_debian(tmp_path: Path) -> None:
    made = base(tmp_path, lacks=False)
    done = made.run(PGDG_URL="https://mirror.example/apt")
    assert done.returncode == 0, done.stderr
    assert "apt-get install -y --no-install-recommends postgresql-client-18 zstd" in made.log.splitlines()
    assert "mirror.example" not in made.log


@pytest.mark.parametrize("environment", [{}, {"PGDG_URL": ""}])
def test_another_major_needs_the_repository(tmp_path: Path, environment: dict[str, str]) -> None:
    made = base(tmp_path, lacks=True)
    done = made.run(**environment)
    assert done.returncode == 1
    assert "has no postgresql-client-18" in done.stderr
    assert "--build-arg PGDG_URL=" in done.stderr
    assert " install " not in made.log


def test_another_major_comes_from_the_repository_with_debians_key(tmp_path: Path) -> None:
    made = base(tmp_path, lacks=True)
    done = made.run(PGDG_URL="https://mirror.example/apt")
    assert done.returncode == 0, done.stderr
    lines = made.log.splitlines()
    (source,) = {line for line in lines if line.startswith("deb ")}
    assert source.startswith(f"deb [signed-by={tmp_path}/")
    assert "/usr/share/postgresql-common/pgdg/pgdg.asc] https://mirror.example/apt " in source
    assert source.endswith("-pgdg main")
    (install,) = (line for line in lines if "postgresql-client-18" in line)
    assert "Dir::Etc::SourceParts=" in install
    assert [line for line in lines if line.startswith("rm -r ")], "key and source must not stay in the image"
