"""How much memory this process may use."""

from pathlib import Path

#: Of a container with its own cgroup namespace: version 2, version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
#: The interpreter with its modules, connections and buffers, in bytes (measured: 60 to 90 MB).
_OWN = 96 * 1024 * 1024
#: Where the container has no limit, data from a store may use this much (bytes).
_UNLIMITED = 1024 * 1024 * 1024


def budget() -> int:
    """Bytes that data from a store may take in memory: the container's limit without what the process itself needs."""
    for path in _LIMITS:
        try:
            limit = int(path.read_text())
        except (OSError, ValueError):
            continue  # another version of cgroups, or "max"
        return min(max(limit - _OWN, 0), _UNLIMITED)
    return _UNLIMITED
