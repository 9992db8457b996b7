"""Moves the files that pg_dump writes into the store while pg_dump is running.

Scratch space is bounded: pg_dump is paused (SIGSTOP) while the store is slower than the dump.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ocore_crds import failpoints
from ocore_crds.stored.manifest import StoredObject
from ocore_mover import inotify
from ocore_mover.database.dump.follow import STEP, Follower, Sink
from ocore_mover.database.programs import Running
from ocore_mover.deadline import Token

#: Files uploaded in parallel: small ones wait for the store's answer, not for the processor.
WORKERS = 6
#: Bytes on the disk that are not in the store: pause the dump above HIGH, resume it below LOW. pg_dump writes about 20
#: MB between two polls, so the peak stays far below 512 MB, the minimum of a scratch volume.
HIGH = 192 * 1024 * 1024
LOW = 64 * 1024 * 1024
_POLL = 0.02
_QUEUED = 4 * WORKERS
_RESCAN_EVERY = 25  # polls, without inotify


class Drain:
    """Moves the files of one folder. `make_sink` is called with a file's name."""

    def __init__(self, folder: Path, make_sink: Callable[[str], Sink], *, punch: bool) -> None:
        self.stored: dict[str, StoredObject] = {}
        self.raw_bytes = 0  # of all files, as pg_dump wrote them
        self._folder = folder
        self._make_sink = make_sink
        self._punch = punch
        self._watch = inotify.watch(folder)
        self._waiting: set[str] = set()  # neither stored nor being uploaded
        self._closed: set[str] = set()  # pg_dump has closed them
        self._known: set[str] = set()
        self._followers: dict[str, Follower] = {}  # of files that are not stored yet: each has buffers
        self._sizes: dict[str, int] = {}  # bytes read of stored files
        self._busy: dict[str, Future[StoredObject | None]] = {}
        self._polls = 0
        self._paused = False

    def run(
        self, running: Running, token: Token, tick: Callable[[], None], *, ended: Callable[[], None] | None = None
    ) -> int:
        """Runs until pg_dump has ended and every file is stored. Returns its exit code; where that is not 0, files are
        missing.

        `tick` is called at every poll, `ended` once pg_dump has ended without an error: what is left may take long to
        store. Raises the store's errors, and what cancelled the command.
        """
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="drain") as pool:
            try:
                code = self._follow(running, token, pool, tick)
                if code == 0:
                    if ended is not None:
                        ended()
                    self._finish(token, pool)
                    self._check_sizes()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                for follower in self._followers.values():
                    follower.close()
                if self._watch is not None:
                    self._watch.close()
        return code

    def _follow(self, running: Running, token: Token, pool: ThreadPoolExecutor, tick: Callable[[], None]) -> int:
        while (code := running.poll()) is None:
            self._discover()
            self._upload(pool)
            self._throttle(running)
            tick()
            token.sleep(_POLL)
        return code

    def _finish(self, token: Token, pool: ThreadPoolExecutor) -> None:
        """Stores the remaining files, which are complete now."""
        self._scan_folder()
        self._closed |= self._known
        while self._waiting or self._busy:
            self._upload(pool)
            token.sleep(_POLL)

    def _check_sizes(self) -> None:
        """Raises RuntimeError where a file grew after it was stored."""
        for name, read in self._sizes.items():
            size = (self._folder / name).stat().st_size
            if size != read:
                raise RuntimeError(f"{name} has {size} bytes, of which {read} were stored")

    def _discover(self) -> None:
        self._polls += 1
        if self._watch is None:
            if self._polls % _RESCAN_EVERY == 1:
                self._scan_folder()
            return
        try:
            created, closed = self._watch.read()
        except inotify.Overflow:
            self._scan_folder()
            return
        self._add(created | closed)
        self._closed |= closed

    def _scan_folder(self) -> None:
        self._add({entry.name for entry in os.scandir(self._folder) if entry.is_file(follow_symlinks=False)})

    def _add(self, names: set[str]) -> None:
        new = names - self._known
        self._known |= new
        self._waiting |= new

    def _upload(self, pool: ThreadPoolExecutor) -> None:
        """Collects finished uploads, and starts those that are due: complete files, and full steps of growing ones."""
        for name, future in list(self._busy.items()):
            if not future.done():
                continue
            del self._busy[name]
            stored = future.result()
            if stored is None:
                self._waiting.add(name)
            else:
                self.stored[name] = stored
                self._sizes[name] = self._followers.pop(name).read
                self.raw_bytes += self._sizes[name]
            failpoints.hit("snapshot-dump-running")
        for name in list(self._waiting):
            if len(self._busy) >= _QUEUED:
                return
            whole = name in self._closed
            # While pg_dump is paused no file grows to a full step, and many small remainders would keep it paused.
            if whole or self._unread(name) >= (1 if self._paused else STEP):
                self._waiting.discard(name)
                self._busy[name] = pool.submit(self._advance, name, whole, self._paused)

    def _advance(self, name: str, whole: bool, eager: bool) -> StoredObject | None:
        follower = self._followers.get(name)
        if follower is None:
            # The (small) table of contents is read again from the disk.
            punch = self._punch and name != "toc.dat"
            follower = self._followers[name] = Follower(self._folder / name, self._make_sink(name), punch=punch)
        return follower.advance(whole=whole, eager=eager)

    def _unread(self, name: str) -> int:
        follower = self._followers.get(name)
        return (self._folder / name).stat().st_size - (follower.read if follower else 0)

    def _throttle(self, running: Running) -> None:
        if not self._punch:
            return
        behind = sum(self._unread(name) for name in self._waiting | self._busy.keys())
        if behind > HIGH:
            self._paused = True
            running.pause()
        elif behind < LOW:
            self._paused = False
            running.resume()
