"""What an application can reach: a mail server and a service for pushes on this machine, which only count."""

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread


@dataclass
class Sinks:
    """Where they listen, and what arrived."""

    host: str
    smtp: int
    http: int
    mails: list[str] = field(default_factory=list)  # recipients
    posts: list[str] = field(default_factory=list)  # paths

    def take(self) -> tuple[list[str], list[str]]:
        """What arrived since the last call."""
        found = (list(self.mails), list(self.posts))
        self.mails.clear()
        self.posts.clear()
        return found


class _Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._say("220 sink")
        while line := self.rfile.readline().decode(errors="replace").strip():
            verb = line.upper()
            if verb.startswith("RCPT"):
                self.server.seen.append(line)  # type: ignore[attr-defined]
            if verb == "DATA":
                self._say("354 go on")
                while self.rfile.readline().strip() != b".":
                    pass
            self._say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Push(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        path = self.rfile.readline().decode(errors="replace").split()[1]
        length = 0
        while line := self.rfile.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        self.server.seen.append(path)  # type: ignore[attr-defined]
        self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextmanager
def sinks(host: str = "127.0.0.1") -> Iterator[Sinks]:
    """Both, for the block, at that address of this machine."""
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with (
        socketserver.ThreadingTCPServer((host, 0), _Mail) as mail,
        socketserver.ThreadingTCPServer((host, 0), _Push) as push,
    ):
        found = Sinks(host, mail.server_address[1], push.server_address[1])
        for server, seen in ((mail, found.mails), (push, found.posts)):
            server.daemon_threads = True
            server.seen = seen  # type: ignore[attr-defined]
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield found
        finally:
            mail.shutdown()
            push.shutdown()
