"""The kind Rollback: observe, decide (``plan*.py``), carry out (``effects.py``).

``plan*.py``, ``transitions.py`` and ``conditions.py`` are pure. ``world.py`` holds only values, so that they can use
what ``observe.py`` has read without importing I/O. Other kinds are never imported here; what two kinds share belongs in
``jobs``, ``entries`` or the package's top level.
"""
