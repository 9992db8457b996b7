"""What Odoo's own collection takes although an attachment needs it."""

import pytest

from support.mover.real_odoo import Odoo

pytestmark = pytest.mark.odoo
#: `create` writes the file of an attachment, then the row. Odoo collects between the two, in another process.
COLLECTED = """
attachments = type(env['ir.attachment'])
write = attachments._file_write

def write_and_collect(self, text, checksum):
    name = write(self, text, checksum)
    with self.env.registry.cursor() as other:
        self.env(cr=other)['ir.attachment']._gc_file_store()
    return name

attachments._file_write = write_and_collect
env['ir.attachment'].create({'name': 'a.bin', 'raw': b'of a customer'})
"""


def test_odoo_collects_a_file_whose_row_is_not_there_yet(odoo: Odoo) -> None:
    """Odoo's lock makes it wait for writers that have their row. One that has its file alone loses it, with no snapshot
    under way. The snapshot after it says so."""
    odoo.shell(COLLECTED)
    ((name,),) = odoo.site.server.execute("SELECT store_fname FROM ir_attachment WHERE name = 'a.bin'", odoo.site.live)
    done = odoo.run("snapshot")
    assert done.result["failure"]["reason"] == "AttachmentsMissing"
    assert f"names 1 files that the filestore does not have, for example {name}" in done.message
