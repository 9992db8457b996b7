"""Layout ``Odoo``: content-addressed files, frozen by hard links, restored by adding, kept by hold sets.

Code that both layouts use belongs one level above; this room never imports `plain`.
"""
