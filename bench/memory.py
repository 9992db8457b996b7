"""Memory: that of this process, and free memory, which is touched. A virtual machine gets memory page by page at first
use, which makes the first operation two times slower."""

import mmap
import os
from pathlib import Path

#: Enough for what one operation reads and writes, page cache included.
MOST = 8 * 1024**3
#: Stays untouched, so that nothing is driven out of the page cache.
SPARED = 1024**3
#: Not in the mmap module. Linux 5.14.
_MADV_POPULATE_WRITE = 23


def touch_free_memory() -> None:
    """Call before each operation that is measured: all of them then find memory that the host has given already."""
    free = min(MOST, _free() - SPARED)
    if free <= 0:
        return
    with mmap.mmap(-1, free, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(_MADV_POPULATE_WRITE)


def rss() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _free() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemFree:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemFree")
