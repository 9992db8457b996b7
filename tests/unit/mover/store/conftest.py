"""Stores on real servers."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ocore_mover.store import S3Options, Store, open_store
from support.built import make
from support.mover.faulty_http import Faults, FaultyProxy
from support.mover.s3_server import BUCKET, service_read_once  # noqa: F401 - a fixture
from support.mover.seaweed import SeaweedFS
from support.mover.versitygw import Versitygw


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versitygw]:
    server = Versitygw(tmp_path_factory.mktemp("versitygw"), make("versitygw"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def proxy(seaweed: SeaweedFS) -> Iterator[FaultyProxy]:
    with FaultyProxy(urlsplit(seaweed.endpoint).port or 0) as running:
        yield running


@pytest.fixture
def faulty(proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    """A proxy without faults yet."""
    proxy.set(Faults())
    yield proxy
    proxy.set(Faults())


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A part of the bucket for one test."""
    return f"{request.node.name.translate(str.maketrans('[]/ ', '----'))}-{id(request)}"


@pytest.fixture
def s3(seaweed: SeaweedFS, prefix: str) -> Store:
    options = S3Options(endpoint=seaweed.endpoint, credentials=seaweed.credentials())
    return open_store(f"s3://{BUCKET}/{prefix}", options)


@pytest.fixture
def through_proxy(seaweed: SeaweedFS, faulty: FaultyProxy, prefix: str) -> Store:
    options = S3Options(endpoint=faulty.endpoint, credentials=seaweed.credentials())
    return open_store(f"s3://{BUCKET}/{prefix}", options)


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each test twice."""
    found: Store = request.getfixturevalue(request.param)
    return found
