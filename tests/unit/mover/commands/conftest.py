"""The fixtures of tests/support/mover/site.py."""

from support.mover.site import (  # noqa: F401 - fixtures
    counter,
    scratch,
    server,
    server_any,
    site,
    site_any,
    store,
    token,
)
