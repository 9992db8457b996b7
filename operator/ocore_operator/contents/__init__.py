"""What is in a store: the import of its snapshots, and the sweep for objects that no manifest names.

It stands above the kinds: a SnapshotStore is reconciled by `readiness` first, and an import makes Snapshots with the
status that `snapshot` would give them.
"""
