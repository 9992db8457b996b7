"""The probed kinds, Environment and SnapshotStore: when a probe Job runs and what its result means for their
conditions.

The Job itself is built in ``jobs``. Operations (snapshots, rollbacks) do not belong here.
"""
