"""Builds what `helm install` needs: the images, and the chart with their digests."""

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import chart, docker, images, sbom, source
from .archive import Layout

MOVERS = {"15": "Debian 12", "17": "Debian 13", "16": "PGDG", "18": "PGDG"}
NAMES = ("operator", "api", "cli")
BEGAN = time.monotonic()


@dataclass(frozen=True)
class Settings:
    """What is given from outside."""

    version: str
    cache: Path
    out: Path
    registry: str = ""
    download: str = ""
    source: str = ""
    pgdg: str = ""
    platforms: tuple[str, ...] = images.DEFAULT

    @classmethod
    def read(cls) -> "Settings":
        given = os.environ
        return cls(
            version=given.get("VERSION", ""),
            cache=Path(given["OCORE_CACHE"]),
            out=Path(given.get("DIST", "dist")),
            registry=given.get("REGISTRY", "").rstrip("/"),
            download=given.get("DOWNLOAD_URL", ""),
            source=given.get("SOURCE_URL", ""),
            pgdg=given.get("PGDG_URL", ""),
            platforms=images.checked_platforms(given.get("PLATFORMS", "")),
        )

    @property
    def majors(self) -> list[str]:
        return [m for m in sorted(MOVERS) if self.pgdg or MOVERS[m] != "PGDG"]


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - BEGAN:4.0f} s] {text}", file=sys.stderr, flush=True)


def installable(repository: Path, folder: Path, settings: Settings, commit: source.Commit, out: Path) -> None:
    """Writes what `helm install` needs into `out`: the images, and the chart in `folder` with their digests. Changes
    the chart's values."""
    digests = _images(repository, settings, commit, out)
    say("chart")
    chart.fill(folder, registry=settings.registry, digests=digests)
    package = chart.package(folder, out, commit)
    chart.oci(folder, package, commit, name=_named(settings, "charts/ocore-snapshots"))


def _named(settings: Settings, name: str) -> str:
    """What containerd names an image of an archive by; without a registry as the local cluster does."""
    prefix = settings.registry or "localhost"
    return f"{prefix}/{name}" if name.startswith("charts/") else f"{prefix}/ocore-snapshots/{name}"


def check(repository: Path, settings: Settings, archive: Path) -> None:
    """Starts the image in an archive on each platform."""
    for platform in settings.platforms:
        say(f"starting {archive.name} on {platform}")
        images.start(repository, archive, platform)


def bill(settings: Settings, archive: Path, commit: source.Commit) -> None:
    """Lists what is in the image in an archive, of each platform."""
    for platform in settings.platforms:
        say(f"listing {archive.name} for {platform}")
        several = len(settings.platforms) > 1
        suffix = f"-{platform.replace('/', '-')}.cdx.json" if several else ".cdx.json"
        target = archive.with_name(archive.name.replace(".oci.tar", suffix))
        sbom.write(archive, target, commit.created, platform)


def _images(repository: Path, settings: Settings, commit: source.Commit, out: Path) -> dict[str, str]:
    """Writes the images' archives; "operator", "api", "cli" and "mover:<major>" → digest."""
    wanted = {**{name: f"{name}:dev" for name in NAMES}, **{f"mover:{m}": f"mover:{m}" for m in settings.majors}}
    say(f"images {', '.join(wanted)}")
    built = {platform: _built(repository, settings, platform, wanted.values()) for platform in settings.platforms}
    digests = {}
    for key, image in wanted.items():
        name, _, major = key.partition(":")
        tag = f"{settings.version}-pg{major}" if major else settings.version
        layout = Layout()
        described = images.labels(name, major, settings.version, commit, settings.source)
        entries = [images.image(settings.cache, built[p][image], layout, described, p) for p in settings.platforms]
        target = out / f"{name}-{tag}.oci.tar"
        digests[key] = images.archive(layout, entries, target, name=_named(settings, name), tag=tag, commit=commit)
    (out / "images.txt").write_text(
        "".join(f"{_named(settings, k.partition(':')[0])}@{v} {k}\n" for k, v in digests.items())
    )
    return digests


def _built(repository: Path, settings: Settings, platform: str, names: Iterable[str]) -> dict[str, str]:
    if docker.chosen():
        return docker.built(repository, settings.cache, platform, names, settings.pgdg)
    return images.built(repository, platform, names)
