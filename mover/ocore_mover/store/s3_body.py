"""The body of an answer of S3. Over plain HTTP, one system call reads one chunk.

http.client asks the socket for each piece that the network delivers, and waits with poll before each. Every such call
passes Python's lock between the workers twice, and a chunk of 256 KiB has many pieces.
"""

import socket
import struct
from typing import Any


class Body:
    """Reads a StreamingBody of botocore."""

    def __init__(self, streaming: Any) -> None:
        self._streaming = streaming
        self._buffered = 0  # bytes that http.client has received already
        self._timeout: float | None = None  # of the socket while http.client reads it
        # Neither botocore nor urllib3 gives access to the socket. A test fails where one of these names has changed.
        self._answer: Any = getattr(getattr(streaming, "_raw_stream", None), "_fp", None)
        connection = getattr(getattr(getattr(self._answer, "fp", None), "raw", None), "_sock", None)
        # TLS decrypts in pieces of 16 KiB in any case. The length is None where the answer is chunked.
        usable = type(connection) is socket.socket and connection.gettimeout() and getattr(self._answer, "length", None)
        self._socket: socket.socket | None = connection if usable else None
        self._ready = False

    @property
    def direct(self) -> bool:
        """Whether the socket is read without http.client."""
        return self._socket is not None

    def read(self, count: int) -> bytes:
        """The next bytes: `count`, or fewer where they come slowly; empty at the end. Raises OSError, HTTPError,
        BotoCoreError."""
        if self._socket is None:
            data: bytes = self._streaming.read(count)
            return data
        if not self._ready:
            self._take_over(self._socket)
        left: int = self._answer.length
        if count >= left:
            # http.client reads the end: it gives the connection back to the pool.
            self._socket.settimeout(self._timeout)
            self._socket = None
            return self.read(count)
        if self._buffered:
            data = self._streaming.read(min(count, self._buffered))
            self._buffered -= len(data)
            return data
        try:
            data = self._socket.recv(count, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise TimeoutError(f"the store sent nothing for {self._timeout:g} s") from error
        self._answer.length = left - len(data)
        return data

    def close(self) -> None:
        """Closes the connection, unless all has been read."""
        self._streaming.close()

    def _take_over(self, connection: socket.socket) -> None:
        self._buffered = len(self._answer.fp.peek())
        self._timeout = connection.gettimeout() or 0.0
        # MSG_WAITALL needs a blocking socket; the kernel keeps the time limit of one.
        whole = int(self._timeout)
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", whole, int((self._timeout - whole) * 1e6))
        )
        connection.settimeout(None)
        self._ready = True
