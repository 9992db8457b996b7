"""Lines of the index in layout Plain, as the parser of :mod:`ocore_mover.filestore.index` reads them."""

import json
from typing import Any

from ocore_mover.filestore.index import Entry


def plain_line(entry: Entry) -> bytes:
    """The line of anything in a Plain filestore."""
    data: dict[str, Any] = {"name": entry.name, "type": entry.kind, "pack": entry.pack, "offset": entry.offset}
    if entry.frame is not None:
        data["frame"] = [entry.frame.start, entry.frame.offset]
    if entry.kind == "file":
        data |= {"size": entry.size, "sha256": entry.digest}
    if entry.kind == "symlink":
        data["target"] = entry.target
    else:
        data["mode"] = f"{entry.mode:04o}"
    data["mtimeNs"] = entry.mtime_ns
    data |= {
        key: value
        for key, value in (("inode", entry.inode), ("bornNs", entry.born_ns), ("ctimeNs", entry.ctime_ns))
        if value
    }
    if entry.base:
        data["base"] = True
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
