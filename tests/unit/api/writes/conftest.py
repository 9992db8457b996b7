"""A served facade over an API server in this process: one project with an environment, and its neighbours."""

from collections.abc import Iterator

import pytest

from support.api.api_server import ApiServer
from support.api.mirror import Mirror
from support.api.serving import serving
from support.api.writes import (
    COMPLETE,
    COPY,
    FOREIGN,
    OF_COPY,
    OTHER_PROJECT,
    SHOP,
    SNAPSHOT,
    STAGING,
    Site,
    environment,
    snapshot,
)


@pytest.fixture
def site() -> Iterator[Site]:
    server = ApiServer()
    server.put(environment("apps", "shop", SHOP, allowRollbackTo=[{"namespace": "test"}]))
    server.put(environment("apps", "copy", COPY))
    server.put(environment("test", "staging", STAGING))
    server.put(environment("apps", "foreign", FOREIGN, OTHER_PROJECT))
    server.put(snapshot("before", SNAPSHOT, COMPLETE))
    server.put(snapshot("copied", OF_COPY, COMPLETE, of="copy"))
    cache = Mirror(server)
    with serving(cache=cache, client=server) as served:
        yield Site(server, cache, served)
