"""Options and guards for all tests."""

import gc
import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

# Before the first import of a helper: its assertions say what they compared, as those of the tests do.
pytest.register_assert_rewrite("support")

# What the imports of the tests make stays: a third of the collection's processor time was visits of the garbage
# collector. Enabled after it.
gc.disable()

from support.cluster.shared import Shared  # noqa: E402

#: Fixtures that start a PostgreSQL or S3 server, and the values of parameters that ask for one of them.
SERVER_FIXTURES = {
    *("server", "server15", "server17", "server_any", "servers"),
    *("seaweed", "versitygw", "s3_store", "s3", "elsewhere"),
    *("wide15", "wide17"),
}

#: Folders of tests/unit whose tests may use one: `make test-servers` collects no other folder.
SERVER_FOLDERS = ("api/page", "cli", "demo", "mover")

RUNNING = pytest.StashKey[pytest.Item]()

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

#: No deadline for one example: how long it takes says how busy the machine is.
settings.register_profile("ocore", deadline=None)
settings.load_profile("ocore")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked `long` (make test-all)")
    parser.addoption(
        "--nodes", action="store_true", help="run the tests marked `nodes` in place of the others (make test-nodes)"
    )
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failed one (make test)")


def pytest_configure(config: pytest.Config) -> None:
    # By these pytest takes itself to be in CI (docs: "CI Pipelines") and explains a failed comparison by the whole
    # diff. For the bytes of a few restored files that takes minutes: the test ended with its deadline, and did not say
    # why it had failed. Hypothesis draws the same examples in each run in CI. It has read the variables by now; the
    # processes that xdist starts must still have them.
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        for variable in ("CI", "BUILD_NUMBER"):
            os.environ.pop(variable, None)
    config.addinivalue_line("markers", "servers: a unit test with a real PostgreSQL or S3 server (make test-servers)")
    config.addinivalue_line("markers", "long: takes minutes; runs with --long (make test-all)")
    config.addinivalue_line("markers", "odoo: needs a real Odoo; runs where OCORE_ODOO names one")
    config.addinivalue_line("markers", "nodes: needs a cluster of two nodes; runs with --nodes (make test-nodes)")
    config.addinivalue_line(
        "markers", "exclusive: harms or counts what other tests of the cluster use; runs with no other test beside it"
    )


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _needs_a_server(item):
            item.add_marker("servers")
    kept = [i for i in items if _is_asked_for(config, i)]
    left_out = [i for i in items if not _is_asked_for(config, i)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _is_asked_for(config: pytest.Config, item: pytest.Item) -> bool:
    if bool(config.getoption("--nodes")) != (item.get_closest_marker("nodes") is not None):
        return False
    if item.get_closest_marker("odoo") is not None and not os.environ.get("OCORE_ODOO"):
        return False
    return bool(config.getoption("--long")) or item.get_closest_marker("long") is None


def _needs_a_server(item: pytest.Item) -> bool:
    """Whether a unit test uses a PostgreSQL or S3 server, also where a parameter of it chooses the store."""
    _, unit, below = item.path.as_posix().rpartition("/unit/")
    if not unit or not below.startswith(tuple(f"{folder}/" for folder in SERVER_FOLDERS)):
        return False
    parameters = getattr(item, "callspec", None)
    chosen = parameters.params.values() if parameters is not None else ()
    names = {*getattr(item, "fixturenames", ()), *(v for v in chosen if isinstance(v, str))}
    return bool(names & SERVER_FIXTURES)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[RUNNING] = item


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    """A server that a test asked for by another name than those: `make check` would need it."""
    item = request.config.stash[RUNNING]
    if fixturedef.argname in SERVER_FIXTURES and "unit" in item.path.parts and not item.get_closest_marker("servers"):
        pytest.fail(
            f"{item.nodeid} uses the server {fixturedef.argname}: add what it asks for to SERVER_FIXTURES, and its"
            " folder to SERVER_FOLDERS and to SERVER_TESTS of the Makefile"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _not_skipped(item.config, report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _not_skipped(collector.config, report)


def _not_skipped(config: pytest.Config, report: Report) -> Report:
    """A test that did not run has shown nothing: where everything must be there, that is a failure."""
    if report.outcome == "skipped" and config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and --no-skips was given: {report.longreprtext}"
    return report


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
