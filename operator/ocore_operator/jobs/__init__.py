"""One mover Job: build it (pure), create and stop it, recognise its outcome, follow its log, limit how many run.

The kinds decide which Job runs next and what its result means. No kind is imported here.
"""
