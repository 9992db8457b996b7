"""Requests that change something, as custom resources. One module per resource that is written.

Each decision is made on the object as the API server has it now, not on the cache: a write may be a second older than
what it decides on. `creation` makes each object once for each Idempotency-Key. What the API server refuses is raised as
it is: the room `http` answers it. `keys` and `managed` are pure.
"""
