"""`make push`: the images and the chart of a checkout in a registry of one's own, without the other files of a
release."""

import shlex
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from . import source
from .build import Settings, installable, say
from .publish import Registry, publish

NAMESPACE = "ocore-system"
#: A pull Secret of the account that may pull, as docs/install.md explains.
CREATE = "create secret generic registry --type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=LOGIN"


def push(repository: Path, settings: Settings, registry: Registry) -> str:
    """Builds and copies; the commands that install from there."""
    registry_name = source.checked_registry(settings.registry)
    registry.check(registry_name.partition("/")[0])  # before a build of minutes
    given = settings.version
    version, commit = source.pushed(repository, given)
    settings = replace(settings, version=version, registry=registry_name)
    say(f"version {version}")
    with tempfile.TemporaryDirectory() as folder:
        tree, out = Path(folder) / "tree", Path(folder) / "dist"
        out.mkdir()
        shutil.copytree(repository / "charts", tree / "charts")
        shutil.copy(repository / "pyproject.toml", tree)
        source.write_version(tree, version)
        installable(repository, tree / "charts/ocore-snapshots", settings, commit, out)
        if source.pushed(repository, given)[0] != version:
            raise source.ReleaseError("the checkout changed while it was built: run it again")
        say("copying")
        _, asks = publish(out, registry)
    say("done")
    return commands(settings.registry, version, registry, asks=asks)


def commands(name: str, version: str, registry: Registry, *, asks: bool) -> str:
    """What installs from a registry; with what its password and its CA need."""
    reached = " --plain-http" if registry.plain else f" --ca-file {shlex.quote(registry.ca)}" if registry.ca else ""
    lines = [
        "Install from there (docs/install.md). NAMESPACE and NAME: those of your application's Deployment.",
        "CLAIM: a volume claim for the snapshots (S3: docs/tutorial.md). SIZE: of the database server's volume.",
        "",
    ]
    secrets = ""
    if asks:
        secrets = " --set 'global.imagePullSecrets={registry}'"
        lines += [
            "# The registry asks for a password. LOGIN: the file of a login that may only pull (docs/install.md).",
            f"helm registry login {name.partition('/')[0]}{reached}",
            f"kubectl create namespace {NAMESPACE}",
            f"kubectl -n {NAMESPACE} {CREATE}",
            f"kubectl -n NAMESPACE {CREATE}",
            "",
        ]
    if registry.ca or registry.plain:
        kind = "speaks plain HTTP" if registry.plain else "has a CA of its own"
        lines += [
            f"# The registry {kind}: the container runtime of each node must know that, too (docs/install.md).",
            "",
        ]
    lines += [
        f"helm upgrade --install ocore oci://{name}/charts/ocore-snapshots --version {version} --namespace {NAMESPACE}"
        f" --create-namespace --wait{secrets}{reached}",
        "kubectl ocore init deployment/NAME -n NAMESPACE --store claim://CLAIM --capacity SIZE --apply",
        "kubectl ocore snapshot NAME -n NAMESPACE --wait",
        "",
        "# And back, after a preview and a question: kubectl ocore rollback osnap/SNAPSHOT -n NAMESPACE",
    ]
    return "\n".join(lines)
