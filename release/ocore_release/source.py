"""What is released: the files of a commit, with the version written into them."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

#: https://semver.org without build metadata, which an image's tag cannot have, and with those pre-releases that a wheel
#: can have, too (https://packaging.python.org/en/latest/specifications/version-specifiers/).
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(alpha|beta|rc)\.(0|[1-9]\d*))?")

#: host[:port][/path]. A host has a dot or a port: Docker takes another first part for a folder of its own registry.
REGISTRY = re.compile(
    r"(?=[^/]*[.:])[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)


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


def checked_registry(registry: str) -> str:
    """The registry without a slash at its end. Raises ReleaseError for what is none."""
    found = registry.rstrip("/")
    if not REGISTRY.fullmatch(found):
        raise ReleaseError(
            f"REGISTRY {registry!r} is not host[:port]/path: give for example registry.example.org/team, without a"
            " scheme, a tag, a user or capital letters in the path"
        )
    return found


def commit_of(repository: Path) -> Commit:
    """The commit that is checked out. Raises ReleaseError where files differ from it."""
    if changed := _git(repository, "status", "--porcelain").rstrip():
        raise ReleaseError(f"the checkout has changes that no commit has; commit or remove them:\n{changed}")
    return _head(repository)


def _head(repository: Path) -> Commit:
    id_, epoch = _git(repository, "log", "-1", "--format=%H %ct").split()
    return Commit(id_, int(epoch))


def pushed(repository: Path, version: str) -> tuple[str, Commit]:
    """The version to push, and the commit. Two states of a checkout never have one version.

    `version`: as it was given. Without one it is that of the tag, or a pre-release that names the commit. Changes that
    no commit has make a pre-release that names them.
    """
    try:
        commit = _head(repository)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ReleaseError(f"{repository} is not a checkout with a commit: git says why above") from error
    if version:
        version = checked_version(version)
    else:
        tags = _git(repository, "tag", "--points-at", "HEAD", "v*").split()
        released = [t[1:] for t in tags if VERSION.fullmatch(t[1:])]
        version = max(released, key=_order) if released else _development(repository, commit)
    if _git(repository, "status", "--porcelain"):
        version += f"{'.' if '-' in version else '-'}dirty.g{_tree(repository)[:12]}"
        commit = Commit(f"{commit.id}-dirty", commit.epoch)
    return version, commit


def _order(version: str) -> tuple[object, ...]:
    """By number, a final version after its pre-releases."""
    numbers, _, before = version.partition("-")
    kind, _, count = before.partition(".")
    return *map(int, numbers.split(".")), not before, kind, int(count or 0)


def _development(repository: Path, commit: Commit) -> str:
    number = _git(repository, "rev-list", "--count", "HEAD").strip()
    chart = yaml.safe_load((repository / "charts/ocore-snapshots/Chart.yaml").read_text())
    return f"{chart['version']}-dev.{number}.g{commit.id[:12]}"


def _tree(repository: Path) -> str:
    """The tree of all files, also of those that no commit has. The checkout's index and objects stay as they are."""
    git = Path(_git(repository, "rev-parse", "--absolute-git-dir").strip())
    objects = _git(repository, "rev-parse", "--git-path", "objects").strip()
    with tempfile.TemporaryDirectory() as folder:
        if (git / "index").exists():
            shutil.copy2(git / "index", f"{folder}/index")
        environment = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((repository / objects).resolve()),
        }
        _git(repository, "add", "--all", environment=environment)
        return _git(repository, "write-tree", environment=environment).strip()


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


def _git(repository: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
    command = ["git", "-C", str(repository), *arguments]
    # What git reports is for the user.
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    return done.stdout
