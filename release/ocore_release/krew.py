"""The manifest of the plugin for krew."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from .archive import digest

#: The program that kubectl's completion runs. krew links the plugin alone into the folder that is on the PATH
#: (kubernetes-sigs/krew issue 812).
COMPLETION = "kubectl_complete-ocore"
CAVEATS = """\
Needs Python 3.11 to 3.14 on the PATH.
kubectl's completion completes `kubectl ocore` if the program kubectl_complete-ocore is on the PATH. krew does not link
it. Copy it once; it also fits later versions:
  cp "${{KREW_ROOT:-$HOME/.krew}}/store/ocore/{version}/{program}" "${{KREW_ROOT:-$HOME/.krew}}/bin/"
"""


def manifest(packed: Mapping[tuple[str, str], Path], version: str, download: str, homepage: str) -> str:
    """YAML. `packed`: the archives by operating system and processor. `download`: the URL of the folder that the
    release's files are published in."""
    platforms = [
        {
            "selector": {"matchLabels": {"os": system, "arch": processor}},
            "uri": f"{download.rstrip('/')}/{archive.name}",
            "sha256": digest(archive).removeprefix("sha256:"),
            "bin": "kubectl-ocore",
            "files": [{"from": "*", "to": "."}],
        }
        for (system, processor), archive in packed.items()
    ]
    spec = {
        "version": f"v{version}",
        **({"homepage": homepage} if homepage else {}),
        "shortDescription": "Snapshots and rollbacks of applications",
        "description": (
            "Takes consistent snapshots of PostgreSQL databases with their files, and rolls applications back to"
            " them.\n"
        ),
        "caveats": CAVEATS.format(version=f"v{version}", program=COMPLETION),
        "platforms": platforms,
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
