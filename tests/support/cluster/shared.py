"""What the workers of one test run share: the first that needs a value makes it, the others wait for it and use it."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Shared:
    """Values in the files of one folder, under locks between processes."""

    def __init__(self, folder: Path) -> None:
        self._values = folder / "values"
        self._users = folder / "users"
        self._locks = folder / "locks"
        for each in (self._values, self._users, self._locks):
            each.mkdir(parents=True, exist_ok=True)

    def once(self, key: str, make: Callable[[], str]) -> str:
        """The value of `key`, made by the first worker that asks. A worker that fails to make it leaves it to the next
        one."""
        value = self._values / key
        with self._locked(key):
            if not value.exists():
                value.write_text(make())
            return value.read_text()

    @contextmanager
    def user(self, name: str, clean: Callable[[], None]) -> Iterator[None]:
        """Counts one more user for the block. The last one runs `clean`; what is asked for later is made again."""
        mark = self._users / name
        with self._locked("users"):
            mark.touch()
        try:
            yield
        finally:
            with self._locked("users"):
                mark.unlink()
                if not any(self._users.iterdir()):
                    clean()
                    for value in self._values.iterdir():
                        value.unlink()

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self._locks / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
