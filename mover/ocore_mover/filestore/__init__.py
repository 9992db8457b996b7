"""The filestore: freezing, packing, restoring, hold sets and switching.

`odoo` and `plain` hold what is special to a layout; the modules beside them are shared. No database and no command line
here.
"""
