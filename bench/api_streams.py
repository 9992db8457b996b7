"""Figures of progress streams: 5,000 of them on one uvicorn process, whose watch cache is fed in memory.

Run by `make bench`. The server is a process of its own, with the program's edge, routes and streams; the readers are
another process. Both take the time from the machine's monotonic clock, and a change has its time in its message. One
operation with all the readers is the worst case for one change; 100 operations are the usual case.
"""

import argparse
import asyncio
import gc
import io
import json
import math
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import uvloop
from figures import Figure, limit, table, write
from memory import rss

from ocore_api.auth import Authenticator
from ocore_api.cache import Cache
from ocore_api.facade import Facade
from ocore_api.http.audit import Audit
from ocore_api.http.server import Server
from ocore_api.main import create_app, running
from ocore_api.settings import Settings
from ocore_kube import logs
from support.api import objects
from support.api.issuer import AUDIENCE, ISSUER, Issuer

#: Files of a process that are not streams.
SPARE = 200
#: Connections that are opened at the same time.
OPENING = 100
STAMP = b'"message":"'


# --- the server ---------------------------------------------------------------------------------------------
def changed(number: int, version: int, percent: int) -> dict[str, Any]:
    """A running Snapshot. Its message is the time of the change."""
    found = objects.running(f"s{number}", percent=percent, version=version)
    found["status"]["conditions"][0]["message"] = str(time.monotonic_ns())
    return found


def ended(number: int, version: int) -> dict[str, Any]:
    """A Snapshot that is Complete."""
    found = objects.complete(f"s{number}", version=version)
    found["status"]["conditions"][0]["message"] = str(time.monotonic_ns())
    return found


async def serve(folder: Path, operations: int, rounds: int, pause: float) -> None:
    """Serves, and does what is asked on stdin: `open` prints the memory, `feed` changes every operation so many times
    and then ends it."""
    logs.configure("WARNING")
    issuer = Issuer()
    settings = Settings(
        jwt_issuer=ISSUER,
        jwt_audience=(AUDIENCE,),
        jwks_file=issuer.write_jwks(folder),
        http_host="127.0.0.1",
        http_port=0,
        max_streams=1_000_000,
        max_streams_per_subject=1_000_000,
        rate_per_second=1_000_000,
        rate_burst=1_000_000,
    )
    cache = Cache()
    version = 1
    cache.store.put("Environment", objects.environment())
    for number in range(operations):
        cache.store.put("Snapshot", changed(number, version, 1))
    facade = Facade(
        settings=settings, authenticator=Authenticator(settings), cache=cache, client=None, audit=Audit(io.StringIO())
    )
    server = Server(create_app(facade), settings, facade.stop)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with running(facade):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        serving = asyncio.create_task(server.serve([listener]))
        port = listener.getsockname()[1]
        token = issuer.token("reader", projects=(objects.PROJECT,))
        print(json.dumps({"port": port, "token": token}), flush=True)
        while line := (await lines.readline()).decode().strip():
            if line == "memory":
                gc.collect()
                print(json.dumps({"rss": rss(), "streams": facade.streams.count}), flush=True)
            elif line == "feed":
                for round_ in range(rounds + 1):
                    for number in range(operations):
                        version += 1
                        cache.store.put(
                            "Snapshot",
                            changed(number, version, round_ + 2) if round_ < rounds else ended(number, version),
                        )
                        await asyncio.sleep(pause / operations)
                    if operations == 1:
                        await asyncio.sleep(pause)
                print(json.dumps({"fed": True}), flush=True)
        server.should_exit = True
        await serving
    await facade.authenticator.close()


# --- the readers --------------------------------------------------------------------------------------------
class Reader(asyncio.Protocol):
    """One stream, read as cheaply as possible: the time of each event, and the last one's status."""

    def __init__(self, request: bytes, opened: asyncio.Event, ended: asyncio.Event) -> None:
        self.request = request
        self.opened = opened
        self.ended = ended
        self.delays: list[float] = []
        self.events = 0
        self.final = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks."""
        self.transport = transport
        transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Takes whole events."""
        now = time.monotonic_ns()
        parts = (self._rest + data).split(b"\n\n")
        self._rest = parts.pop()
        for part in parts:
            at = part.find(STAMP)
            if at < 0:
                continue
            self.events += 1
            stamp = part[at + len(STAMP) : part.index(b'"', at + len(STAMP))]
            if b'"status":"completed"' in part:
                self.final = True
                self.delays.append((now - int(stamp)) / 1e6)
            elif self.opened.is_set():
                self.delays.append((now - int(stamp)) / 1e6)
            self.opened.set()
        if self.final:
            self.ended.set()

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        self.opened.set()
        self.ended.set()


