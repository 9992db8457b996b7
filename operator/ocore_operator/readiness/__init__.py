"""The probed kinds, Environment and SnapshotStore: when a probe Job runs and what its result means for their
conditions.

Pure: ``plan_environment.py``, ``plan_store.py`` and what they use. The Job itself is built in ``jobs``. Operations
(snapshots, rollbacks) do not belong here.
"""
