"""Filestores, and stores to put them in."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.odoo import freeze as freeze_module
from ocore_mover.store import S3Options, Store, open_store
from support.mover.filestore import ENVIRONMENT, Site, new_site
from support.mover.s3_server import BUCKET, service_read_once  # noqa: F401 - a fixture
from support.mover.seaweed import SeaweedFS


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path / "claim")


@pytest.fixture(params=["flat", "folders"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of a frozen view, whatever the number of files."""
    kind: str = request.param
    monkeypatch.setattr(freeze_module, "FLAT", 10**9 if kind == "flat" else -1)
    return kind


@pytest.fixture
def other(tmp_path: Path) -> Site:
    """An empty filestore to restore into."""
    return new_site(tmp_path / "other")


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.stop()


@pytest.fixture
def s3_store(seaweed: SeaweedFS, request: pytest.FixtureRequest) -> Store:
    options = S3Options(endpoint=seaweed.endpoint, credentials=seaweed.credentials())
    return open_store(f"s3://{BUCKET}/{request.node.originalname}-{os.urandom(4).hex()}", options)


@pytest.fixture(params=["folder_store", "s3_store"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each test twice."""
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def folders(tmp_path: Path) -> ClaimFolders:
    found = ClaimFolders(tmp_path / "claim", "app/files", ENVIRONMENT)
    found.filestore.mkdir(parents=True)
    return found
