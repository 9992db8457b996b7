"""The wheel, and `kubectl ocore`: an archive for each platform, whose modules run where they are unpacked.
docs/decisions/0219-the-start-of-kubectl-ocore.md.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from .archive import File, files_of, write_tar_gz
from .source import Commit, ReleaseError

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
System = tuple[str, str]
#: By operating system and processor, as krew names them: the platform of wheels, and how a native module for it begins.
SYSTEMS: dict[System, tuple[str, bytes, int, bytes]] = {
    ("linux", "amd64"): ("manylinux2014_x86_64", b"\x7fELF\x02\x01", 18, b"\x3e\x00"),
    ("linux", "arm64"): ("manylinux2014_aarch64", b"\x7fELF\x02\x01", 18, b"\xb7\x00"),
    ("darwin", "amd64"): ("macosx_11_0_x86_64", b"\xcf\xfa\xed\xfe", 4, b"\x07\x00\x00\x01"),
    ("darwin", "arm64"): ("macosx_11_0_arm64", b"\xcf\xfa\xed\xfe", 4, b"\x0c\x00\x00\x01"),
}
#: Whose wheels without native modules are taken.
LINUX = ("manylinux2014_x86_64", "3.11")
#: Packages with native modules; a copy for each version of Python.
NATIVE = ("pydantic-core", "pyyaml")
#: What rich loads to colour source text and to print Markdown, which the command never does.
LEFT_OUT = ("pygments", "markdown-it-py", "mdurl", "colorama")
#: What the command has of our wheel.
PACKAGES = ("ocore_cli/", "ocore_crds/")
#: Files of the archive: where they are in the repository, and the mode.
FILES = (("release/command/kubectl-ocore", 0o755), ("cli/kubectl_complete-ocore", 0o755), ("LICENSE", 0o644))


def wheel(source: Path, out: Path, commit: Commit) -> Path:
    """Builds the wheel of an exported tree."""
    _run(commit, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out.resolve()), folder=source)
    (found,) = out.glob("*.whl")
    return found


def commands(tree: Path, built: Path, out: Path, folder: Path, commit: Commit, version: str) -> dict[System, Path]:
    """Writes the archive of `kubectl ocore` for each platform, from the wheel and its locked requirements. `folder`:
    for temporary files."""
    library = folder / "lib"
    with zipfile.ZipFile(built) as packed:
        for name in packed.namelist():
            if name.startswith(PACKAGES) or name.endswith(".dist-info/METADATA"):
                packed.extract(name, library)
    locked = requirements((tree / "requirements/cli.txt").read_text())
    _install({n: text for n, text in locked.items() if n not in NATIVE}, library, *LINUX, commit)
    if found := list(library.rglob("*.so")):
        raise ReleaseError(f"{found[0].name} is native: add its package to NATIVE of ocore_release/python.py")
    programs = [File(Path(name).name, tree / name, mode) for name, mode in FILES]
    written = {}
    for system, (platform, magic, at, processor) in SYSTEMS.items():
        native = folder / "-".join(system)
        for python in PYTHONS:
            place = native / f"cp{python.replace('.', '')}"
            _install({name: locked[name] for name in NATIVE}, place, platform, python, commit)
            check_native(place, magic, at, processor)
        target = out / f"kubectl-ocore-{version}-{'-'.join(system)}.tar.gz"
        write_tar_gz(target, [*programs, *files_of(library, "lib/"), *files_of(native, "native/")], commit.epoch)
        written[system] = target
    return written


def requirements(text: str) -> dict[str, str]:
    """Each package of a lock file with its lines, but for what is left out."""
    found = {re.match(r"[a-z0-9-]+", each)[0]: each for each in re.split(r"\n(?=\S)", text.strip())}  # type: ignore[index]
    return {name: each for name, each in found.items() if name not in LEFT_OUT}


def check_native(folder: Path, magic: bytes, at: int, processor: bytes) -> None:
    """Raises ReleaseError where a module is missing, or is for another system or processor."""
    modules = sorted(folder.rglob("*.so"))
    if len(modules) != len(NATIVE):
        raise ReleaseError(f"{folder} has the native modules {[m.name for m in modules]}, not one of each of {NATIVE}")
    for module in modules:
        head = module.read_bytes()[:32]
        if not head.startswith(magic) or head[at : at + len(processor)] != processor:
            raise ReleaseError(f"{module} is for another system or processor")


def _install(locked: dict[str, str], target: Path, platform: str, python: str, commit: Commit) -> None:
    """What pip writes for other installers is left out: it depends on the machine that builds."""
    target.mkdir(parents=True, exist_ok=True)
    listed = target.parent / "requirements.txt"
    listed.write_text("\n".join(locked.values()) + "\n")
    made = target.parent / "made"
    arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    arguments += ["--require-hashes", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    arguments += ["--platform", platform, "--target", str(made), "-r", str(listed)]
    _run(commit, *arguments, folder=target.parent)
    shutil.rmtree(made / "bin", ignore_errors=True)
    for path in (p for name in ("RECORD", "INSTALLER", "REQUESTED") for p in made.glob(f"*.dist-info/{name}")):
        path.unlink()
    shutil.copytree(made, target, dirs_exist_ok=True)
    shutil.rmtree(made)
    listed.unlink()


def _run(commit: Commit, *arguments: str, folder: Path) -> None:
    # The salt of hashes decides on the order in sets.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(commit.epoch), "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(arguments[:2])} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
