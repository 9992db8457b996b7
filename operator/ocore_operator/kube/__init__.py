"""The API server: client, transport, typed resources, Events, the catalog of what exists.

No decision about any kind belongs here, and no kind is imported.
"""
