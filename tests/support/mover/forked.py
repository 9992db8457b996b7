"""Movers as processes of their own, without the time that the start of Python takes: forks of one process that has
loaded the program.

A fork gets its own environment, arguments and pipes, runs the program's ``main`` and ends as any Python process does:
it can be killed, and another one starts with nothing that it has left in memory. ``python -m ocore_mover`` itself is
started by test_command_line.py and in the images.
"""

import array
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TextIO

#: One request: its arguments and environment as JSON.
_REQUEST_BYTES = 1 << 20


class Mover:
    """A running mover; its methods are those of subprocess.Popen in text mode."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        (out, out_end), (err, err_end), (self._status, status_end) = os.pipe(), os.pipe(), os.pipe()
        ends = (out_end, err_end, status_end)
        request = json.dumps(
            {"arguments": list(arguments), "environment": dict(environment), "folder": str(Path.cwd())}
        )
        try:
            socket.send_fds(_server(), [request.encode()], ends)
        finally:
            for end in ends:
                os.close(end)
        self.stdout: TextIO = os.fdopen(out, encoding="utf-8")
        self.stderr: TextIO = os.fdopen(err, encoding="utf-8")
        self.pid = self._number()

    def poll(self) -> int | None:
        """The exit code, as subprocess has it; None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, at its end. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("ocore_mover", timeout or 0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Reads both outputs to their end."""
        found = {}
        threads = [
            threading.Thread(target=lambda s=stream: found.setdefault(s, s.read()), daemon=True)
            for stream in (self.stdout, self.stderr)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout)
            if thread.is_alive():
                raise subprocess.TimeoutExpired("ocore_mover", timeout or 0)
        self.wait(timeout)
        return found[self.stdout], found[self.stderr]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self) -> None:
        self.returncode = self._number()
        os.close(self._status)

    def _number(self) -> int:
        """Its pid, then its exit code."""
        numbers = array.array("i")
        data = os.read(self._status, numbers.itemsize)
        if not data:
            raise RuntimeError("the process that forks movers has ended")
        numbers.frombytes(data)
        return numbers[0]


@cache
def _server() -> socket.socket:
    """The connection to the process that forks movers; it ends with this process."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _REQUEST_BYTES)
    with its:
        subprocess.Popen([sys.executable, "-P", __file__], stdin=its.fileno())
    return ours


def _load() -> None:
    """The program, except what it loads for S3 only."""
    import typer.main

    import ocore_mover
    from ocore_mover.command_line import app

    for module in pkgutil.walk_packages(ocore_mover.__path__, "ocore_mover."):
        if not module.name.startswith("ocore_mover.store.s3"):
            importlib.import_module(module.name)
    # The options of all commands, which else each fork would build.
    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(app)
    gc.collect()
    gc.freeze()


def _serve(requests: socket.socket) -> list[str]:
    """Returns in each fork, with its arguments. The process itself ends with the one that sends the requests."""
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                pid, status = key.data
                selector.unregister(key.fileobj)
                os.close(key.fd)
                _write(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(status)
                continue
            text, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 3)
            if not text:
                os._exit(0)
            out, err, status = descriptors
            request = json.loads(text)
            pid = os.fork()
            if pid == 0:
                # Both would close a descriptor of the mover's when Python removes them.
                selector.close()
                requests.detach()
                _become(request["environment"], request["folder"], out, err)
                return list(request["arguments"])
            os.close(out)
            os.close(err)
            _write(status, pid)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _become(environment: Mapping[str, str], folder: str, out: int, err: int) -> None:
    """The fork has no file of the process that it comes from."""
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((null, out, err)):
        os.dup2(descriptor, number)
    os.closerange(3, max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


def _write(descriptor: int, number: int) -> None:
    # The test may have ended without waiting.
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, array.array("i", [number]).tobytes())


if __name__ == "__main__":
    _load()
    sys.argv = ["ocore_mover", *_serve(socket.socket(fileno=0))]
    from ocore_mover.__main__ import main

    main()
