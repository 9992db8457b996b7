"""A watch cache of Environments, Snapshots, Rollbacks, SnapshotPolicies and Extracts: every read of the facade is
answered from it.

An object comes from `watch`, or with an answer to a write, into `store`. `references` finds what it refers to and makes
its entry (`entries`): all that rows, events, the console and retention take from it, encoded once. `served` has the
entries that are found by key, by id and in sorted lists (`queries`, `newest`). `changes` numbers what changed, and
tells the streams; `dependents` are read again when another object changes. `listing` has answers that are encoded while
they are sent; `console`, `standing` and `retention` make those of the console's API. `staleness` notices an API server
that hangs.
"""

from ocore_api.cache.cache import Cache
from ocore_api.cache.entries import (
    Entry,
    EnvironmentEntry,
    ExtractEntry,
    PreviewEntry,
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
    "RollbackEntry",
    "SnapshotEntry",
    "of_snapshots",
]
