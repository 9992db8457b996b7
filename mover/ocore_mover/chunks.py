"""How many bytes are read at a time.

A chunk is large enough that Python's time for it does not matter. It is small enough to stay in the core's cache while
it is hashed, decompressed and written, and for the allocator to keep its memory. Larger blocks go back to the kernel
when they are freed, and the next one costs a page fault for each 4 KiB. With chunks of 1 MiB that was a sixth of a
restore's processor time (docs/performance.md).
"""

from backports.zstd import DecompressionParameter, ZstdDecompressor

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
