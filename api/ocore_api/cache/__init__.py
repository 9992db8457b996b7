"""A watch cache of Environments, Snapshots, Rollbacks and SnapshotPolicies: every read of the facade is answered from
it.

`entries` has what is kept of an object, `newest` the sorted lists, `store` the indexes and subscriptions, `pages`
encoded pages, `listing` answers that are encoded while they are sent. `watch` lists and watches at the API server and
feeds the store; `Cache` puts both together.
"""

from ocore_api.cache.cache import Cache
from ocore_api.cache.entries import Entry, EnvironmentEntry, Progress, RollbackEntry, Sizes, SnapshotEntry
from ocore_api.cache.listing import Listing, of_snapshots

__all__ = [
    "Cache",
    "Entry",
    "EnvironmentEntry",
    "Listing",
    "Progress",
    "RollbackEntry",
    "Sizes",
    "SnapshotEntry",
    "of_snapshots",
]
