"""The kind Snapshot: observe, decide (pure), carry out; what remains to be done after its end.

Other kinds are never imported here; what two kinds share belongs in ``jobs``, ``entries`` or the package's top
level.
"""
