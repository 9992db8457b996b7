"""What ``probe`` finds out about a filestore."""

from ocore_crds.protocol import FilestoreFacts, Finding

from .folders import ClaimFolders


def look(
    folders: ClaimFolders, layout: str, *, rollback: bool = True
) -> tuple[FilestoreFacts | None, tuple[Finding, ...], tuple[Finding, ...], tuple[str, ...]]:
    """Facts (None where there is no folder), findings that keep a snapshot from working, findings that keep a rollback
    from working, warnings. Leaves nothing behind. Never raises for what it finds."""
    raise NotImplementedError
