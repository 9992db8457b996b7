"""The kind Rollback: observe, decide (pure, ``plan*.py``), carry out (``effects.py``).

Other kinds are never imported here; what two kinds share belongs in ``jobs``, ``kube`` or the package's top level.
"""
