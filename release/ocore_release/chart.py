"""The chart as a package and as an OCI archive. `helm package` writes the time of packing into its archive, so the
archive is written here."""

import re
from pathlib import Path

import yaml

from .archive import Layout, encoded, files_of, write_tar_gz
from .source import Commit, ReleaseError

CONFIG = "application/vnd.cncf.helm.config.v1+json"
LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def fill(chart: Path, *, registry: str, digests: dict[str, str]) -> None:
    """Writes the registry, and the digests of the images, into the values of a chart.

    `digests`: of "operator", "api" and "mover:<major>"; empty leaves the images named by their tags.
    """
    values = chart / "values.yaml"
    text = values.read_text()
    text = _set(text, "global", 'imageRegistry: ""', f'imageRegistry: "{registry}"')
    for name in ("operator", "api"):
        if found := digests.get(name):
            text = _set(text, name, 'digest: ""', f"digest: {found}")
    movers = {name.partition(":")[2]: found for name, found in digests.items() if name.startswith("mover:")}
    if movers:
        lines = "".join(f'\n    "{major}": {movers[major]}' for major in sorted(movers))
        text = _set(text, "mover", "digests: {}", f"digests:{lines}")
        text = _set(text, "mover", r"majors: [15, 17]", f"majors: [{', '.join(sorted(movers))}]")
    values.write_text(text)


def _set(text: str, section: str, old: str, new: str) -> str:
    """Replaces a line in a top-level section: the comments stay, which a parser would lose."""
    block = re.search(rf"^{section}:\n(?:(?:[ #].*)?\n)*", text, re.MULTILINE)
    if not block or block[0].count(f" {old}\n") != 1:
        raise ReleaseError(f"values.yaml has no line '{old}' in {section}, or several")
    return text[: block.start()] + block[0].replace(f" {old}\n", f" {new}\n") + text[block.end() :]


def package(chart: Path, out: Path, commit: Commit) -> Path:
    """The archive that `helm install` takes."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    target = out / f"{about['name']}-{about['version']}.tgz"
    files = [f for f in files_of(chart, f"{about['name']}/") if not f.name.endswith("/.helmignore")]
    write_tar_gz(target, files, commit.epoch)
    return target


def oci(chart: Path, packed: Path, commit: Commit, *, name: str) -> Path:
    """The package as an OCI archive, as `helm push` would store it."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    layout = Layout()
    title = "org.opencontainers.image."
    root = layout.manifest(
        config=layout.add(encoded(about), CONFIG),
        layers=[layout.add(packed, LAYER)],
        annotations={
            f"{title}title": about["name"],
            f"{title}version": about["version"],
            f"{title}description": about["description"],
            f"{title}created": commit.created,
            f"{title}revision": commit.id,
        },
    )
    target = packed.with_suffix(".oci.tar")
    layout.write(target, root, tag=about["version"], name=f"{name}:{about['version']}", epoch=commit.epoch)
    return target
