"""The import: the snapshots and rollbacks that a store has become objects of this cluster.

It stands above the kinds: a SnapshotStore is reconciled by `readiness` first, and an import makes Snapshots with the
status that `snapshot` would give them.
"""
