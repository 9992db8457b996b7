"""An Extract until it is terminal, and the removal of its result."""
