"""The page in a browser: the files that `make ui` has built, and how one signs in. No token is needed to read them, and
nothing in them is secret."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from ocore_api.http.middleware import UI
from ocore_api.http.page_files import ASSETS, PAGE
from ocore_api.routes.access import facade_of

_METHODS = ["GET", "HEAD"]

router = APIRouter(include_in_schema=False)


@router.api_route(f"{UI}/config.json", methods=_METHODS)
async def ui_config(request: Request) -> dict[str, Any]:
    """How the page signs its user in."""
    settings = facade_of(request).settings
    provider = {
        "issuer": settings.jwt_issuer,
        "clientId": settings.ui_client_id,
        "scopes": settings.ui_scopes,
        "token": settings.ui_token,
    }
    return {"oidc": provider if settings.ui_client_id else None, "pastedToken": settings.ui_pasted_token}


@router.api_route(UI, methods=_METHODS)
async def ui_page(request: Request) -> Response:
    """The page."""
    return facade_of(request).page[PAGE].response(request)


@router.api_route(f"{UI}/{{name:path}}", methods=_METHODS)
async def ui_file(request: Request, name: str) -> Response:
    """A file of the page. Any other path is a view of the page, which reads it from the address."""
    files = facade_of(request).page
    if name.startswith(ASSETS) and name not in files:
        raise HTTPException(404)
    return files.get(name, files[PAGE]).response(request)
