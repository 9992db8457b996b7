"""Who may do what. Every route takes its caller from here, and reaches an object only through a function of this
module.

An object that is unknown and one that is not the caller's have the same answer after the same questions to the API
server, so that no one learns which ids exist.
"""

from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from ocore_api.auth import ADMIN, READ, ROLLBACK, SNAPSHOT, Principal
from ocore_api.cache import EnvironmentEntry, ExtractEntry, PreviewEntry, RollbackEntry, SnapshotEntry
from ocore_api.errors import Problem
from ocore_api.facade import Facade
from ocore_api.http.middleware import PRINCIPAL
from ocore_api.writes.client import Client

OwnedT = TypeVar("OwnedT", EnvironmentEntry, RollbackEntry, PreviewEntry, ExtractEntry)


def caller_with(request: Request, scope: str) -> Principal:
    """The caller, whose token the edge has verified. Raises Problem where it lacks the scope."""
    principal: Principal = request.scope[PRINCIPAL]
    if scope not in principal.scopes:
        raise Problem(
            "MissingScope",
            f"The token lacks the scope `{scope}`. Use a token that has it.",
            headers={"WWW-Authenticate": f'Bearer realm="ocore", error="insufficient_scope", scope="{scope}"'},
        )
    return principal


class Caller(SecurityBase):
    """A dependency: the caller, who has a scope. Raises Problem."""

    def __init__(self, scope: str) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="JWT Bearer token (format: Bearer {token})")
        self.scheme_name = "Authorization"
        self._scope = scope

    async def __call__(self, request: Request) -> Principal:
        return caller_with(request, self._scope)


class AnyCaller(Caller):
    """A dependency: the caller, whatever its scopes."""

    async def __call__(self, request: Request) -> Principal:
        principal: Principal = request.scope[PRINCIPAL]
        return principal


TokenCaller = Annotated[Principal, Depends(AnyCaller(""))]
ReadCaller = Annotated[Principal, Depends(Caller(READ))]
SnapshotCaller = Annotated[Principal, Depends(Caller(SNAPSHOT))]
RollbackCaller = Annotated[Principal, Depends(Caller(ROLLBACK))]
AdminCaller = Annotated[Principal, Depends(Caller(ADMIN))]


def facade_of(request: Request) -> Facade:
    """The parts of this process."""
    facade: Facade = request.app.facade
    return facade


def client_of(request: Request) -> Client:
    """Writes to the API server. Made at the begin of a request: all of it has `requestTimeout`."""
    facade = facade_of(request)
    return Client(facade.client, facade.settings.request_timeout)


async def owned(
    facade: Facade, principal: Principal, type_: type[OwnedT], id_: UUID | str, of: UUID | None = None
) -> OwnedT:
    """The entry of that type and id, of an environment that is the caller's. `of`: only of this one. Raises Problem
    (NotFound)."""
    wanted, environment_id = str(id_), str(of) if of is not None else None

    def visible(entry: OwnedT) -> bool:
        may = principal.may_see(entry.project_id, entry.environment_id)
        return may and environment_id in (None, entry.environment_id)

    entry = await facade.cache.find(type_, wanted, visible)
    if entry is None:
        raise _not_found(type_.noun, wanted)
    return entry


async def owned_environment(facade: Facade, principal: Principal, environment_id: UUID | str) -> EnvironmentEntry:
    """The entry of an environment that is the caller's. Raises Problem (NotFound)."""
    return await owned(facade, principal, EnvironmentEntry, environment_id)


async def owned_target(
    facade: Facade, caller: Principal, environment: EnvironmentEntry, wanted: str | None
) -> EnvironmentEntry:
    """The environment that is replaced. Raises Problem where it is not the caller's, or of another project."""
    if wanted is None or wanted == environment.id:
        return environment
    target: EnvironmentEntry = await owned_environment(facade, caller, wanted)
    if target.project_id != environment.project_id:
        raise Problem(
            "OtherProject", "The target environment is of another project. A rollback stays within one project."
        )
    return target


async def owned_snapshot(
    facade: Facade, principal: Principal, environment_id: UUID | str, snapshot_id: UUID | str
) -> SnapshotEntry:
    """The entry of a snapshot of an environment that is the caller's. Raises Problem (NotFound)."""
    environment = await owned_environment(facade, principal, environment_id)
    wanted, its = str(snapshot_id), (environment.environment_id, environment.project_id)

    def visible(entry: SnapshotEntry) -> bool:
        return (entry.environment_id, entry.project_id) == its and principal.may_see(
            entry.project_id, entry.environment_id
        )

    entry = await facade.cache.find(SnapshotEntry, wanted, visible)
    if entry is None:
        raise _not_found("snapshot", wanted)
    return entry


async def visible_project(facade: Facade, principal: Principal, project_id: UUID | str) -> str:
    """The id of a project that the caller sees, whole or one of its environments. Filter what is listed by
    `principal.may_see`. Raises Problem (NotFound)."""
    wanted = str(project_id)
    if wanted in principal.projects:
        return wanted
    for environment_id in principal.environments:
        entry = await facade.cache.find(EnvironmentEntry, environment_id)
        if entry is not None and entry.project_id == wanted:
            return wanted
    raise _not_found("project", wanted)


def _not_found(what: str, wanted: str) -> Problem:
    return Problem("NotFound", f"No {what} {wanted} is visible to this caller.")
