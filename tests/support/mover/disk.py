"""How much disk space a folder takes."""

import os
import threading
from pathlib import Path


class Peak:
    """The most disk space that a folder takes while it is watched (bytes on the disk, holes left out)."""

    def __init__(self, folder: Path) -> None:
        self.bytes = 0
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            total = 0
            for root, _, files in os.walk(self._folder):
                for name in files:
                    try:
                        total += Path(root, name).stat().st_blocks * 512
                    except FileNotFoundError:
                        continue
            self.bytes = max(self.bytes, total)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
