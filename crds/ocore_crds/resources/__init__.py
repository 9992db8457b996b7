"""The kinds of the group, and what their specs and statuses consist of."""
