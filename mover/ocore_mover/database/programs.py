"""pg_dump and pg_restore: finds the major version, keeps secrets out of arguments and environment, ends every
process."""

import collections
import contextlib
import itertools
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
from ocore_mover import memory, redact, settings
from ocore_mover.database import tls
from ocore_mover.database.credentials import Credentials
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

#: Settings that decide what a value's text means, and that pg_dump and pg_restore leave as a role, a database or the
#: server has them: the text of money, and NULL in an array.
SAME_VALUES = "-c lc_monetary=C -c array_nulls=on"
#: Majors that this software dumps and restores: those that the tests run against (docs/postgresql.md).
SUPPORTED_MAJORS = range(15, 19)
_DEBIAN = "/usr/lib/postgresql/{major}/bin"
_STDERR_LINES, _SHOWN_LINES = 40, 4
#: Lines of the first error: message, line, hint, query, context, and the first line of the command.
_ERROR_LINES = 12
_ERROR = re.compile(r"\S+: (?:error|fatal): ")
_COMMAND = "Command was: "
_NOTICES = 20
#: A message of the server that a verbose pg_restore passes on.
_NOTICE = re.compile(r"pg_restore: ((?:WARNING|NOTICE):.*)")
#: What a verbose pg_restore says of its own work: errors must not be lost among it.
_CHATTER = re.compile(
    r"pg_restore:"
    r" (?:connecting|creating|executing|processing|launching|finished|skipping|setting|entering|restoring|restored"
    r"|disabling|enabling|implied|table) "
)
#: Messages of a program whose connection was lost, or one of whose processes was killed (out of memory).
_INTERRUPTED = (
    "server closed the connection|terminating connection|could not receive data|connection to server"
    "|worker process died|the communication channel"
)
#: An error of the server, by its severity. In another language (lc_messages) its cause is unknown.
_OF_SERVER = re.compile(r"\bERROR:  ?\S")
#: Errors of the server that may pass: those of the SQLSTATE classes 40, 53, 57, 58 and XX, and of locks, by the words
#: that libpq prints. The same dump gives any other error again.
_PASSES = re.compile(
    f"{_INTERRUPTED}|deadlock detected|could not serialize|conflict with recovery|canceling statement"
    "|could not obtain lock|the database system is|too many clients|too many connections|remaining connection slots"
    "|out of (shared )?memory|too many open files|temporary file size|could not (extend|write|read|fsync|stat|seek) "
    "|Input/output error|tuple concurrently|cache lookup failed"
)


@dataclass(frozen=True)
class Program:
    """An executable and its version."""

    path: str
    version: str  # 17.5
    major: int


