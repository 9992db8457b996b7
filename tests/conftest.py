"""Options and guards for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from support.cluster.shared import Shared

#: No deadline for one example: how long it takes says how busy the machine is.
settings.register_profile("ocore", deadline=None)
settings.load_profile("ocore")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked `long` (make test-all)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; runs with --long (make test-all)")
    config.addinivalue_line(
        "markers", "exclusive: harms or counts what other tests of the cluster use; runs with no other test beside it"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    kept = [i for i in items if i.get_closest_marker("long") is None]
    left_out = [i for i in items if i.get_closest_marker("long") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """What the workers of this run share."""
    own = tmp_path_factory.getbasetemp()
    return Shared((own if worker_id == "master" else own.parent) / "shared")


@pytest.fixture(scope="session")
def cluster_name() -> str:
    """Name of the local cluster; the tests never talk to any other cluster than one of those."""
    return os.environ.get("OCORE_CLUSTER", "ocore")
