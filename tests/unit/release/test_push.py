"""`make push` and `make publish`, with skopeo and a real registry on loopback."""

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ocore_release import docker, images, source
from ocore_release import publish as publisher
from ocore_release.archive import Layout
from ocore_release.build import Settings
from ocore_release.publish import Registry, publish
from ocore_release.push import commands, push
from support import registry
from support.cluster.cluster import REPOSITORY
from support.release import cached, committed, with_images

NAMES = {"operator": "", "api": "", "cli": "", "mover": "-pg15", "mover ": "-pg17"}
#: skopeo, with the command line that each process of it has as the kernel shows it. With a file `stop`, the second
#: copy ends as one that is killed; with a file `hang`, a copy does not end.
SKOPEO = """#!/bin/sh
tr '\\0' ' ' </proc/$$/cmdline >>{folder}/called
echo >>{folder}/called
if [ "$1" = copy ] && [ -e {folder}/hang ]; then exec sleep 600; fi
if [ "$1" = copy ] && [ -e {folder}/stop ]; then echo copy >>{folder}/stop; fi
[ ! -e {folder}/stop ] || [ "$(grep -c copy {folder}/stop)" -lt 2 ] || kill -9 $$
exec {skopeo} "$@"
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registry.Served]:
    """A registry with a password and a CA of its own."""
    with registry.served(tmp_path_factory.mktemp("tls") / "registry", tls=True, password=True) as found:
        yield found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registry.Served]:
    """A registry that speaks plain HTTP."""
    with registry.served(tmp_path_factory.mktemp("plain") / "registry", tls=False, password=False) as found:
        yield found


@pytest.fixture
def programs(served: registry.Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with skopeo in front of the PATH. The login for the registry is set."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "skopeo").write_text(SKOPEO.format(folder=folder, skopeo=shutil.which("skopeo")))
    (folder / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(served.login))
    monkeypatch.delenv("COSIGN_KEY", raising=False)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, Callable[..., None]]:
    """A commit of the chart, whose images are built."""
    folder = with_images(tmp_path / "checkout", tmp_path / "cache")
    shutil.copytree(REPOSITORY / "charts", folder / "charts")
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    (folder / ".gitignore").write_text("called\n")
    return folder, committed(folder)


def pushed(checkout: Path, where: registry.Served, path: str, version: str = "") -> str:
    settings = Settings(
        version=version, cache=checkout.parent / "cache", out=checkout.parent / "dist", registry=f"{where.host}/{path}"
    )
    return push(checkout, settings, Registry(ca=str(where.ca or ""), plain=where.ca is None))


def tags(version: str, path: str) -> set[str]:
    """What a push leaves in the registry."""
    found = {f"{path}/ocore-snapshots/{name.strip()}:{version}{major}" for name, major in NAMES.items()}
    return found | {f"{path}/charts/ocore-snapshots:{version}"}


def copies(programs: Path) -> list[str]:
    """The tags that were copied since the last call, in order."""
    called = programs / "called"
    found = [line.split("docker://")[1].strip() for line in called.read_text().splitlines() if " copy " in line]
    called.write_text("")
    return found


def values(where: registry.Served, chart: str, tmp_path: Path) -> dict[str, dict[str, object]]:
    """The values of the chart that a registry has."""
    (layer,) = json.loads(where.blob(where.digest(chart)))["layers"]
    (tmp_path / "chart.tgz").write_bytes(where.blob(layer["digest"]))
    command = ["tar", "-xzOf", tmp_path / "chart.tgz", "ocore-snapshots/values.yaml"]
    found: dict[str, dict[str, object]] = yaml.safe_load(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return found


def test_images_and_chart_are_pushed_once_and_never_changed(
    served: registry.Served, programs: Path, checkout: tuple[Path, Callable[..., None]], tmp_path: Path
) -> None:
    folder, git = checkout
    printed = pushed(folder, served, "first", "1.2.3")
    called = (programs / "called").read_text()
    pair = json.loads(served.login.read_text())["auths"][served.host]["auth"]
    assert not [secret for secret in (registry.PASSWORD, pair) if secret in called], "a password is an argument"
    assert {t for t in served.tags() if t.startswith("first/")} == tags("1.2.3", "first")
    # The chart comes last: what it names is there.
    assert copies(programs)[-1] == f"{served.host}/first/charts/ocore-snapshots:1.2.3"
    found = values(served, "first/charts/ocore-snapshots:1.2.3", tmp_path)
    assert found["global"]["imageRegistry"] == f"{served.host}/first"
    assert found["operator"]["image"] == {
        **yaml.safe_load((folder / "charts/ocore-snapshots/values.yaml").read_text())["operator"]["image"],
        "digest": served.digest("first/ocore-snapshots/operator:1.2.3"),
    }
    lines = [line for line in printed.splitlines() if line.startswith(("helm ", "kubectl "))]
    assert lines[0] == f"helm registry login {served.host} --ca-file {served.ca}"
    assert lines[-3].startswith(
        f"helm upgrade --install ocore oci://{served.host}/first/charts/ocore-snapshots --version 1.2.3 "
    )
    assert "--set 'global.imagePullSecrets={registry}'" in lines[-3]
    # A file of the checkout would give the next push another version.
    assert [line for line in lines if "dockerconfigjson" in line and not line.endswith("=LOGIN")] == []
    assert [line.split()[2] for line in lines[-2:]] == ["init", "snapshot"]
    # Again: the same bytes, and nothing to copy.
    pushed(folder, served, "first", "1.2.3")
    assert copies(programs) == []
    # Another commit has other labels.
    git("commit", "--allow-empty", "-m", "second", "--date", "2001-01-01T00:00:00Z")
    before = {tag: served.digest(tag) for tag in served.tags()}
    with pytest.raises(source.ReleaseError, match=r"first/ocore-snapshots/api:1\.2\.3 exists .* Give another VERSION"):
        pushed(folder, served, "first", "1.2.3")
    assert copies(programs) == []
    assert {tag: served.digest(tag) for tag in served.tags()} == before


def test_a_push_that_was_interrupted_is_finished(
    served: registry.Served, programs: Path, checkout: tuple[Path, Callable[..., None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = checkout
    (programs / "stop").write_text("")
    with pytest.raises(source.ReleaseError, match=r"skopeo copy docker://.* failed"):
        pushed(folder, served, "half", "1.2.3")
    assert len(copies(programs)) == 2
    there = {t for t in served.tags() if t.startswith("half/")}
    assert len(there) == 1
    (programs / "stop").unlink()
    (programs / "hang").write_text("")
    monkeypatch.setattr(publisher, "COPY_SECONDS", 0.1)
    with pytest.raises(source.ReleaseError, match=r"skopeo copy .* run it again"):
        pushed(folder, served, "half", "1.2.3")
    monkeypatch.setattr(publisher, "COPY_SECONDS", 600)
    (programs / "hang").unlink()
    pushed(folder, served, "half", "1.2.3")
    assert {t for t in served.tags() if t.startswith("half/")} == tags("1.2.3", "half")
    assert not there & {name.partition("/")[2] for name in copies(programs)}


def test_plain_http_only_where_it_is_asked_for(
    plain: registry.Served, served: registry.Served, programs: Path, checkout: tuple[Path, Callable[..., None]]
) -> None:
    assert programs
    host = plain.host
    assert not Registry(plain=True).check(host)
    with pytest.raises(source.ReleaseError, match=rf"{host} is not reached: .*PLAIN_HTTP=1 pushes over plain HTTP"):
        Registry().check(host)
    with pytest.raises(source.ReleaseError, match=f"{served.host} does not answer to plain HTTP"):
        Registry(plain=True).check(served.host)
    printed = pushed(checkout[0], plain, "team", "1.2.3")
    assert plain.tags() == tags("1.2.3", "team")
    assert "--plain-http" in printed
    assert "imagePullSecrets" not in printed


def test_a_registry_that_is_not_reached_says_what_to_do(
    served: registry.Served, programs: Path, checkout: tuple[Path, Callable[..., None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(source.ReleaseError, match="set REGISTRY_CA to its certificate"):
        Registry().check(served.host)
    other = programs / "other.pem"
    other.write_text(ssl.DER_cert_to_PEM_cert(b"no certificate"))
    for unreadable in ("/etc/hostname", str(other)):
        with pytest.raises(source.ReleaseError, match=rf"REGISTRY_CA '{unreadable}' is not read: .* Give the cert"):
            Registry(ca=unreadable).check(served.host)
    command = "openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=other -days 2 -keyout /dev/null -out"
    subprocess.run([*command.split(), other], check=True, capture_output=True)
    with pytest.raises(source.ReleaseError, match=rf"\. REGISTRY_CA '{other}' must hold the certificate of the CA"):
        Registry(ca=str(other)).check(served.host)
    with pytest.raises(source.ReleaseError, match=r"127\.0\.0\.1:1 is not reached"):
        Registry().check("127.0.0.1:1")
    assert Registry(ca=str(served.ca)).check(served.host)
    (programs / "login.json").write_text("{}")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(programs / "login.json"))
    with pytest.raises(source.ReleaseError, match=f"Log in first, as a user that may push: skopeo login {served.host}"):
        pushed(checkout[0], served, "denied", "1.2.3")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PLAIN_HTTP": "yes"}, "PLAIN_HTTP 'yes' is unknown"),
        ({"REGISTRY_CA": "/no/file"}, "REGISTRY_CA '/no/file' is not a file"),
        ({"REGISTRY_CA": "/etc/hostname", "PLAIN_HTTP": "1"}, "leave one of them out"),
    ],
)
def test_how_a_registry_is_reached_is_checked(
    given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(source.ReleaseError, match=said):
        Registry.read()


@pytest.mark.parametrize(
    "name",
    [
        "registry.example.org",
        "registry.example.org/",
        "registry:5000/team",
        "127.0.0.1:5000/a/b-c/d__e",
        "r.example.org/a.b",
    ],
)
def test_a_registry_is_a_host_and_a_path(name: str) -> None:
    assert source.checked_registry(name) == name.rstrip("/")


@pytest.mark.parametrize(
    "name",
    [
        *("", "team", "team/snapshots", "localhost", "localhost/team", "https://registry.example.org/team"),
        *("registry.example.org/team:1.2.3", "registry.example.org/Team", "user@registry.example.org/team"),
        *(
            "registry.example.org//team",
            "registry.example.org/team name",
            "registry.example.org:port/team",
            "-r.example.org",
        ),
        *("registry.example.org/team@sha256:0", "registry.example.org/team\n", "registry.example.org/../team"),
    ],
)
def test_another_registry_is_refused(name: str) -> None:
    with pytest.raises(source.ReleaseError, match=r"is not host\[:port\]/path: give for example"):
        source.checked_registry(name)


def test_each_state_of_a_checkout_has_a_version_of_its_own(checkout: tuple[Path, Callable[..., None]]) -> None:
    folder, git = checkout
    plain, commit = source.pushed(folder, "")
    assert re.fullmatch(r"0\.1\.0-dev\.1\.g[0-9a-f]{12}", plain)
    assert source.pushed(folder, "1.2.3") == ("1.2.3", commit)
    seen = {plain}
    index = (folder / ".git/index").read_bytes()
    for change in ("first", "second"):
        (folder / "not committed").write_text(change)
        dirty, changed = source.pushed(folder, "")
        assert re.fullmatch(rf"{re.escape(plain)}\.dirty\.g[0-9a-f]{{12}}", dirty)
        assert source.pushed(folder, "")[0] == dirty
        assert source.pushed(folder, "1.2.3")[0].startswith("1.2.3-dirty.g")
        assert source.pushed(folder, "1.2.3-rc.1")[0].startswith("1.2.3-rc.1.dirty.g")
        assert changed.id == f"{commit.id}-dirty"
        seen.add(dirty)
    assert len(seen) == 3
    assert (folder / ".git/index").read_bytes() == index
    (folder / "not committed").unlink()
    # Of several tags the latest version: not the last in the alphabet, and a final one after its pre-releases.
    for made, version in ("v1.9.0-rc.2 v1.9.0-rc.10 v1.9.0-beta.11", "1.9.0-rc.10"), ("v1.9.0 v1.8.0", "1.9.0"):
        for tag in made.split():
            git("tag", tag)
        assert source.pushed(folder, "")[0] == version
    git("tag", "v1.10.0")
    assert source.pushed(folder, "")[0] == "1.10.0"
    with pytest.raises(source.ReleaseError, match="no version"):
        source.pushed(folder, "v1.2.3")


def test_what_is_no_checkout_says_so(tmp_path: Path) -> None:
    with pytest.raises(source.ReleaseError, match="is not a checkout with a commit"):
        source.pushed(tmp_path, "")


def test_a_checkout_that_changes_while_it_is_built_is_not_pushed(
    served: registry.Served, programs: Path, checkout: tuple[Path, Callable[..., None]]
) -> None:
    folder, git = checkout
    with (folder / "localcluster/cluster").open("a") as build:
        build.write(f"echo new >>{folder}/file\n")
    git("commit", "--all", "--message", "second")
    with pytest.raises(source.ReleaseError, match="the checkout changed while it was built"):
        pushed(folder, served, "changed")
    assert not (programs / "called").exists()


# --- publish -------------------------------------------------------------------------------------------------
def released(folder: Path, name: str) -> str:
    """Writes an image of a release into a folder; its digest."""
    folder.mkdir()
    layout = Layout()
    entry = images.image(folder.parent / "cache", cached(folder.parent / "cache", "amd64"), layout, {}, "linux/amd64")
    archive = folder / "operator-1.2.3.oci.tar"
    commit = source.Commit("0123456789abcdef", 1_700_000_000)
    return images.archive(layout, [entry], archive, name=name, tag="1.2.3", commit=commit)


def test_what_is_published_is_signed_by_its_digest(
    served: registry.Served, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{served.host}/signed/ocore-snapshots/operator"
    written = released(tmp_path / "dist", name)
    (programs / "cosign").write_text(f'#!/bin/sh\necho "$*" >>{programs}/signed\n')
    (programs / "cosign").chmod(0o755)
    publish(tmp_path / "dist", Registry(ca=str(served.ca)))
    assert not (programs / "signed").exists()
    monkeypatch.setenv("COSIGN_KEY", "cosign.key")
    assert publish(tmp_path / "dist", Registry(ca=str(served.ca))) == ({f"{name}:1.2.3": written}, True)
    (signed,) = (programs / "signed").read_text().splitlines()
    assert signed.startswith("sign --yes --key cosign.key --tlog-upload=false ")
    assert signed.endswith(f" --registry-cacert={served.ca} {name}@{written}")
    (programs / "cosign").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(source.ReleaseError, match="was not signed"):
        publish(tmp_path / "dist", Registry(ca=str(served.ca)))


def test_what_was_built_without_a_registry_is_not_published(programs: Path, tmp_path: Path) -> None:
    released(tmp_path / "dist", "localhost/ocore-snapshots/operator")
    with pytest.raises(source.ReleaseError, match=r"operator-1\.2\.3\.oci\.tar was built without a registry"):
        publish(tmp_path / "dist", Registry())
    assert not (programs / "called").exists()
    with pytest.raises(source.ReleaseError, match="has no archives: make release"):
        publish(tmp_path, Registry())


def test_a_path_with_a_space_is_one_argument() -> None:
    printed = commands("r.example.org/team", "1.2.3", Registry(ca="/my files/ca.crt"), asks=True)
    lines = [shlex.split(line) for line in printed.splitlines() if line.startswith("helm ")]
    assert [line[line.index("--ca-file") + 1] for line in lines] == ["/my files/ca.crt"] * 2


def test_an_error_ends_the_command_with_one_line(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "release"),
        "OCORE_CACHE": str(tmp_path),
        "REGISTRY": "team",
    }
    done = subprocess.run(
        [sys.executable, "-m", "ocore_release", "push"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("push: REGISTRY 'team' is not host[:port]/path")
    assert len(done.stderr.splitlines()) == 1


# --- docker --------------------------------------------------------------------------------------------------
#: Docker as far as it is needed: what `docker save` writes from version 25 on is a file beside it.
DOCKER = '#!/bin/sh\necho "$*" >>{folder}/called\n[ "$1" != save ] || cp {folder}/saved "$3"\n'


def saved(folder: Path, *, compressed: bool) -> str:
    """What `docker save` writes for an image, as with the containerd store or without; the manifest's digest."""
    cache, layout = folder / "cache", Layout()
    manifest = json.loads((cache / "oci/blobs" / cached(cache, "amd64").replace(":", "/")).read_text())
    kind = f"application/vnd.oci.image.layer.v1.tar{'+gzip' if compressed else ''}"
    layers = []
    for layer in manifest["layers"]:
        path = cache / "oci/blobs" / layer["digest"].replace(":", "/")
        layers.append(layout.add(images.compressed(cache, layer) if compressed else path, kind))
    config = layout.add(cache / "oci/blobs" / manifest["config"]["digest"].replace(":", "/"), images.CONFIG)
    root = layout.manifest(config=config, layers=layers)
    platform = {"platform": {"os": "linux", "architecture": "amd64"}}
    written = layout.index([root | platform]) if compressed else root
    layout.write(folder / "saved", written, tag="1", name="a", epoch=0)
    shutil.rmtree(cache)
    return str(root["digest"])


