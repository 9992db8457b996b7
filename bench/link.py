"""A network between a client and a server on this machine: a relay that delays and limits, because this kernel has no
netem.

    python bench/link.py PORT SERVER_PORT DELAY_SECONDS BYTES_PER_SECOND COUNT_FILE

Each direction delays every byte by DELAY_SECONDS, and lets BYTES_PER_SECOND through for all connections together. A
connection has at most WINDOW bytes on the way, as the default limits of Linux allow (net.ipv4.tcp_rmem), and opening
one costs a round trip.
"""

import asyncio
import contextlib
import mmap
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

#: Bytes that one connection may have on the way in one direction.
WINDOW = 6 * 1024 * 1024
#: Bytes that are read at a time: 0.5 ms of a link of 1 Gbit/s.
PIECE = 64 * 1024


class Direction:
    """One direction of the link, shared by all connections."""

    def __init__(self, delay: float, rate: float, count: memoryview | None = None) -> None:
        self._delay = delay
        self._rate = rate
        self._count = count  # of bytes, in shared memory
        self._free = 0.0  # when the last byte that was accepted has left

    def arrival(self, size: int) -> float:
        """When so many bytes that leave now have arrived, on the loop's clock."""
        now = asyncio.get_running_loop().time()
        self._free = max(now, self._free) + size / self._rate
        if self._count is not None:
            self._count[0] += size
        return self._free + self._delay


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
    """Carries one direction of a connection until its end."""
    loop = asyncio.get_running_loop()
    on_the_way: deque[tuple[float, bytes]] = deque()
    changed = asyncio.Event()
    size = 0

    async def deliver() -> None:
        nonlocal size
        while True:
            while not on_the_way:
                changed.clear()
                await changed.wait()
            due, piece = on_the_way[0]
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if not piece:
                return
            writer.write(piece)
            await writer.drain()
            on_the_way.popleft()
            size -= len(piece)
            changed.set()

    delivering = asyncio.create_task(deliver())
    try:
        while piece := await reader.read(PIECE):
            on_the_way.append((direction.arrival(len(piece)), piece))
            size += len(piece)
            changed.set()
            while size > WINDOW and not delivering.done():
                changed.clear()
                await changed.wait()
        on_the_way.append((direction.arrival(0), b""))
        changed.set()
        await delivering
    finally:
        delivering.cancel()
        with contextlib.suppress(OSError):
            writer.close()


async def relay(port: int, server_port: int, delay: float, rate: float, count: Path) -> None:
    """Relays until it is killed."""
    up, down = Direction(delay, rate), Direction(delay, rate, counter(count))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * delay)
        with contextlib.suppress(OSError):
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", server_port)
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, behind_writer, up))
                both.create_task(pump(behind_reader, writer, down))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


def counter(file: Path) -> memoryview:
    """A number in a file of eight bytes, which two processes share."""
    with file.open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 8)).cast("Q")


class Link:
    """The relay as a process of its own; ready when the constructor returns. `round_trip` in seconds, `rate` in bytes a
    second."""

    def __init__(self, port: int, server_port: int, round_trip: float, rate: float) -> None:
        self.rate = rate
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(8))
            file.flush()
            self._count = counter(Path(file.name))
            self._start(port, [str(port), str(server_port), str(round_trip / 2), str(rate), file.name])

    def _start(self, port: int, arguments: list[str]) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, *arguments])
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.05)
            else:
                return

    @property
    def received(self) -> int:
        """Bytes that the server has sent so far."""
        return self._count[0]

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait(30)


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5])))
