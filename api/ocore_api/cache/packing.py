"""Rows in little memory: compressed with a dictionary of what all of them have in common. Pure.

A Snapshot's row has about 3 KB, most of it names of fields and steps. Compressed it has about a fifth of that.
"""

import zlib

#: zlib's fastest level: the dictionary does most of the work.
_LEVEL = 1
#: Largest window: the dictionary lies in it together with the row.
_WINDOW = 15
#: Memory level of the compressor: a small one, because allocating more costs more time than it saves.
_MEMORY = 6


class Packer:
    """Compresses and decompresses. `dictionary`: an example of what is compressed; it is not kept anywhere but in this
    process."""

    def __init__(self, dictionary: bytes) -> None:
        self._dictionary = dictionary[-32000:]

    def pack(self, data: bytes) -> bytes:
        """The data, compressed."""
        squeezer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._dictionary)
        return squeezer.compress(data) + squeezer.flush()

    def unpack(self, packed: bytes) -> bytes:
        """The data."""
        return zlib.decompressobj(-_WINDOW, self._dictionary).decompress(packed)
