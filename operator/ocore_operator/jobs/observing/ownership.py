"""Which Jobs and pods are believed: by the UID in the controller's owner reference, never by labels alone. Pure.

Anyone who may create pods in a namespace can copy our labels. So:

- A Job is ours where its controller is our object: the same UID. While that object is being deleted, its new Jobs have
  no owner (see ``job.py``), and ``kubectl delete --cascade=orphan`` removes the reference from the others. Only then
  a Job without a controller is believed by its labels.
- A pod belongs to a Job where its controller is that Job: the same UID.
- Where the Job is gone, its UID is unknown. A pod that has not ended still counts as running, so that two attempts
  never run at once, but what it reports is not believed: an inspect Job reads the result from where the work was done.
"""

from collections.abc import Iterable, Mapping

from ocore_crds import naming
from ocore_crds.group import GROUP
from ocore_operator.jobs.observing.outcome import pod_ended
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key, Object


def controller(obj: Object) -> Object | None:
    """The owner reference of the object's controller; None where it has none."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def belongs(job: Object, uid: str, *, deleting: bool) -> bool:
    """Whether the Job is one of the object with that UID. `deleting`: whether that object is being deleted."""
    found = controller(job)
    if found is not None:
        return bool(found["uid"] == uid)
    return deleting and bool((job["metadata"].get("labels") or {}).get(naming.LABEL_UID) == uid)


def pods_by_job(jobs: Mapping[str, Object], pods: Iterable[Object]) -> dict[str, tuple[Object, ...]]:
    """The believed pods by the name of their Job, in the order of the list. `jobs`: the believed Jobs by name."""
    names = {job["metadata"]["uid"]: name for name, job in jobs.items()}
    found: dict[str, tuple[Object, ...]] = {}
    for pod in pods:
        owner = controller(pod)
        name = names.get(owner["uid"], "") if owner is not None else ""
        name = name or _of_gone_job(pod, owner, jobs)
        if name:
            found[name] = (*found.get(name, ()), pod)
    return found


def _of_gone_job(pod: Object, owner: Object | None, jobs: Mapping[str, Object]) -> str:
    """Name of the deleted Job whose pod still runs; empty where the pod is another one."""
    name = str((pod["metadata"].get("labels") or {}).get(naming.LABEL_JOB_NAME, ""))
    if name in jobs or pod_ended(pod) or (owner is not None and (owner["kind"], owner["name"]) != ("Job", name)):
        return ""
    return name


def owner_of_job(job: Object, catalog: Catalog) -> Key | None:
    """The known object to which the Job belongs; None where it is not ours."""
    found = controller(job)
    if found is None:
        key = _labelled(job)
    elif found["apiVersion"].partition("/")[0] == GROUP:
        key = Key(found["kind"], job["metadata"]["namespace"], found["name"])
    else:
        return None
    known = catalog.get(key) if key is not None else None
    return known.key if known is not None and belongs(job, known.uid, deleting=known.deleting) else None


def owner_of_pod(pod: Object, catalog: Catalog) -> Key | None:
    """The known object that is reconciled when the pod changes; None where there is none. Only a hint: the reconcile
    reads the pod's controller."""
    key = _labelled(pod)
    known = catalog.get(key) if key is not None else None
    return known.key if known is not None and known.uid == pod["metadata"]["labels"].get(naming.LABEL_UID) else None


def _labelled(obj: Object) -> Key | None:
    """The object that labels and annotation name; None where one is missing."""
    metadata = obj["metadata"]
    kind = (metadata.get("labels") or {}).get(naming.LABEL_KIND)
    name = (metadata.get("annotations") or {}).get(naming.ANNOTATION_OWNER_NAME)
    return Key(kind, metadata["namespace"], name) if kind and name else None