class Measured:
    """What one run showed: bytes of a stream, milliseconds from a change to each reader, readers without a final
    event."""

    def __init__(self, bytes_: float, delays: list[float], lost: int, missed: int) -> None:
        self.bytes = bytes_
        self.delays = sorted(delays)
        self.lost = lost
        self.missed = missed

    def at(self, share: float) -> float:
        """A percentile, in milliseconds."""
        return self.delays[math.ceil(share * len(self.delays)) - 1]


async def measure(streams: int, operations: int, rounds: int, pause: float) -> Measured:
    """Opens the streams, feeds every operation, waits for every final event."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [folder, str(operations), str(rounds), str(pause)]
        server = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert server.stdin is not None
        assert server.stdout is not None

        async def ask(what: str) -> dict[str, Any]:
            server.stdin.write(f"{what}\n".encode())  # type: ignore[union-attr]
            return dict(json.loads(await server.stdout.readline()))  # type: ignore[union-attr]

        started = json.loads(await server.stdout.readline())
        loop = asyncio.get_running_loop()
        gate = asyncio.Semaphore(OPENING)

        async def open_one(number: int) -> Reader:
            snapshot = objects.uid_of(f"Snapshot/apps/s{number % operations}")
            path = f"/api/environments/{objects.ENVIRONMENT}/snapshots/{snapshot}/progress"
            request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {started['token']}\r\n\r\n".encode()
            async with gate:
                _, reader = await loop.create_connection(
                    lambda: Reader(request, asyncio.Event(), asyncio.Event()), "127.0.0.1", started["port"]
                )
                await asyncio.wait_for(reader.opened.wait(), 60)
            return reader

        # What a first request needs once: routes, verified token, code.
        first = await open_one(0)
        before = await ask("memory")
        readers = [first, *await asyncio.gather(*(open_one(n) for n in range(1, streams)))]
        after = await ask("memory")
        assert after["streams"] == streams, after
        await ask("feed")
        await asyncio.wait_for(asyncio.gather(*(r.ended.wait() for r in readers)), 120)
        server.stdin.close()
        await server.wait()
    delays = [d for r in readers for d in r.delays]
    missed = sum(rounds + 1 - len(r.delays) for r in readers)
    return Measured((after["rss"] - before["rss"]) / (streams - 1), delays, sum(not r.final for r in readers), missed)


def main() -> None:
    """Figures as a table on stdout, and as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=4, metavar=("FOLDER", "OPERATIONS", "ROUNDS", "PAUSE"), help="be the server")
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5, help="changes of each operation before its end")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two changes of an operation")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        folder, operations, rounds, pause = options.serve
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(Path(folder), int(operations), int(rounds), float(pause)))
        return
    if hard < options.streams + SPARE:
        sys.exit(
            f"{hard} open files are allowed, {options.streams + SPARE} are needed: raise `ulimit -Hn` (it is {soft}"
            " now)"
        )
    figures: list[Figure] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for operations, what in ((1, "of one operation"), (100, "of 100 operations")):
            runs = [
                runner.run(measure(options.streams, operations, options.rounds, options.pause))
                for _ in range(options.runs)
            ]
            name = f"{options.streams:,} streams {what}"
            figures += [
                limit(f"{name}: memory of a stream", [r.bytes / 1024 for r in runs], 32, "KiB"),
                limit(f"{name}: from a change to a reader, p99", [r.at(0.99) for r in runs], 200, "ms"),
                limit(f"{name}: readers without a final event", [float(r.lost) for r in runs], 0, "readers"),
            ]
            for run in runs:
                print(
                    f"{name}: p50 {run.at(0.5):.1f} ms, worst {run.at(1):.1f} ms, {run.missed} events coalesced",
                    file=sys.stderr,
                )
    if options.json:
        write(options.json, figures)
    print(table(figures))


if __name__ == "__main__":
    main()
