"""The filestore: freezing, packing, restoring, hold sets and switching.

`layout` is what the commands use of a layout, `layouts` the table of them. `odoo` and `plain` hold what is special to
one; the other modules are shared. No database and no command line here.
"""
