"""When reconciles run, and in which process: watches, resync, work queue, Lease, health, metrics, the table of kinds.

What a kind does belongs in the kind's own room; the engine knows kinds only through the rows of ``kinds.py``.
"""
