"""The sweep: what lies in a store and no manifest names is found, and removed when a person asks for it."""
