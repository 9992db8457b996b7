"""What is kept of a listed Job or pod. A tenant can give those in its namespace our labels and 1.5 MB each. Pure."""

from collections.abc import Iterable

from ocore_crds.model import GROUP
from ocore_kube.types import JOBS, PODS, Type
from ocore_operator.kube.resources import Object

#: Prefixes of labels that are read.
LABELS = (f"{GROUP}/", "app.kubernetes.io/", "batch.kubernetes.io/")
#: Fields of metadata whose size is limited.
METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "generation")

#: Fields of a pod's spec that are kept as they are.
POD = ("nodeName", "restartPolicy", "schedulingGates", "terminationGracePeriodSeconds")


def slim(type_: Type, obj: Object) -> Object:
    """The object, of a Job or a pod only what is read of it."""
    if type_ not in (JOBS, PODS):
        return obj
    spec = obj.get("spec") or {}
    kept = _job(spec) if type_ == JOBS else _pod(spec)
    return {"metadata": _metadata(obj["metadata"]), "spec": kept, "status": obj.get("status") or {}}


def _metadata(meta: Object) -> Object:
    return {
        **{k: meta[k] for k in METADATA if k in meta},
        "labels": {k: v for k, v in (meta.get("labels") or {}).items() if k.startswith(LABELS)},
        "annotations": {k: v for k, v in (meta.get("annotations") or {}).items() if k.startswith(f"{GROUP}/")},
        "ownerReferences": [each for each in meta.get("ownerReferences") or () if each.get("controller")],
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
