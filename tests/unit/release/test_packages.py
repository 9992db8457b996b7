"""images/common/install-requirements: the packages of an image are for its processor, whatever the processor of the
machine that builds is.

The real pip installs wheels of a folder, which are made here: no index and no emulator is used.
"""

import base64
import ensurepip
import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY

SCRIPT = REPOSITORY / "images/common/install-requirements"
#: Debian keeps the pip of a virtual environment here, other builds of Python beside ensurepip.
PIPS = (Path("/usr/share/python-wheels"), Path(ensurepip.__file__).parent / "_bundled")


def wheel(folder: Path, platform: str) -> str:
    """A package `native` whose module names the platform of its wheel, with a program; the wheel's digest."""
    about = "native-1.0.dist-info"
    files = {
        "native/__init__.py": f'PLATFORM = "{platform}"\n',
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: native\nVersion: 1.0\n",
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-{platform}\n",
        f"{about}/entry_points.txt": "[console_scripts]\nshow-native = native:PLATFORM\n",
    }
    record = f"{about}/RECORD,,\n"
    for name, text in files.items():
        found = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={found},{len(text)}\n"
    path = folder / f"native-1.0-py3-none-{platform}.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in (files | {f"{about}/RECORD": record}).items():
            packed.writestr(zipfile.ZipInfo(name), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def installed(folder: Path, *arch: str) -> Path:
    """The packages of a virtual environment at `folder`/prefix, with a choice of wheels."""
    wheels, programs = folder / "wheels", folder / "programs"
    wheels.mkdir(exist_ok=True)
    programs.mkdir(exist_ok=True)
    platforms = [
        f"{libc}_{m}" for m in ("x86_64", "aarch64") for libc in ("manylinux2014", "manylinux_2_28", "manylinux_2_99")
    ]
    digests = [wheel(wheels, platform) for platform in platforms]
    (folder / "locked.txt").write_text("native==1.0 " + " ".join(f"--hash=sha256:{d}" for d in digests) + "\n")
    # Debian's packages are the business of another machine.
    (programs / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    (programs / "apt-get").chmod(0o755)
    done = subprocess.run(
        [SCRIPT, folder / "prefix", folder / "locked.txt", *arch],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_WHEEL": str(next(p for p in PIPS if list(p.glob("pip-*.whl")))),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (site,) = (folder / "prefix/lib").glob("python3*/site-packages")
    return site


@pytest.mark.parametrize(("arch", "machine"), [("arm64", "aarch64"), ("", os.uname().machine)], ids=["arm64", "own"])
def test_packages_are_for_the_processor_and_the_c_library(arch: str, machine: str, tmp_path: Path) -> None:
    """The wheel for a C library that no Debian has yet is not taken, and the newest of the others is."""
    site = installed(tmp_path, *([arch] if arch else []))
    assert (site / "native/__init__.py").read_text() == f'PLATFORM = "manylinux_2_28_{machine}"\n'
    assert (site / "app.pth").read_text() == f"{tmp_path}/prefix/app\n"
    # A program starts with the Python of its environment, and pip is not in it.
    assert (tmp_path / "prefix/bin/show-native").read_text().startswith(f"#!{tmp_path}/prefix/bin/python")
    assert {p.name for p in site.iterdir()} == {"app.pth", "native", "native-1.0.dist-info"}
    # Compiled by content, and never compared with the source: the second word of the file.
    (compiled,) = (site / "native/__pycache__").iterdir()
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"


def test_an_unknown_processor_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, tmp_path / "x", tmp_path / "y", "riscv64"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "for amd64 and arm64, not for 'riscv64'" in done.stderr
