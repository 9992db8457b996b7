"""S3 through a proxy with a password, with the CA of the chart's variable; and a proxy that starts after the mover."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from ocore_crds.stored.manifest import StoredObject
from ocore_mover import redact
from ocore_mover.errors import StoreError
from ocore_mover.store import s3_client
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.s3 import S3Store
from ocore_mover.store.s3_options import S3Options
from support.mover.certificates import Authority
from support.mover.connect_proxy import ConnectProxy, TlsFront
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS
from support.ports import free_port

PASSWORD = "p@ss w0rd"
IN_URL = "p%40ss%20w0rd"


@pytest.fixture
def site(
    seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ConnectProxy, TlsFront]]:
    """A proxy, and the store behind TLS of an authority of its own; the variables of the chart for both."""
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue("s3.test", "IP:127.0.0.1")
    host, _, port = seaweed.endpoint.removeprefix("http://").rpartition(":")
    with (
        ConnectProxy("user", PASSWORD) as proxy,
        TlsFront((host, int(port)), certificate.certificate, certificate.key) as front,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{IN_URL}@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
        yield proxy, front


def store_at(seaweed: SeaweedFS, port: int, ca: Path | None = None) -> S3Store:
    options = S3Options(endpoint=f"https://127.0.0.1:{port}", credentials=seaweed.credentials(), ca=ca)
    return S3Store(BUCKET, "through-a-proxy", options)


def test_s3_goes_through_the_proxy_with_the_cas_of_the_chart(
    seaweed: SeaweedFS, site: tuple[ConnectProxy, TlsFront]
) -> None:
    proxy, front = site
    store = store_at(seaweed, front.port)
    assert store.put_if_absent("object", b"data")
    assert store.get("object") == b"data"
    stored = StoredObject(key="object", size=4, sha256=hashlib.sha256(b"data").hexdigest())
    assert b"".join(store.read_range(stored, 1, 2, Pinned())) == b"at"
    assert store.ranges._rests_until == 0.0  # not with boto3
    assert set(proxy.opened) == {f"127.0.0.1:{front.port}"}


def test_the_stores_own_ca_has_precedence(
    seaweed: SeaweedFS, site: tuple[ConnectProxy, TlsFront], tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    with pytest.raises(StoreError, match="caBundle"):
        store_at(seaweed, site[1].port, other.certificate).get("object")


def test_no_proxy_is_obeyed(
    seaweed: SeaweedFS, site: tuple[ConnectProxy, TlsFront], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert store_at(seaweed, site[1].port).get("nothing") is None
    assert not site[0].opened


def test_a_proxys_password_is_in_no_message(
    seaweed: SeaweedFS, site: tuple[ConnectProxy, TlsFront], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{IN_URL}@127.0.0.1:{free_port()}")
    with pytest.raises(StoreError) as refused:
        store_at(seaweed, site[1].port).get("object")
    assert refused.value.reason == "StoreUnreachable"
    assert "HTTPS_PROXY" in refused.value.message
    for text in (refused.value.message, redact.text(f"user:{IN_URL}@proxy"), redact.text(f"user {PASSWORD}")):
        assert IN_URL not in text
        assert PASSWORD not in text


def test_a_refused_connection_is_repeated_in_the_first_seconds_of_a_job(
    monkeypatch: pytest.MonkeyPatch, seaweed: SeaweedFS, tmp_path: Path
) -> None:
    """A service mesh's proxy begins after the mover."""
    monkeypatch.setenv("OCORE_POD_UID", "pod")
    monkeypatch.setattr(s3_client, "_STARTED", time.monotonic())
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)
    authority, port = Authority(tmp_path / "authority"), free_port()
    certificate = authority.issue("s3.test", "IP:127.0.0.1")
    host, _, target = seaweed.endpoint.removeprefix("http://").rpartition(":")
    servers: list[TlsFront] = []

    def late() -> None:
        time.sleep(1.5)
        servers.append(TlsFront((host, int(target)), certificate.certificate, certificate.key, port))

    store = store_at(seaweed, port, authority.certificate)
    thread = threading.Thread(target=late)
    thread.start()
    try:
        assert store.get("nothing") is None
    finally:
        thread.join()
        for server in servers:
            server.__exit__()


def test_at_a_shell_a_refused_connection_is_not_repeated_for_long(
    monkeypatch: pytest.MonkeyPatch, seaweed: SeaweedFS
) -> None:
    monkeypatch.delenv("OCORE_POD_UID", raising=False)
    monkeypatch.setattr(s3_client, "_STARTED", time.monotonic())
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)
    with pytest.raises(StoreError) as refused:
        store_at(seaweed, free_port()).get("nothing")
    assert refused.value.reason == "StoreUnreachable"
    assert time.monotonic() - s3_client._STARTED < s3_client.START_PATIENCE


def test_later_a_refused_connection_is_left_to_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = EndpointConnectionError(endpoint_url="http://s3", error="refused")
    monkeypatch.setattr(s3_client, "_STARTED", time.monotonic())
    assert s3_client.retry_at_start(caught_exception=refused) == 0.5
    assert s3_client.retry_at_start(caught_exception=OSError("reset")) is None
    assert s3_client.retry_at_start(caught_exception=None) is None
    monkeypatch.setattr(s3_client, "_STARTED", time.monotonic() - s3_client.START_PATIENCE)
    assert s3_client.retry_at_start(caught_exception=refused) is None
