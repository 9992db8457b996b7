"""Tar headers as GNU tar writes them. Every tar reads them; names may be any bytes, sizes and ids any number.

Python's tarfile spends more time on one member than reading, hashing and compressing a small file takes.
"""

from functools import lru_cache

BLOCK = 512
#: Two blocks of zeros end an archive; GNU tar and we fill up to a record of 20 blocks.
RECORD = 20 * BLOCK
FILE, SYMLINK, FOLDER = b"0", b"2", b"5"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_NAME_BYTES = 100
_MAGIC = b"ustar  \0"
#: The checksum is computed with its own eight bytes as blanks.
_BLANKS = 8 * ord(" ")


@lru_cache(maxsize=64)  # modes and owners repeat, sizes and times do not
def _octal(value: int, width: int) -> bytes:
    """An octal field, or base-256 for larger values (files from 8 GiB, OpenShift's user ids)."""
    digits = width - 1
    value = max(value, 0)
    if value < 8**digits:
        return b"%0*o\0" % (digits, value)
    return b"\x80" + value.to_bytes(width - 1, "big")


@lru_cache(maxsize=16)
def _tail(kind: bytes, link: bytes) -> tuple[bytes, int]:
    """The bytes after the checksum (type, link, magic; user, group and devices stay empty), and their sum."""
    text = (kind + link.ljust(_NAME_BYTES, b"\0") + _MAGIC).ljust(BLOCK - 156, b"\0")
    return text, sum(text)


def _block(name: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, kind: bytes, link: bytes) -> bytes:
    tail, tail_sum = _tail(kind, link)
    head = b"%b%b%b%b%b%b" % (
        name.ljust(_NAME_BYTES, b"\0"),
        _octal(mode, 8),
        _octal(uid, 8),
        _octal(gid, 8),
        _octal.__wrapped__(size, 12),
        _octal.__wrapped__(mtime, 12),
    )
    return b"%b%06o\0 %b" % (head, sum(head) + _BLANKS + tail_sum, tail)


def header(
    name: bytes, *, size: int, mode: int, mtime: int, uid: int = 0, gid: int = 0, kind: bytes = FILE, link: bytes = b""
) -> bytes:
    """The bytes before a member's content. `mtime` is in seconds."""
    before = b""
    for text, long_kind in ((name, _LONG_NAME), (link, _LONG_LINK)):
        if len(text) > _NAME_BYTES:
            content = text + b"\0"
            before += _block(b"././@LongLink", 0o644, 0, 0, len(content), 0, long_kind, b"") + content
            before += bytes(padding(len(content)))
    return before + _block(name[:_NAME_BYTES], mode, uid, gid, size, mtime, kind, link[:_NAME_BYTES])


def padding(size: int) -> int:
    """Number of zero bytes after `size` bytes of content."""
    return -size % BLOCK


def trailer(offset: int) -> bytes:
    """The end of an archive that has `offset` bytes."""
    end = offset + 2 * BLOCK
    return bytes(2 * BLOCK + -end % RECORD)
