"""The size that a snapshot would have."""

import math

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ocore_api.http.middleware import API
from ocore_api.routes.access import ReadCaller, client_of, facade_of, owned_environment
from ocore_api.routes.parameters import EnvironmentId, header
from ocore_api.views.models import SnapshotSize
from ocore_api.writes.sizes import FRESH

_AGE = header(
    200,
    "Age",
    "Seconds since the sizes were measured; absent if they are at most a minute old.",
    {"type": "integer", "minimum": 0},
    340,
)

router = APIRouter(prefix=API, tags=["Snapshots"])


@router.get(
    "/environments/{environmentId}/snapshot-size",
    response_model=SnapshotSize,
    summary="Estimate snapshot size",
    responses=_AGE,
)
async def snapshot_size(request: Request, environment_id: EnvironmentId, caller: ReadCaller) -> Response:
    """Returns estimated database and filestore sizes for a potential snapshot."""
    facade, client = facade_of(request), client_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    sizes, age = await facade.measurements.sizes(client, facade.cache, environment)
    body = {
        "dbSizeBytes": sizes.database_bytes,
        "filestoreSizeBytes": sizes.filestore_bytes,
        "totalSizeBytes": sizes.database_bytes + sizes.filestore_bytes,
    }
    return JSONResponse(body, headers={} if age <= FRESH else {"Age": str(math.ceil(age))})
