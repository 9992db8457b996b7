"""What is kept of a listed object. A tenant can give those in its namespace our labels and 1.5 MB each. Pure."""

from collections.abc import Iterable

from ocore_crds import naming
from ocore_kube.types import EVENTS, JOBS, OURS, PODS, Type
from ocore_operator.kube.resources import Object

#: Labels and annotations that are read, by their whole names: anyone may use our prefix.
LABELS = frozenset(value for name, value in vars(naming).items() if name.startswith("LABEL_"))
ANNOTATIONS = frozenset(value for name, value in vars(naming).items() if name.startswith("ANNOTATION_"))
#: Characters of an annotation, of a field of an owner's reference, and of an Event's message. What is ours is shorter.
LONGEST = 1024
#: Fields of metadata whose size is limited.
METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "generation")

#: Fields of a pod's spec that are kept as they are.
POD = ("nodeName", "restartPolicy", "schedulingGates", "terminationGracePeriodSeconds")


def slim(type_: Type, obj: Object) -> Object:
    """The object. Of a Job, a pod or an Event only what is read of it, of our kinds no metadata of others."""
    if type_ == EVENTS:
        return _event(obj)
    if type_ in OURS.values():
        finalizers = obj["metadata"].get("finalizers") or []
        return {**obj, "metadata": {**_metadata(obj["metadata"]), "finalizers": finalizers}}
    if type_ not in (JOBS, PODS):
        return obj
    spec = obj.get("spec") or {}
    kept = _job(spec) if type_ == JOBS else _pod(spec)
    return {"metadata": _metadata(obj["metadata"]), "spec": kept, "status": obj.get("status") or {}}


def _metadata(meta: Object) -> Object:
    return {
        **{k: meta[k] for k in METADATA if k in meta},
        "labels": {k: v for k, v in (meta.get("labels") or {}).items() if k in LABELS},
        "annotations": {
            k: v for k, v in (meta.get("annotations") or {}).items() if k in ANNOTATIONS and len(v) <= LONGEST
        },
        "ownerReferences": [each for each in meta.get("ownerReferences") or () if _controls(each)],
    }


def _controls(reference: Object) -> bool:
    """Whether it is the controller's, and of no other size than one of ours."""
    texts = (value for value in reference.values() if isinstance(value, str))
    return bool(reference.get("controller")) and all(len(text) <= LONGEST for text in texts)


def _event(event: Object) -> Object:
    return {
        **{k: str(event.get(k) or "")[:LONGEST] for k in ("reason", "message")},
        **{k: event.get(k) for k in ("lastTimestamp", "eventTime")},
    }


def _job(spec: Object) -> Object:
    pod = (spec.get("template") or {}).get("spec") or {}
    return {
        **{str(k): v for k, v in spec.items() if k in ("activeDeadlineSeconds", "backoffLimit")},
        "template": {"spec": {"restartPolicy": pod.get("restartPolicy", "")}},
    }


def _pod(spec: Object) -> Object:
    return {
        **{k: spec[k] for k in POD if k in spec},
        "containers": _named(spec.get("containers") or ()),
        "initContainers": _named(spec.get("initContainers") or ()),
        "volumes": [v for v in spec.get("volumes") or () if "persistentVolumeClaim" in v],
    }


def _named(containers: Iterable[Object]) -> list[Object]:
    return [{"name": c["name"], "image": c.get("image", "")} for c in containers]
