"""The switchover by renaming databases, and the removal of what a rollback leaves in the server.

The only room that changes the live database.
"""
