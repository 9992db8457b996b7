"""Failpoints as a test arms them, and the pods that stand at them."""

from ocore_crds.naming import LABEL_MANAGED_BY, MANAGED_BY

from .cluster import Object, wait_for
from .operator import Operator
from .site import Site

#: Seconds that a failpoint is held open: long enough to be noticed in the log and for the victim to be dead.
HELD = 8


def armed(failpoints: str) -> dict[str, str]:
    """The annotation that arms failpoints."""
    return {"ocore.dev/failpoints": failpoints}


def held_open(point: str, attempt: int = 1) -> dict[str, str]:
    """The annotation that holds a failpoint open in this attempt. A switch back is the second attempt of a switch."""
    return armed(f"{point}=sleep:{HELD}@{attempt}")


def held(site: Site, point: str, name: str) -> bool:
    """Whether a Job of the site, or the operator for that object, stands at the failpoint."""
    for pod in site.cluster.pods(site.namespace, f"{LABEL_MANAGED_BY}={MANAGED_BY}"):
        if pod.get("status", {}).get("phase") == "Running":
            log = site.cluster.logs(site.namespace, pod["metadata"]["name"], since_seconds=HELD)
            if f"failpoint {point}:" in log:
                return True
    log = Operator(site.cluster).logs()
    return any('"failpoint"' in line and point in line and name in line for line in log.splitlines())


def pods_of(site: Site, obj: Object, command: str) -> list[Object]:
    """Pods that run the command for the object."""
    return site.cluster.pods(site.namespace, f"ocore.dev/uid={obj['metadata']['uid']},ocore.dev/command={command}")


def running_pod(site: Site, kind: str, name: str, command: str, *, but: frozenset[str] = frozenset()) -> Object:
    """The object's pod of that command, once its container runs; none of those named in `but`."""

    def found() -> Object | None:
        obj = site.cluster.get(kind, name, site.namespace)
        for pod in pods_of(site, obj, command) if obj is not None else []:
            statuses = pod.get("status", {}).get("containerStatuses") or [{}]
            if pod["metadata"]["name"] not in but and "running" in (statuses[0].get("state") or {}):
                return pod
        return None

    pod: Object = wait_for(f"running pod of {command} for {name}", found, 90)
    return pod


def at_failpoint(site: Site, pod: Object, point: str) -> None:
    """Waits until the pod has reached the failpoint."""
    name = pod["metadata"]["name"]
    wait_for(f"{name} at {point}", lambda: f"failpoint {point}" in site.cluster.logs(site.namespace, name), 60)


def job_of(site: Site, name: str) -> Object:
    """The Job of a Snapshot that runs. A completed Snapshot's Job is removed."""
    snapshot = site.cluster.get("Snapshot", name, site.namespace)
    assert snapshot is not None
    selector = f"ocore.dev/uid={snapshot['metadata']['uid']},ocore.dev/command=snapshot"
    (job,) = wait_for(f"Job of {name}", lambda: site.cluster.objects("Job", site.namespace, selector), 60)
    return job
