"""A SnapshotStore with an id, and one Job of it."""

from typing import Any

from ocore_crds.protocol import Failure, Payload
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Object, Store
from support.operator import objects
from support.operator.objects import job, observation, pod
from support.operator.terminal_snapshot import said

STORE_ID = "5555dddd-3333-4333-8333-333333333333"


def store(status: Object | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> Store:
    s3 = {"s3": {"bucket": "snapshots", "credentialsSecretRef": {"name": "s3"}}, **spec}
    return objects.store(s3, {"storeId": STORE_ID, **(status or {})}, annotations=annotations or {})


def job_of(name: str, state: Object | Payload | Failure | None) -> Observation:
    """The Job of that name, as its container says; None: there is no Job."""
    if state is None:
        return observation()
    container = state if isinstance(state, dict) else said(state)
    ended = "" if "running" in container else "Failed" if isinstance(state, Failure) else "Complete"
    return observation([job(name, condition=ended)], {name: [pod(name, container)]})
