"""A watch cache of Environments, Snapshots, Rollbacks, SnapshotPolicies and Extracts: every read of the facade is
answered from it.

`entries` has what is kept of an object, `newest` the sorted lists, `store` the indexes and subscriptions, `pages`
encoded pages, `listing` answers that are encoded while they are sent, `changes` what changed last. `console` and
`retention` make the answers of the console's API. `watch` lists and watches at the API server and
feeds the store; `Cache` puts both together.
"""

from ocore_api.cache.cache import Cache
from ocore_api.cache.entries import (
    Entry,
    EnvironmentEntry,
    ExtractEntry,
    PreviewEntry,
    Progress,
    RollbackEntry,
    Sizes,
    SnapshotEntry,
)
from ocore_api.cache.listing import Listing, of_snapshots

__all__ = [
    "Cache",
    "Entry",
    "EnvironmentEntry",
    "ExtractEntry",
    "Listing",
    "PreviewEntry",
    "Progress",
    "RollbackEntry",
    "Sizes",
    "SnapshotEntry",
    "of_snapshots",
]
