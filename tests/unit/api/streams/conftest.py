"""A server whose cache the tests feed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocore_api.cache import Cache
from support.api.fed import Fed
from support.api.issuer import Issuer
from support.api.serving import serving


@pytest.fixture
def feed() -> Iterator[Callable[..., Fed]]:
    """Starts a server with these settings."""
    opened: list[Any] = []

    def start(issuer: Issuer | None = None, **settings: Any) -> Fed:
        cache = Cache()
        context = serving(issuer=issuer, cache=cache, **settings)
        running = context.__enter__()
        opened.append(context)
        return Fed(running, cache)

    yield start
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def fed(feed: Callable[..., Fed]) -> Fed:
    """A server with the usual settings."""
    return feed()
