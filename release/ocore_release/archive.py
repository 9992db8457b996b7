"""Archives whose bytes depend on their content alone: sorted names, one time, no owner."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REF = "org.opencontainers.image.ref.name"
#: What containerd names an image by when it loads an archive.
NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class File:
    """A file of an archive; `content` is read when it is written."""

    name: str
    content: bytes | Path
    mode: int = 0o644

    @property
    def size(self) -> int:
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)


def digest(content: bytes | Path) -> str:
    """As OCI writes it."""
    if isinstance(content, bytes):
        return "sha256:" + hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def encoded(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write_tar(target: Path, files: Iterable[File], epoch: int) -> None:
    with target.open("wb") as out:
        _write(out, files, epoch)


def write_tar_gz(target: Path, files: Iterable[File], epoch: int) -> None:
    with target.open("wb") as out, gzip.GzipFile("", "wb", compresslevel=9, fileobj=out, mtime=epoch) as packed:
        _write(packed, files, epoch)


def _write(out: Any, files: Iterable[File], epoch: int) -> None:
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in sorted(files, key=lambda f: f.name):
            info = tarfile.TarInfo(file.name)
            info.size, info.mode, info.mtime = file.size, file.mode, epoch
            if isinstance(file.content, Path):
                with file.content.open("rb") as source:
                    tar.addfile(info, source)
            else:
                tar.addfile(info, io.BytesIO(file.content))


def files_of(folder: Path, prefix: str) -> Iterator[File]:
    """The files below a folder, with the mode 0755 where their owner may execute them."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            yield File(f"{prefix}{path.relative_to(folder)}", path, mode)


class Layout:
    """An OCI image layout in the making."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes | Path] = {}

    def add(self, content: bytes | Path, media_type: str, **more: Any) -> Json:
        """A descriptor of the blob."""
        name = digest(content)
        self._blobs[name] = content
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        return {"mediaType": media_type, "digest": name, "size": size, **more}

    def manifest(self, **parts: Any) -> Json:
        return self.add(encoded({"schemaVersion": 2, "mediaType": MANIFEST, **parts}), MANIFEST)

    def index(self, manifests: list[Json], **parts: Any) -> Json:
        return self.add(encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, **parts}), INDEX)

    def write(self, target: Path, root: Json, *, tag: str, name: str, epoch: int) -> None:
        """An archive with one image, `root`, that programs find by its tag and its name."""
        entry = {**root, "annotations": {REF: tag, NAME: name}}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        files = [File("oci-layout", encoded({"imageLayoutVersion": "1.0.0"})), File("index.json", encoded(index))]
        files += [File("blobs/" + name_.replace(":", "/"), content) for name_, content in self._blobs.items()]
        write_tar(target, files, epoch)


def root_of(archive: Path) -> tuple[str, str]:
    """Name with tag, and digest, of the one image in an archive."""
    with tarfile.open(archive) as tar:
        (entry,) = json.load(tar.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
    return entry["annotations"][NAME], entry["digest"]
