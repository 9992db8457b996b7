"""Ranges that are read with one signed request for each object, and what boto3 reads instead."""

import contextlib
import hashlib
import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.auth
import pytest

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store import S3Options, Store, open_store, s3_client, s3_ranges
from ocore_mover.store.pinned_version import Pinned
from support.mover.faulty_http import Faults, FaultyProxy, Request, times
from support.mover.stored import MIB, put, random_bytes

DATA = random_bytes(2 * MIB)
STEP = 64 * 1024
STARTS = range(1, len(DATA) - STEP, STEP)


def is_signed_once(headers: Mapping[str, str]) -> bool:
    """Whether a request is one of s3_ranges: boto3 signs the range too."""
    named = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    return "range" in headers and "range" not in named


def downloads(request: Request) -> bool:
    return request.method == "GET" and "range" in request.headers


def read(store: Store, stored: StoredObject, version: Pinned, start: int, length: int = STEP) -> bytes:
    return b"".join(store.read_range(stored, start, length, version))


def signed_once(faulty: FaultyProxy) -> list[bool]:
    return [is_signed_once(request.headers) for request in faulty.requests if downloads(request)]


def signatures(faulty: FaultyProxy) -> list[str]:
    """Which one each download has. Two of the same second are equal but for the id of the call that made them."""
    return [request.headers["amz-sdk-invocation-id"] for request in faulty.requests if downloads(request)]


def test_one_signature_serves_all_ranges_of_an_object(through_proxy: Store, faulty: FaultyProxy) -> None:
    stored, version = put(through_proxy, "object", DATA), Pinned()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda start: read(through_proxy, stored, version, start), STARTS))
    assert found == [DATA[start : start + STEP] for start in STARTS]
    asked = [request.headers for request in faulty.requests if downloads(request)]
    assert all(is_signed_once(headers) for headers in asked)
    assert len(asked) == len(STARTS)
    assert len(set(signatures(faulty))) == 1
    assert read(through_proxy, stored, version, 0) == DATA[:STEP]
    assert faulty.requests[-1].headers["if-match"] == version.tag


def test_what_is_read_once_is_left_to_boto3(through_proxy: Store, faulty: FaultyProxy) -> None:
    stored = put(through_proxy, "object", DATA)
    assert b"".join(through_proxy.read_range(stored, 5, 100)) == DATA[5:105]
    assert signed_once(faulty) == [False]


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_after_any_other_answer_boto3_reads(through_proxy: Store, faulty: FaultyProxy, status: int) -> None:
    stored, version = put(through_proxy, "object", DATA), Pinned()
    refusals = times(1, downloads)
    faulty.set(Faults(refuse=lambda request: status if refusals(request) else None))
    assert [read(through_proxy, stored, version, start) for start in (0, 9)] == [DATA[:STEP], DATA[9 : STEP + 9]]
    assert signed_once(faulty) == [True, False, False]  # not every range is asked for twice


def test_after_a_time_it_is_tried_again(
    through_proxy: Store, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_ranges, "REST", 0.0)
    stored, version = put(through_proxy, "object", DATA), Pinned()
    refusals = times(1, downloads)
    faulty.set(Faults(refuse=lambda request: 403 if refusals(request) else None))
    assert [read(through_proxy, stored, version, start) for start in (0, 9)] == [DATA[:STEP], DATA[9 : STEP + 9]]
    assert signed_once(faulty) == [True, False, True]
    first, _, last = signatures(faulty)
    assert first != last


def test_a_lost_connection(through_proxy: Store, faulty: FaultyProxy) -> None:
    """Before the answer, and within it: boto3 reads from the byte where it broke."""
    stored = put(through_proxy, "object", DATA)
    for faults in (Faults(lose_answer=times(1, downloads)), Faults(cut=cut_once(50_000))):
        faulty.set(faults)
        through_proxy.ranges._rests_until = 0.0  # type: ignore[attr-defined]
        assert read(through_proxy, stored, Pinned(), 7) == DATA[7 : STEP + 7]
        assert signed_once(faulty) == [True, False]
    assert faulty.requests[-1].headers["range"] == f"bytes={7 + 50_000}-{6 + STEP}"


def cut_once(size: int) -> Callable[[Request], int | None]:
    first = times(1, downloads)
    return lambda request: size if first(request) else None


