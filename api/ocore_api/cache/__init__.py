"""A watch cache of Environments, Snapshots, Rollbacks, SnapshotPolicies and Extracts: every read of the facade is
answered from it.

`entries` has what is kept of an object, `references` makes it of an object and of those that it refers to. `store`
takes objects and decides which entry has an id; `dependents` are read again when another one changes. `served` has the
entries that are found, in lists (`newest`), in encoded pages (`pages`) and in answers that are encoded while they are
sent (`listing`). `changes`: what changed last. `console` and `retention` make answers of the console's API. `watch`
lists and watches at the API server and feeds the store; `Cache` puts both together.
"""

from ocore_api.cache.cache import Cache
from ocore_api.cache.entries import (
    Entry,
    EnvironmentEntry,
    ExtractEntry,
    PreviewEntry,
    Progress,
    RollbackEntry,
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
    "SnapshotEntry",
    "of_snapshots",
]
