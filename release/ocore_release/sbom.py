"""The software bill of materials of an image, as CycloneDX: the packages of Debian, of Python and of the page, as the
image itself lists them."""

import json
import re
import tarfile
from collections.abc import Iterator
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .archive import Json, encoded, root_of
from .source import ReleaseError

DEBIAN = "var/lib/dpkg/status"
RELEASE = "usr/lib/os-release"
COPYRIGHT = re.compile(r"usr/share/doc/[^/]+/copyright")
PYTHON = re.compile(r"[^ ]+\.dist-info/METADATA")
#: Written by ui/build.mjs: what the page of the image api is bundled from.
PAGE = re.compile(r"[^ ]*/licenses\.txt")
BUNDLED = re.compile(r"^(@?[\w./-]+) (\d[\w.+-]*) \(([\w. ()-]+)\)$", re.MULTILINE)


def write(archive: Path, target: Path, created: str, platform: str) -> None:
    """Lists the image for a platform in an OCI archive. Raises ReleaseError where the image lists no packages."""
    name, digest = root_of(archive)
    files = dict(_files(archive, digest, platform))
    found = {each["bom-ref"]: each for each in (*_debian(files), *_python(files), *_bundled(files))}
    kinds = {each["purl"].partition("/")[0] for each in found.values()}
    if not {"pkg:deb", "pkg:pypi"} <= kinds:
        raise ReleaseError(f"the image in {archive.name} does not list its packages: {sorted(kinds)}")
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": created, "component": {"type": "container", "name": name, "version": digest}},
        "components": [found[key] for key in sorted(found)],
    }
    target.write_bytes(encoded(bom) + b"\n")


def _files(archive: Path, digest: str, platform: str) -> Iterator[tuple[str, bytes]]:
    """Path → content of the files that name packages. A file of a later layer replaces that of an earlier one."""
    with tarfile.open(archive) as tar:

        def blob(name: str) -> Any:
            return tar.extractfile("blobs/" + name.replace(":", "/"))

        manifest = json.load(blob(digest))
        if "manifests" in manifest:
            (entry,) = [m for m in manifest["manifests"] if "{os}/{architecture}".format(**m["platform"]) == platform]
            manifest = json.load(blob(entry["digest"]))
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=blob(layer["digest"]), mode="r|gz") as files:
                for member in files:
                    path = member.name.removeprefix("./")
                    listed = path in (DEBIAN, RELEASE) or any(p.fullmatch(path) for p in (PYTHON, PAGE, COPYRIGHT))
                    if member.isfile() and listed:
                        yield path, files.extractfile(member).read()  # type: ignore[union-attr]


def _component(kind: str, name: str, version: str, *licences: str, more: str = "") -> Json:
    purl = f"pkg:{kind}/{quote(name, safe='/')}@{quote(version, safe='')}{more}"
    # An expression of SPDX, or a name that someone chose.
    named = [{"license": {"name": each}} for each in licences if each]
    found = {"licenses": named} if named else {}
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **found}


def _debian(files: dict[str, bytes]) -> Iterator[Json]:
    found = re.search(r'^VERSION_ID="?(\d+)', files.get(RELEASE, b"").decode(), re.MULTILINE)
    suffix = f"&distro=debian-{found[1]}" if found else ""
    for stanza in files.get(DEBIAN, b"").split(b"\n\n"):
        fields = BytesHeaderParser().parsebytes(stanza.strip())
        if str(fields["Status"]).endswith(" installed"):
            source = str(fields["Source"] or "").partition(" ")[0]
            more = f"?arch={fields['Architecture']}{suffix}" + (f"&upstream={quote(source, safe='')}" if source else "")
            package = str(fields["Package"])
            licences = _licences(files.get(f"usr/share/doc/{package}/copyright", b""))
            yield _component("deb/debian", package, str(fields["Version"]), *licences, more=more)


def _licences(text: bytes) -> list[str]:
    """The short names of a machine-readable copyright file of Debian (copyright-format 1.0). None of a free text: what
    is in it is not guessed."""
    if not text.startswith(b"Format:"):
        return []
    stanzas = [BytesHeaderParser().parsebytes(each.strip()) for each in re.split(rb"\n[ \t]*\n", text)]
    names = {str(fields["License"]).partition("\n")[0].strip() for fields in stanzas if fields["License"]}
    return sorted(names - {""})


def _python(files: dict[str, bytes]) -> Iterator[Json]:
    for path, text in files.items():
        if PYTHON.fullmatch(path):
            fields = BytesHeaderParser().parsebytes(text)
            name = re.sub(r"[-_.]+", "-", str(fields["Name"])).lower()
            licence = str(fields["License-Expression"] or fields["License"] or "").partition("\n")[0]
            yield _component("pypi", name, str(fields["Version"]), licence)


def _bundled(files: dict[str, bytes]) -> Iterator[Json]:
    for path, text in files.items():
        if PAGE.fullmatch(path):
            for name, version, licence in BUNDLED.findall(text.decode()):
                yield _component("npm", name, version, licence)
