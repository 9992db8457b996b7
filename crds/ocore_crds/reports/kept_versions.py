"""What an S3 store keeps of deleted objects. Pure."""

from pydantic import Field

from ocore_crds.model import Timestamp
from ocore_crds.reports.base import Line


class KeptVersions(Line):
    """Versions of deleted objects that an S3 store does not give up. The objects themselves are hidden."""

    versions: int | None = Field(default=None, description="How many. Absent: the credentials may not list them.")
    bytes: int = Field(default=0, description="Their bytes.")
    until: Timestamp | None = Field(
        default=None, description="When the last retention ends. The deletion is tried again then."
    )
    legal_hold: bool = Field(
        default=False, description="A legal hold keeps some of them until a person removes it. Tried again every hour."
    )

    @property
    def locked(self) -> bool:
        """Whether Object Lock keeps them. False: the credentials may not delete versions."""
        return self.legal_hold or self.until is not None
