"""The filestore: frozen, packed, restored, held and switched. No database, no command line."""
