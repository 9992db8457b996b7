"""The manifest of the plugin for krew, and the archive that it names."""

from pathlib import Path

import yaml

from .archive import File, digest, write_tar_gz
from .source import Commit

SYSTEMS = (("linux", "amd64"), ("linux", "arm64"), ("darwin", "amd64"), ("darwin", "arm64"))


#: The program that kubectl's completion runs. krew links the plugin alone into the folder that is on the PATH
#: (kubernetes-sigs/krew issue 812).
COMPLETION = "kubectl_complete-ocore"
CAVEATS = """\
Needs Python 3.11 or newer as python3.
kubectl's completion completes `kubectl ocore` if the program kubectl_complete-ocore is on the PATH. krew does not link
it. Copy it once; it also fits later versions:
  cp "${{KREW_ROOT:-$HOME/.krew}}/store/ocore/{version}/{program}" "${{KREW_ROOT:-$HOME/.krew}}/bin/"
"""


def package(command: Path, completion: Path, licence: Path, commit: Commit) -> Path:
    target = command.with_name(command.name + ".tar.gz")
    programs = [File("kubectl-ocore", command, 0o755), File(COMPLETION, completion, 0o755)]
    write_tar_gz(target, [*programs, File("LICENSE", licence)], commit.epoch)
    return target


def manifest(packed: Path, version: str, download: str, homepage: str) -> str:
    """YAML. `download`: the URL of the folder that the release's files are published in."""
    archive = {
        "uri": f"{download.rstrip('/')}/{packed.name}",
        "sha256": digest(packed).removeprefix("sha256:"),
        "bin": "kubectl-ocore",
        "files": [{"from": name, "to": "."} for name in ("kubectl-ocore", COMPLETION, "LICENSE")],
    }
    spec = {
        "version": f"v{version}",
        **({"homepage": homepage} if homepage else {}),
        "shortDescription": "Snapshots and rollbacks of applications",
        "description": (
            "Takes consistent snapshots of PostgreSQL databases with their files, and rolls applications back to"
            " them.\n"
        ),
        "caveats": CAVEATS.format(version=f"v{version}", program=COMPLETION),
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
