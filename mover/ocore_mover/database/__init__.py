"""The database: dump, restore into a copy beside the live database, check, switch.

No file formats of the filestore, no store implementations, no command line.
"""
