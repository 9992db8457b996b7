"""The administrator who runs what a finding asks for, with the names that the statements leave open."""

from ocore_crds.reports.base import Finding
from ocore_crds.rules import remedy


def filled(finding: Finding, major: int, **names: str) -> list[str]:
    """The statements of the finding's data, each placeholder by the identifier of that name."""
    found = []
    for text in remedy.statements(finding.remedies, major):
        for name, value in names.items():
            text = text.replace(f"<{name}>", f'"{value}"')
        found.append(text)
    return found
