"""How many bytes are read at a time.

Large enough that Python's own time per chunk does not count, small enough that a chunk is still in the core's cache when it is hashed,
decompressed and written, and that the allocator keeps its memory: larger blocks go back to the kernel whenever they are freed, and
cost a page fault for each 4 KiB when the next one comes: with chunks of 1 MiB that was a sixth of a restore's processor time
(docs/performance.md).
"""

#: Out of a store or a file.
READ_CHUNK = 256 * 1024
#: Out of a decompressor, which puts its output together from blocks; a bound, too: a few bytes of zstd can stand for gigabytes.
DECOMPRESSED_CHUNK = 128 * 1024