def test_row_117_a_signature_that_the_server_calls_too_old(
    through_proxy: Store, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a Job that stood still, or a clock that was set."""
    stored, version = put(through_proxy, "object", DATA), Pinned()
    with monkeypatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda **_: datetime.now(UTC) - timedelta(hours=1))
        client = through_proxy.client  # type: ignore[attr-defined]
        ranges = through_proxy.ranges  # type: ignore[attr-defined]
        key = through_proxy.full_key("object")  # type: ignore[attr-defined]
        ranges._request(client, through_proxy.bucket, key, version)  # type: ignore[attr-defined]
    assert read(through_proxy, stored, version, 0) == DATA[:STEP]
    assert signed_once(faulty) == [True, False]


def test_a_signature_is_renewed(through_proxy: Store, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers refuse one of more than 15 minutes, and temporary credentials end."""
    stored, version = put(through_proxy, "object", DATA), Pinned()
    assert read(through_proxy, stored, version, 0) == DATA[:STEP]
    monkeypatch.setattr(s3_ranges, "LIFETIME", -1.0)
    assert read(through_proxy, stored, version, 9) == DATA[9 : STEP + 9]
    assert signed_once(faulty) == [True, True]
    first, last = signatures(faulty)
    assert first != last


def test_an_object_that_is_replaced(through_proxy: Store, faulty: FaultyProxy, s3: Store) -> None:
    stored, version = put(through_proxy, "object", DATA), Pinned()
    assert read(through_proxy, stored, version, 0) == DATA[:STEP]
    put(s3, "object", bytes(len(DATA)))
    with pytest.raises(Corrupt, match="was replaced while it was read"):
        read(through_proxy, stored, version, STEP)
    assert signed_once(faulty) == [True, True, False]


def test_row_117_refused_keys_have_their_own_error(
    through_proxy: Store, faulty: FaultyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """And no signature is in a log or a message."""
    stored = put(through_proxy, "object", DATA)
    faulty.set(Faults(refuse=lambda request: 403 if downloads(request) else None))
    with caplog.at_level(logging.DEBUG, "ocore_mover"), pytest.raises(StoreError) as refused:
        read(through_proxy, stored, Pinned(), 0)
    assert refused.value.reason == "StoreAccessDenied"
    for request in faulty.requests:
        signature = request.headers["authorization"].partition("Signature=")[2]
        assert len(signature) == 64
        assert "Signature" not in request.path
        assert signature not in caplog.text + refused.value.message
    assert "ranges are read with boto3" in caplog.text


# --- a server that answers the first request in its own way ----------------------------------------------------------

OBJECT = StoredObject(key="object", size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
TAG = '"a"'


class Answering:
    """`answer` gives status, headers and body for the first request; the others are answered as S3 does."""

    def __init__(self) -> None:
        self.first: tuple[int, dict[str, str], bytes] | None = None
        self.seconds = 0.0
        self.seen: list[tuple[str, dict[str, str]]] = []
        parent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                parent.seen.append((self.path, headers))
                first, parent.first = parent.first, None
                status, sent, body = first or right(headers["range"])
                if first:
                    time.sleep(parent.seconds)
                with contextlib.suppress(OSError):  # the client is gone
                    self.send_response(status)
                    for name, value in sent.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                self.close_connection = "Content-Length" not in sent

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def signed_once(self) -> list[bool]:
        return [is_signed_once(headers) for _, headers in self.seen]


def right(asked: str) -> tuple[int, dict[str, str], bytes]:
    first, _, last = asked.removeprefix("bytes=").partition("-")
    body = DATA[int(first) : int(last) + 1]
    headers = {"Content-Range": f"bytes {first}-{last}/{len(DATA)}", "ETag": TAG, "Content-Length": str(len(body))}
    return 206, headers, body


@pytest.fixture
def answering() -> Iterator[Answering]:
    running = Answering()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def store(answering: Answering, tmp_path: Path) -> Store:
    (tmp_path / "accessKeyId").write_text("key")
    (tmp_path / "secretAccessKey").write_text("secret")
    return open_store("s3://bucket", S3Options(endpoint=answering.endpoint, credentials=tmp_path))


@pytest.mark.parametrize(
    ("status", "changed", "known"),
    [
        (200, {}, ""),
        (206, {"Content-Range": f"bytes 11-20/{len(DATA)}"}, ""),
        (206, {"Content-Range": f"bytes 10-18/{len(DATA)}"}, ""),
        (206, {"Content-Range": "bytes 10-19/20"}, ""),
        (206, {"Content-Range": "bytes 10-19/*"}, ""),
        (206, {"Content-Range": ""}, ""),
        (206, {"ETag": ""}, ""),
        (206, {"ETag": '"b"'}, TAG),
    ],
)
def test_row_117_only_the_right_answer_counts(
    answering: Answering, store: Store, status: int, changed: dict[str, str], known: str
) -> None:
    """Otherwise other bytes would be taken, or those of another version."""
    version = Pinned()
    version.tag = known
    _, headers, _ = right("bytes=10-19")
    answering.first = status, {name: value for name, value in (headers | changed).items() if value}, b"0123456789"
    assert read(store, OBJECT, version, 10, 10) == DATA[10:20]
    assert answering.signed_once() == [True, False]
    assert version.tag == TAG


def test_row_117_a_server_that_sends_the_whole_object(answering: Answering, store: Store) -> None:
    answering.first = 200, {"ETag": TAG, "Content-Length": str(len(DATA))}, DATA
    assert read(store, OBJECT, Pinned(), 10, 10) == DATA[10:20]
    assert answering.signed_once() == [True, False]


def test_a_server_that_does_not_answer(answering: Answering, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's time limits apply."""
    monkeypatch.setattr(s3_client, "READ_TIMEOUT", 0.2)
    answering.first, answering.seconds = right("bytes=10-19"), 1.0
    assert read(store, OBJECT, Pinned(), 10, 10) == DATA[10:20]
    assert answering.signed_once() == [True, False]


def test_a_bucket_in_the_hosts_name_and_a_proxy(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    """Both are boto3's own."""
    monkeypatch.setenv("HTTP_PROXY", answering.endpoint)
    monkeypatch.setenv("NO_PROXY", "")
    options = S3Options(endpoint="http://s3.test", credentials=tmp_path, path_style=False)
    assert read(open_store("s3://bucket/p", options), OBJECT, Pinned(), 10, 10) == DATA[10:20]
    ((path, headers),) = answering.seen
    assert path == "http://bucket.s3.test/p/object"
    assert is_signed_once(headers)
