"""The API in a browser. Tokens are pasted there: the page has only what this program serves, and may send nothing
elsewhere."""

import gzip
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

from ocore_api import swagger_ui
from ocore_api.http.middleware import DOCS
from ocore_api.http.page_files import BuiltFile, built

#: Seconds for which browsers keep the files. Another version of the program may have others.
MAX_AGE = 600
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "start.js")
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
    return _file(name).response(request)


@cache
def _file(name: str) -> BuiltFile:
    folder = files(swagger_ui)
    packed = folder / "dist" / f"{name}.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.is_file() else (folder / name).read_bytes()
    return built(name, content, f"public, max-age={MAX_AGE}")
