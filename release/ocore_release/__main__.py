"""python -m ocore_release release|push|publish. Settings are environment variables (docs/releasing.md)."""

import shutil
import sys
import tempfile
from pathlib import Path

from . import contacts, images, krew, python, source
from .archive import digest
from .build import Settings, bill, check, installable, say
from .publish import Registry, publish
from .push import push


def release(repository: Path, settings: Settings) -> list[str]:
    """Builds everything into a new folder `settings.out`; what was left out and why."""
    source.checked_version(settings.version)
    if settings.registry:
        source.checked_registry(settings.registry)
    unnamed = contacts.missing(repository)
    if unnamed and "-" not in settings.version:
        raise source.ReleaseError(
            f"project.toml does not name: {', '.join(unnamed)}. Fill it in and run make generate; only a pre-release"
            " is built without"
        )
    commit = source.commit_of(repository)
    text = source.notes((repository / "CHANGELOG.md").read_text(), settings.version)
    left_out = [f"no {', '.join(unnamed)} is named: project.toml"] if unnamed else []
    with tempfile.TemporaryDirectory() as folder:
        out, tree, work = (Path(folder) / name for name in ("dist", "tree", "work"))
        out.mkdir()
        work.mkdir()
        source.export(repository, commit, settings.version, tree)
        say("wheel and kubectl ocore")
        wheel = python.wheel(tree, out, commit)
        packed = python.commands(tree, wheel, out, work, commit, settings.version)
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
                check(repository, settings, archive)
                bill(settings, archive, commit)
        say("checksums")
        sums = "".join(f"{digest(p).removeprefix('sha256:')}  {p.name}\n" for p in sorted(out.iterdir()))
        (out / "SHA256SUMS").write_text(sums)
        left_out.append("no signature: make sign")
        shutil.rmtree(settings.out, ignore_errors=True)
        shutil.copytree(out, settings.out)
    return left_out


def main() -> None:
    command = sys.argv[1]
    try:
        settings = Settings.read()
        match command:
            case "push":
                print(push(Path.cwd(), settings, Registry.read()))
            case "publish":
                publish(settings.out, Registry.read())
            case _:
                _release(settings)
    except source.ReleaseError as error:
        sys.exit(f"{command}: {error}")


def _release(settings: Settings) -> None:
    left_out = release(Path.cwd(), settings)
    say("done")
    for path in sorted(settings.out.iterdir()):
        print(f"{path.stat().st_size:>12,} {path}")
    for line in left_out:
        print(f"left out: {line}")


if __name__ == "__main__":
    main()
