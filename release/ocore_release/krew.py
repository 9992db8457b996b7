"""The manifest of the plugin for krew, and the archive that it names."""

from pathlib import Path

import yaml

from .archive import File, digest, write_tar_gz
from .source import Commit

SYSTEMS = (("linux", "amd64"), ("linux", "arm64"), ("darwin", "amd64"), ("darwin", "arm64"))


def package(command: Path, licence: Path, commit: Commit) -> Path:
    target = command.with_name(command.name + ".tar.gz")
    write_tar_gz(target, [File("kubectl-ocore", command, 0o755), File("LICENSE", licence)], commit.epoch)
    return target


def manifest(packed: Path, version: str, download: str, homepage: str) -> str:
    """YAML. `download`: the URL of the folder that the release's files are published in."""
    archive = {
        "uri": f"{download.rstrip('/')}/{packed.name}",
        "sha256": digest(packed).removeprefix("sha256:"),
        "bin": "kubectl-ocore",
        "files": [{"from": "kubectl-ocore", "to": "."}, {"from": "LICENSE", "to": "."}],
    }
    spec = {
        "version": f"v{version}",
        **({"homepage": homepage} if homepage else {}),
        "shortDescription": "Snapshots and rollbacks of applications",
        "description": (
            "Takes consistent snapshots of PostgreSQL databases with their files, and rolls applications back to"
            " them.\n"
        ),
        "caveats": "Needs Python 3.11 or newer as python3.\n",
        "platforms": [{"selector": {"matchLabels": {"os": os_, "arch": arch}}, **archive} for os_, arch in SYSTEMS],
    }
    plugin = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "ocore"},
        "spec": spec,
    }
    return yaml.dump(plugin, Dumper=_Plain, sort_keys=False, width=1000)


class _Plain(yaml.SafeDumper):
    """Without anchors, which krew's readers do not expect."""

    def ignore_aliases(self, data: object) -> bool:
        return True
