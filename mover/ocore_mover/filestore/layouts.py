"""The table of layouts: one row for each."""

from ocore_mover.filestore.layout import Layout
from ocore_mover.filestore.odoo.layout import Odoo
from ocore_mover.filestore.plain.layout import Plain

LAYOUTS: tuple[Layout, ...] = (
    Odoo(),
    Plain(),
)


def of(name: str) -> Layout:
    """The layout of this name. Raises ValueError."""
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise ValueError(f"{name!r} is not a filestore layout; there are {', '.join(each.name for each in LAYOUTS)}")
