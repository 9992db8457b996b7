"""Layout ``Odoo``: content-addressed files frozen, restored and kept by hard links (hold sets).

The format of packs and index is shared by both layouts and stands one level above.
"""
