"""The API server: client, transport, typed resources, Events, the catalog of what exists, which knows no kind.

No decision about any kind belongs here, and no kind is imported.
"""
