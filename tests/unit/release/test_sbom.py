"""The bill of materials: the packages that an image lists itself."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from ocore_release import images, sbom, source
from ocore_release.archive import Json, Layout

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.41-1)
Version: 2.41-12+deb13u1
Description: GNU C Library
 Version: 9 of something in a text

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1:1.0
"""
METADATA = (
    "Metadata-Version: 2.4\nName: Typing_Extensions\nVersion: 4.15.0\nLicense-Expression: PSF-2.0\n\nVersion: 1\n"
)
PAGE = "The page contains these packages.\n\nd3-array 3.2.5 (ISC)\n\nCopyright\n\n@preact/signals 2.0.0 (MIT)\n\nText\n"
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: Ulrich Müller
License: LGPL-2.1+ or BSD-3-clause

Files: debian/*
Copyright: no one
License: GPL-2+
 The text of the licence.
 .
 License: none of this

License: LGPL-2.1+ or BSD-3-clause
 The text.
"""
BASE = {"./var/lib/dpkg/status": STATUS, "./usr/lib/os-release": 'NAME="Debian"\nVERSION_ID="13"\n'}
DOCS = {"usr/share/doc/libc6/copyright": COPYRIGHT, "./usr/share/doc/libpq5/copyright": "License: whatever\nit is.\n"}
PACKAGES = {"opt/ocore/lib/typing_extensions-4.15.0.dist-info/METADATA": METADATA, "opt/ocore/ui/licenses.txt": PAGE}


def layer(layout: Layout, files: dict[str, str]) -> Json:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return layout.add(gzip.compress(packed.getvalue()), images.LAYER)


def archive(folder: Path, *layers: dict[str, str], platforms: tuple[str, ...] = ("amd64",)) -> Path:
    """An image of these layers, for one platform or several."""
    layout, entries = Layout(), []
    for architecture in platforms:
        config = layout.add(architecture.encode(), images.CONFIG)
        root = layout.manifest(config=config, layers=[layer(layout, files) for files in layers])
        entries.append(root | {"platform": {"os": "linux", "architecture": architecture}})
    written = entries[0] if len(entries) == 1 else layout.index(entries)
    layout.write(folder / "api.oci.tar", written, tag="1", name="registry.example.org/api:1", epoch=0)
    return folder / "api.oci.tar"


@pytest.mark.parametrize("platforms", [("amd64",), ("amd64", "arm64")])
def test_each_package_of_an_image_is_listed_once(tmp_path: Path, platforms: tuple[str, ...]) -> None:
    # A later layer installs a package: its list replaces that of the base.
    later = {
        "var/lib/dpkg/status": "\n".join(
            (STATUS, STATUS.replace("libc6", "libpq5").replace("glibc (2.41-1)", "postgresql-17"))
        )
    }
    for name in ("a.json", "b.json"):
        made = archive(tmp_path, BASE | DOCS, later, PACKAGES, platforms=platforms)
        sbom.write(made, tmp_path / name, "2023-11-14T22:13:20Z", "linux/amd64")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == "registry.example.org/api:1"
    assert [c["purl"] for c in found["components"]] == [
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13&upstream=glibc",
        "pkg:deb/debian/libpq5@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13&upstream=postgresql-17",
        "pkg:npm/%40preact/signals@2.0.0",
        "pkg:npm/d3-array@3.2.5",
        "pkg:pypi/typing-extensions@4.15.0",
    ]
    # Those of Debian's format; a text in free form names none.
    assert [each["license"]["name"] for each in found["components"][0]["licenses"]] == [
        "GPL-2+",
        "LGPL-2.1+ or BSD-3-clause",
    ]
    assert "licenses" not in found["components"][1]
    assert found["components"][-1]["licenses"] == [{"license": {"name": "PSF-2.0"}}]


def test_an_image_without_a_list_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(source.ReleaseError, match=r"api\.oci\.tar does not list its packages: \['pkg:deb'\]"):
        sbom.write(archive(tmp_path, BASE), tmp_path / "a.json", "", "linux/amd64")
    assert not (tmp_path / "a.json").exists()
