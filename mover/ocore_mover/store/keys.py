"""Keys are relative paths. Keys in a manifest are untrusted: they must never lead out of the store."""

from ocore_mover.errors import Corrupt

#: What S3 allows.
MAX_KEY_BYTES = 1024


def checked(key: str) -> str:
    """Returns the key. Raises Corrupt if it is absolute, empty or too long, or has ``.``, ``..`` or empty parts."""
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key or len(key.encode()) > MAX_KEY_BYTES:
        raise Corrupt(f"{key!r} is not a valid key: ocore-snapshots did not write it")
    return key
