"""An API server in this process, for tests of what the facade sends: uid and resourceVersion preconditions, server-side
apply with owners and conflicts, merge patches, dry runs. What the real one answers is tested in
tests/integration/test_api_writes.py.
"""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ocore_kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid
from ocore_kube.transport import APPLY_PATCH
from ocore_kube.types import OURS, Type

Object = dict[str, Any]
Path = tuple[str, ...]


def as_sent(value: Any) -> Any:
    """As it comes over the network: nothing is the same object."""
    return json.loads(json.dumps(value))


def leaves(value: Object, path: Path = ()) -> Iterator[Path]:
    """The paths of what a map holds; an empty map is a leaf."""
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from leaves(inner, (*path, key))
        else:
            yield (*path, key)


def read(value: Any, path: Path) -> Any:
    """The value at a path; None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def write(value: Object, path: Path, leaf: Any) -> None:
    """Sets the value at a path."""
    for key in path[:-1]:
        value = value.setdefault(key, {})
    value[path[-1]] = leaf


def drop(value: Any, path: Path) -> None:
    """Removes the value at a path."""
    for key in path[:-1]:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value.pop(path[-1], None)


class ApiServer:
    """Stands for the transport. Every object, request and refusal is at hand."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        #: Method and path of each request, with its query and body.
        self.requests: list[tuple[str, str, Mapping[str, str], Any]] = []
        #: Called before each request: raises what the API server refuses, or changes an object at that moment.
        self.before: list[Callable[[str, str, Any], None]] = []
        #: Called after each change of an object.
        self.changed: Callable[[str, Object], None] = lambda _, __: None
        self._versions = itertools.count(100)
        self._owned: dict[
            str, dict[tuple[str, str], set[Path]]
        ] = {}  # path → manager and operation → fields of the spec

    # --- by the test --------------------------------------------------------------------------------------------
    def put(self, obj: Object, *, manager: str = "kubectl") -> Object:
        """Creates or replaces an object as another client, which owns all of its spec."""
        obj = as_sent(obj)
        meta = obj["metadata"]
        path = OURS[obj["kind"]].path(meta["namespace"], meta["name"])
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.objects[path] = obj
        self._owned[path] = {(manager, "Update"): set(leaves(obj.get("spec") or {}))}
        return self._moved(path)

    def live(self, type_: Type, namespace: str, name: str) -> Object:
        """The object as it is now."""
        return as_sent(self.objects[type_.path(namespace, name)])

    def of(self, type_: Type) -> list[Object]:
        """All objects of the type."""
        return [as_sent(o) for o in self.objects.values() if o["kind"] == type_.kind]

    def set_status(self, type_: Type, namespace: str, name: str, status: Object) -> None:
        """As the operator."""
        path = type_.path(namespace, name)
        self.objects[path]["status"] = {**self.objects[path].get("status", {}), **as_sent(status)}
        self._moved(path)

    def writes(self) -> list[tuple[str, str]]:
        """Method and path of what was not read, in order; a dry run is named so."""
        found = []
        for method, path, _, body in self.requests:
            if method != "GET":
                found.append((f"{method} dry-run" if (body or {}).get("dryRun") else method, path))
        return found

    # --- the transport ------------------------------------------------------------------------------------------
    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "",
        most: int = 0,  # bytes of the answer; those of this one are few
    ) -> Object:
        """As the transport's."""
        query, body = query or {}, as_sent(body)
        self.requests.append((method, path, query, body))
        for hook in self.before:
            hook(method, path, body)
        if method == "POST":
            return self._create(path, query["fieldManager"], body)
        if method == "GET" and path.rsplit("/", 1)[-1] in {t.plural for t in OURS.values()}:
            return {"metadata": {}, "items": [as_sent(o) for p, o in self.objects.items() if p.startswith(f"{path}/")]}
        if method == "PATCH" and content_type == APPLY_PATCH:
            return self._apply(path, query, body)
        if path not in self.objects:
            raise ApiError(404, "NotFound", path)
        if method == "DELETE":
            self._check(path, body.get("preconditions") or {})
            found = as_sent(self.objects[path])
            if not body.get("dryRun"):
                self.objects[path]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
                self._moved(path)
            return found
        if method == "PATCH":
            return self._merge(path, query["fieldManager"], body)
        return as_sent(self.objects[path])

    def _create(self, path: str, manager: str, body: Object) -> Object:
        path = f"{path}/{body['metadata']['name']}"
        if path in self.objects:
            raise AlreadyExists(409, "AlreadyExists", path)
        return self.put(body, manager=manager)

    def _check(self, path: str, wanted: Mapping[str, str]) -> None:
        meta = self.objects[path]["metadata"]
        for name in ("uid", "resourceVersion"):
            if wanted.get(name) not in (None, meta[name]):
                raise Conflict(409, "Conflict", f"{path}: {name} is {meta[name]}, not {wanted[name]}")

    def _apply(self, path: str, query: Mapping[str, str], body: Object) -> Object:
        meta, spec, manager = body["metadata"], body.get("spec") or {}, (query["fieldManager"], "Apply")
        if path not in self.objects:
            if meta.get("uid") or meta.get("resourceVersion"):
                raise Conflict(409, "Conflict", f"{path}: uid mismatch, no existing object was found")
            self.put({**body, "spec": {}})
            self._owned[path] = {}
        self._check(path, meta)
        live, owned = self.objects[path], self._owned[path]
        given = set(leaves(spec))
        others = {
            field: name
            for (name, operation), fields in owned.items()
            if (name, operation) != manager
            for field in fields & given
            if read(live["spec"], field) != read(spec, field)
        }
        if others and query.get("force") != "true":
            causes = tuple(
                {
                    "reason": "FieldManagerConflict",
                    "message": f'conflict with "{name}" using ocore.dev/v1alpha1',
                    "field": ".spec." + ".".join(field),
                }
                for field, name in sorted(others.items())
            )
            raise Conflict(409, "Conflict", f"Apply failed with {len(causes)} conflicts", causes)
        before = {field: read(live["spec"], field) for field in owned.get(manager, set())}
        for field in owned.get(manager, set()) - given:
            if not any(field in fields for who, fields in owned.items() if who != manager):
                drop(live["spec"], field)
                if len(field) > 1 and not read(live["spec"], field[:-1]):
                    # A map whose last field an apply leaves out becomes null, whatever the apply gives it.
                    where = ".".join(("spec", *field[:-1]))
                    cause = {"field": where, "message": f'{where} in body must be of type object: "null"'}
                    write(live["spec"], field, before[field])
                    raise Invalid(422, "Invalid", where, (cause,))
        for field in given:
            if read(spec, field) != {} or read(live["spec"], field) is None:
                write(live["spec"], field, read(spec, field))
        owned[manager] = given
        return self._moved(path)

    def _merge(self, path: str, manager: str, body: Object) -> Object:
        self._check(path, body.get("metadata") or {})
        live = self.objects[path]
        annotations = (body.get("metadata") or {}).get("annotations")
        if annotations:
            live["metadata"]["annotations"] = {**live["metadata"].get("annotations", {}), **annotations}
        for name, value in (body.get("spec") or {}).items():
            for fields in self._owned[path].values():
                fields -= {field for field in fields if field[0] == name}
            if value is None:
                live["spec"].pop(name, None)
            else:
                live["spec"][name] = value
                self._owned[path].setdefault((manager, "Update"), set()).add((name,))
        return self._moved(path)

    def _moved(self, path: str) -> Object:
        obj = self.objects[path]
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        obj["metadata"]["managedFields"] = [
            {
                "manager": name,
                "operation": operation,
                "apiVersion": "ocore.dev/v1alpha1",
                "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": _fields_v1(fields)},
            }
            for (name, operation), fields in self._owned.get(path, {}).items()
            if fields
        ]
        found = as_sent(obj)
        self.changed(obj["kind"], found)
        return as_sent(found)


def _fields_v1(fields: set[Path]) -> Object:
    found: Object = {}
    for field in fields:
        at = found
        for key in field:
            at = at.setdefault(f"f:{key}", {})
    return found


def refuse_admission(message: str) -> Forbidden:
    """What a ValidatingAdmissionPolicy answers."""
    return Forbidden(403, "Forbidden", f"ValidatingAdmissionPolicy 'p' with binding 'p' denied request: {message}")
