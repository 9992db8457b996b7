"""Archives of images for the local cluster (localcluster/lib/oci.py)."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINERD, OCI = "io.containerd.image.name", "org.opencontainers.image.ref.name"


def names(folder: Path, annotations: dict[str, str] | None) -> subprocess.CompletedProcess[str]:
    entry = {"digest": "sha256:aa", **({"annotations": annotations} if annotations is not None else {})}
    data = json.dumps({"manifests": [entry]}).encode()
    with tarfile.open(folder / "image.tar", "w") as archive:
        info = tarfile.TarInfo("index.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    command = [sys.executable, str(REPOSITORY / "localcluster/lib/oci.py"), "names", str(folder / "image.tar")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "annotations",
    [
        {CONTAINERD: "localhost/odoo:18"},
        {OCI: "localhost/odoo:18"},  # as buildah and skopeo write them
        {CONTAINERD: "localhost/odoo:18", OCI: "18"},
    ],
)
def test_an_archive_names_its_images(tmp_path: Path, annotations: dict[str, str]) -> None:
    assert names(tmp_path, annotations).stdout == "localhost/odoo:18 sha256:aa\n"


@pytest.mark.parametrize("annotations", [None, {}, {OCI: "18"}])
def test_an_image_without_a_name_is_refused_with_the_command(
    tmp_path: Path, annotations: dict[str, str] | None
) -> None:
    done = names(tmp_path, annotations)
    assert (done.returncode, done.stdout) == (1, "")
    assert "buildah push IMAGE oci-archive:" in done.stderr
    assert "Traceback" not in done.stderr
