"""pg_dump and pg_restore: the right major version, started without a secret in arguments or environment, ended for sure."""

import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from ocore_crds import conditions
from ocore_mover import redact, settings
from ocore_mover.database import tls
from ocore_mover.database.credentials import Credentials
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

#: Majors that this software dumps and restores.
SUPPORTED_MAJORS = range(13, 18)
_DEBIAN = "/usr/lib/postgresql/{major}/bin"
_STDERR_LINES = 40
#: What a program says whose connection was lost, or one of whose own processes was killed (out of memory).
_INTERRUPTED = (
    "server closed the connection|terminating connection|could not receive data|connection to server"
    "|worker process died|the communication channel"
)


@dataclass(frozen=True)
class Program:
    """An executable and what it says it is."""

    path: str
    version: str  # 17.5
    major: int


def find(name: str, major: int) -> Program:
    """The program of that major: from ``OCORE_PG_BIN``, Debian's folder for the major, or PATH.

    Raises MoverError UnsupportedServer: an older pg_dump refuses a newer server, and a newer pg_restore sends settings that
    an older server does not know.
    """
    seen: list[str] = []
    for path in _candidates(name, major):
        found = _identify(path)
        if found is not None and found.major == major:
            return found
        seen.append(f"{path} is {found.version}" if found else f"{path} does not run")
    raise MoverError(
        conditions.UNSUPPORTED_SERVER,
        f"the server is PostgreSQL {major} and needs {name} {major}, which is not here ({'; '.join(seen) or 'none found'}); use the "
        f"mover image for PostgreSQL {major}, or set {settings.PG_BIN_VARIABLE} to the folder of its programs",
    )


def _candidates(name: str, major: int) -> Iterator[str]:
    own = settings.pg_bin()
    folders = [str(own)] if own is not None else []
    for folder in [*folders, _DEBIAN.format(major=major)]:
        path = Path(folder) / name
        if path.exists():
            yield str(path)
    on_path = shutil.which(name)
    if on_path:
        yield on_path


@cache
def _identify(path: str) -> Program | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) ((\d+)[.\w]*)", done.stdout)
    return Program(path, match[1], int(match[2])) if match and done.returncode == 0 else None


@cache
def knows_require_auth(program: Program) -> bool:
    """Whether its libpq can refuse to send a password in cleartext. libpq's own version counts, which may be newer."""
    # pg_restore opens its archive first and would not come as far.
    path = find("pg_dump", program.major).path
    # The user is given: a Job's user has no entry in /etc/passwd, and libpq would give up before it reads the settings.
    arguments = [path, "--no-password", "--dbname=host=/nonexistent user=none connect_timeout=2 require_auth=none"]
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=settings.program_environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "connection to server" in done.stderr


def check_encrypted(program: Program, credentials: Credentials, connection: psycopg.Connection[Any]) -> None:
    """Raises MoverError TlsFailed where this program would need TLS and the server did not offer it to our `connection`."""
    if connection.pgconn.ssl_in_use or not credentials.needs_tls_before_16 or knows_require_auth(program):
        return
    raise MoverError(
        conditions.TLS_FAILED,
        f"the server at {credentials.place} declined TLS, and {Path(program.path).name} {program.version} has a libpq before 16, which cannot "
        "refuse to send the password in cleartext. Turn ssl on in the server, or set spec.database.tls.mode of the Environment to disable "
        "where its network is trusted",
    )


def conninfo(program: Program, credentials: Credentials, **extra: str) -> str:
    """The connection string that this program is given; passwords go by :func:`passfile`."""
    return credentials.conninfo(knows_require_auth=knows_require_auth(program), **extra)


@contextmanager
def passfile(credentials: Credentials) -> Iterator[dict[str, str]]:
    """Environment of a program that may connect as this role: password and private key stand in files that only we can read."""
    with tempfile.TemporaryDirectory(prefix="ocore-") as folder, tls.private_key(credentials.private_key) as key:
        path = Path(folder) / "pgpass"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(credentials.passfile_line())
        # PGCONNECT_TIMEOUT would be 0 (for ever) otherwise.
        own = {"PGPASSFILE": str(path), "PGCONNECT_TIMEOUT": "10"}
        yield settings.program_environment() | own | ({"PGSSLKEY": str(key)} if key is not None else {})


class Running:
    """A program and its workers in a process group of their own, which ends with us whatever happens.

    pg_dump and pg_restore fork one process per job; all of them are stopped, continued and killed together.
    """

    def __init__(self, arguments: Sequence[str], *, environment: dict[str, str], stdout: int | None = None) -> None:
        # setpriv: the kernel kills it when the thread that started it is gone (SIGKILL of ours cannot be caught); a dump that
        # nobody drains any more would fill the disk.
        wrapper = [shutil.which("setpriv") or "", "--pdeathsig", "KILL", "--"]
        self.process = subprocess.Popen(
            [*(wrapper if wrapper[0] else []), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout if stdout is not None else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
        self._stopped = False
        self._lock = threading.Lock()
        self._lines: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        self._reader = threading.Thread(target=self._read, name="stderr", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - it is a pipe
        for line in self.process.stderr:
            self._lines.append(line.decode(errors="replace").rstrip())

    def words(self, lines: int = 4) -> str:
        """The last lines that it wrote to stderr, redacted, on one line."""
        self._reader.join(timeout=2)
        return redact.text("; ".join(line for line in list(self._lines)[-lines:] if line))

    def said(self, pattern: str) -> bool:
        """Whether its stderr has this."""
        self._reader.join(timeout=2)
        return any(re.search(pattern, line) for line in list(self._lines))

    def pause(self) -> None:
        """Stops the whole group until :meth:`resume`."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        with self._lock:
            if self._stopped:
                self._stopped = False
                self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends the whole group at once: SIGTERM would wait for the server, and what it wrote is thrown away anyway."""
        self._signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code, None while it runs; negative where a signal ended it."""
        return self.process.poll()

    def wait(self, token: Token, tick: Callable[[], None], *, interval: float = 0.1) -> int:
        """Waits for its end and returns the exit code; calls `tick` meanwhile. Kills it where the command is ended before."""
        with token.on_cancel(self.kill):
            while True:
                try:
                    return self.process.wait(timeout=interval)
                except subprocess.TimeoutExpired:
                    token.check()
                    tick()

    def close(self) -> None:
        """Makes sure that nothing of it is left."""
        if self.process.poll() is None:
            self.kill()
        self.process.wait()
        # Workers outlive a leader that was killed; the group is there as long as one of them is.
        until = time.monotonic() + 5
        while time.monotonic() < until and self._signal(signal.SIGKILL):
            self._reap()
            time.sleep(0.01)
        self._reader.join(timeout=2)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _reap(self) -> None:
        """In a container we are process 1, and orphaned workers are ours to bury."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-self.process.pid, os.WNOHANG)

    def _signal(self, number: signal.Signals) -> bool:
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def interrupted(running: "Running", code: int) -> bool:
    """Whether it failed by what came from outside, so that another attempt may do better."""
    return code < 0 or running.said(_INTERRUPTED)


def ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    more = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"ended by {name}{more}"
