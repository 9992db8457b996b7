"""Which version of an object a restore reads: all ranges of it are of the bytes that the first one found."""

import threading


class Pinned:
    """The version of an object that several calls read. The first one sets it. Thread-safe."""

    def __init__(self, id_: str = "") -> None:
        """`id_`: of the version in a bucket with versioning. Default: the one that the store reads."""
        self.id = id_
        self.tag = ""  # of the store: an ETag, or the identity of a file
        self._lock = threading.Lock()

    def is_same(self, tag: str) -> bool:
        """Whether all calls so far have found this tag."""
        with self._lock:
            self.tag = self.tag or tag
            return self.tag == tag
