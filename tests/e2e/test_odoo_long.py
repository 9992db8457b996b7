"""A real Odoo as hosts run it: with processes of its own, with CloudNativePG, and large.

`make test-all` runs it where ``OCORE_ODOO`` names an Odoo.
"""

import http.client
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from support.cluster.cluster import Cluster, wait_for
from support.cluster.cnpg import DATABASE, cluster_of, installed
from support.cluster.odoo_story import rolled_back_and_undone
from support.cluster.real_odoo import OdooSite, odoo_site
from support.cluster.site import Servers

pytestmark = [pytest.mark.odoo, pytest.mark.long, pytest.mark.timeout(3000)]

GEVENT = 8072
ATTACHMENTS = 30_000
#: Of 1.9 kB each.
ROWS = 1_100_000
#: In portions: one transaction of all would need gigabytes.
MANY = f"""
import os
for portion in range({ATTACHMENTS} // 1000):
    env['ir.attachment'].create([{{'name': 'a.bin', 'raw': os.urandom(2000)}} for _ in range(1000)])
    env.cr.commit()
    env.invalidate_all()
"""


def test_row_63_odoo_with_workers_and_long_polling(cluster: Cluster, servers: Servers) -> None:
    """Each process has connections of its own. That of gevent listens in another database, and has an open socket."""
    options = ("--workers=2", f"--gevent-port={GEVENT}")
    with odoo_site(cluster, servers, options=options) as site:
        with socket_of(site):
            rolled_back_and_undone(site)
        with socket_of(site):
            pass


@contextmanager
def socket_of(site: OdooSite) -> Iterator[None]:
    """A client of the bus, connected within the block. Its process starts after those that answer requests."""
    address = site.pod_address

    def connected() -> http.client.HTTPConnection | None:
        client = http.client.HTTPConnection(address, GEVENT, timeout=60)
        headers = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(), "Origin": f"http://{address}:{GEVENT}",
        }  # fmt: skip
        try:
            client.request("GET", "/websocket", headers=headers)
            return client if client.getresponse().status == 101 else None
        except ConnectionError:
            return None

    with closing(wait_for("the bus", connected, 60)):
        yield


def test_row_63_odoo_with_cloudnativepg(cluster: Cluster, servers: Servers) -> None:
    with (
        installed(cluster),
        odoo_site(cluster, servers, own_server=cluster_of, database_spec=DATABASE) as site,
    ):
        rolled_back_and_undone(site)


def test_row_63_a_large_odoo(cluster: Cluster, servers: Servers) -> None:
    """30,000 attachments, and a database of 2 GB."""
    with odoo_site(cluster, servers) as site:
        site.shell(MANY, seconds=1200)
        site.ballast("archive", ROWS)
        ((size, files),) = site.query(
            "SELECT pg_database_size(current_database()), count(DISTINCT store_fname) FROM ir_attachment"
        )
        assert size > 2_000_000_000
        assert files > ATTACHMENTS
        rolled_back_and_undone(site, 1200)
