"""A real Odoo that waits for its database to be filled."""

import subprocess
from pathlib import Path

import pytest

from support.mover.desk import Desk
from support.mover.real_odoo import program
from support.mover.site import Site

pytestmark = pytest.mark.odoo


def test_row_39_odoo_that_waits_leaves_the_database_empty(site_any: Site, tmp_path: Path) -> None:
    """It makes sequences, by which its processes inform each other, before it says that the database is not
    initialised. They hold no data."""
    desk, server, role = Desk(site_any, tmp_path), site_any.server, site_any.role
    command = program().command(server, role.name, role.password, tmp_path / "data", "server")
    options = ("-d", site_any.live, "--stop-after-init", "--no-http")
    done = subprocess.run(
        [*command, *options], cwd=program().tree, capture_output=True, text=True, timeout=300, check=False
    )
    assert "not initialized" in done.stderr, done.stderr[-3000:]
    assert site_any.sql("SELECT count(*) > 0 FROM pg_class WHERE relname LIKE '%signaling%'") == [(True,)]
    probed = desk.ok("probe").result["payload"]
    assert [f["reason"] for f in probed["creatable"]] == ["DatabaseEmpty"]
