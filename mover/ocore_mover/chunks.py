"""How many bytes are read at a time, and decompression in such steps.

A chunk is large enough that Python's time for it does not matter. It is small enough to stay in the core's cache while
it is hashed, decompressed and written, and for the allocator to keep its memory. Larger blocks go back to the kernel
when they are freed, and the next one costs a page fault for each 4 KiB. With chunks of 1 MiB that was a sixth of a
restore's processor time (docs/performance-analysis.md).
"""

from collections.abc import Iterable, Iterator

from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

from ocore_mover.errors import Corrupt

#: From a store or a file.
READ_CHUNK = 256 * 1024
#: From a decompressor. This is a limit too: a few bytes of zstd can expand to gigabytes.
DECOMPRESSED_CHUNK = 128 * 1024

#: Log2 of the largest window of a zstd frame: 16 MiB. Our own frames need 512 KiB. zstd's default limit is 128 MiB, for
#: each worker.
_WINDOW_LOG = 24


def decompressor() -> ZstdDecompressor:
    """A decompressor for one frame from a store. It raises ZstdError if the frame needs a larger window."""
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: _WINDOW_LOG})


class Frames:
    """Decompresses zstd frames that follow each other, in bounded steps."""

    def __init__(self) -> None:
        self._frame = decompressor()

    def pieces(self, data: bytes | memoryview, most: int = DECOMPRESSED_CHUNK) -> Iterator[bytes]:
        """What comes of the next bytes, at most so many at a time. Raises ZstdError."""
        frame = self._frame
        while data or not (frame.needs_input or frame.eof):
            if frame.eof:
                self._frame = frame = decompressor()
            piece = frame.decompress(data, most)
            data = frame.unused_data if frame.eof else b""
            if piece:
                yield piece

    @property
    def complete(self) -> bool:
        """Whether the last frame has ended."""
        return self._frame.eof


def decompressed(chunks: Iterable[bytes | memoryview], key: str) -> Iterator[bytes]:
    """The contents of a compressed object. Raises Corrupt."""
    frames = Frames()
    for chunk in chunks:
        try:
            yield from frames.pieces(chunk)
        except ZstdError as error:
            raise Corrupt(f"{key} cannot be decompressed: {error}", key) from error
    if not frames.complete:
        raise Corrupt(f"{key} is truncated", key)
