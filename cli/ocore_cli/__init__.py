"""``kubectl ocore``: status, snapshots and rollbacks with live progress."""
