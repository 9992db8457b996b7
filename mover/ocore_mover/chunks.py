"""How many bytes are read at a time.

A chunk is large enough that Python's time for it does not matter. It is small enough to stay in the core's cache while it is
hashed, decompressed and written, and for the allocator to keep its memory. Larger blocks go back to the kernel when they
are freed, and the next one costs a page fault for each 4 KiB. With chunks of 1 MiB that was a sixth of a restore's processor
time (docs/performance.md).
"""

#: From a store or a file.
READ_CHUNK = 256 * 1024
#: From a decompressor. This is a limit too: a few bytes of zstd can expand to gigabytes.
DECOMPRESSED_CHUNK = 128 * 1024
