"""The pip configuration that the builds of images get, on a machine whose Python has no pip of its own.

Debian's python3-venv, which `make` installs, brings pip as a wheel only. Where the machine's pip needs a certificate to
reach its index (`/etc/pip.conf`), each build of an image needs it, too.
"""

import ensurepip
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "localcluster/lib/pipconf.py"


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv/bin/python"


def _pipconf(python: Path, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    paths = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
    return subprocess.run(
        [python, SCRIPT, folder], env=paths | env, capture_output=True, text=True, check=False, timeout=60
    )


def _wheel() -> Path:
    found = [
        *Path(ensurepip.__path__[0], "_bundled").glob("pip-*.whl"),
        *Path("/usr/share/python-wheels").glob("pip-*.whl"),
    ]
    return found[0]


def test_a_build_gets_the_certificate_of_a_machine_without_pip(bare_python: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("certificate")
    done = _pipconf(bare_python, tmp_path / "conf", PIP_CERT=str(tmp_path / "ca.crt"), PYTHONPATH=str(_wheel()))
    assert done.returncode == 0, done.stderr
    assert "cert = /mnt/ca.crt" in (tmp_path / "conf/pip.conf").read_text().splitlines()
    assert (tmp_path / "conf/ca.crt").read_text() == "certificate"


def test_no_pip_at_all_is_an_error(bare_python: Path, tmp_path: Path) -> None:
    done = _pipconf(bare_python, tmp_path / "conf")
    assert done.returncode != 0
    assert "No module named pip" in done.stderr