def find(name: str, major: int) -> Program:
    """The program of that major: from ``OCORE_PG_BIN``, Debian's folder for the major, or PATH.

    Raises MoverError UnsupportedServer where none is found: an older pg_dump refuses a newer server, and a newer
    pg_restore sends settings that an older server does not know.
    """
    seen: list[str] = []
    for path in _candidates(name, major):
        found = _identify(path)
        if found is not None and found.major == major:
            return found
        seen.append(f"{path} is {found.version}" if found else f"{path} does not run")
    raise MoverError(
        conditions.UNSUPPORTED_SERVER,
        f"the server is PostgreSQL {major} and needs {name} {major}, which was not found"
        f" ({'; '.join(seen) or 'no candidates'}); use the mover image for PostgreSQL {major}, or set"
        f" {settings.PG_BIN_VARIABLE} to the folder of its programs",
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
    return _tries_to_connect(program, "--format=plain", conninfo="require_auth=none")


@cache
def knows_zstd(program: Program) -> bool:
    """Whether it compresses with zstd: from PostgreSQL 16 on, unless it was built without."""
    return _tries_to_connect(program, "--format=custom", "--file=/dev/null", "--compress=zstd:1")


def _tries_to_connect(program: Program, *arguments: str, conninfo: str = "") -> bool:
    """Whether pg_dump of the program's major accepts the arguments: it reads all of them before it connects, to nowhere
    here."""
    # pg_restore opens its archive first and would not come as far.
    path = find("pg_dump", program.major).path
    # The user is given: a Job's user has no entry in /etc/passwd, and libpq would give up before it reads the settings.
    target = f"--dbname=host=/nonexistent user=none connect_timeout=2 {conninfo}"
    try:
        done = subprocess.run(
            [path, "--no-password", *arguments, target],
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
    """Raises MoverError TlsFailed where this program would need TLS and the server did not offer it to our
    `connection`."""
    if connection.pgconn.ssl_in_use or not credentials.needs_tls_before_16 or knows_require_auth(program):
        return
    raise MoverError(
        conditions.TLS_FAILED,
        f"the server at {credentials.place} declined TLS, and {Path(program.path).name} {program.version} has a libpq"
        " before 16, which cannot refuse to send the password in cleartext. Turn ssl on in the server, or set"
        " spec.database.tls.mode of the Environment to disable where its network is trusted",
    )


def conninfo(program: Program, credentials: Credentials, **extra: str) -> str:
    """The connection string that this program is given; passwords go by :func:`passfile`."""
    return credentials.conninfo(knows_require_auth=knows_require_auth(program), **extra)


@contextmanager
def passfile(credentials: Credentials) -> Iterator[dict[str, str]]:
    """Environment of a program that connects as this role; password and private key are in files that only we can
    read."""
    with tempfile.TemporaryDirectory(prefix="ocore-") as folder, tls.private_key(credentials.private_key) as key:
        path = Path(folder) / "pgpass"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(credentials.passfile_line())
        # The default of PGCONNECT_TIMEOUT is to wait without limit.
        own = {"PGPASSFILE": str(path), "PGCONNECT_TIMEOUT": "10"}
        yield settings.program_environment() | own | ({"PGSSLKEY": str(key)} if key is not None else {})


class Running:
    """A program and its workers in a process group of their own, which the kernel ends with this process.

    pg_dump and pg_restore fork one process per job; all of them are paused, resumed and killed together.
    """

    def __init__(self, arguments: Sequence[str], *, environment: dict[str, str]) -> None:
        # setpriv: the kernel kills the program when the thread that started it ends. We cannot catch SIGKILL, and a
        # dump that continued without us would fill the disk.
        wrapper = [shutil.which("setpriv") or "", "--pdeathsig", "KILL", "--"]
        self.process = subprocess.Popen(
            [*(wrapper if wrapper[0] else []), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
        self._oom_kills = memory.oom_kills()
        self._stopped = False
        self._lock = threading.Lock()
        self._lines: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        self._first_error: list[str] = []
        self._notices: list[str] = []
        self._reader = threading.Thread(target=self._read, name="stderr", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - it is a pipe
        for data in self.process.stderr:
            line = data.decode(errors="replace").rstrip()
            if notice := _NOTICE.fullmatch(line):
                if len(self._notices) < _NOTICES:
                    self._notices.append(notice[1])
            elif not _CHATTER.match(line):
                self._lines.append(line)
                self._keep_error(line)

    def _keep_error(self, line: str) -> None:
        """Keeps the first error: the command that it ends with, a CREATE TABLE of a hundred lines, would push it out of
        the last lines."""
        kept = self._first_error
        if kept:
            if len(kept) < _ERROR_LINES and not kept[-1].startswith(_COMMAND):
                kept.append(line)
        elif _ERROR.match(line):
            kept.append(line)

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of the container since this program began, because the memory's limit
        was reached."""
        return memory.oom_kills() > self._oom_kills

    def error_output(self) -> str:
        """Its first error, else the last lines of its stderr, redacted, on one line; "no error output" where it wrote
        none."""
        self._reader.join(timeout=2)
        shown = list(self._first_error) or list(self._lines)[-_SHOWN_LINES:]
        return redact.text("; ".join(line.strip() for line in shown if line.strip(" ^"))) or "no error output"

    def cause(self) -> str:
        """Its first error with its details, on lines; empty where it reported none. A worker's error comes first, and
        the leader's, that the worker has died, follows."""
        self._reader.join(timeout=2)
        first, rest = self._first_error[:1], self._first_error[1:]
        return "\n".join([*first, *itertools.takewhile(lambda line: not _ERROR.match(line), rest)])

    def notices(self) -> list[str]:
        """Warnings and notices of the server, redacted: the first ones, where there are many."""
        self._reader.join(timeout=2)
        return [redact.text(line) for line in list(self._notices)]

    def error_matches(self, pattern: str) -> bool:
        """Whether a line of its stderr matches."""
        self._reader.join(timeout=2)
        return any(re.search(pattern, line) for line in (*self._first_error, *self._lines))

    def pause(self) -> None:
        """Pauses the group (SIGSTOP) until :meth:`resume`."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continues a paused group."""
        with self._lock:
            if self._stopped:
                self._stopped = False
                self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kills the group at once: SIGTERM would wait for the server, and the output is discarded anyway."""
        self._signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code, None while it runs, negative for a signal."""
        return self.process.poll()

    def wait(self, token: Token, tick: Callable[[], None], *, interval: float = 0.1) -> int:
        """Waits for its end, calling `tick` every `interval` seconds, and returns the exit code. Kills it on
        cancellation."""
        with token.on_cancel(self.kill):
            while True:
                # The end of its stderr is noticed at once; Popen.wait asks again and again, with pauses of up to 50 ms.
                self._reader.join(interval)
                try:
                    return self.process.wait(timeout=0 if self._reader.is_alive() else interval)
                except subprocess.TimeoutExpired:
                    token.check()
                    tick()

    def close(self) -> None:
        """Kills what still runs, and waits for it."""
        if self.process.poll() is None:
            self.kill()
        self.process.wait()
        # Workers outlive a killed leader; the group exists as long as one of them does.
        until = time.monotonic() + 5
        while time.monotonic() < until and self._signal(signal.SIGKILL):
            self._reap()
            time.sleep(0.01)
        self._reader.join(timeout=2)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _reap(self) -> None:
        """Reaps orphaned workers: in a container this is process 1."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-self.process.pid, os.WNOHANG)

    def _signal(self, number: signal.Signals) -> bool:
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def interrupted(running: "Running", code: int) -> bool:
    """Whether it failed for an external cause (signal, lost connection), so that a retry may succeed. What the server
    refuses, it refuses again: then it does not matter that a worker has died of it."""
    cause = running.cause()
    if code >= 0 and _OF_SERVER.search(cause):
        return _PASSES.search(cause) is not None
    return code < 0 or running.error_matches(_INTERRUPTED)


def failure(running: "Running", code: int, reason: str, text: str) -> MoverError:
    """What the program's end means: `reason`, or OutOfMemory, which is repeated once only: another attempt has the same
    limit."""
    external = interrupted(running, code)
    if external and running.out_of_memory:
        more = (
            "a process of it ran out of memory: increase spec.jobs.resources.limits.memory of the Environment, or"
            " decrease spec.jobs.parallelism"
        )
        return MoverError(conditions.OUT_OF_MEMORY, f"{text}; {more}", retryable=True)
    return MoverError(reason, text, retryable=external)


def ended(code: int) -> str:
    """An exit code as text."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    more = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"ended by {name}{more}"
