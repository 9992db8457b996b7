"""Requests that change something, as custom resources. One module per resource that is written.

Each decision is made on the object as the API server has it now, not on the cache: a write may be a second older than
what it decides on. `keys` and `managed` are pure.
"""
