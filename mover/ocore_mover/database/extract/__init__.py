"""Tables of a dump for an Extract: which entries they need, and their rows out of a scratch database."""
