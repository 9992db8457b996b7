"""Tar headers as GNU tar writes them: every tar reads them, names may be any bytes, sizes and ids of any height.

Python's tarfile spends more time on one member than reading, hashing and compressing a small file takes.
"""

import struct

BLOCK = 512
#: Two blocks of zeros end an archive; GNU tar and we fill up to a record of 20 blocks.
RECORD = 20 * BLOCK
FILE, SYMLINK, FOLDER = b"0", b"2", b"5"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_NAME_BYTES = 100
#: In the order of the format: name, mode and so on; at the end user, group, device numbers and prefix, which we leave empty.
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar  \0"
_BLANK = b" " * 8


def _octal(value: int, width: int) -> bytes:
    """An octal field; base-256 where that is too short (files from 8 GiB, OpenShift's user ids)."""
    digits = width - 1
    if 0 <= value < 8**digits:
        return b"%0*o\0" % (digits, value)
    return b"\x80" + value.to_bytes(width - 1, "big") if value >= 0 else b"%0*o\0" % (digits, 0)


def _block(name: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, kind: bytes, link: bytes) -> bytes:
    fields = [
        name,
        _octal(mode, 8),
        _octal(uid, 8),
        _octal(gid, 8),
        _octal(size, 12),
        _octal(mtime, 12),
        _BLANK,
        kind,
        link,
        _MAGIC,
        b"",
        b"",
        b"",
        b"",
        b"",
    ]
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)


def header(
    name: bytes, *, size: int, mode: int, mtime: int, uid: int = 0, gid: int = 0, kind: bytes = FILE, link: bytes = b""
) -> bytes:
    """Everything that stands before a member's content. `mtime` in seconds."""
    before = b""
    for text, long_kind in ((name, _LONG_NAME), (link, _LONG_LINK)):
        if len(text) > _NAME_BYTES:
            content = text + b"\0"
            before += _block(b"././@LongLink", 0o644, 0, 0, len(content), 0, long_kind, b"") + content
            before += bytes(padding(len(content)))
    return before + _block(name[:_NAME_BYTES], mode, uid, gid, size, mtime, kind, link[:_NAME_BYTES])


def padding(size: int) -> int:
    """Zeros after `size` bytes of content."""
    return -size % BLOCK


def trailer(offset: int) -> bytes:
    """The end of an archive that is `offset` bytes long so far."""
    end = offset + 2 * BLOCK
    return bytes(2 * BLOCK + -end % RECORD)
