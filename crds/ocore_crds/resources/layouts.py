"""The filestore layouts that an Environment can have: the enum of the CRDs, and what decides about an Environment.

The mover has a folder with the code of each one (`ocore_mover.filestore`); a test compares both.
"""

from typing import Literal

Layout = Literal["Odoo", "Plain"]

#: Of an Environment that names none.
DEFAULT: Layout = "Odoo"
#: The database names the files, so there must be one.
NAMED: frozenset[str] = frozenset({"Odoo"})
#: Switched by renaming the filestore's folder, with everything below it: it cannot be the root of a claim.
RENAMED: frozenset[str] = frozenset({"Plain"})
