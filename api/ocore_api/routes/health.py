"""Health and metrics: no token, and no place in the served OpenAPI."""

import json

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from ocore_api.routes.access import facade_of

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz(request: Request) -> Response:
    """200, or 503 with the reason why only a restart helps."""
    failed = facade_of(request).failed
    return Response(
        json.dumps({"status": "ok"} if failed is None else {"status": "failed", "reasons": [failed]}),
        status_code=200 if failed is None else 503,
        media_type="application/json",
    )


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """200, or 503 with the reasons why requests cannot be served."""
    reasons = facade_of(request).not_ready()
    return Response(
        json.dumps({"status": "not ready" if reasons else "ok", "reasons": reasons}),
        status_code=503 if reasons else 200,
        media_type="application/json",
    )


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format."""
    facade = facade_of(request)
    return Response(facade.metrics.text(facade.cache.store.unreadable()), media_type=CONTENT_TYPE_LATEST)
