"""The configuration, stored as one tar."""

import io
import tarfile
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.manifest import ConfigArtifact
from ocore_mover.errors import MoverError
from ocore_mover.store.base import Store

KEY = "config/config.tar"


def capture(store: Store, prefix: str, folder: Path) -> ConfigArtifact:
    """Stores the keys of a mounted ConfigMap below ``<prefix>config/``. The same keys give the same bytes.

    Raises MoverError ConfigNotFound, StoreError.
    """
    if not folder.is_dir():
        raise MoverError(
            conditions.CONFIG_NOT_FOUND, f"the configuration's folder {folder} does not exist; check spec.config"
        )
    # The kubelet keeps the data in folders whose names begin with two dots, and links the keys to them.
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".."))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            content = path.read_bytes()
            member = tarfile.TarInfo(path.name)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    with store.writer(prefix + KEY) as writer:
        writer.write(buffer.getvalue())
        stored = writer.commit()
    return ConfigArtifact(archive=stored, file_count=len(paths))
