"""OCI images as files, for localcluster: the pause image, and archives of what a cluster lacks.

oci.py pause PROGRAM OUT                      an image archive of one static program
oci.py export STORAGE DRIVER ID LAYOUT        an image of buildah's storage as blobs; prints its manifest's digest
oci.py thin LAYOUT HAVE NAME=DIGEST... >OUT   an archive of images in an OCI layout without the blobs
                                              whose digests the file HAVE lists
oci.py names ARCHIVE                          the images of an OCI archive, each as NAME DIGEST
oci.py prune LAYOUT RECORDS                   removes the blobs of images whose digest no file below RECORDS has
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAUSE = "localhost/ocore-snapshots/pause:1"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def blob(archive: tarfile.TarFile, data: bytes, media_type: str) -> dict[str, object]:
    name = digest(data)
    add(archive, "blobs/" + name.replace(":", "/"), data)
    return {"mediaType": media_type, "digest": name, "size": len(data)}


def pause(program: Path, out: Path) -> None:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, "pause", program.read_bytes(), 0o755)
    kind = "application/vnd.oci.image."
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer.getvalue())]},
    }
    with tarfile.open(out, "w") as archive:
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind + "manifest.v1+json",
            "config": blob(archive, json.dumps(config).encode(), kind + "config.v1+json"),
            "layers": [blob(archive, layer.getvalue(), kind + "layer.v1.tar")],
        }
        entry = blob(archive, json.dumps(manifest).encode(), kind + "manifest.v1+json")
        write_index(archive, [{**entry, "annotations": {"io.containerd.image.name": PAUSE}}])


def export(storage: Path, driver: str, image: str, layout: Path) -> str:
    """The storage keeps a layer as files and the rest of its tar beside them: the same bytes can be made again."""
    image = image.removeprefix("sha256:").strip()
    entry = next(i for i in json.loads((storage / f"{driver}-images/images.json").read_text()) if i["id"] == image)
    layers = {layer["id"]: layer for layer in json.loads((storage / f"{driver}-layers/layers.json").read_text())}
    data = {name: big_data(storage / f"{driver}-images" / image, name) for name in entry["big-data-names"]}
    manifest = json.loads(data["manifest"])
    put(layout, entry["digest"], iter([data["manifest"]]))
    put(layout, manifest["config"]["digest"], iter([data[manifest["config"]["digest"]]]))
    layer = layers[entry["layer"]]
    for described in reversed(manifest["layers"]):
        if described["digest"] != layer["diff-digest"]:
            sys.exit(f"oci.py: {image} has other layers than its manifest says")
        put(layout, described["digest"], tar_of(storage, driver, layer["id"]))
        layer = layers.get(layer.get("parent"))
    return str(entry["digest"])


def big_data(folder: Path, name: str) -> bytes:
    plain = folder / name
    return (plain if plain.exists() else folder / ("=" + base64.b64encode(name.encode()).decode())).read_bytes()


def tar_of(storage: Path, driver: str, layer: str) -> Iterator[bytes]:
    files = storage / driver / ("dir/" + layer if driver == "vfs" else layer + "/diff")
    with gzip.open(storage / f"{driver}-layers" / f"{layer}.tar-split.gz", "rt") as parts:
        for part in map(json.loads, parts):
            if part["type"] == 2:
                yield base64.b64decode(part["payload"])
            elif part.get("size"):
                with (files / part["name"]).open("rb") as file:
                    while chunk := file.read(1 << 20):
                        yield chunk


def put(layout: Path, name: str, chunks: Iterator[bytes]) -> None:
    path = blob_path(layout, name)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    seen = hashlib.sha256()
    with half.open("wb") as out:
        for chunk in chunks:
            seen.update(chunk)
            out.write(chunk)
    if "sha256:" + seen.hexdigest() != name:
        half.unlink()
        sys.exit(f"oci.py: {name} could not be made again from buildah's storage")
    half.rename(path)


def thin(layout: Path, have: set[str], images: list[str]) -> None:
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        entries = []
        for image in images:
            name, manifest_digest = image.split("=", 1)
            data = blob_path(layout, manifest_digest).read_bytes()
            manifest = json.loads(data)
            for part in [manifest["config"], *manifest["layers"]]:
                if part["digest"] not in have:
                    have.add(part["digest"])
                    archive.add(blob_path(layout, part["digest"]), "blobs/" + part["digest"].replace(":", "/"))
            entry = blob(archive, data, manifest["mediaType"])
            entries.append({**entry, "annotations": {"io.containerd.image.name": name}})
        write_index(archive, entries)


def names(archive: Path) -> Iterator[str]:
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        if index is None:
            raise ValueError(f"{archive}: index.json is not a file")
        for entry in json.load(index)["manifests"]:
            yield f"{name_of(entry, archive)} {entry['digest']}"


def name_of(entry: dict[str, Any], archive: Path) -> str:
    """As containerd names it: by its own annotation, else by that of buildah and skopeo where it is a whole name."""
    found: dict[str, str] = entry.get("annotations") or {}
    name = found.get("io.containerd.image.name") or found.get("org.opencontainers.image.ref.name", "")
    if not set(name) & {*"/:@"}:
        sys.exit(
            f"oci.py: an image in {archive} has no name ({name or 'no annotation'}). Write the archive again with one:"
            f" buildah push IMAGE oci-archive:{archive}:localhost/NAME:TAG"
        )
    return name


def prune(layout: Path, records: Path) -> None:
    keep: set[str] = set()
    for record in records.glob("*/*"):
        manifest_digest = record.read_text().strip()
        manifest = json.loads(blob_path(layout, manifest_digest).read_bytes())
        keep |= {manifest_digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    for path in (layout / "blobs/sha256").iterdir():
        if f"sha256:{path.name}" not in keep:
            path.unlink()


def blob_path(layout: Path, name: str) -> Path:
    return layout / "blobs" / name.replace(":", "/")


def write_index(archive: tarfile.TarFile, entries: list[dict[str, object]]) -> None:
    add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": entries}).encode())


def main(args: list[str]) -> None:
    match args:
        case ["pause", program, out]:
            pause(Path(program), Path(out))
        case ["export", storage, driver, image, layout]:
            print(export(Path(storage), driver, image, Path(layout)))
        case ["thin", layout, have, *images]:
            thin(Path(layout), set(Path(have).read_text().split()), images)
        case ["names", archive]:
            print("\n".join(names(Path(archive))))
        case ["prune", layout, records]:
            prune(Path(layout), Path(records))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
