"""localcluster/lib/images.sh: bases of images are the same everywhere; PGDG's repository is used for majors that Debian
lacks, and only if it is given."""

import os
import subprocess
from pathlib import Path

import pytest

from ocore_api.settings import Settings
from support.cluster.cluster import REPOSITORY

PREPARE = f"""
set -euo pipefail
HERE={REPOSITORY}/localcluster REPO={REPOSITORY}
source $HERE/lib/common.sh; source $HERE/lib/build.sh; source $HERE/lib/images.sh
"""
_DOWNLOADED = """#!/bin/sh
case $1 in -x) mkdir -p usr/share/postgresql-common/pgdg && echo key >usr/share/postgresql-common/pgdg/key.asc ;; esac
"""
_MMDEBSTRAP = (
    '#!/bin/sh\nfor word; do echo "$word"; done >"$LOG"; echo "$SOURCE_DATE_EPOCH ${PYTHONPYCACHEPREFIX-}" >>"$LOG"\n'
)


def run(folder: Path, script: str, **given: str) -> "subprocess.CompletedProcess[str]":
    for name, text in {"apt-get": "#!/bin/sh\n", "dpkg-deb": _DOWNLOADED, "mmdebstrap": _MMDEBSTRAP}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "OCORE_CACHE": str(folder / "cache"),
        "LOG": str(folder / "log"),
        "HOME": str(folder),
        **given,
    }
    return subprocess.run(
        ["bash", "-c", PREPARE + script], env=environment, capture_output=True, text=True, check=False
    )


