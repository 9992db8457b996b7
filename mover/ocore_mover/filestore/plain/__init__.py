"""Layout ``Plain``: any tree of files, copied, staged beside the live folder, switched by renames.

Code that both layouts use belongs one level above; this room never imports `odoo`.
"""
