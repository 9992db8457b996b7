"""A dump restored into a database of its own beside the live one, and checked.

The live database is only read here. Renaming belongs in ``switch``.
"""
