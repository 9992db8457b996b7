"""The CA certificates of an S3 store."""

from pathlib import Path

from ocore_crds.resources.snapshotstore import S3

from .errors import CliError
from .objects import Objects


def ca_of(objects: Objects, store: S3, file: Path | None) -> str | None:
    """The CA certificates: of the file, else of the ConfigMap that the SnapshotStore names; None: the system's."""
    if file is not None:
        try:
            return file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"cannot read {file}: {error}") from error
    if store.ca_bundle is None:
        return None
    found = objects.read(f"/api/v1/namespaces/{objects.namespace}/configmaps/{store.ca_bundle.name}") or {}
    text: str | None = (found.get("data") or {}).get(store.ca_bundle.key)
    if text is None:
        raise CliError(f"ConfigMap {store.ca_bundle.name} has no {store.ca_bundle.key}. Give --ca-file")
    return text
