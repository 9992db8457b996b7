"""The dump of a database: exported snapshot, pg_dump, and its files streamed into the store while they grow.

No command line and no store implementations; restoring and switching have packages of their own.
"""
