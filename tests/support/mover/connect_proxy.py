"""An HTTP proxy for TLS (CONNECT) with a password, and a server that adds TLS to another one. Only the standard
library: end-to-end tests run this file in a pod, `python connect_proxy.py PORT USER PASSWORD`."""

import base64
import contextlib
import select
import socket
import socketserver
import ssl
import sys
import threading
from pathlib import Path
from typing import Any


def relay(one: socket.socket, other: socket.socket) -> None:
    """Passes bytes both ways until one side ends."""
    ends = {one: other, other: one}
    while True:
        pending = [s for s in ends if isinstance(s, ssl.SSLSocket) and s.pending()]
        for source in pending or select.select(list(ends), [], [], 60)[0]:
            data = source.recv(65536)
            if not data:
                return
            ends[source].sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Running:
    """A server in a thread; `with` ends it."""

    def __init__(self, port: int, address: str) -> None:
        parent = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client is gone
                    parent.serve(self.request)

        self.server = _Server((address, port), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """One connection."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class ConnectProxy(_Running):
    """`opened`: host and port of each connection that it has opened."""

    def __init__(self, user: str, password: str, port: int = 0, address: str = "127.0.0.1") -> None:
        self.opened: list[str] = []
        self._wanted = base64.b64encode(f"{user}:{password}".encode()).decode()
        super().__init__(port, address)

    def serve(self, client: socket.socket) -> None:
        """CONNECT with the password; any other request is refused."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data:
                return
            head += data
        method, target, *_ = head.decode("latin-1").split()
        if f"Basic {self._wanted}" not in head.decode("latin-1"):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
        if method != "CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as server:
            self.opened.append(target)
            print("CONNECT", target, flush=True)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            relay(client, server)


class TlsFront(_Running):
    """TLS with that certificate in front of a server without it."""

    def __init__(
        self, target: tuple[str, int], certificate: Path, key: Path, port: int = 0, address: str = "127.0.0.1"
    ) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        super().__init__(port, address)

    def serve(self, client: socket.socket) -> None:
        """One connection."""
        with (
            self._context.wrap_socket(client, server_side=True) as secure,
            socket.create_connection(self._target, 10) as server,
        ):
            relay(secure, server)


def main() -> None:
    """Serves until the process ends: a proxy `PORT USER PASSWORD`, or TLS `PORT HOST:PORT CERTIFICATE KEY`."""
    port, *rest = sys.argv[1:]
    if ":" in rest[0]:
        host, _, target = rest[0].rpartition(":")
        TlsFront((host, int(target)), Path(rest[1]), Path(rest[2]), int(port), "")
    else:
        ConnectProxy(rest[0], rest[1], int(port), "")
    threading.Event().wait()


if __name__ == "__main__":
    main()
