"""Workloads that an operation stops and starts again: how they are, whose turn it is. For Rollbacks and for Snapshots
that quiesce."""
