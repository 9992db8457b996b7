"""Findings about rights that a role lacks. What fixes them is data (:mod:`ocore_crds.rules.remedy`)."""

from ocore_crds import conditions
from ocore_crds.reports.base import Finding
from ocore_crds.rules import remedy
from ocore_crds.rules.remedy import Party, Remedy, Right
from ocore_mover.database.connect import Server


class Remedies:
    """Makes findings about the roles of a server."""

    def __init__(self, cluster: str = "", admin: str = "") -> None:
        self.cluster, self._admin = cluster, admin

    def finding(self, message: str, role: str, *rights: Right, major: int) -> Finding:
        """What `role` lacks, on a server of that major."""
        party: Party = "Administrator" if self._admin and role == self._admin else "Application"
        found = tuple(Remedy(right=right, role=party) for right in rights)
        text = " ".join(remedy.statements(found, major, self.cluster))
        return Finding(reason=conditions.MISSING_GRANTS, message=f"{message}: {text}", remedies=found)

    @property
    def superuser(self) -> str:
        """Makes a superuser the administrator."""
        if not self.cluster:
            return "set adminSecretRef to a superuser's Secret"
        return f"set enableSuperuserAccess: true in Cluster {self.cluster}"


def remedies_of(server: Server) -> Remedies:
    """For findings about the server's roles."""
    return Remedies(server.cluster, server.admin.user if server.admin is not None else "")
