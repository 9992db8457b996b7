"""One mover Job: built (pure), created and stopped, its outcome recognised, its log followed, its slot granted.

Which Job runs next, and what its result means, is decided by the kinds. No kind is imported here.
"""
