"""What the operator keeps in memory of the objects of each kind: the types of the catalog's entries, and the questions
that all rooms may ask of them. Pure.

A kind's folder has the function that makes its entries (`entry.py`). Kinds never import one another, so what one of
them reads of another one's objects is a type here.
"""
