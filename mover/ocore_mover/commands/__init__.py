"""The mover's commands: thin orchestration over database, filestore and store. One module per command."""