def test_the_repository_is_used_with_its_key_and_leaves_no_trace(tmp_path: Path) -> None:
    url = "https://mirror.example.org/pgdg"
    script = (
        'image_spec mover:16; step() { shift; "$@"; }; import_base() { :; }; rm() { :; }; make_base; echo "$PACKAGES"'
    )
    done = run(tmp_path, script, PGDG_URL=url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(",")[-1].strip() == "postgresql-client-16"
    words = (tmp_path / "log").read_text().splitlines()
    (setup,) = [w for w in words if w.startswith("--setup-hook=")]
    key = tmp_path / "cache/tmp/pgdg/usr/share/postgresql-common/pgdg/key.asc"
    assert f"'deb [signed-by={key}] {url} trixie-pgdg main'" in setup
    assert key.exists()
    assert [w for w in words if w.startswith("--customize-hook=rm") and "pgdg.list" in w]


@pytest.mark.parametrize("image", ["mover:16", "mover:17", "operator:dev"])
def test_a_base_has_nothing_of_this_machine(image: str, tmp_path: Path) -> None:
    """Found by two builds with two caches: make's PYTHONPYCACHEPREFIX was a folder in the image, with compiled
    files."""
    script = (
        f'image_spec {image}; step() {{ shift; "$@"; }}; import_base() {{ :; }}; rm() {{ :; }}; make_base; echo'
        ' "$PYTHON_PACKAGES"'
    )
    done = run(
        tmp_path,
        script,
        PGDG_URL="https://mirror.example.org",
        PYTHONPYCACHEPREFIX="/home/me/cache",
        PYTHONPATH="/home/me",
    )
    assert done.stdout == "python3,ca-certificates\n", done.stderr
    words = (tmp_path / "log").read_text().splitlines()
    assert words[-1] == "0 "  # the time, and no folder
    assert """--customize-hook=rm -f "$1/etc/apt/sources.list\"""" in words


@pytest.mark.parametrize("major", ["16", "18"])
def test_without_the_repository_there_is_no_such_image(major: str, tmp_path: Path) -> None:
    prepare = 'install_deps() { :; }; need_root() { :; }; cluster_build() { :; }; with_lock() { echo "$@"; }; '
    done = run(tmp_path, f"{prepare} image_digests mover:{major}")
    assert done.returncode != 0
    assert "set PGDG_URL" in done.stderr
    # For the local cluster there is one, by its name: with the programs of a wheel.
    done = run(tmp_path, f"{prepare} build_images mover:{major} operator")
    assert done.stdout.split() == ["images", "build_all", "operator:dev", f"mover:{major}"], done.stderr
    done = run(tmp_path, f"{prepare} build_images mover")
    assert done.stdout.split() == ["images", "build_all", "mover:15", "mover:17"], done.stderr
    assert f"mover:{major}" not in run(tmp_path, 'echo "$IMAGES"').stdout
    assert f"mover:{major}" in run(tmp_path, 'echo "$IMAGES"', PGDG_URL="https://mirror.example.org").stdout


@pytest.mark.parametrize("image", ["mover:16", "mover:17"])
def test_a_base_for_another_processor_is_another_base(image: str, tmp_path: Path) -> None:
    script = (
        f'image_spec {image}; step() {{ shift; "$@"; }}; import_base() {{ :; }}; rm() {{ :; }}; FOREIGN=; make_base;'
        ' echo "$BASE"; FOREIGN=arm64; make_base; echo "$BASE"'
    )
    done = run(tmp_path, script, PGDG_URL="https://mirror.example.org")
    assert done.returncode == 0, done.stderr
    own, other = done.stdout.split()
    assert own != other
    words = (tmp_path / "log").read_text().splitlines()
    assert "--arch=arm64" in words
    assert words[-1] == "0 "


def test_images_of_another_processor_do_not_replace_those_of_this_one(tmp_path: Path) -> None:
    """The cluster loads the newest image of a name, and the cache keeps the newest ones."""
    script = """
    mkdir -p "$CACHE/tmp"
    make_base() { BASE=base$FOREIGN; }
    step() { echo "sha256:${FOREIGN:-own}" >"$CACHE/tmp/digest"; }
    for FOREIGN in '' arm64; do build_one operator:dev; done
    grep -r . "$CACHE/images" | sed 's|.*/images/||; s|/[0-9a-f]*:|=|' | sort"""
    done = run(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["operator:dev=sha256:own", "operator:dev@arm64=sha256:arm64"]


@pytest.mark.parametrize(("foreign", "base"), [("", "base"), ("arm64", "base-arm64")], ids=["own", "arm64"])
def test_this_machines_base_installs_and_compiles(foreign: str, base: str, tmp_path: Path) -> None:
    """pip and the compiler for another processor are programs of this one."""
    script = """
    mkdir -p "$CACHE/tmp"
    make_base() { BASE=base${FOREIGN:+-$FOREIGN}; }
    step() { shift; "$@"; }
    pip_wheel() { :; }; storage_driver() { :; }
    python3() { mkdir -p "$CACHE/tmp/pip"; }
    dpkg() { echo amd64; }
    buildah_() { printf '%s\\n' "$@" >"$LOG"; touch "$CACHE/tmp/id"; }
    build_one operator:dev"""
    done = run(tmp_path, f"FOREIGN={foreign}{script}")
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "log").read_text().splitlines()
    given = {words[i + 1] for i, word in enumerate(words) if word == "--build-arg"}
    assert given == {f"BASE_IMAGE={base}", "BUILD_IMAGE=base", f"TARGETARCH={foreign or 'amd64'}"}
    # With it buildah would search the base of this machine's processor for the other one.
    assert "--arch" not in words


def test_the_page_is_a_part_of_the_facades_image_and_of_its_key(tmp_path: Path) -> None:
    """Another page is another image."""
    script = """
    mkdir -p "$CACHE/tmp" "$CACHE/built/assets"
    make_base() { BASE=base; }
    step() { shift; "$@"; }
    pip_wheel() { :; }; storage_driver() { :; }
    python3() { mkdir -p "$CACHE/tmp/pip"; }
    dpkg() { echo amd64; }
    page() { echo "$CACHE/built"; }
    buildah_() { printf '%s\\n' "$@" >>"$LOG"; touch "$CACHE/tmp/id"; rm -r "$CACHE/tmp/pip"; }
    for content in first first second; do
      echo $content >"$CACHE/built/index.html"
      build_one api:dev
    done
    build_one operator:dev"""
    done = run(tmp_path, script)
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "log").read_text().splitlines()
    contexts = [words[i + 1] for i, word in enumerate(words) if word == "--build-context"]
    assert [c.partition("=")[0] for c in contexts] == ["ui", "ui"]
    assert words.count("bud") == 3
    containerfile = (REPOSITORY / "images/api/Containerfile").read_text()
    assert f"COPY --from=ui / {Settings.model_fields['ui_folder'].default}\n" in containerfile