@pytest.mark.parametrize("compressed", [False, True], ids=["plain layers", "containerd store"])
def test_docker_builds_the_images_where_buildah_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    expected = saved(tmp_path, compressed=compressed)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"docker": DOCKER.format(folder=tmp_path), "make": "#!/bin/sh\necho /the/page\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert docker.chosen()
    names = ("operator:dev", "api:dev", "mover:15", "mover:18")
    found = docker.built(REPOSITORY, tmp_path / "cache", "linux/amd64", names, "https://pgdg.example.org")
    assert found == dict.fromkeys(names, expected)
    builds = [shlex.split(line) for line in (tmp_path / "called").read_text().splitlines() if line.startswith("build ")]
    assert all(b[1:5] == ["--platform", "linux/amd64", "--provenance=false", "--sbom=false"] for b in builds)
    assert [b[b.index("--file") + 1] for b in builds[:2]] == [
        "images/operator/Containerfile",
        "images/api/Containerfile",
    ]
    assert builds[1][-2] == "ui=/the/page"
    assert [a for a in builds[2] if "=" in a and a[0] != "-"] == ["PG_MAJOR=15", "BASE_IMAGE=debian:bookworm-slim"]
    assert [a for a in builds[3] if "=" in a and a[0] != "-"] == ["PG_MAJOR=18", "PGDG_URL=https://pgdg.example.org"]
    layout = Layout()
    root = images.image(tmp_path / "cache", expected, layout, {}, "linux/amd64")
    layout.write(tmp_path / "out.tar", root, tag="1", name="a", epoch=0)
    assert root["platform"] == {"os": "linux", "architecture": "amd64"}


def test_docker_without_buildx_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it says itself: unknown flag: --build-context."""
    (tmp_path / "docker").write_text('#!/bin/sh\n[ "$1" != buildx ]\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(source.ReleaseError, match="Docker has no Buildx"):
        docker.built(REPOSITORY, tmp_path / "cache", "linux/amd64", ("operator:dev",), "")


def test_an_older_docker_is_named(tmp_path: Path) -> None:
    subprocess.run(["tar", "-cf", tmp_path / "image.tar", "-C", "/etc", "hostname"], check=True)
    with pytest.raises(source.ReleaseError, match="Docker 25 or newer is needed"):
        docker._keep(tmp_path / "image.tar", tmp_path / "blobs", "linux/amd64")
