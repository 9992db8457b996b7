"""What a Job and its pods say, and what is next for it."""
