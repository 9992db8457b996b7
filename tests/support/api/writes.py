"""A served facade over an API server in this process: one project with an environment, and its neighbours."""

from dataclasses import dataclass
from typing import Any

import httpx

from support.api.api_server import ApiServer, Object
from support.api.mirror import Mirror
from support.api.serving import Serving

PROJECT = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER_PROJECT = "aaaaaaaa-0000-4000-8000-000000000002"
#: Of the project: `shop` in namespace apps, `copy` beside it, `staging` in another namespace. `foreign` is of another
#: project.
SHOP, COPY, STAGING, FOREIGN = (f"eeeeeeee-0000-4000-8000-00000000000{n}" for n in (1, 2, 3, 4))
SNAPSHOT, OF_COPY = (f"55555555-0000-4000-8000-00000000000{n}" for n in (1, 2))
STORE_ID = "99999999-0000-4000-8000-000000000001"


def named(kind: str, namespace: str, name: str, spec: Object, status: Object | None = None, **meta: Any) -> Object:
    return {
        "apiVersion": "ocore.dev/v1alpha1",
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name, **meta},
        "spec": spec,
        "status": status or {},
    }


def environment(namespace: str, name: str, id_: str, project: str = PROJECT, **spec: Any) -> Object:
    full = {"projectId": project, "type": "production", "storeRef": {"name": "store"}, **spec}
    return named("Environment", namespace, name, full, {"id": id_}, uid=id_)


def condition(type_: str, status: str = "True") -> Object:
    return {
        "type": type_,
        "status": status,
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": "2026-03-01T12:00:00Z",
        "observedGeneration": 1,
    }


COMPLETE = {"phase": "Complete", "conditions": [condition("Complete"), condition("Ready")], "storeId": STORE_ID}
FAILED = {"phase": "Failed", "conditions": [condition("Failed"), condition("Stalled")]}


def snapshot(name: str, id_: str, status: Object, of: str = "shop", **spec: Any) -> Object:
    full = {"environmentRef": {"name": of}, "deletionPolicy": "Delete", **spec}
    return named("Snapshot", "apps", name, full, {"id": id_, **status}, uid=id_)


@dataclass
class Site:
    """The API server, what the cache has seen of it, and the facade."""

    server: ApiServer
    cache: Mirror
    served: Serving

    def client(self, subject: str = "alice", **how: Any) -> httpx.Client:
        return self.served.client(subject, **{"projects": [PROJECT], "scope": "read snapshot rollback admin", **how})

    def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        """A request of a caller with all scopes, who sees the project."""
        headers = how.pop("headers", {})
        with self.client(how.pop("subject", "alice")) as client:
            return client.request(method, f"/api/environments/{path}", headers=headers, **how)


def reason(answer: Any) -> tuple[int, str]:
    assert answer.headers.get("content-type") == "application/problem+json"
    return answer.status_code, answer.json()["reason"]
