"""Tests with a real Odoo (``OCORE_ODOO``)."""

from support.mover.real_odoo import odoo  # noqa: F401 - a fixture
from support.mover.site import server_any, site_any  # noqa: F401 - fixtures
