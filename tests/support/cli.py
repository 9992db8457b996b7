"""The API server as the commands of `kubectl ocore` see it, and the commands."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import typer
from typer.main import get_command

from ocore_cli import app
from ocore_cli.objects import not_installed
from ocore_crds.group import API_VERSION
from ocore_crds.kinds import KINDS, Kind

NOW = datetime.now(UTC)
Object = dict[str, Any]


def at(seconds: float) -> str:
    """RFC 3339, so many seconds from now."""
    return (NOW + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def condition(type_: str, status: str = "True", reason: str = "Running", message: str = "") -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at(0)}


def snapshot(phase: str = "Running", **status: Any) -> Object:
    return {
        "metadata": {"name": "before", "namespace": "shop", "creationTimestamp": at(-20)},
        "spec": {"environmentRef": {"name": "shop"}, "timeoutSeconds": 300},
        "status": {"phase": phase, **status},
    }


DONE = snapshot(
    "Complete",
    completedAt=at(-8),
    consistentAt=at(-18),
    conditions=[condition("Complete", reason="Succeeded"), condition("Verified", "False", "NotRead")],
    sizes={"storedBytes": 2048, "databaseBytes": 8192, "filestoreFiles": 3, "filestoreBytes": 512},
)
BROKEN = snapshot(
    "Failed",
    completedAt=at(-8),
    conditions=[
        condition("Failed", reason="AuthenticationFailed", message="the password is wrong: change the Secret [db]"),
        condition("Ready", "False", "AuthenticationFailed", "the password is wrong"),
    ],
)


class FakeObjects:
    """The API server: each get of an operation gives the next of its states, the last one repeatedly."""

    def __init__(self, **states: list[Object | Exception | None]) -> None:
        self.namespace = "shop"
        self.states = states
        self.others: dict[str, list[Object]] = {}
        #: What `read` answers, by path. An exception is raised.
        self.paths: dict[str, Object | Exception] = {}
        #: The kinds whose CRDs are installed.
        self.served: tuple[Kind, ...] = KINDS
        self.created: list[tuple[Kind, Object]] = []
        self.patched: list[tuple[Kind, str, Object]] = []
        self.texts: dict[str, str] = {}
        self.applied: list[tuple[Kind, Object]] = []
        self.deleted: list[tuple[Kind, str]] = []
        #: Objects of other kinds, by path.
        self.posted: list[tuple[str, Object]] = []
        self.removed: list[str] = []
        self.flags: tuple[str, ...] = ()

    def get(self, kind: Kind, name: str) -> Object | None:
        queue = self.states.get(kind.singular, [None])
        state = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(state, Exception):
            raise state
        return state

    def list(self, kind: Kind, *, everywhere: bool = False) -> list[Object]:
        if kind not in self.served:
            raise not_installed(kind)
        return self.others.get(kind.singular, [])

    def patch(self, kind: Kind, name: str, body: Object) -> None:
        self.patched.append((kind, name, body))

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        return self.texts.get(path, "")

    def read(
        self, path: str, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Object | None:
        if path == f"/apis/{API_VERSION}":
            return {"resources": [{"name": kind.plural} for kind in self.served]}
        found = self.paths.get(path)
        if isinstance(found, Exception):
            raise found
        return found

    def create(self, kind: Kind, body: Object) -> Object:
        self.created.append((kind, body))
        name = body["metadata"].get("name") or body["metadata"]["generateName"] + "x7k2p"
        return {**body, "metadata": {**body["metadata"], "name": name}}

    def post(self, path: str, body: Object) -> Object | None:
        self.posted.append((path, body))
        return {**body, "metadata": {**body["metadata"], "name": body["metadata"]["generateName"] + "x7k2p"}}

    def remove(self, path: str) -> None:
        self.removed.append(path)

    def apply(self, kind: Kind, body: Object) -> None:
        self.applied.append((kind, body))

    def user(self) -> str:
        return "ann"

    def delete(self, kind: Kind, name: str) -> None:
        self.deleted.append((kind, name))


@cache
def _program() -> Any:
    """The command line. Each call would build the options of all commands again."""
    return get_command(app.app)


def run(*arguments: str) -> int:
    try:
        code = _program()(list(arguments), standalone_mode=False, prog_name="kubectl ocore")
    except typer.Exit as ended:
        return ended.exit_code
    return int(code or 0)
