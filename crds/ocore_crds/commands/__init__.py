"""The mover's commands: one table (:mod:`~ocore_crds.commands.table`) of what each one is asked, what it reports, and
how its Jobs are counted and repeated.

- ``parts``: what several requests have in common, as models: the store, the database, the filestore, the signal.
- ``base``: what several rows and requests have in common, and the names of the commands.
- a module for each command: its request, its result and its row (``ROW``). The mover imports only the one it runs.
- ``table``: all rows.
- ``carrier``: the request as environment variables of a Job's container.

The operator fills a request and passes it as one document. At a shell the options of ``ocore_mover`` are the fields of
the same models (docs/decisions/0170).
"""
