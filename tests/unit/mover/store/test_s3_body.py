"""How the body of an answer is read from the socket."""

import contextlib
import hashlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import StoreError
from ocore_mover.store import S3Options, Store, open_store, s3_client, s3_reader
from ocore_mover.store.s3_body import Body

DATA = bytes(range(251)) * 4000
OBJECT = StoredObject(key="object", size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())


class Server:
    """Answers each request with DATA, in pieces of `piece` bytes with `pause` seconds between them; stops after
    `stop_at` bytes without an end."""

    def __init__(self) -> None:
        self.piece, self.pause, self.stop_at = len(DATA), 0.0, len(DATA)
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as requests:
            while requests.readline():
                while requests.readline().strip():
                    pass
                answer = b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA[: self.stop_at]
                for start in range(0, len(answer), self.piece):
                    connection.sendall(answer[start : start + self.piece])
                    time.sleep(self.pause)

    def stop(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Store:
    (tmp_path / "accessKeyId").write_text("key")
    (tmp_path / "secretAccessKey").write_text("secret")
    return open_store("s3://bucket", S3Options(endpoint=server.endpoint, credentials=tmp_path))


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each body, whether its socket is read directly."""
    found: list[bool] = []

    class Noted(Body):
        def __init__(self, streaming: object) -> None:
            super().__init__(streaming)
            found.append(self.direct)

    monkeypatch.setattr(s3_reader, "Body", Noted)
    return found


def test_one_connection_serves_one_object_after_another(server: Server, store: Store, direct: list[bool]) -> None:
    """A connection that is read directly goes back to the pool, and a time limit applies to its next answer."""
    for _ in range(3):
        assert b"".join(store.read(OBJECT)) == DATA
    assert direct == [True, True, True]  # botocore and urllib3 still have the names that Body uses
    assert server.connections == 1


def test_a_part_is_read_and_the_rest_is_left(server: Server, store: Store) -> None:
    """The server ignores Range here: the connection that has more to come is not used again."""
    for start in (0, 300_000):
        assert b"".join(store.read_range(OBJECT, start, 500_000)) == DATA[start : start + 500_000]
    assert server.connections == 2


@pytest.mark.parametrize("piece", [100, 70_000])
def test_bytes_that_come_slowly(server: Server, store: Store, piece: int) -> None:
    """Those that come with the headers included."""
    server.piece, server.pause = piece, 0.0 if piece == 100 else 0.01
    assert b"".join(store.read(OBJECT)) == DATA


@pytest.mark.parametrize("stop_at", [1, 400_000, len(DATA) - 1])
def test_a_server_that_stalls_is_named(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr(s3_client, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(s3_reader, "MAX_RESUMES", 0)
    server.stop_at = stop_at
    with pytest.raises(StoreError, match=r"sent nothing for 0.2 s|Read timeout on endpoint") as error:
        list(store.read(OBJECT))
    assert error.value.retryable


def test_what_is_no_answer_of_http_client_is_read_by_the_library() -> None:
    body = Body(io.BytesIO(b"bytes"))
    assert not body.direct
    assert (body.read(3), body.read(3), body.read(3)) == (b"byt", b"es", b"")
    body.close()
