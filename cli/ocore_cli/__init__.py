"""``kubectl ocore``: what is there, a snapshot, a rollback, and how far they are."""
