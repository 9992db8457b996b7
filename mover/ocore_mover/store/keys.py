"""Keys are relative paths. Those in a manifest are untrusted: they must never lead out of the store."""

from ocore_mover.errors import Corrupt

#: What S3 allows.
MAX_KEY_BYTES = 1024


def checked(key: str) -> str:
    """The key; raises Corrupt where it is absolute, empty, too long or has ``.``, ``..`` or empty parts."""
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key or len(key.encode()) > MAX_KEY_BYTES:
        raise Corrupt(f"{key!r} is no key of a store: whoever wrote it was not this software")
    return key
