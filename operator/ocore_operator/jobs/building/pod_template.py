"""What Jobs' pods carry and where they run: the Environment's `spec.jobs` over the chart's defaults. Pure.

Who may set what:

=====================================  =============================================================================
the chart alone (``Settings.jobs``)    service account, variables, volumes, runtime class, DNS: they give a pod data
                                       and rights
the Environment, where the chart's     labels (Services, NetworkPolicies, workloads and injectors select by them),
lists allow it                         annotations (an injector's can mount a Secret), priority classes (they evict
                                       pods of others), tolerations beyond the workload's own
the Environment                        node selector, affinity, spread, resources, start deadline
neither                                keys of ``ocore.dev/`` and of the Job controller
=====================================  =============================================================================

The merge is that of a strategic merge patch (``kubectl patch``), the Environment's fields being the patch:

========================================  =========================================================
labels, annotations, nodeSelector,        by key
requests and limits of resources
affinity                                  by field: nodeAffinity, podAffinity, podAntiAffinity, and
                                          required and preferred in each; their lists as a whole
tolerations                               as a whole; the workload's own always come first
topologySpreadConstraints                 by topologyKey, the fields of each one by key
priorityClassName, startDeadlineSeconds   as a whole
========================================  =========================================================

An empty list or map of the Environment is no patch: the defaults stay. A default request that is more than the limit
of the Environment is left out: Kubernetes requests the limit then.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md,
and the tags ``patchStrategy`` and ``patchMergeKey`` of PodSpec.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ocore_crds.resources.environment import Jobs
from ocore_crds.resources.scheduling import PodTemplate, is_reserved
from ocore_crds.text import quantity
from ocore_operator.kube.resources import Object
from ocore_operator.settings import JobSettings

#: Lists that are merged by a key of their items.
MERGE_KEYS = {"topologySpreadConstraints": "topologyKey"}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
#: Fields of a pod's spec. The node pin is ANDed to the affinity by :func:`pinned`.
_OF_POD = ("nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName")


@dataclass(frozen=True)
class Template:
    """What is merged, as wire objects."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: Fields of the pod's spec.
    pod: Object = field(default_factory=dict)
    #: Beyond the workload's own.
    tolerations: tuple[Object, ...] = ()
    #: Of the mover's container; None: the built-in ones.
    resources: Object | None = None
    #: Seconds; None: the operator's setting.
    start_deadline: int | None = None


def of(settings: JobSettings, jobs: Jobs | None, own: Sequence[Object] = ()) -> Template:
    """The template of an Environment's Jobs; None: of Jobs without an Environment. What the chart does not allow is
    left out. `own`: tolerations of the workload."""
    defaults = _given(settings.defaults)
    wanted = _given(jobs) if jobs is not None else {}
    found = _Refused(settings, own)
    for kind in ("labels", "annotations"):
        if kind in wanted:
            wanted[kind] = {k: v for k, v in wanted[kind].items() if not found.key(kind, k)}
    if found.priority(wanted.get("priorityClassName", "")):
        del wanted["priorityClassName"]
    wanted["tolerations"] = [t for t in wanted.get("tolerations", ()) if not found.toleration(t)]
    whole = merged(defaults, _given_of(wanted))
    return Template(
        labels=whole.get("labels", {}),
        annotations=whole.get("annotations", {}),
        pod={name: whole[name] for name in _OF_POD if name in whole},
        tolerations=tuple(whole.get("tolerations", ())),
        resources=_within_limits(whole.get("resources"), wanted.get("resources")),
        start_deadline=whole.get("startDeadlineSeconds"),
    )


def refusals(settings: JobSettings, jobs: Jobs, own: Sequence[Object] = ()) -> Iterator[str]:
    """What the Environment asks for and does not get, each with the line to change. `own`: tolerations of the
    workload."""
    wanted, found = _given(jobs), _Refused(settings, own)
    for kind in ("labels", "annotations"):
        for key in wanted.get(kind, {}):
            if is_reserved(key):
                yield f"spec.jobs.{kind} has the key {key}, which the operator or the Job controller sets. Remove it"
            elif found.key(kind, key):
                yield (
                    f"spec.jobs.{kind} has the key {key}, which the chart does not allow. Remove it, or add"
                    f" {_prefix(key)} to the chart's value jobs.allowed.{kind}"
                )
    name = wanted.get("priorityClassName", "")
    if found.priority(name):
        yield (
            f"spec.jobs.priorityClassName is {name}, which the chart does not allow. Remove it, or add {name} to the"
            " chart's value jobs.allowed.priorityClasses"
        )
    for each in wanted.get("tolerations", ()):
        if found.toleration(each):
            yield (
                f"spec.jobs.tolerations has {_text(each)}, which neither the workload nor the chart allows. Remove it,"
                f" or add {_text(each)} to the chart's value jobs.allowed.tolerations"
            )


