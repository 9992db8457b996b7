"""Requests of a probe of an environment: the one annotation of an Environment that the facade writes."""

from datetime import datetime

from ocore_api.cache import Cache, EnvironmentEntry
from ocore_api.writes.client import Client, Object, patch_live
from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_crds.text.timestamps import parse, second_after, text
from ocore_kube.types import ENVIRONMENTS


async def start(client: Client, cache: Cache, environment: EnvironmentEntry, now: datetime) -> str:
    """Asks the operator for a probe; returns the time from which on a probe is an answer (RFC 3339, whole seconds).

    It is later than `now` and the start of the last probe: a probe that began in the same second does not count, nor
    does one of an operator whose clock is ahead.
    """
    known = [parse(environment.probed_at)] if environment.probed_at else []
    asked = text(second_after(now, *known))
    cache.store.put(ENVIRONMENTS.kind, await request(client, environment, asked))
    return asked


async def request(client: Client, environment: EnvironmentEntry, asked: str) -> Object:
    """Sets the annotation; returns the Environment. Raises Problem (NotFound) where it was deleted."""
    patch = {"metadata": {"annotations": {ANNOTATION_PROBE_REQUESTED: asked}}}
    return await patch_live(client, ENVIRONMENTS, environment, patch)
