"""The mover's commands: one module per command, which orchestrates database, filestore and store.

No SQL, no file formats and no command-line parsing: those belong in the other packages and in ``__main__``.
``runtime``, ``options``, ``evidence``, ``config_archive`` and ``switcher`` are shared by several commands.
"""
