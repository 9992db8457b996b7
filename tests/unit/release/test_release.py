"""A release: the same commit and version make the same bytes, and what is published fits together."""

import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocore_release import chart, images, krew, python, source
from ocore_release.archive import File, Layout, digest, files_of, write_tar_gz
from ocore_release.build import Settings, check, installable
from support.cluster.cluster import REPOSITORY
from support.release import cached, committed, with_images

COMMIT = source.Commit("0123456789abcdef", 1_700_000_000)
PARTS = ("crds", "kube", "operator", "mover", "api", "cli")
DIGESTS = {
    name: f"sha256:{number * 64}"
    for name, number in (("operator", "1"), ("api", "2"), ("mover:15", "3"), ("mover:17", "4"))
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that the cheap artefacts are made of, with a version."""
    folder = tmp_path / "tree"
    shutil.copytree(REPOSITORY / "charts", folder / "charts")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(REPOSITORY / name, folder)
    source.write_version(folder, "1.2.3")
    return folder


def cheap(tree: Path, out: Path) -> list[Path]:
    """Chart, its OCI archive, an archive of the command's files, and the manifest for krew."""
    out.mkdir()
    folder = tree / "charts/ocore-snapshots"
    packed = chart.package(folder, out, COMMIT)
    chart.oci(folder, packed, COMMIT, name="localhost/charts/ocore-snapshots")
    plugin = out / "kubectl-ocore-1.2.3-linux-amd64.tar.gz"
    write_tar_gz(plugin, [*files_of(folder, "lib/"), File("LICENSE", tree / "LICENSE")], COMMIT.epoch)
    manifest = krew.manifest({("linux", "amd64"): plugin}, "1.2.3", "https://example.org/v1.2.3/", "")
    (out / "ocore.yaml").write_text(manifest)
    return sorted(out.iterdir())


def test_two_builds_have_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """Times, the umask and the order of the folder's entries do not count."""
    first = {p.name: p.read_bytes() for p in cheap(tree, tmp_path / "first")}
    other = tmp_path / "other"
    for path in sorted((p for p in tree.rglob("*") if p.is_file()), reverse=True):
        copy = other / path.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o600)
        os.utime(copy, (1, 1))
    second = {p.name: p.read_bytes() for p in cheap(other, tmp_path / "second")}
    assert len(first) == 4
    assert first == second


