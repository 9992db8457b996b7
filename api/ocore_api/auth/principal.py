"""The caller of a request."""

from dataclasses import dataclass

#: Read snapshots, rollback logs, sizes, settings and progress.
READ = "read"
#: Create snapshots.
SNAPSHOT = "snapshot"
#: Start rollbacks.
ROLLBACK = "rollback"
#: Change settings, pin, unpin and delete.
ADMIN = "admin"
#: No scope implies another one: a token states each right that it gives.
SCOPES = frozenset({READ, SNAPSHOT, ROLLBACK, ADMIN})


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a verified token stands for. Ids are in lower case. `expires_at`: seconds since the epoch from which the
    token is refused."""

    subject: str
    projects: frozenset[str]
    environments: frozenset[str]
    scopes: frozenset[str]
    expires_at: float

    def may_see(self, project_id: str, environment_id: str) -> bool:
        """Whether an environment, and all that belongs to it, is the caller's. An empty id is no one's."""
        return (project_id != "" and project_id in self.projects) or (
            environment_id != "" and environment_id in self.environments
        )
