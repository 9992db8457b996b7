"""How many Jobs run at once."""