def test_the_wheel_has_the_same_bytes_twice(tree: Path, tmp_path: Path) -> None:
    source.write_version(tree, "1.2.3-rc.1")
    made = subprocess.run(
        ["make", "-s", "-C", str(REPOSITORY), "release-python"],
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    build = (
        "import sys; from pathlib import Path; from ocore_release import python, source; "
        f"python.wheel(Path(sys.argv[1]), Path(sys.argv[2]), source.Commit('', {COMMIT.epoch}))"
    )
    found = []
    for name in ("first", "second"):
        copy, out = tmp_path / name / "tree", tmp_path / name / "out"
        shutil.copytree(tree, copy)
        for part in PARTS:
            shutil.copytree(REPOSITORY / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(
            [made.stdout.strip(), "-c", build, copy, out],
            check=True, timeout=120, env={**os.environ, "PYTHONPATH": str(REPOSITORY / "release")},
        )  # fmt: skip
        (wheel,) = out.iterdir()
        assert wheel.name == "ocore_snapshots-1.2.3rc1-py3-none-any.whl"
        found.append(digest(wheel))
        with zipfile.ZipFile(wheel) as packed:
            packages = {n for n in packed.namelist() if ".dist-info/" not in n}
        # What .gitignore names is left out: a package's own folder dist/ was.
        there = {p.relative_to(copy) for part in PARTS for p in (copy / part).rglob("*") if p.is_file()}
        assert packages == {"/".join(p.parts[1:]) for p in there if len(p.parts) > 2}
    assert found[0] == found[1]


def test_an_archive_keeps_who_may_execute(tmp_path: Path) -> None:
    write_tar_gz(tmp_path / "a.tar.gz", [File("b", b"b", 0o755), File("a", b"a")], 7)
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert [(m.name, m.mode, m.mtime, m.uid) for m in tar] == [("a", 0o644, 7, 0), ("b", 0o755, 7, 0)]


# --- the chart -----------------------------------------------------------------------------------------------
def test_the_released_chart_names_registry_and_digests(tree: Path) -> None:
    folder = tree / "charts/ocore-snapshots"
    before = yaml.safe_load((folder / "values.yaml").read_text())
    chart.fill(folder, registry="registry.example.org/team", digests=DIGESTS)
    after = yaml.safe_load((folder / "values.yaml").read_text())
    before["global"]["imageRegistry"] = "registry.example.org/team"
    before["operator"]["image"]["digest"] = DIGESTS["operator"]
    before["api"]["image"]["digest"] = DIGESTS["api"]
    before["mover"] |= {"majors": [15, 17], "digests": {"15": DIGESTS["mover:15"], "17": DIGESTS["mover:17"]}}
    assert after == before
    about = yaml.safe_load((folder / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == ("1.2.3", "1.2.3")


def test_a_release_with_pgdg_names_all_four_majors(tree: Path) -> None:
    folder = tree / "charts/ocore-snapshots"
    digests = DIGESTS | {f"mover:{major}": f"sha256:{major * 32}" for major in ("16", "18")}
    chart.fill(folder, registry="registry.example.org/team", digests=digests)
    mover = yaml.safe_load((folder / "values.yaml").read_text())["mover"]
    assert mover["majors"] == [15, 16, 17, 18]
    assert set(mover["digests"]) == {"15", "16", "17", "18"}


def test_a_chart_without_the_line_is_an_error(tree: Path) -> None:
    values = tree / "charts/ocore-snapshots/values.yaml"
    values.write_text(values.read_text().replace('  imageRegistry: ""', "  imageRegistry: x"))
    with pytest.raises(source.ReleaseError, match="imageRegistry"):
        chart.fill(tree / "charts/ocore-snapshots", registry="", digests={})


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """The blob of a descriptor, which must have its size and digest."""
    found = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(found) == descriptor["size"]
    assert digest(found) == descriptor["digest"]
    return found


def test_the_charts_oci_archive_has_the_package(tree: Path, tmp_path: Path) -> None:
    folder = tree / "charts/ocore-snapshots"
    packed = chart.package(folder, tmp_path, COMMIT)
    files = members(chart.oci(folder, packed, COMMIT, name="registry.example.org/charts/ocore-snapshots"))
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1.2.3"
    manifest = json.loads(blob(files, entry))
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    assert json.loads(blob(files, manifest["config"]))["name"] == "ocore-snapshots"
    (layer,) = manifest["layers"]
    assert blob(files, layer) == packed.read_bytes()
    names = members(packed)
    assert "ocore-snapshots/Chart.yaml" in names
    assert "ocore-snapshots/values.schema.json" in names


# --- images --------------------------------------------------------------------------------------------------
@pytest.fixture
def cache(tmp_path: Path) -> tuple[Path, str]:
    """A cache with one image; the image's digest."""
    return tmp_path / "cache", cached(tmp_path / "cache", "amd64")


def archived(cache: tuple[Path, str], target: Path) -> str:
    layout = Layout()
    described = images.labels("mover", "17", "1.2.3", COMMIT, "https://git.example.org/ocore-snapshots")
    entry = images.image(*cache, layout, described, "linux/amd64")
    return images.archive(
        layout, [entry], target, name="localhost/ocore-snapshots/mover", tag="1.2.3-pg17", commit=COMMIT
    )


def test_an_image_has_labels_and_the_layers_that_were_built(cache: tuple[Path, str], tmp_path: Path) -> None:
    written = archived(cache, tmp_path / "a.tar")
    files = members(tmp_path / "a.tar")
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["digest"] == written
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/ocore-snapshots/mover:1.2.3-pg17"
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    labels = config["config"]["Labels"]
    assert labels == manifest["annotations"]
    for name, value in {
        "title": "Jobs of ocore-snapshots, with the clients of PostgreSQL 17",
        "version": "1.2.3",
        "revision": COMMIT.id,
        "created": "2023-11-14T22:13:20Z",
        "licenses": "Apache-2.0",
        "source": "https://git.example.org/ocore-snapshots",
    }.items():
        assert labels[f"org.opencontainers.image.{name}"] == value
    assert config["config"]["User"] == "65532:65532"
    (layer,), (diff_id,) = manifest["layers"], config["rootfs"]["diff_ids"]
    assert "sha256:" + hashlib.sha256(gzip.decompress(blob(files, layer))).hexdigest() == diff_id


def test_an_image_has_the_same_bytes_with_an_empty_cache(cache: tuple[Path, str], tmp_path: Path) -> None:
    assert archived(cache, tmp_path / "a.tar") == archived(cache, tmp_path / "b.tar")
    shutil.rmtree(cache[0] / "oci-gzip")
    archived(cache, tmp_path / "c.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes() == (tmp_path / "c.tar").read_bytes()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout whose local cluster has built each image for both platforms."""
    return with_images(tmp_path / "repository", tmp_path / "cache")


def packed(repository: Path, tree: Path, out: Path, platforms: tuple[str, ...]) -> Settings:
    out.mkdir()
    settings = Settings(version="1.2.3", cache=repository.parent / "cache", out=out, platforms=platforms)
    installable(repository, tree / "charts/ocore-snapshots", settings, COMMIT, out)
    return settings


def test_the_chart_names_an_index_of_all_platforms(repository: Path, tree: Path, tmp_path: Path) -> None:
    packed(repository, tree, tmp_path / "out", images.PLATFORMS)
    values = yaml.safe_load((tree / "charts/ocore-snapshots/values.yaml").read_text())
    for name, named in {
        "operator-1.2.3": values["operator"]["image"]["digest"],
        "api-1.2.3": values["api"]["image"]["digest"],
        "mover-1.2.3-pg15": values["mover"]["digests"]["15"],
        "mover-1.2.3-pg17": values["mover"]["digests"]["17"],
    }.items():
        files = members(tmp_path / "out" / f"{name}.oci.tar")
        (entry,) = json.loads(files["index.json"])["manifests"]
        assert entry["mediaType"] == "application/vnd.oci.image.index.v1+json"
        assert entry["digest"] == named
        found = json.loads(blob(files, entry))["manifests"]
        # A program that does not know platforms takes the first one.
        assert [m["platform"] for m in found] == [{"os": "linux", "architecture": a} for a in ("amd64", "arm64")]
        for manifest, architecture in zip(found, ("amd64", "arm64"), strict=True):
            (layer,) = json.loads(blob(files, manifest))["layers"]
            with tarfile.open(fileobj=io.BytesIO(blob(files, layer))) as tar:
                assert tar.getnames() == [architecture]


def test_the_images_have_the_same_bytes_twice(repository: Path, tree: Path, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        other = shutil.copytree(tree, tmp_path / f"tree-{name}")
        packed(repository, other, tmp_path / name, images.PLATFORMS)
        found.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert found[0] == found[1]


def test_one_platform_is_an_image_without_an_index(repository: Path, tree: Path, tmp_path: Path) -> None:
    """As what the tests install, which builds nothing for another processor."""
    packed(repository, tree, tmp_path / "out", ("linux/amd64",))
    files = members(tmp_path / "out/operator-1.2.3.oci.tar")
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert "arm64" not in (repository / "called").read_text()


def test_an_image_of_another_platform_is_refused(repository: Path, tree: Path, tmp_path: Path) -> None:
    (repository / "arm64").write_text((repository / "amd64").read_text())
    with pytest.raises(source.ReleaseError, match="is for linux/amd64, not for linux/arm64"):
        packed(repository, tree, tmp_path / "out", images.PLATFORMS)


@pytest.mark.parametrize(
    ("given", "platforms"),
    [
        ("", ("linux/amd64",)),
        ("linux/arm64, linux/amd64,linux/arm64", images.PLATFORMS),
        ("linux/arm64", ("linux/arm64",)),
    ],
)
def test_platforms_are_in_one_order(given: str, platforms: tuple[str, ...]) -> None:
    assert images.checked_platforms(given) == platforms


@pytest.mark.parametrize("given", ["arm64", "linux/amd64,linux/riscv64", "linux/amd64 linux/arm64"])
def test_an_unknown_platform_is_refused(given: str) -> None:
    with pytest.raises(source.ReleaseError, match="give one or several of linux/amd64, linux/arm64"):
        images.checked_platforms(given)


def test_an_image_that_does_not_start_fails_the_release(repository: Path, tree: Path, tmp_path: Path) -> None:
    settings = packed(repository, tree, tmp_path / "out", images.PLATFORMS)
    archive = tmp_path / "out/mover-1.2.3-pg17.oci.tar"
    check(repository, settings, archive)
    called = (repository / "called").read_text().split("run-image ")[1:]
    for line, architecture in zip(called, ("amd64", "arm64"), strict=True):
        assert line.startswith(f"{architecture} {archive} ")
        assert "pg_dump --version" in line
        assert images.COMPILED in line
        assert "import pkgutil, ocore_mover" in line
    (repository / "code").write_text("127")
    with pytest.raises(source.ReleaseError, match=r"pg17.oci.tar does not start on linux/arm64:\nno loader"):
        check(repository, settings, archive)


@pytest.fixture
def environment(tmp_path: Path) -> tuple[Path, Path]:
    """A virtual environment as an image has it, with two modules; the folder of its programs and that of a module's
    compiled file."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True, with_pip=False)
    for module in (folder / "lib/more.py", folder / "app/ocore_mover/__init__.py"):
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("VALUE = 1\n")
    subprocess.run([folder / "bin/python", "-m", "compileall", "-q", folder], env={}, check=True)
    return folder / "bin", folder / "app/ocore_mover/__pycache__"


def started(programs: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [programs / "python3", "-c", images.COMPILED], env={}, capture_output=True, text=True, check=False
    )


def test_compiled_modules_are_those_of_the_images_python(environment: tuple[Path, Path]) -> None:
    programs, folder = environment
    done = started(programs)
    assert done.returncode == 0, done.stderr
    (compiled,) = folder.iterdir()
    compiled.write_bytes(b"\x00\x00\r\n" + compiled.read_bytes()[4:])
    done = started(programs)
    assert done.returncode == 1
    assert "not compiled for Python" in done.stderr
    assert "app/ocore_mover/__init__.py" in done.stderr


def test_a_module_that_is_not_compiled_is_reported(environment: tuple[Path, Path]) -> None:
    programs, folder = environment
    shutil.rmtree(folder)
    done = started(programs)
    assert done.returncode == 1
    assert "app/ocore_mover/__init__.py" in done.stderr


# --- krew, notes, version ------------------------------------------------------------------------------------
def test_the_manifest_for_krew_names_the_archive_of_each_platform(tmp_path: Path) -> None:
    packed = {system: tmp_path / f"kubectl-ocore-1.2.3-{'-'.join(system)}.tar.gz" for system in python.SYSTEMS}
    for path in packed.values():
        path.write_bytes(path.name.encode())
    found = yaml.safe_load(krew.manifest(packed, "1.2.3", "https://example.org/v1.2.3/", ""))
    for system, platform in zip(packed, found["spec"]["platforms"], strict=True):
        assert platform["selector"]["matchLabels"] == dict(zip(("os", "arch"), system, strict=True))
        assert platform["uri"] == f"https://example.org/v1.2.3/{packed[system].name}"
        assert platform["sha256"] == hashlib.sha256(packed[system].read_bytes()).hexdigest()
        assert platform["files"] == [{"from": "*", "to": "."}]


def installed(locked: dict[str, str], target: Path, platform: str, version: str, _: object) -> None:
    """In place of pip, which asks an index: packages of this environment. Native ones only for the running Python;
    others have the first bytes of such a module."""
    target.mkdir(parents=True, exist_ok=True)
    native = set(locked) <= set(python.NATIVE)
    own = version == f"{sys.version_info[0]}.{sys.version_info[1]}"
    for name in locked:
        if native and not own:
            (target / f"{name}.so").write_bytes(b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00")
            continue
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts and file.suffix != ".pyc" and "__pycache__" not in file.parts:
                place = target / file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), place)


def test_the_packed_command_runs_where_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As krew leaves it: the archive in its store, and a link to the plugin in its folder of programs. Only the
    standard library is there, and no package of this environment. The completion is copied by the printed command."""
    built, out = tmp_path / "a.whl", tmp_path / "out"
    out.mkdir()
    with zipfile.ZipFile(built, "w") as wheel:
        for part in ("crds/ocore_crds", "cli/ocore_cli"):
            for path in (REPOSITORY / part).rglob("*.*"):
                if path.is_file() and path.suffix != ".pyc":
                    wheel.write(path, str(path.relative_to(REPOSITORY / part.split("/")[0])))
        wheel.writestr(
            "ocore_snapshots-1.2.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: ocore-snapshots\nVersion: 1.2.3\n"
        )
        wheel.writestr("ocore_operator/__init__.py", "")
    monkeypatch.setattr(python, "_install", installed)
    monkeypatch.setattr(python, "SYSTEMS", {("linux", "amd64"): python.SYSTEMS["linux", "amd64"]})
    packed = python.commands(REPOSITORY, built, out, tmp_path / "work", COMMIT, "1.2.3")
    assert not [name for name in members(packed["linux", "amd64"]) if "ocore_operator" in name]
    store, programs = tmp_path / "my krew/store/ocore/v1.2.3", tmp_path / "my krew/bin"
    programs.mkdir(parents=True)
    store.mkdir(parents=True)
    subprocess.run(["tar", "-xf", packed["linux", "amd64"], "-C", store], check=True)
    (programs / "kubectl-ocore").symlink_to(store / "kubectl-ocore")
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    manifest = yaml.safe_load(krew.manifest(packed, "1.2.3", "https://example.org/v1.2.3/", ""))
    (printed,) = [line for line in manifest["spec"]["caveats"].splitlines() if line.startswith("  ")]
    environment = {"KREW_ROOT": str(tmp_path / "my krew"), "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(["sh", "-ec", printed], env=environment, check=True)

    def run(program: str, *arguments: str) -> list[str]:
        done = subprocess.run(
            [programs / program, *arguments], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.splitlines()

    assert run(krew.COMPLETION, "doc")[-1] == ":4"
    assert run("kubectl-ocore", "version")[0] == "kubectl ocore 1.2.3"
    assert "MissingGrants" in run("kubectl-ocore", "explain", "MissingGrants")[0]
    assert list((store / "lib/ocore_cli/__pycache__").iterdir())  # the next start compiles nothing


def launcher(folder: Path) -> Path:
    """The program in a folder for a Python that does not exist yet."""
    (folder / "native/cp399").mkdir(parents=True)
    return Path(shutil.copy(REPOSITORY / "release/command/kubectl-ocore", folder))


def test_an_old_python_starts_a_newer_one_or_says_which_are_needed(tmp_path: Path) -> None:
    program = launcher(tmp_path / "a b")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(Path(sys.executable).resolve())
    environment = {"PATH": str(tmp_path / "bin")}
    command = [program, "get", "osnap"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Install one of these: python3.99" in done.stderr
    newer = tmp_path / "bin/python3.99"
    newer.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    newer.chmod(0o755)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(program), "get", "osnap"]


def test_a_native_module_of_another_processor_fails_the_release(tmp_path: Path) -> None:
    _, magic, at, processor = python.SYSTEMS["linux", "arm64"]
    with pytest.raises(source.ReleaseError, match="not one of each"):
        python.check_native(tmp_path, magic, at, processor)
    for name in python.NATIVE:
        (tmp_path / f"{name}.so").write_bytes(b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00")
    python.check_native(tmp_path, magic, at, processor)
    (tmp_path / f"{python.NATIVE[0]}.so").write_bytes(b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00")
    with pytest.raises(source.ReleaseError, match="another system or processor"):
        python.check_native(tmp_path, magic, at, processor)


CHANGELOG = "# Changelog\n\n## 1.2.0 (unreleased)\n\n- New.\n\n## 1.1.0\n\n- Old.\n\n## 1.0.0\n"


@pytest.mark.parametrize(
    ("version", "expected"), [("1.2.0", "- New.\n"), ("1.2.0-rc.1", "- New.\n"), ("1.1.0", "- Old.\n")]
)
def test_the_notes_are_the_section_of_the_changelog(version: str, expected: str) -> None:
    assert source.notes(CHANGELOG, version) == expected


@pytest.mark.parametrize("version", ["1.0.0", "1.2", "2.0.0"])
def test_a_version_without_notes_is_refused(version: str) -> None:
    with pytest.raises(source.ReleaseError, match=f"no section '## {version}'"):
        source.notes(CHANGELOG, version)


@pytest.mark.parametrize("version", ["", "v1.2.3", "1.2", "01.2.3", "1.2.3+build", "1.2.3-", "1.2.3 ", "1.2.3-test.1"])
def test_a_version_must_fit_chart_images_and_wheel(version: str) -> None:
    with pytest.raises(source.ReleaseError, match="no version that chart, images and wheel can have"):
        source.checked_version(version)


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, Callable[..., None]]:
    """With one commit of a file."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "file").write_text("1")
    return folder, committed(folder)


def test_only_a_commit_is_released(checkout: tuple[Path, Callable[..., None]]) -> None:
    folder, _ = checkout
    commit = source.commit_of(folder)
    assert len(commit.id) == 40
    assert commit.epoch > 1_700_000_000
    (folder / "file").write_text("2")
    with pytest.raises(source.ReleaseError, match="commit or remove them:\n M file"):
        source.commit_of(folder)


def test_the_files_of_the_commit_are_released_with_the_version(
    checkout: tuple[Path, Callable[..., None]], tmp_path: Path
) -> None:
    """By the oldest Python that a release is built with: Debian 12 has 3.11.2, whose tarfile knows no filters."""
    folder, git = checkout
    program = folder / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("pyproject.toml", "charts/ocore-snapshots/Chart.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    git("add", ".")
    git("commit", "-m", "second")
    commit = source.commit_of(folder)
    (folder / "file").write_text("not committed")
    tree = tmp_path / "exported"
    source.export(folder, commit, "1.2.3", tree)
    assert (tree / "file").read_text() == "1"
    assert (tree / "program").stat().st_mode & 0o777 == 0o755
    assert (tree / "file").stat().st_mode & 0o777 == 0o644
    assert "appVersion: 1.2.3" in (tree / "charts/ocore-snapshots/Chart.yaml").read_text().splitlines()


def test_what_builds_a_release_never_has_the_key() -> None:
    """A release is built by code of hundreds of packages."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/release.yaml").read_text())
    job = workflow["jobs"]["release"]
    secret = [step["name"] for step in job["steps"] if "secrets." in str(step)]
    assert secret == ["Sign and publish"]
    assert "secrets." not in str(job["env"])
    assert "make release" not in str([step for step in job["steps"] if step.get("name") in secret])
