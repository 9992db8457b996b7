"""Snapshot settings of an environment."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ocore_api.http.audit import note
from ocore_api.http.middleware import API
from ocore_api.routes.access import AdminCaller, ReadCaller, client_of, facade_of, owned_environment
from ocore_api.routes.parameters import EnvironmentId
from ocore_api.views.models import SettingsView
from ocore_api.views.requests import SettingsUpdate
from ocore_api.views.settings import settings_view
from ocore_api.writes import settings

router = APIRouter(prefix=API, tags=["Snapshots"])


@router.get(
    "/environments/{environmentId}/snapshot-settings", response_model=SettingsView, summary="Get snapshot settings"
)
async def get_settings(request: Request, environment_id: EnvironmentId, caller: ReadCaller) -> Response:
    """Returns the snapshot settings for an environment, creating defaults if none exist."""
    facade, client = facade_of(request), client_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    policy, created = await settings.read(client, facade.cache, environment)
    if created:  # a read that writes is audited
        note(request.scope, namespace=environment.namespace, name=environment.name, object=policy["metadata"]["uid"])
    return JSONResponse(settings_view(policy, environment.id))


@router.put(
    "/environments/{environmentId}/snapshot-settings", response_model=SettingsView, summary="Update snapshot settings"
)
async def put_settings(
    request: Request, environment_id: EnvironmentId, body: SettingsUpdate, caller: AdminCaller
) -> Response:
    """Updates snapshot settings for an environment (auto-enable, retention, timeout, etc.)."""
    facade, client = facade_of(request), client_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    given = body.given()
    if "failurePolicy" in given:
        given["failurePolicy"] = given["failurePolicy"].capitalize()
    note(request.scope, namespace=environment.namespace, name=environment.name, fields=",".join(sorted(given)))
    policy = await settings.update(client, facade.cache, environment, given)
    return JSONResponse(settings_view(policy, environment.id))
