"""How much memory this process may use, and whether one of its children had too little."""

from pathlib import Path

#: Of a container with its own cgroup namespace: version 2, version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
#: The interpreter with its modules, connections and buffers, in bytes (measured: 60 to 90 MB).
_OWN = 96 * 1024 * 1024
#: Where the container has no limit, data from a store may use this much (bytes).
_UNLIMITED = 1024 * 1024 * 1024


#: Counters of processes that the kernel has killed because the container's limit was reached: version 2, version 1.
_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def oom_kills() -> int:
    """How many processes of the container ran out of memory so far; 0 where the kernel does not report it."""
    for path in _EVENTS:
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                return int(value)
    return 0


def budget() -> int:
    """Bytes that data from a store may take in memory: the container's limit without what the process itself needs."""
    for path in _LIMITS:
        try:
            limit = int(path.read_text())
        except (OSError, ValueError):
            continue  # another version of cgroups, or "max"
        return min(max(limit - _OWN, 0), _UNLIMITED)
    return _UNLIMITED
