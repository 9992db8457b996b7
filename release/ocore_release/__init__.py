"""Builds a release into a folder: the same commit and version make the same bytes. `make release`,
docs/releasing.md."""