@dataclass(frozen=True)
class _Refused:
    """Whether the chart refuses a field of an Environment. What its own defaults have is allowed."""

    settings: JobSettings
    own: Sequence[Object]

    def key(self, kind: str, key: str) -> bool:
        """Of a label or an annotation: `kind` is its field."""
        if is_reserved(key):
            return True
        known, allowed = self.settings.defaults, self.settings.allowed
        if kind == "labels":
            return key not in (known.labels or {}) and not key.startswith(allowed.labels)
        return key not in (known.annotations or {}) and not key.startswith(allowed.annotations)

    def priority(self, name: str) -> bool:
        return name not in ("", self.settings.defaults.priority_class_name, *self.settings.allowed.priority_classes)

    def toleration(self, wanted: Object) -> bool:
        allowed = (
            *self.own,
            *(t.wire() for t in self.settings.defaults.tolerations),
            *(t.wire() for t in self.settings.allowed.tolerations),
        )
        return not any(covers(each, wanted) for each in allowed)


def covers(wide: Object, narrow: Object) -> bool:
    """Whether the first toleration tolerates every taint that the second one does."""
    if wide.get("effect") and wide.get("effect") != narrow.get("effect"):
        return False
    if not wide.get("key"):
        return wide.get("operator") == "Exists"
    if wide["key"] != narrow.get("key"):
        return False
    if wide.get("operator") == "Exists":
        return True
    return narrow.get("operator") != "Exists" and wide.get("value", "") == narrow.get("value", "")


def merged(base: Object, patch: Object) -> Object:
    """The base with the patch, as a strategic merge patch merges (see above)."""
    found = dict(base)
    for name, value in patch.items():
        old = found.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            found[name] = merged(old, value)
        elif name in MERGE_KEYS and isinstance(old, list):
            found[name] = _by_key(old, value, MERGE_KEYS[name])
        else:
            found[name] = value
    return found


def _by_key(base: Sequence[Object], patch: Sequence[Object], key: str) -> list[Object]:
    """The items of the base, those with the same key merged, then the others of the patch."""
    patches = {item[key]: item for item in patch}
    kept = [merged(item, patches.pop(item[key], {})) for item in base]
    return kept + list(patches.values())


def pinned(affinity: Object, node: str) -> Object:
    """The affinity, on that node only. The terms of a node selector are ORed, and what is in one of them is ANDed: so
    each term gets the node."""
    pin = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    nodes = affinity.get("nodeAffinity", {})
    terms = (nodes.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    return {
        **affinity,
        "nodeAffinity": {**nodes, _REQUIRED: {"nodeSelectorTerms": [{**term, **pin} for term in terms]}},
    }


def is_pinned(pod: Object) -> bool:
    """Whether a pod of this spec may run on one node only, because of :func:`pinned`."""
    nodes = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (nodes.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()
    return any(field["key"] == "metadata.name" for term in terms for field in term.get("matchFields") or ())


def _given(template: PodTemplate) -> Object:
    """The fields of a pod template that are set."""
    return _given_of({k: v for k, v in template.wire().items() if k in _FIELDS})


_FIELDS = {field.alias for field in PodTemplate.model_fields.values()}


def _given_of(fields: Object) -> Object:
    return {name: value for name, value in fields.items() if value not in ([], {}, None)}


def _within_limits(whole: Object | None, wanted: Object | None) -> Object | None:
    """The merged resources without the default requests that are more than a limit of the Environment."""
    if whole is None or not wanted:
        return whole
    own, limits = wanted.get("requests", {}), whole.get("limits", {})
    requests = {
        name: value
        for name, value in whole.get("requests", {}).items()
        if name in own or name not in limits or _number(name, value) <= _number(name, limits[name])
    }
    return _given_of({**whole, "requests": requests})


def _number(name: str, value: str) -> Decimal:
    if name != "cpu":
        return Decimal(quantity.parse(value))
    return Decimal(value.removesuffix("m")) / (1000 if value.endswith("m") else 1)


def _prefix(key: str) -> str:
    """What the chart's list would have for the key: the part of the injector, or the whole key."""
    return f"{key.partition('/')[0]}/" if "/" in key else key


def _text(toleration: Object) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in toleration.items()) + "}"


def message(name: str, found: Iterable[str]) -> str:
    """Of the condition of an Environment with refusals."""
    return f"The Jobs of Environment {name} cannot run as it asks: {'; '.join(found)}."
