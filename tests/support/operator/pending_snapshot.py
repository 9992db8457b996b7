"""A Snapshot that has not started, and what its plan sees."""

from typing import Any

from ocore_operator.jobs.building.inputs import JobInputs, PodTraits
from ocore_operator.kube.resources import Environment, Object, Snapshot
from ocore_operator.snapshot.world import World
from support.operator.objects import SETTINGS, at, environment, moment, observation, snapshot, store

FINALIZERS = ["ocore.dev/data"]
WAIT = SETTINGS.environment_wait


def pending(**spec: Any) -> Snapshot:
    """A Snapshot with its finalizer and its first status, created at second 0."""
    return snapshot(spec, {"phase": "Pending"}, finalizers=FINALIZERS, creationTimestamp=at(0))


def _ready(status: str, reason: str) -> list[Object]:
    return [{"type": "Ready", "status": status, "reason": reason, "message": "why", "lastTransitionTime": at(-9)}]


def ready(status: str = "True", reason: str = "Succeeded", *, probed: float = -9, seen: int = 1) -> Environment:
    probe: Object = {"time": at(probed), "startedAt": at(probed), "generation": 1}
    return environment(
        status={"observedGeneration": seen, "conditions": _ready(status, reason), "probe": probe}, generation=1
    )


def loaded(probed: float = -9, status: str = "True", reason: str = "Succeeded") -> JobInputs:
    """What a Job of the Environment gets, with its store as the last probe found it."""
    found = store(status={"lastProbeTime": at(probed), "conditions": _ready(status, reason)})
    return JobInputs(namespace="shop", store=found, traits=PodTraits())


def world(snap: Snapshot | None = None, seconds: float = 1, **fields: Any) -> World:
    seen = observation(seconds=seconds)
    full = {"environment": ready(), "inputs": loaded(), **fields}
    return World(snap or pending(), moment(seconds), SETTINGS, seen, **full)
