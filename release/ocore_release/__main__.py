"""python -m ocore_release: builds a release. Settings are environment variables; docs/releasing.md describes them."""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import chart, images, krew, python, source, tools
from .archive import Layout, digest

MOVERS = {"15": "Debian 12", "17": "Debian 13", "16": "PGDG", "18": "PGDG"}
NAMES = ("operator", "api", "cli")


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
    syft: str = ""
    platforms: tuple[str, ...] = images.DEFAULT

    @classmethod
    def read(cls) -> "Settings":
        given = os.environ
        return cls(
            version=source.checked_version(given.get("VERSION", "")),
            cache=Path(given["OCORE_CACHE"]),
            out=Path(given.get("DIST", "dist")),
            registry=given.get("REGISTRY", "").rstrip("/"),
            download=given.get("DOWNLOAD_URL", ""),
            source=given.get("SOURCE_URL", ""),
            pgdg=given.get("PGDG_URL", ""),
            syft=given.get("SYFT", ""),
            platforms=images.checked_platforms(given.get("PLATFORMS", "")),
        )

    @property
    def majors(self) -> list[str]:
        return [m for m in sorted(MOVERS) if self.pgdg or MOVERS[m] != "PGDG"]


def release(repository: Path, settings: Settings) -> list[str]:
    """Builds everything into a new folder `settings.out`; what was left out and why."""
    commit = source.commit_of(repository)
    text = source.notes((repository / "CHANGELOG.md").read_text(), settings.version)
    left_out: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        out, tree, work = (Path(folder) / name for name in ("dist", "tree", "work"))
        out.mkdir()
        work.mkdir()
        source.export(repository, commit, settings.version, tree)
        print("wheel and kubectl ocore", file=sys.stderr)
        wheel = python.wheel(tree, out, commit)
        command = python.command(wheel, tree / "requirements/cli.txt", out, work, commit, settings.version)
        packed = krew.package(command, tree / "cli" / krew.COMPLETION, tree / "LICENSE", commit)
        if settings.download:
            manifest = krew.manifest(packed, settings.version, settings.download, settings.source)
            (out / "ocore.yaml").write_text(manifest)
        else:
            left_out.append("no manifest for krew: DOWNLOAD_URL, where the files will be published, is not set")
        installable(repository, tree / "charts/ocore-snapshots", settings, commit, out)
        if not settings.pgdg:
            left_out.append(
                "no mover for PostgreSQL 16 and 18: PGDG_URL, the apt repository of the PostgreSQL project, is not set"
            )
        if missing := [p for p in images.PLATFORMS if p not in settings.platforms]:
            left_out.append(f"no images for {', '.join(missing)}: PLATFORMS does not name it")
        (out / "notes.md").write_text(text)
        for archive in sorted(out.glob("*.oci.tar")):
            if not archive.name.startswith("ocore-snapshots-"):
                check(repository, settings, archive, commit)
        if not settings.syft:
            left_out.append("no SBOM: syft is not set")
        sums = "".join(f"{digest(p).removeprefix('sha256:')}  {p.name}\n" for p in sorted(out.iterdir()))
        (out / "SHA256SUMS").write_text(sums)
        left_out.append("no signature: make sign")
        shutil.rmtree(settings.out, ignore_errors=True)
        shutil.copytree(out, settings.out)
    return left_out


def installable(repository: Path, folder: Path, settings: Settings, commit: source.Commit, out: Path) -> None:
    """Writes what `helm install` needs into `out`: the images, and the chart in `folder` with their digests. Changes
    the chart's values."""
    digests = _images(repository, settings, commit, out)
    print("chart", file=sys.stderr)
    chart.fill(folder, registry=settings.registry, digests=digests)
    package = chart.package(folder, out, commit)
    chart.oci(folder, package, commit, name=_named(settings, "charts/ocore-snapshots"))


def _named(settings: Settings, name: str) -> str:
    """What containerd names an image of an archive by; without a registry as the local cluster does."""
    prefix = settings.registry or "localhost"
    return f"{prefix}/{name}" if name.startswith("charts/") else f"{prefix}/ocore-snapshots/{name}"


def check(repository: Path, settings: Settings, archive: Path, commit: source.Commit) -> None:
    """Starts the image in an archive on each platform, and lists what is in it."""
    for platform in settings.platforms:
        print(f"starting {archive.name} on {platform}", file=sys.stderr)
        images.start(repository, archive, platform)
        if settings.syft:
            several = len(settings.platforms) > 1
            suffix = f"-{platform.replace('/', '-')}.cdx.json" if several else ".cdx.json"
            target = archive.with_name(archive.name.replace(".oci.tar", suffix))
            tools.sbom(Path(settings.syft), archive, target, commit.created, platform if several else "")


def _images(repository: Path, settings: Settings, commit: source.Commit, out: Path) -> dict[str, str]:
    """Writes the images' archives; "operator", "api", "cli" and "mover:<major>" → digest."""
    wanted = {**{name: f"{name}:dev" for name in NAMES}, **{f"mover:{m}": f"mover:{m}" for m in settings.majors}}
    print(f"images {', '.join(wanted)}", file=sys.stderr)
    built = {platform: images.built(repository, platform, wanted.values()) for platform in settings.platforms}
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


def main() -> None:
    try:
        settings = Settings.read()
        left_out = release(Path.cwd(), settings)
    except source.ReleaseError as error:
        sys.exit(f"release: {error}")
    for path in sorted(settings.out.iterdir()):
        print(f"{path.stat().st_size:>12,} {path}")
    for line in left_out:
        print(f"left out: {line}")


if __name__ == "__main__":
    main()
