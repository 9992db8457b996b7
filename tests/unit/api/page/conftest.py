"""The page in a browser, before the real facade."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from support.api.serving import Serving, serving
from support.api.visitor import Visitor, chromium, visitor
from support.api.world import World
from support.built import built_page

#: Starts a facade with these settings; one of a test. Its `world` is at hand.
Site = Callable[..., Serving]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They wait more than they compute (make test-servers)."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("servers")


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder with the built page."""
    return built_page()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all files of this folder that a worker runs one after the other; each visitor has a context of their own.
    No other folder's tests run beside Playwright's event loop."""
    with chromium() as found:
        yield found


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def site(built: Path, world: World) -> Iterator[Site]:
    with ExitStack() as stack:

        def start(**settings: Any) -> Serving:
            return stack.enter_context(
                serving(cache=world.cache, client=world.server, ui=True, ui_folder=built, **settings)
            )

        yield start


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Makes a person at a facade. At the end of the test what went wrong unseen fails it."""
    with ExitStack() as stack:

        def come(served: Serving, **options: Any) -> Visitor:
            return stack.enter_context(visitor(browser, served.url, **options))

        yield come
