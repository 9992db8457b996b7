"""An application that deletes files while a snapshot of layout Plain is taken."""

import multiprocessing
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg import Connection

from support.mover.site import Site

FILES = 3000
#: Seconds until the first deletion.
FIRST_WITHIN = 60
#: Which row is deleted next: the oldest one, which was in the folder long before, or any, which may be a second old.
ORDERS = {"oldest": "number", "any": "random()", "newest": "number DESC"}


class DeletingApplication:
    """Writes a file, inserts and commits its row; deletes a row, commits, then unlinks the file. Files are written
    once.

    `rate`: deletions a second at most; None: as many as it can. `writers`: connections that delete and write.
    """

    def __init__(
        self,
        site: Site,
        folder: Path,
        order: str = "oldest",
        *,
        files: int = FILES,
        rate: float | None = None,
        writers: int = 2,
    ) -> None:
        self.site = site
        self.folder = folder
        self.order = ORDERS[order]
        self.born: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.deleted = self.moved = 0
        self._writers = writers
        self._pause = writers / rate if rate else 0.0
        self._stop = threading.Event()
        self.may_move = threading.Event()
        self._threads: list[threading.Thread] = []
        site.sql("CREATE TABLE file (path text PRIMARY KEY, number serial UNIQUE)")
        names = [self._write() for _ in range(files)]
        with self._connect() as connection:
            connection.cursor().executemany("INSERT INTO file (path) VALUES (%s)", [(name,) for name in names])
            connection.commit()

    def _connect(self) -> Connection[Any]:
        return self.site.server.connect(self.site.live, self.site.role.name, self.site.role.password)

    def _write(self) -> str:
        name = f"{random.randrange(16):x}/{uuid.uuid4()}"  # noqa: S311
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        temporary = self.folder / f".{uuid.uuid4()}"
        temporary.write_bytes(name.encode())
        self.born[name] = time.monotonic()
        temporary.rename(path)
        return name

    def _work(self) -> None:
        due = time.monotonic()
        with self._connect() as connection:
            while not self._stop.is_set():
                due += self._pause
                time.sleep(max(0.0, due - time.monotonic()))
                row = connection.execute(
                    f"DELETE FROM file WHERE path = (SELECT path FROM file ORDER BY {self.order} LIMIT 1 FOR UPDATE"
                    " SKIP LOCKED) RETURNING path"
                ).fetchone()
                if row is not None:  # committed: the connection is in autocommit mode
                    (self.folder / str(row[0])).unlink()
                    self.gone[str(row[0])] = time.monotonic()
                    self.deleted += 1
                connection.execute("INSERT INTO file (path) VALUES (%s)", [self._write()])

    def _move(self) -> None:
        """Moves one file, which no row names, to the other folder: once at a random moment of each freeze. Two passes
        see a file that moves once."""
        places = [self.folder / f"{number:x}" / "wanderer" for number in (0, 15)]
        places[0].parent.mkdir(exist_ok=True)
        places[1].parent.mkdir(exist_ok=True)
        places[0].write_bytes(b"wanderer")
        while not self._stop.is_set():
            if not self.may_move.wait(0.05):
                continue
            self.may_move.clear()
            time.sleep(random.uniform(0, 0.2))  # noqa: S311
            places[0].rename(places[1])
            places.reverse()
            self.moved += 1

    def __enter__(self) -> "DeletingApplication":
        self._threads = [threading.Thread(target=self._work) for _ in range(self._writers)]
        self._threads.append(threading.Thread(target=self._move))
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def beside(application: DeletingApplication) -> Iterator[Any]:
    """The application works in the block, as a process of its own: as threads it would share Python's lock with the
    mover. Yields its deletions a second so far, as `value`, once there are some."""
    context = multiprocessing.get_context("fork")
    rate, stop = context.Value("d", 0.0), context.Event()
    process = context.Process(target=_work_until, args=(application, rate, stop))
    process.start()
    try:
        until = time.monotonic() + FIRST_WITHIN
        while not rate.value:
            assert process.is_alive(), "the application has ended"
            assert time.monotonic() < until, f"no deletion within {FIRST_WITHIN} s"
            time.sleep(0.01)
        yield rate
    finally:
        stop.set()
        process.join()


def _work_until(application: DeletingApplication, rate: Any, stop: Any) -> None:
    with application:
        begin, before = time.monotonic(), application.deleted
        while not stop.wait(0.1):
            rate.value = (application.deleted - before) / (time.monotonic() - begin)
