"""Answers that are encoded while they are sent."""

import gzip
import json
import random
import socket
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import pytest

from ocore_api.cache import Cache, RollbackEntry
from ocore_api.cache.entries import OperationEntry
from ocore_api.cache.listing import PIECE
from ocore_api.http.list_response import accepts_gzip
from ocore_api.routes.reads import MAX_LOGS
from support.api import objects as o
from support.api.filled import SNAPSHOT, filled
from support.api.serving import Serving, serving

#: Bytes of an error message: 1,000 rows with it are 16 MB.
MESSAGE = 16_000
LOGS = f"/api/environments/{o.ENVIRONMENT}/rollback-logs"


def failed(number: int) -> o.Object:
    """A Rollback with a long message. It is not compressible, so that what is kept of it is as large as its row."""
    text = random.Random(number).randbytes(MESSAGE // 2).hex()  # noqa: S311
    found = o.rolled_back(f"r{number:04}", {"snapshotRef": {"name": "s2"}}, snapshot_id=SNAPSHOT, created=number)
    found["status"] |= {"phase": "Failed", "conditions": [o.condition("Failed", "True", "RestoreFailed", text)]}
    return found


def with_logs(count: int) -> Cache:
    cache = filled()
    for number in range(count):
        cache.store.put("Rollback", failed(number))
    return cache


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving(cache=with_logs(MAX_LOGS + 5), stream_stall_seconds=60) as found:
        yield found


def reader(served: Serving, path: str) -> socket.socket:
    """A client that asks and reads nothing."""
    host, port = served.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect((host, int(port)))
    token = served.issuer.bearer("alice", projects=[o.PROJECT], environments=[])["Authorization"]
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
    return connection


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many rows have been encoded, under "rows"."""
    count = Counter[str]()
    whole = OperationEntry.encoded.fget  # type: ignore[attr-defined]

    def counted(self: OperationEntry) -> bytes:
        count["rows"] += 1
        found: bytes = whole(self)
        return found

    monkeypatch.setattr(OperationEntry, "encoded", property(counted))
    return count


def test_row_84_rows_are_encoded_when_the_client_reads_them(served: Serving, encoded: Counter[str]) -> None:
    """20 readers of 1,000 rows of 16 KB had 330 MB in memory."""
    tracemalloc.start()
    readers = []
    try:
        before = tracemalloc.get_traced_memory()[0]
        for path in [LOGS, f"/api/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}"] * 10:
            readers.append(reader(served, path))
        seen, end = -1, time.monotonic() + 60
        while encoded["rows"] == 0 or seen != encoded["rows"]:  # all of them wait for their clients
            assert time.monotonic() < end
            seen = encoded["rows"]
            time.sleep(0.5)
        held = tracemalloc.get_traced_memory()[1] - before
        counts = encoded["rows"]
    finally:
        tracemalloc.stop()
        for each in readers:
            each.close()
    # Two pieces, a row and a list of the rows for each reader; what the kernel has taken is its own.
    assert held < len(readers) * 4 * PIECE, held
    assert counts < len(readers) * MAX_LOGS / 2


def test_an_answer_in_pieces_has_the_bytes_of_a_whole_one(served: Serving) -> None:
    store = served.facade.cache.store
    with served.client(projects=[o.PROJECT], environments=[]) as client:
        client.headers["Accept-Encoding"] = "identity"
        answer = client.get(LOGS)
        assert int(answer.headers["content-length"]) == len(answer.content) > MAX_LOGS * MESSAGE
        found = answer.json()
        assert found["total"] == len(found["rollbackLogs"]) == MAX_LOGS
        assert [log["id"] for log in found["rollbackLogs"]] == [
            e.id for e in store.served.of(RollbackEntry, o.ENVIRONMENT)[:MAX_LOGS]
        ]
        assert {log["deploymentId"] for log in found["rollbackLogs"]} == {o.uid_of("d")}
        assert answer.content == json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
        # The connection is good for the next request.
        assert client.get(LOGS).content == answer.content


def test_a_client_that_leaves_ends_its_answer(served: Serving, encoded: Counter[str]) -> None:
    gone = reader(served, LOGS)
    assert gone.recv(100).startswith(b"HTTP/1.1 200 ")
    gone.close()
    end = time.monotonic() + 20
    while served.server is None or served.server.server_state.tasks:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert 0 < encoded["rows"] < MAX_LOGS / 2


def test_row_84_a_large_page_is_not_kept() -> None:
    cache = filled()
    for number in range(100):
        cache.store.put("Snapshot", o.failed(f"f{number}", f"{number} " * 500, created=100 + number))
    path = f"/api/environments/{o.ENVIRONMENT}/snapshots?limit=100"
    with serving(cache=cache) as served, served.client(projects=[o.PROJECT], environments=[]) as client:
        client.headers["Accept-Encoding"] = "identity"
        answer = client.get(path)
        assert int(answer.headers["content-length"]) == len(answer.content) > 2 * PIECE
        assert len(answer.json()["snapshots"]) == 100
        project = client.get(f"/api/projects/{o.PROJECT}/snapshots?limit=100").json()
        assert project["snapshots"] == answer.json()["snapshots"]
        assert not cache.served._pages
        small = client.get(f"{path.removesuffix('100')}5")
        assert [page for _, _, page in cache.served._pages.values()] == [small.content]


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("identity", False),
        ("gzip", True),
        ("GZIP, deflate, br", True),
        ("br;q=1.0, gzip;q=0.5, *;q=0", True),
        ("x-gzip", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("gzip;q=much", False),
        ("gzipped", False),
    ],
)
def test_what_a_client_accepts(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


def test_lists_are_compressed_when_asked_for(served: Serving) -> None:
    small, whole = f"/api/environments/{o.ENVIRONMENT}/snapshots?limit=3", f"/api/projects/{o.PROJECT}/snapshots"
    for path in (LOGS, small, whole, f"/api/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}"):
        with served.client(projects=[o.PROJECT], environments=[]) as client:
            plain = client.get(path, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
                sent = b"".join(answer.iter_raw())
        assert (answer.headers["content-encoding"], plain.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert answer.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(sent) == plain.content
        assert len(sent) < len(plain.content)


def test_a_small_answer_is_not_compressed(served: Serving) -> None:
    with served.client(projects=[o.PROJECT], environments=[]) as client:
        answer = client.get(f"/api/environments/{o.ENVIRONMENT}/snapshots?offset=900")
    assert "content-encoding" not in answer.headers
