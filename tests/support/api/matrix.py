"""Every route of the served OpenAPI document as a request, so that no route is left out of a test of rights."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any
from uuid import uuid4

import httpx

METHODS = ("get", "post", "put", "delete")
CONSOLE = "/console/v1"
#: Routes of the console that name no object: they answer every caller with what is its own.
OF_THE_CALLER = {f"{CONSOLE}/me", f"{CONSOLE}/environments", f"{CONSOLE}/events"}
#: The scope that a route needs, where it is not `read`.
SCOPES = {
    ("post", f"{CONSOLE}/environments/{{environmentId}}/probe"): "snapshot",
    ("post", f"{CONSOLE}/environments/{{environmentId}}/rollback-previews"): "rollback",
    ("post", f"{CONSOLE}/environments/{{environmentId}}/snapshots/{{snapshotId}}/extracts"): "rollback",
    ("post", f"{CONSOLE}/environments/{{environmentId}}/snapshots/{{snapshotId}}/restore-test"): "snapshot",
    ("post", f"{CONSOLE}/rollbacks/{{deploymentId}}/undo"): "rollback",
    ("delete", f"{CONSOLE}/rollbacks/{{deploymentId}}"): "rollback",
    ("delete", f"{CONSOLE}/rollback-previews/{{previewId}}"): "rollback",
    ("get", f"{CONSOLE}/me"): "",
    ("post", "/api/environments/{environmentId}/rollback"): "rollback",
    ("put", "/api/environments/{environmentId}/snapshot-settings"): "admin",
    ("post", "/api/environments/{environmentId}/snapshots"): "snapshot",
    ("delete", "/api/environments/{environmentId}/snapshots/{snapshotId}"): "admin",
    ("delete", "/api/environments/{environmentId}/snapshots/{snapshotId}/pin"): "admin",
    ("put", "/api/environments/{environmentId}/snapshots/{snapshotId}/pin"): "admin",
}


@dataclass(frozen=True)
class Ids:
    """What a tenant owns."""

    project: str
    environment: str
    snapshot: str
    deployment: str
    preview: str
    extract: str

    def unknown(self) -> "Ids":
        """Ids that no one owns."""
        return Ids(*(str(uuid4()) for _ in fields(Ids)))


@dataclass(frozen=True)
class Route:
    """One operation of the document."""

    method: str
    path: str

    @property
    def scope(self) -> str:
        """The scope that it needs; empty: none."""
        return SCOPES.get((self.method, self.path), "read")

    @property
    def names_objects(self) -> bool:
        """Whether the path has an id."""
        return self.path not in OF_THE_CALLER

    def names(self, id_: str) -> bool:
        """Whether the path has the id: project, environment, snapshot or deployment."""
        return f"{{{id_}Id}}" in self.path

    def url(self, ids: Ids) -> str:
        """The path with the ids."""
        return self.path.format(
            projectId=ids.project,
            environmentId=ids.environment,
            snapshotId=ids.snapshot,
            deploymentId=ids.deployment,
            previewId=ids.preview,
            extractId=ids.extract,
        )

    def foreign_parts(self, mine: Ids, other: Ids) -> Iterator[Ids]:
        """Our ids with one of another tenant's, where the request has it."""
        if self.names("snapshot") or self.path.endswith(("/rollback", "/rollback-previews")):
            yield replace(mine, snapshot=other.snapshot)
        if self.names("environment"):
            yield replace(mine, environment=other.environment)

    def body(self, ids: Ids) -> dict[str, Any] | None:
        """A valid body, or None."""
        if self.path.endswith(("/rollback", "/rollback-previews")):
            return {"snapshotId": ids.snapshot}
        if self.method == "post" and self.path.endswith("/extracts"):
            return {"files": {"paths": ["a"]}}
        if self.method == "put":
            return {"label": "mine"} if self.path.endswith("/pin") else {"retentionDays": 7}
        return None

    def send(self, client: httpx.Client, ids: Ids) -> tuple[int, str]:
        """Status and text of the answer. Of a stream that is accepted, the text is empty."""
        with client.stream(self.method.upper(), self.url(ids), json=self.body(ids)) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return answer.status_code, ""
            answer.read()
            return answer.status_code, answer.text


def routes(client: httpx.Client) -> list[Route]:
    """All operations of the served document, those that delete last."""
    paths = client.get("/openapi.json").raise_for_status().json()["paths"]
    found = [Route(method, path) for path, operations in paths.items() for method in operations if method in METHODS]
    return sorted(found, key=lambda r: (r.method == "delete" and not r.path.endswith("/pin"), r.path, r.method))
