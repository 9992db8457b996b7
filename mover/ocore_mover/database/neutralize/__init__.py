"""The restored copy, before it becomes live: neutralised by scripts or by the application's image, given its own
identity, and asserted.

What belongs here: SQL in the copy, what the image receives, the proof of isolation. Who may be in the copy is decided
in ``copy_access``.
"""
