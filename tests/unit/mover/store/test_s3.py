"""An S3 server that is slow, broken, full, or says no."""

import base64
import hashlib
import http.server
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover import redact
from ocore_mover.errors import Corrupt, MoverError, StoreError
from ocore_mover.store import S3Options, Store, open_store, s3_writer
from ocore_mover.store.interface import abort_uploads
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.probe import probe_store, read_store
from ocore_mover.store.s3_client import translated
from support.mover.faulty_http import Faults, FaultyProxy, Request, times
from support.mover.s3_server import BUCKET
from support.mover.seaweed import OPEN_BUCKET, SeaweedFS
from support.mover.stored import MIB, PART, put

DATA = bytes(range(256)) * (5 * PART // 512)  # two parts and a half


def uploads(request: Request) -> bool:
    return request.method == "PUT" and ".probe-" not in request.path and len(request.body) > 1000


def downloads(request: Request) -> bool:
    return request.method == "GET" and "list-type" not in request.path


@pytest.mark.parametrize("data", [DATA[:100_000], DATA], ids=["object", "part"])
def test_bits_flipped_on_the_way_are_sent_again(through_proxy: Store, faulty: FaultyProxy, data: bytes) -> None:
    faulty.set(Faults(flip=times(1, uploads)))
    stored = put(through_proxy, "object", data)
    assert b"".join(through_proxy.read(stored)) == data


@pytest.mark.parametrize("data", [DATA[:100_000], DATA], ids=["object", "part"])
def test_bits_that_always_flip_are_refused(through_proxy: Store, faulty: FaultyProxy, data: bytes) -> None:
    faulty.set(Faults(flip=uploads))
    with pytest.raises(Corrupt, match="changed on the network"):
        put(through_proxy, "object", data)
    assert through_proxy.head("object") is None
    assert abort_uploads(through_proxy, "") == 0


def test_a_download_goes_on_where_it_was_cut(through_proxy: Store, faulty: FaultyProxy) -> None:
    stored = put(through_proxy, "object", DATA)
    cuts = times(3, downloads)
    faulty.set(Faults(cut=lambda request: 5_000_000 if cuts(request) else None))
    assert b"".join(through_proxy.read(stored)) == DATA
    ranges = [request.headers.get("range") for request in faulty.requests if downloads(request)]
    assert ranges[0] is None
    assert len(ranges) == 4
    starts = [int(text.removeprefix("bytes=").partition("-")[0]) for text in ranges[1:] if text]
    assert starts == sorted(starts)
    assert starts[0] > 0
    assert all("if-match" in request.headers for request in faulty.requests[1:] if downloads(request))


def test_a_download_that_never_gets_on_ends(
    through_proxy: Store, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocore_mover.store.s3_reader.pause", lambda _: None)
    stored = put(through_proxy, "object", DATA)
    faulty.set(Faults(cut=lambda request: 0 if downloads(request) else None))
    with pytest.raises(StoreError, match="failed 6 times at byte 0") as error:
        list(through_proxy.read(stored))
    assert error.value.reason == conditions.STORE_UNREACHABLE
    assert error.value.retryable


def test_a_replaced_object_is_not_mixed(through_proxy: Store, faulty: FaultyProxy, s3: Store) -> None:
    stored = put(through_proxy, "object", DATA)
    cuts = times(1, downloads)

    def cut(request: Request) -> int | None:
        if not cuts(request):
            return None
        put(s3, "object", bytes(len(DATA)))
        return 3_000_000

    faulty.set(Faults(cut=cut))
    with pytest.raises(Corrupt):
        list(through_proxy.read(stored))


@pytest.mark.parametrize(
    ("content_range", "body", "tag", "expected"),
    [
        ("bytes 10-19/100", b"0123456789", '"a"', b"0123456789"),
        ("bytes 10-99/100", b"0123456789" * 9, '"a"', b"0123456789"),  # more than was asked for
        ("bytes 0-9/100", b"0123456789", '"a"', "with other bytes"),
        ("bytes 10-19/*", b"0123456789", '"a"', "with other bytes"),
        ("bytes 10-13/100", b"0123", '"a"', "with other bytes"),  # the rest is asked for, and these bytes come again
        ("bytes 10-19/99", b"0123456789", '"a"', "99 bytes instead of 100"),
        ("bytes 10-19/100", b"0123456789", '"b"', "was replaced while it was read"),  # If-Match is ignored
        ("bytes 10-19/100", b"0123456789", "", "answers without an ETag"),
    ],
)
def test_row_104_what_a_store_answers_to_a_range(
    tmp_path: Path, content_range: str, body: bytes, tag: str, expected: bytes | str
) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(206)
            for name, value in (("Content-Range", content_range), ("ETag", tag), ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    (tmp_path / "accessKeyId").write_text("key")
    (tmp_path / "secretAccessKey").write_text("secret")
    version = Pinned()
    assert version.is_same('"a"')
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        options = S3Options(endpoint=f"http://127.0.0.1:{server.server_address[1]}", credentials=tmp_path)
        store = open_store(f"s3://{BUCKET}/p", options)
        found = store.read_range(StoredObject(key="object", size=100, sha256="0" * 64), 10, 10, version)
        if isinstance(expected, bytes):
            assert b"".join(found) == expected
        else:
            with pytest.raises(MoverError, match=expected) as error:
                list(found)
            assert type(error.value) is (Corrupt if tag else StoreError)
        server.shutdown()


def test_503s_are_retried(through_proxy: Store, faulty: FaultyProxy) -> None:
    refusals = times(2, uploads)
    faulty.set(Faults(refuse=lambda request: 503 if refusals(request) else None))
    assert put(through_proxy, "object", DATA).size == len(DATA)


def test_503s_for_ever_end(through_proxy: Store, faulty: FaultyProxy) -> None:
    put(through_proxy, "other", b"x")
    faulty.set(Faults(refuse=lambda _: 503))
    started = time.monotonic()
    with pytest.raises(StoreError) as error:
        through_proxy.get("object")
    assert (error.value.reason, error.value.retryable) == (conditions.STORE_UNREACHABLE, True)
    assert time.monotonic() - started < 60


def test_a_lost_answer_to_the_completion(through_proxy: Store, faulty: FaultyProxy) -> None:
    faulty.set(Faults(lose_answer=times(1, lambda r: r.method == "POST" and "uploadId" in r.path)))
    stored = put(through_proxy, "object", DATA)
    assert b"".join(through_proxy.read(stored)) == DATA


def test_a_lost_answer_to_the_manifest(through_proxy: Store, faulty: FaultyProxy) -> None:
    """The repeated request finds the key taken by the first one: not ours to judge, the caller reads it back."""
    put(through_proxy, "warm-up", b"x")
    faulty.set(Faults(lose_answer=times(1, lambda r: r.method == "PUT" and r.path.endswith("/manifest"))))
    assert not through_proxy.put_if_absent("manifest", b"mine")
    assert through_proxy.get("manifest") == b"mine"


def test_every_write_is_signed_and_declares_its_digest(through_proxy: Store, faulty: FaultyProxy) -> None:
    put(through_proxy, "object", DATA)
    sent = [request for request in faulty.requests if uploads(request)]
    assert len(sent) == 3
    for request in sent:
        assert len(request.headers["x-amz-content-sha256"]) == 64  # neither UNSIGNED-PAYLOAD nor STREAMING-…
        assert "x-amz-checksum-sha256" in request.headers["authorization"]


def test_no_write_asks_the_server_first(through_proxy: Store, faulty: FaultyProxy) -> None:
    """`Expect: 100-continue` costs a round trip for each small object."""
    assert through_proxy.put_if_absent("manifest", b"x" * 2000)
    put(through_proxy, "object", DATA)
    sent = [request for request in faulty.requests if request.method == "PUT"]
    assert any(".probe-" in request.path for request in sent)
    assert len([request for request in sent if uploads(request)]) == 4
    assert not any("expect" in request.headers for request in sent)


def test_a_small_object_is_written_without_a_test_of_what_the_server_checks(
    through_proxy: Store, faulty: FaultyProxy
) -> None:
    """Its caller reads it back. The test takes five requests, while the application of an undo is to be stopped."""
    for name in ("first", "second"):
        assert through_proxy.put_if_absent(name, b"x")
    methods = [request.method for request in faulty.requests]
    assert methods == ["HEAD", "HEAD", "PUT", "HEAD", "PUT"]  # the bucket, then each key


@pytest.fixture
def lax(seaweed: SeaweedFS, faulty: FaultyProxy, prefix: str) -> Store:
    """A server that knows neither checksums nor conditions (and takes requests of anybody)."""
    stripped = (
        "authorization",
        "x-amz-content-sha256",
        "x-amz-checksum-sha256",
        "x-amz-checksum-algorithm",
        "if-none-match",
    )
    faulty.set(Faults(strip=frozenset((*stripped, "x-amz-sdk-checksum-algorithm", "content-md5"))))
    return open_store(
        f"s3://{OPEN_BUCKET}/{prefix}", S3Options(endpoint=faulty.endpoint, credentials=seaweed.credentials())
    )


def test_the_probe_notices_a_server_that_checks_nothing(lax: Store) -> None:
    found = probe_store(lax)
    assert (found.checksums, found.conditional_writes) == ("ReadBack", False)
    assert len(found.warnings) == 2


def test_without_checks_objects_are_read_back(lax: Store, faulty: FaultyProxy) -> None:
    stored = put(lax, "object", DATA)
    assert [request for request in faulty.requests if downloads(request)]
    assert b"".join(lax.read(stored)) == DATA


@pytest.mark.parametrize("data", [DATA[:100_000], DATA], ids=["object", "part"])
def test_without_checks_a_flipped_bit_is_found(
    lax: Store, faulty: FaultyProxy, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lax, "warm-up", b"x")
    strip = faulty._state.faults.strip
    faulty.set(Faults(strip=strip, flip=uploads))
    with pytest.raises(Corrupt, match="SHA-256"):
        put(lax, "object", data)


def test_without_conditions_what_is_there_stays(lax: Store) -> None:
    assert lax.put_if_absent("manifest", b"first")
    assert not lax.put_if_absent("manifest", b"second")
    assert lax.get("manifest") == b"first"


def store_with(seaweed: SeaweedFS, url: str, **options: Any) -> Store:
    return open_store(url, S3Options(**{"endpoint": seaweed.endpoint, "credentials": seaweed.credentials(), **options}))


def reason_of(store: Store) -> tuple[str, str]:
    with pytest.raises(StoreError) as error:
        probe_store(store)
    return error.value.reason, error.value.message


def test_wrong_keys(seaweed: SeaweedFS) -> None:
    for folder in (seaweed.credentials(secret="wrong"), seaweed.credentials(key="unknown")):
        reason, message = reason_of(store_with(seaweed, f"s3://{BUCKET}/x", credentials=folder))
        assert reason == conditions.STORE_ACCESS_DENIED
        assert "credentials" in message


def test_keys_that_may_only_read(seaweed: SeaweedFS, s3: Store) -> None:
    stored = put(s3, "object", b"x")
    folder = seaweed.credentials(seaweed.reader_key, seaweed.reader_secret)
    reader = store_with(seaweed, s3.url, credentials=folder)
    assert list(reader.read(stored)) == [b"x"]
    reason, message = reason_of(reader)
    assert reason == conditions.STORE_ACCESS_DENIED
    assert "write" in message


def test_a_probe_that_only_reads(seaweed: SeaweedFS, s3: Store) -> None:
    """With keys that may only read: the id is the one that the writer gave the store."""
    folder = seaweed.credentials(seaweed.reader_key, seaweed.reader_secret)
    reader = store_with(seaweed, s3.url, credentials=folder)
    with pytest.raises(StoreError) as error:
        read_store(reader)
    assert error.value.reason == conditions.STORE_NOT_READY  # no id yet, and it writes none
    known = probe_store(s3).store_id
    found = read_store(reader)
    assert (found.store_id, found.checksums) == (known, None)


def test_no_such_bucket(seaweed: SeaweedFS) -> None:
    store = store_with(seaweed, "s3://misspelt-bucket/x")
    assert reason_of(store)[0] == conditions.BUCKET_NOT_FOUND
    with pytest.raises(StoreError) as error:
        put(store, "object", b"x")
    assert error.value.reason == conditions.BUCKET_NOT_FOUND
    with pytest.raises(StoreError):
        store.put_if_absent("object", b"x")
    names = {bucket["Name"] for bucket in seaweed.client().list_buckets()["Buckets"]}
    assert "misspelt-bucket" not in names  # SeaweedFS would make it at the first PUT


def test_nobody_listens(seaweed: SeaweedFS) -> None:
    for endpoint in ("http://127.0.0.1:1", "http://no-such-host.invalid"):
        started = time.monotonic()
        reason, message = reason_of(store_with(seaweed, f"s3://{BUCKET}/x", endpoint=endpoint))
        assert reason == conditions.STORE_UNREACHABLE
        assert "endpoint" in message
        assert time.monotonic() - started < 60


def test_a_server_that_never_answers(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocore_mover.store.s3_client.READ_TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        started = time.monotonic()
        store = store_with(seaweed, f"s3://{BUCKET}/x", endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert reason_of(store)[0] == conditions.STORE_UNREACHABLE
        assert time.monotonic() - started < 30


@pytest.mark.parametrize("present", [(), ("accessKeyId",), ("secretAccessKey",)])
def test_incomplete_credentials(seaweed: SeaweedFS, tmp_path: Path, present: tuple[str, ...]) -> None:
    for key in present:
        (tmp_path / key).write_text("x")
    reason, message = reason_of(store_with(seaweed, f"s3://{BUCKET}/x", credentials=tmp_path))
    assert reason == conditions.SECRET_INVALID
    assert "accessKeyId and secretAccessKey" in message


def test_no_credentials_at_all(seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert reason_of(store_with(seaweed, f"s3://{BUCKET}/x", credentials=None))[0] == conditions.STORE_ACCESS_DENIED
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret)
    assert probe_store(store_with(seaweed, f"s3://{BUCKET}/chain", credentials=None)).checksums == "Server"


class _InstanceMetadata(http.server.BaseHTTPRequestHandler):
    """The cloud's service that gives every process on a node the node's own credentials."""

    asked: ClassVar[list[str]]
    key: ClassVar[str]
    secret: ClassVar[str]

    def do_PUT(self) -> None:
        self._answer("token")

    def do_GET(self) -> None:
        later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        role = {
            "Code": "Success",
            "AccessKeyId": self.key,
            "SecretAccessKey": self.secret,
            "Token": "",
            "Expiration": later,
        }
        self._answer("node-role" if self.path.endswith("/") else json.dumps(role))

    def _answer(self, text: str) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


def test_the_nodes_own_credentials_are_used_only_where_asked_for(
    seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    _InstanceMetadata.asked, _InstanceMetadata.key, _InstanceMetadata.secret = [], seaweed.key, seaweed.secret
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _InstanceMetadata) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{service.server_port}/")
        reason, message = reason_of(store_with(seaweed, f"s3://{BUCKET}/node", credentials=None))
        assert reason == conditions.STORE_ACCESS_DENIED
        assert "s3.instanceMetadata" in message
        assert _InstanceMetadata.asked == []
        found = store_with(seaweed, f"s3://{BUCKET}/node", credentials=None, instance_metadata=True)
        probe_store(found)
        assert _InstanceMetadata.asked != []
        service.shutdown()


def test_renewed_credentials_are_read_again(
    seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "accessKeyId").write_text(seaweed.key)
    (tmp_path / "secretAccessKey").write_text("not yet right\n")
    monkeypatch.setattr("ocore_mover.store.s3_client._CREDENTIALS_LIFETIME", timedelta(seconds=1))
    store = store_with(seaweed, f"s3://{BUCKET}/renewed", credentials=tmp_path)
    assert reason_of(store)[0] == conditions.STORE_ACCESS_DENIED
    (tmp_path / "secretAccessKey").write_text(f"{seaweed.secret}\n")
    assert probe_store(store).store_id


def test_encryption_is_asked_for(seaweed: SeaweedFS, faulty: FaultyProxy) -> None:
    """SeaweedFS here has no keys and refuses: what counts is what was asked."""
    store = store_with(seaweed, f"s3://{BUCKET}/sse", endpoint=faulty.endpoint, sse="aws:kms", kms_key="the-key")
    faulty.set(Faults(refuse=lambda request: 400 if request.method != "HEAD" else None))
    with pytest.raises(StoreError):
        put(store, "object", b"x")
    asked = [request for request in faulty.requests if request.method in ("PUT", "POST")]
    assert asked
    for request in asked:
        assert request.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert request.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "the-key"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (507, conditions.NO_SPACE),
        (405, conditions.STORE_NOT_WRITABLE),
        (401, conditions.STORE_ACCESS_DENIED),
        (301, conditions.STORE_UNREACHABLE),
        (418, conditions.STORE_NOT_READY),
    ],
)
def test_other_refusals(through_proxy: Store, faulty: FaultyProxy, status: int, reason: str) -> None:
    put(through_proxy, "warm-up", b"x")
    faulty.set(Faults(refuse=lambda request: status if request.method == "PUT" else None))
    with pytest.raises(StoreError) as error:
        put(through_proxy, "object", b"x")
    assert error.value.reason == reason


def test_stale_uploads_below_a_prefix_are_aborted(s3: Store, seaweed: SeaweedFS, prefix: str) -> None:
    client = seaweed.client()
    for key in ("s/old/pack", "s/new/pack", "other/pack"):
        upload = client.create_multipart_upload(Bucket=BUCKET, Key=f"{prefix}/{key}")["UploadId"]
        client.upload_part(Bucket=BUCKET, Key=f"{prefix}/{key}", UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    assert abort_uploads(s3, "s/old/") == 1
    assert abort_uploads(s3, "s/") == 1
    left = client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)["Uploads"]
    assert [upload["Key"] for upload in left] == [f"{prefix}/other/pack"]
    assert abort_uploads(s3, "") == 1


def test_parts_reach_what_s3_allows() -> None:
    sizes = [s3_writer.part_size(number) for number in range(1, 10_001)]
    assert sum(sizes) >= 5 * 1024**4
    assert max(sizes) <= 5 * 1024**3
    assert min(sizes) >= 5 * MIB
    assert sizes == sorted(sizes)
    with pytest.raises(StoreError, match="5 TiB"):
        s3_writer.part_size(10_001)


def test_large_parts_are_spooled(s3: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(s3_writer, "PART_SIZES", ((1, 5 * MIB), (100, 6 * MIB)))
    monkeypatch.setattr(s3_writer, "SPOOL_ABOVE", 5 * MIB)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stored = put(s3, "object", DATA, piece=1_500_000)
    assert b"".join(s3.read(stored)) == DATA
    assert list(tmp_path.iterdir()) == []


def test_memory_waits_for_the_uploads() -> None:
    pool = s3_writer.PartPool(2, budget=10)
    gate = threading.Event()
    part = s3_writer._Part(1, hashlib.sha256(), pool)
    part.take(memoryview(b"123456"))
    running = [pool.submit(part, gate.wait)]  # type: ignore[arg-type]
    third = threading.Thread(target=lambda: running.append(pool.submit(part, lambda: None)), daemon=True)
    third.start()
    third.join(0.2)
    assert third.is_alive()
    gate.set()
    third.join(10)
    assert not third.is_alive()
    for future in running:
        future.result(10)


def test_deletion_where_the_store_demands_content_md5(through_proxy: Store, faulty: FaultyProxy) -> None:
    """Some stores refuse DeleteObjects without it, and none accepts a wrong one."""
    for number in range(3):
        put(through_proxy, f"k{number}", b"x")
    wrong: list[str] = []

    def demand(request: Request) -> int | None:
        if request.method != "POST" or "delete" not in request.path:
            return None
        expected = base64.b64encode(hashlib.md5(request.body, usedforsecurity=False).digest()).decode()
        given = {name.lower(): value for name, value in request.headers.items()}.get("content-md5", "missing")
        if given != expected:
            wrong.append(given)
            return 400
        return None

    faulty.set(Faults(refuse=demand))
    assert through_proxy.delete([f"k{number}" for number in range(3)]) == 3
    assert wrong == []
    assert any("delete" in request.path for request in faulty.requests)
    assert list(through_proxy.list("")) == []


@pytest.mark.parametrize("origin", ["folder", "environment"])
def test_access_keys_are_masked(
    seaweed: SeaweedFS, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: str
) -> None:
    monkeypatch.setattr(redact, "_secrets", [])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret)
    credentials = seaweed.credentials() if origin == "folder" else None
    store = open_store(f"s3://{BUCKET}/{prefix}", S3Options(endpoint=seaweed.endpoint, credentials=credentials))
    assert store.get("nothing") is None
    assert redact.text(f"<{seaweed.key}> <{seaweed.secret}>") == "<***> <***>"


def test_spooled_parts_do_not_fill_the_disk(
    through_proxy: Store, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An object of terabytes and a slow store: the writer waits instead of writing more temporary files."""
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(s3_writer, "PART_SIZES", ((1, 5 * MIB), (100, 5 * MIB)))
    monkeypatch.setattr(s3_writer, "SPOOL_ABOVE", MIB)
    monkeypatch.setattr(s3_writer, "SPOOLED_BYTES", 10 * MIB)
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    monkeypatch.setattr(through_proxy, "parts", s3_writer.PartPool(4, spooled=10 * MIB), raising=False)
    put(through_proxy, "warm-up", b"x")
    release = threading.Event()
    faulty.set(Faults(refuse=lambda r: None if r.method != "PUT" or release.wait(20) else 500))
    written = []

    def write() -> None:
        with through_proxy.writer("large") as writer:
            for _ in range(60):
                writer.write(bytes(MIB))
                written.append(MIB)
            writer.commit()

    thread = threading.Thread(target=write)
    thread.start()
    highest, until = 0, time.monotonic() + 2
    while time.monotonic() < until:
        highest = max(highest, open_temporary_bytes(spool))
        time.sleep(0.02)
    stopped_at = sum(written)
    release.set()
    thread.join(60)
    assert not thread.is_alive()
    assert sum(written) == 60 * MIB
    assert stopped_at <= 21 * MIB  # the first part, two in the queue, one that is being filled
    assert 5 * MIB <= highest <= 21 * MIB
    assert through_proxy.head("large") is not None


def open_temporary_bytes(folder: Path) -> int:
    """Bytes of this process's open files in a folder that have no name."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        try:
            if str(path.readlink()).startswith(str(folder)):
                found += path.stat().st_size
        except OSError:
            continue
    return found


@pytest.mark.parametrize("algorithm", ["AES256", "aws:kms"])
def test_a_server_without_encryption_is_named_as_the_cause(seaweed: SeaweedFS, prefix: str, algorithm: str) -> None:
    """SeaweedFS answers InternalError. It was reported as a store that does not recover (issue 9, item 27)."""
    options = S3Options(endpoint=seaweed.endpoint, credentials=seaweed.credentials(), sse=algorithm)
    store = open_store(f"s3://{BUCKET}/{prefix}", options)
    with pytest.raises(StoreError) as refused:
        probe_store(store)
    assert refused.value.reason == conditions.STORE_NOT_WRITABLE
    assert not refused.value.retryable
    assert "serverSideEncryption" in refused.value.message
    assert "InternalError" in refused.value.message


def test_row_71_an_archived_object_has_its_own_reason() -> None:
    """Not that of wrong credentials: S3 answers 403 to both."""
    answer: Any = {"Error": {"Code": "InvalidObjectState"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    with pytest.raises(StoreError) as caught, translated("read a", "s3://b"):
        raise ClientError(answer, "GetObject")
    assert (caught.value.reason, caught.value.retryable) == (conditions.OBJECT_ARCHIVED, False)
