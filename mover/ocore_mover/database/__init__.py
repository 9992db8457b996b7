"""The database: dumped, restored beside the live one, checked, switched. No store's details, no command line."""
