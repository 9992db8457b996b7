"""Attachments of a real Odoo that are in no filestore."""

import pytest

from support.mover.real_odoo import Odoo

pytestmark = pytest.mark.odoo

#: As the web client does it after an upload: the module writes the row, a provider names the URL.
IN_CLOUD_STORAGE = """
env['ir.config_parameter'].set_param('cloud_storage_provider', 'azure')
attachments = env['ir.attachment']
type(attachments)._generate_cloud_storage_url = lambda self: f'https://elsewhere.invalid/{self.id}'
for number in range(3):
    made = attachments.create({'name': 'a.pdf', 'raw': b'x', 'res_model': 'res.partner', 'res_id': 1})
    made._post_add_create(cloud_storage=True)
attachments.create({'name': 'a link', 'type': 'url', 'url': 'https://example.invalid/page'})
attachments.create({'name': 'empty', 'raw': b''})
attachments.create({'name': 'a file', 'raw': b'in the filestore'})
"""


def test_row_88_attachments_of_cloud_storage_are_said_before_and_after(odoo: Odoo) -> None:
    """Odoo's own module writes `type` and `url`, and no `store_fname`. Links and empty attachments have no contents."""
    before = odoo.ok("probe").result["payload"]["database"]
    assert before.get("outsideAttachments", 0) == 0, "a fresh Odoo has none"
    odoo.shell(IN_CLOUD_STORAGE)
    probed = odoo.ok("probe").result["payload"]
    assert probed["database"]["outsideAttachments"] == 3
    evidence = odoo.ok("snapshot").result["payload"]["evidence"]
    assert evidence["incomplete"] == [
        "3 attachments have their contents neither in the database nor in the filestore (3 of another type than"
        " binary), so they are not in the snapshot"
    ]
