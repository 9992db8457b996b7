"""The operations: one router per subject, with the paths of the document. `main` puts them under `/api`."""