@pytest.mark.parametrize("name", ["operator", "api", "cli", "mover"])
def test_nothing_large_runs_on_the_processor_of_an_image(name: str) -> None:
    """All that is published: a step of the last stage would run under QEMU for another processor."""
    lines = (REPOSITORY / f"images/{name}/Containerfile").read_text().splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    page = ["FROM scratch AS ui"] if name == "api" else []
    assert stages == [
        *page,
        "FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS packages",
        "FROM packages AS code",
        "FROM ${BASE_IMAGE}",
    ]
    steps = [line for line in lines[lines.index(stages[-1]) :] if line.startswith("RUN ")]
    # The base of a release has its Debian packages.
    assert len(steps) == 1
    assert steps[0].startswith("RUN test -x ")


def emulated(folder: Path, *, flags: str) -> "subprocess.CompletedProcess[str]":
    """With the kernel's rule in a folder; without flags the kernel has no rules."""
    rules = folder / "binfmt"
    rules.mkdir()
    if flags:
        (rules / "register").touch()
        (rules / "qemu-aarch64").write_text(f"enabled\nflags: {flags}\n")
    (folder / "qemu-aarch64-static").touch(0o755)
    return run(folder, f"BINFMT={rules} FOREIGN=arm64; mount() {{ return 32; }}; emulate")


def test_a_rule_that_needs_qemu_in_the_image_is_refused(tmp_path: Path) -> None:
    """Without the flag F the kernel searches QEMU in the tree that it starts a program of."""
    done = emulated(tmp_path, flags="OP")
    assert done.returncode != 0
    assert "qemu-aarch64 lacks the flag F: remove it" in done.stderr


def test_the_kernels_rule_is_used(tmp_path: Path) -> None:
    done = emulated(tmp_path, flags="POF")
    assert done.returncode == 0, done.stderr


def test_a_kernel_without_rules_is_reported(tmp_path: Path) -> None:
    done = emulated(tmp_path, flags="")
    assert done.returncode != 0
    assert "this kernel has no binfmt_misc" in done.stderr


@pytest.mark.parametrize("given", ["", "riscv64", "linux/arm64"])
def test_an_unknown_processor_is_refused(given: str, tmp_path: Path) -> None:
    done = run(tmp_path, f"for_arch '{given}'")
    assert done.returncode != 0
    assert f"for amd64 and arm64, not for '{given}'" in done.stderr


def test_debians_majors_do_not_use_it(tmp_path: Path) -> None:
    script = 'image_spec mover:17; step() { shift; "$@"; }; import_base() { :; }; rm() { :; }; make_base'
    done = run(tmp_path, script, PGDG_URL="https://mirror.example.org")
    assert done.returncode == 0, done.stderr
    assert "pgdg" not in (tmp_path / "log").read_text().replace("create_main_cluster", "")


@pytest.mark.parametrize(
    ("targets", "mirror"),
    [("", ""), ("m/debian-security\\nm/debian\\nm/other\\n", "m/debian"), ("m/debian-security\\n", "")],
)
def test_a_machine_without_debians_mirror_uses_the_default(targets: str, mirror: str, tmp_path: Path) -> None:
    """As on Ubuntu: no mirror is no failure."""
    done = run(tmp_path, f'apt-get() {{ printf "{targets}"; }}; found=$(debian_mirror); echo "mirror=$found"')
    assert done.stdout == f"mirror={mirror}\n", done.stderr


def test_what_a_killed_build_has_left_keeps_no_image_from_being_cleared(tmp_path: Path) -> None:
    """buildah clears no image that a container uses."""
    script = f"""
        mkdir -p "$CACHE/images/operator"
        python3() {{ :; }}
        buildah_() {{ if [ "$1" = rm ]; then touch {tmp_path}/removed; else [ -e {tmp_path}/removed ]; fi; }}
        prune_images 5"""
    done = run(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "removed").exists()
