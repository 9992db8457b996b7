"""The API in a browser. Tokens are pasted there: the page has only what this program serves, and may send nothing
elsewhere."""

import gzip
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

from ocore_api import swagger_ui
from ocore_api.http.list_response import accepts_gzip
from ocore_api.http.middleware import DOCS

#: Seconds for which browsers keep the files. Another version of the program may have others.
MAX_AGE = 600
_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ocore snapshots</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.get(DOCS)
async def page() -> Response:
    """The page."""
    return Response(_PAGE, media_type="text/html")


@router.get(f"{DOCS}/{{name}}")
async def file(request: Request, name: str) -> Response:
    """A file of the page: compressed, unless the client cannot read that."""
    if name not in _FILES:
        raise HTTPException(404)
    headers = {"Cache-Control": f"public, max-age={MAX_AGE}", "Vary": "Accept-Encoding"}
    content = _compressed(name)
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    return Response(content, headers=headers, media_type=_FILES[name])


@cache
def _compressed(name: str) -> bytes:
    folder = files(swagger_ui)
    if name == "start.js":
        return gzip.compress((folder / name).read_bytes(), mtime=0)
    return (folder / "dist" / f"{name}.gz").read_bytes()
