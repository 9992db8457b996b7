"""Lines of the index in layout Odoo: files that are named by their SHA-1."""

import re

from ocore_mover.errors import Corrupt
from ocore_mover.filestore.index import Entry, Frame

#: A line as odoo_line writes it. Three times as fast as JSON, and a filestore has millions of these lines.
_ODOO_LINE = re.compile(
    rb'\{"name":"((?:([0-9a-f]{2})/(?=\2)|([0-9a-f]{3})/(?=\3))([0-9a-f]{40}))","size":([0-9]{1,18}),"sha1":"\4",'
    rb'"pack":"([a-z0-9.-]+)","offset":([0-9]{1,18})(?:,"frame":\[([0-9]{1,18}),([0-9]{1,18})\])?(,"base":true)?\}'
)
#: The same for many lines, each with its line feed, of a full snapshot: folder, SHA-1, size, pack.
_ODOO_LINES = re.compile(
    rb'^\{"name":"(?:([0-9a-f]{2})/(?=\1)|([0-9a-f]{3})/(?=\2))([0-9a-f]{40})","size":([0-9]{1,18}),"sha1":"\3",'
    rb'"pack":"([a-z0-9.-]+)","offset":[0-9]{1,18}(?:,"frame":\[[0-9]{1,18},[0-9]{1,18}\])?\}\n',
    re.MULTILINE,
)


def odoo_line(name: str, size: int, pack: str, offset: int, frame: Frame | None) -> bytes:
    """The line of a file that is named by its SHA-1."""
    text = f'{{"name":"{name}","size":{size},"sha1":"{name[name.index("/") + 1 :]}","pack":"{pack}","offset":{offset}'
    if frame is not None:
        text += f',"frame":[{frame.start},{frame.offset}]'
    return text.encode() + b"}\n"


def parse_odoo(line: bytes) -> Entry:
    """Parses one line of an Odoo filestore. Raises Corrupt for any other line. The caller checks the pack."""
    found = _ODOO_LINE.fullmatch(line)
    if found is None:
        raise Corrupt(f"the index has a line that is invalid for an Odoo filestore: {line[:200]!r}")
    name, _, _, sha1, size, pack, offset, start, first, base = found.groups()
    frame = Frame(int(start), int(first)) if start is not None else None
    return Entry(name.decode(), pack.decode(), int(offset), frame, int(size), sha1.decode(), base=base is not None)


def parse_odoo_lines(text: bytes) -> list[tuple[bytes, bytes, bytes, bytes, bytes]]:
    """Parses whole lines of a full Odoo filestore: folder of two characters or empty, folder of three or empty, SHA-1,
    size, pack of each. Raises Corrupt for any other line. Four times as fast as :func:`parse_odoo`."""
    found: list[tuple[bytes, bytes, bytes, bytes, bytes]] = _ODOO_LINES.findall(text)
    if len(found) != text.count(b"\n"):  # a match begins and ends with its line
        wrong = next((line for line in text[:-1].split(b"\n") if _ODOO_LINES.fullmatch(line + b"\n") is None), b"")
        raise Corrupt(f"the index of the base has a line that is invalid for a full Odoo filestore: {wrong[:200]!r}")
    return found
