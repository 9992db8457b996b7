"""A Snapshot that is terminal, and what its plan sees of the Jobs that run after its end."""

from typing import Any

from ocore_crds.protocol import Failure, Payload, Result
from ocore_operator.jobs.building.job import job_name
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot.world import World
from support.operator.objects import SETTINGS, UID, at, ended, job, moment, observation, pod, snapshot, started

RUNNING: Object = {"running": {"startedAt": at(1)}}


FAILURE = Failure(reason="StoreUnreachable", message="the store does not answer", retryable=True)


def condition(type_: str, reason: str = "X", status: str = "True", since: float = 0) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": at(since)}


def terminal(how: str, *more: Object, spec: Object | None = None, deleted: bool = False, **status: Any) -> Snapshot:
    """Complete or Failed at second 60, with data in the store where it is Complete."""
    full = started(
        phase=how,
        completedAt=at(60),
        observedGeneration=1,
        conditions=[condition(how), *more],
        **{**({"manifestKey": "k", "residue": "None"} if how == "Complete" else {}), **status},
    )
    meta = {"deletionTimestamp": at(100)} if deleted else {}
    return snapshot(spec or {}, full, finalizers=["ocore.dev/data"], generation=1, creationTimestamp=at(0), **meta)


def said(payload: Payload | Failure) -> Object:
    well = not isinstance(payload, Failure)
    result = Result(
        ok=well,
        payload=None if isinstance(payload, Failure) else payload,
        failure=payload if isinstance(payload, Failure) else None,
        time=at(0),
    )
    return ended(result.termination_message(), 0 if well else 1)


def job_named(command: str, number: int, series: str = "") -> str:
    return job_name(command, UID, f"{series}{number}")


def world(snap: Snapshot, jobs: dict[str, Object] | None = None, seconds: float = 101, **fields: Any) -> World:
    """`jobs`: Job name → state of its container."""
    found, pods = [], {}
    for each, state in (jobs or {}).items():
        command = next(
            x
            for x in ("delete", "verify", "write-state", "copy-remote", "snapshot")
            if f"-{x}-" in each or each.startswith(x)
        )
        found.append(job(each, command, condition="Failed" if "terminated" in state else ""))
        pods[each] = [pod(each, state, phase="Failed" if "terminated" in state else "Running")]
    return World(snap, moment(seconds), SETTINGS, observation(found, pods, seconds=seconds), **fields)
