"""An API server in this process, behind the real client: objects, resourceVersions and their preconditions, uid
preconditions of deletions.

For tests of what the operator sends. What the real API server answers is tested in tests/integration.
"""

import itertools
import json
from collections.abc import Mapping
from typing import Any, cast

from ocore_kube.errors import AlreadyExists, ApiError, Conflict, Forbidden
from ocore_kube.transport import APPLY_PATCH, Transport
from ocore_kube.types import ENVIRONMENTS, JOBS, PODS, ROLLBACKS, SNAPSHOTS, Type
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object

SUBRESOURCES = ("status", "scale")
#: What can be listed in a namespace, by label.
LISTED = {t.plural for t in (ENVIRONMENTS, JOBS, PODS, ROLLBACKS, SNAPSHOTS)}


def as_sent(value: Any) -> Any:
    """As it comes over the network: nothing is the same object."""
    return json.loads(json.dumps(value))


class ApiServer:
    """Stands for the transport."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._versions = itertools.count(1)
        self._applied: dict[tuple[str, str], set[str]] = {}  # fields of the status, by path and manager
        #: Method and path of every request, in order.
        self.requests: list[tuple[str, str]] = []

    def client(self, **options: Any) -> Kube:
        """The real client of this server."""
        return Kube(cast(Transport, self), **options)

    def put(self, type_: Type, obj: Object) -> Object:
        """Creates or replaces an object, as another client; returns it as a client reads it."""
        path = type_.path(obj["metadata"]["namespace"], obj["metadata"]["name"])
        self._objects[path] = self._moved(as_sent(obj))
        return as_sent(self._objects[path])

    def remove(self, type_: Type, namespace: str, name: str) -> None:
        """Deletes an object, as another client."""
        del self._objects[type_.path(namespace, name)]

    def read(self, type_: Type, namespace: str, name: str) -> Object:
        """The object as it is now."""
        return as_sent(self._objects[type_.path(namespace, name)])

    def paths(self) -> list[str]:
        """The paths of all objects."""
        return list(self._objects)

    def writes(self) -> list[tuple[str, str]]:
        """The requests that are not reads."""
        return [request for request in self.requests if request[0] not in ("GET", "LIST")]

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "",
        **_: Any,
    ) -> Object:
        """As the transport's. A list is noted as LIST."""
        base, _, last = path.rpartition("/")
        if method == "GET" and last in LISTED:
            self.requests.append(("LIST", path))
            return {"metadata": {}, "items": self._selected(path, query or {})}
        self.requests.append((method, path))
        path, subresource = (base, last) if last in SUBRESOURCES else (path, "")
        match method:
            case "POST":
                return self._create(path, body)
            case "GET" | "DELETE" | "PATCH" if path not in self._objects:
                raise ApiError(404, "NotFound", path)
            case "DELETE":
                for name, wanted in (body or {}).get("preconditions", {}).items():
                    self._check(path, name, wanted)
                return self._objects.pop(path)
            case "PATCH":
                if content_type == APPLY_PATCH:
                    self._check(path, "resourceVersion", body["metadata"].get("resourceVersion"))
                    return self._apply(path, body["status"], (query or {})["fieldManager"])
                return self._patch(path, subresource, body)
        return as_sent(self._objects[path])

    def _selected(self, path: str, query: Mapping[str, str]) -> list[Object]:
        """By `name=value` of labels, and by a pod's phase."""
        wanted = dict(each.split("=", 1) for each in query.get("labelSelector", "").split(",") if each)
        phase = query.get("fieldSelector", "").removeprefix("status.phase=")
        found = (as_sent(obj) for name, obj in self._objects.items() if name.rpartition("/")[0] == path)
        return [
            obj
            for obj in found
            if wanted.items() <= (obj["metadata"].get("labels") or {}).items()
            and phase in ("", obj.get("status", {}).get("phase"))
        ]

    def _create(self, path: str, body: Object) -> Object:
        path = f"{path}/{body['metadata']['name']}"
        if path in self._objects:
            raise AlreadyExists(409, "AlreadyExists", path)
        self._objects[path] = self._moved({**as_sent(body)})
        return as_sent(self._objects[path])

    def _patch(self, path: str, subresource: str, body: Object) -> Object:
        self._check(path, "resourceVersion", body.get("metadata", {}).get("resourceVersion"))
        obj = self._objects[path]
        changed = {"scale": ("spec",), "status": ("status",)}.get(subresource, ("metadata", "spec"))
        for part in changed:
            merged = {**obj.get(part, {}), **as_sent(body.get(part) or {})}
            obj[part] = {k: v for k, v in merged.items() if v is not None}
        self._moved(obj)
        return as_sent(obj)

    def _apply(self, path: str, status: Object, manager: str) -> Object:
        """Server-side apply of a status: what the manager applied before and does not any more is removed."""
        obj = self._objects[path]
        gone = self._applied.get((path, manager), set()) - status.keys()
        self._applied[path, manager] = set(status)
        obj["status"] = {k: v for k, v in obj.get("status", {}).items() if k not in gone} | as_sent(status)
        return as_sent(self._moved(obj))

    def _check(self, path: str, name: str, wanted: str | None) -> None:
        found = self._objects[path]["metadata"].get(name)
        if wanted is not None and wanted != found:
            raise Conflict(409, "Conflict", f"{path}: {name} is {found}, not {wanted}")

    def _moved(self, obj: Object) -> Object:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        return obj


class WithoutRole(ApiServer):
    """The Role of a namespace is gone. What the chart grants in the whole cluster remains: of its objects, to read the
    one whose finalizer is to be removed."""

    def __init__(self, namespace: str, remains: str) -> None:
        """`remains`: the end of that object's path."""
        super().__init__()
        self._namespace, self._remains = namespace, remains

    async def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Raises Forbidden for what may not be read."""
        if method == "GET" and f"/namespaces/{self._namespace}/" in path and not path.endswith(f"/{self._remains}"):
            raise Forbidden(403, "Forbidden", f"cannot read {path}")
        return await super().request(method, path, **options)
