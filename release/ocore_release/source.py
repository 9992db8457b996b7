"""What is released: the files of a commit, with the version written into them."""

import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

#: https://semver.org without build metadata, which an image's tag cannot have, and with those pre-releases that a wheel
#: can have, too (https://packaging.python.org/en/latest/specifications/version-specifiers/).
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(alpha|beta|rc)\.(0|[1-9]\d*))?")


class ReleaseError(Exception):
    """The release cannot be built; the message says what to do."""


@dataclass(frozen=True)
class Commit:
    """A commit and its time, which is the time of everything that is built from it."""

    id: str
    epoch: int

    @property
    def created(self) -> str:
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def checked_version(version: str) -> str:
    """Raises ReleaseError for what is no version."""
    if not VERSION.fullmatch(version):
        raise ReleaseError(
            f"VERSION {version!r} is no version that chart, images and wheel can have: give for example 1.2.0 or"
            " 1.2.0-rc.1 (alpha, beta or rc), without v"
        )
    return version


def commit_of(repository: Path) -> Commit:
    """The commit that is checked out. Raises ReleaseError where files differ from it."""
    if changed := _git(repository, "status", "--porcelain").rstrip():
        raise ReleaseError(f"the checkout has changes that no commit has; commit or remove them:\n{changed}")
    id_, epoch = _git(repository, "log", "-1", "--format=%H %ct").split()
    return Commit(id_, int(epoch))


def export(repository: Path, commit: Commit, version: str, target: Path) -> None:
    """Writes the commit's files to a folder, with the version in the package and in the chart."""
    # The modes do not depend on who builds: git's own default is 0664, and tar applies the umask or not.
    archive = subprocess.run(
        ["git", "-C", str(repository), "-c", "tar.umask=0022", "archive", commit.id], check=True, capture_output=True
    ).stdout
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "-p", "-C", str(target)], input=archive, check=True)
    write_version(target, version)


def write_version(folder: Path, version: str) -> None:
    _replace(folder / "pyproject.toml", r'^version = ".*"$', f'version = "{version}"')
    _replace(folder / "charts/ocore-snapshots/Chart.yaml", r"^version: .*$", f"version: {version}")
    _replace(folder / "charts/ocore-snapshots/Chart.yaml", r"^appVersion: .*$", f"appVersion: {version}")
    prerelease = '  artifacthub.io/prerelease: "true"' if "-" in version else '  artifacthub.io/prerelease: "false"'
    _replace(folder / "charts/ocore-snapshots/Chart.yaml", r"^  artifacthub.io/prerelease: .*$", prerelease)


def _replace(path: Path, pattern: str, line: str) -> None:
    text, count = re.subn(pattern, line, path.read_text(), flags=re.MULTILINE)
    if count != 1:
        raise ReleaseError(f"{path.name} has {count} lines {pattern}, not one")
    path.write_text(text)


def notes(changelog: str, version: str) -> str:
    """The section of a version, or of the version that a pre-release is of. Raises ReleaseError where there is none."""
    for wanted in (version, version.partition("-")[0]):
        section = re.search(
            rf"^## {re.escape(wanted)}(?= |$).*?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
        )
        if section and section[1].strip():
            return section[1].strip() + "\n"
    raise ReleaseError(f"CHANGELOG.md has no section '## {version}': write what the release changes for its users")


def _git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True).stdout
