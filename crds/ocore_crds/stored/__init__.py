"""The objects of a store that have a format of ours: manifest, state, record of a rollback."""
