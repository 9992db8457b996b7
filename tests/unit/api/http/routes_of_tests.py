"""Routes that only tests have: one for each thing that a route can do."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse

from ocore_api.errors import Problem
from ocore_api.facade import Facade
from ocore_api.http.audit import note
from ocore_api.http.middleware import API
from ocore_api.routes.access import AdminCaller, ReadCaller
from ocore_kube.errors import Unavailable

router = APIRouter(prefix=API)


class Label(BaseModel):
    """A strict body."""

    model_config = ConfigDict(extra="forbid")
    label: str = ""
    count: int = 0


@router.get("/who")
async def who(caller: ReadCaller) -> str:
    return caller.subject


@router.get("/page")
async def page(caller: ReadCaller, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> int:
    return limit


@router.get("/noted")
async def noted(caller: ReadCaller, request: Request) -> str:
    note(request.scope, object="a policy")
    return caller.subject


@router.put("/things/{environmentId}/{snapshotId}")
async def pin(environmentId: str, snapshotId: str, body: Label, caller: AdminCaller) -> str:  # noqa: N803 - the document's names
    return body.label


@router.delete("/things/{environmentId}/{snapshotId}")
async def unpin(environmentId: str, snapshotId: str, caller: AdminCaller) -> Response:  # noqa: N803
    raise Problem("SnapshotPinned", "The snapshot is pinned. Unpin it first.", owner="flux")


@router.get("/fails")
async def fails(caller: ReadCaller) -> str:
    raise RuntimeError("the password is hunter2")


@router.get("/api-server-down")
async def api_server_down(caller: ReadCaller) -> str:
    raise Unavailable(0, "NoAnswer", "10.0.0.1 did not answer")


@router.get("/breaks-off")
async def breaks_off(caller: ReadCaller) -> Response:
    async def parts():  # type: ignore[no-untyped-def]
        yield b"first"
        raise RuntimeError("in the middle")

    return StreamingResponse(parts(), headers={"Content-Length": "100"})


@router.get("/stream")
async def stream(caller: ReadCaller, request: Request) -> Response:
    facade: Facade = request.app.facade
    held = facade.streams.hold(caller.subject)
    held.__enter__()
    closed = asyncio.Event()
    facade.at_shutdown.append(closed.set)

    async def parts():  # type: ignore[no-untyped-def]
        try:
            yield b": open\n\n"
            await closed.wait()
            yield b"event: final\n\n"
        finally:
            held.__exit__(None, None, None)

    return StreamingResponse(parts(), media_type="text/event-stream")


@router.get("/slow")
async def slow(caller: ReadCaller) -> str:
    await asyncio.sleep(0.5)
    return "done"


def with_routes(app: FastAPI) -> None:
    """Adds the routes to an application."""
    app.router.routes.extend(router.routes)
