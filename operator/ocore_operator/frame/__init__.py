"""What every kind has in common: the loop of a reconcile (``loop.py``), the actions that do not depend on a kind
(``actions.py``), and what carries them out (``effects.py``)."""
