"""The dump of a database: exported snapshot, pg_dump, its files streamed into the store while they grow.

No command line and no store's details; restoring and switching have rooms of their own.
"""
