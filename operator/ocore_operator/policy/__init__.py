"""SnapshotPolicy: scheduled Snapshots, and which Snapshots of an Environment are kept, until when, and why.

What one Snapshot does until it is terminal, and how its data is deleted, is in ``snapshot``. Nothing here starts a Job:
of a test restore it chooses slot and Snapshot only.
"""
