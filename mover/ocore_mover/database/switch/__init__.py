"""The switchover by renaming databases, and the removal of what a rollback leaves on the server.

The only package that changes the live database.
"""
