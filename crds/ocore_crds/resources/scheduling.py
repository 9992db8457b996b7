"""Where the pods of Jobs run and what they carry: the fields of a pod template that the author of an Environment, and
the chart for all Environments, may set.

Nothing here gives a pod rights or data: no account, no volume, no variable. Names and meanings are those of Kubernetes.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from ocore_crds.group import GROUP
from ocore_crds.model import CpuQuantity, Model, ObjectName, Quantity
from ocore_crds.naming import LABEL_MANAGED_BY
from ocore_crds.schema.cel_rules import rule, validations

#: What labels and annotations of Jobs must not begin with: ours decide whose a Job is, those of the Job controller
#: which pods belong to it.
RESERVED_PREFIXES = (f"{GROUP}/", "batch.kubernetes.io/")
#: Reserved as a whole: the Job controller's older labels, and ours.
RESERVED_KEYS = ("controller-uid", "job-name", LABEL_MANAGED_BY)

_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]"
#: A key of a label or an annotation: a name with a DNS name and a slash before it, or without.
KEY_PATTERN = rf"^(([a-z0-9][-a-z0-9.]{{0,251}})?[a-z0-9]/)?{_NAME}$"
VALUE_PATTERN = rf"^({_NAME})?$"

Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN, max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=VALUE_PATTERN, max_length=63)]
Weight = Annotated[int, Field(ge=1, le=100)]


def is_reserved(key: str) -> bool:
    """Whether a label or annotation of that key is set by the operator or by the Job controller."""
    return key.startswith(RESERVED_PREFIXES) or key in RESERVED_KEYS


def _all_keys(field: str) -> list[dict[str, str]]:
    """Rules of a map of labels or annotations; `field`: its name."""
    reserved = " && ".join(f"!k.startsWith('{prefix}')" for prefix in RESERVED_PREFIXES)
    names = ", ".join(f"'{key}'" for key in RESERVED_KEYS)
    return [
        rule(
            f"!has(self.{field}) || self.{field}.all(k, {reserved} && !(k in [{names}]))",
            f"{field} cannot have keys of {GROUP}/, of the Job controller (batch.kubernetes.io/, controller-uid,"
            f" job-name) and {LABEL_MANAGED_BY}: remove the key",
            fieldPath=f".{field}",
        ),
        rule(
            f"!has(self.{field}) || self.{field}.all(k, size(k) <= 317 && k.matches('{KEY_PATTERN}'))",
            f"a key of {field} is not valid: write a name of at most 63 letters, digits, -, _ and ., with a DNS name"
            " and / before it or without",
            fieldPath=f".{field}",
        ),
    ]


class ResourceList(Model):
    """CPU and memory, as quantities."""

    cpu: CpuQuantity | None = Field(default=None, description="CPU, for example 500m.")
    memory: Quantity | None = Field(default=None, description="Memory, for example 512Mi.")


class Resources(Model):
    """Requests and limits of a Job's container."""

    requests: ResourceList | None = Field(default=None, description="What the scheduler reserves.")
    limits: ResourceList | None = Field(default=None, description="The most that the container may use.")

    model_config = ConfigDict(
        json_schema_extra=validations(
            *(
                rule(
                    "!has(self.requests) || !has(self.limits)"
                    f" || !has(self.requests.{name}) || !has(self.limits.{name})"
                    f" || !quantity(string(self.requests.{name})).isGreaterThan(quantity(string(self.limits.{name})))",
                    f"requests.{name} is more than limits.{name}: decrease the request, or increase the limit",
                )
                for name in ("cpu", "memory")
            )
        )
    )


class Toleration(Model):
    """A toleration of a node's taint."""

    key: Annotated[str, Field(max_length=316)] | None = Field(default=None, description="Taint key; empty matches all.")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="How the value is compared.")
    value: Annotated[str, Field(max_length=63)] | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; empty matches all."
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "self.operator == 'Exists' || (has(self.key) && self.key != '')",
                "a toleration without key tolerates every taint: it needs operator Exists",
            ),
            rule(
                "self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "a toleration with operator Exists has no value",
            ),
        )
    )


class NodeRequirement(Model):
    """A requirement on the labels of a node."""

    key: Key = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label is compared with the values."
    )
    values: Annotated[tuple[LabelValue, ...], Field(max_length=50)] | None = Field(
        default=None, description="Values; one whole number for `Gt` and `Lt`, none for `Exists` and `DoesNotExist`."
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "(self.operator in ['Exists', 'DoesNotExist']) == (!has(self.values) || size(self.values) == 0)",
                "give values with In, NotIn, Gt and Lt, and none with Exists and DoesNotExist",
            ),
            rule(
                "!(self.operator in ['Gt', 'Lt']) || !has(self.values) || size(self.values) == 1",
                "Gt and Lt take exactly one value",
            ),
        )
    )


class NodeTerm(Model):
    """Requirements on a node, all of which must hold."""

    match_expressions: Annotated[tuple[NodeRequirement, ...], Field(min_length=1, max_length=10)] = Field(
        description="Requirements on its labels."
    )


class PreferredNodes(Model):
    """Nodes that are preferred."""

    weight: Weight = Field(description="Added to the score of such a node.")
    preference: NodeTerm = Field(description="Which nodes.")


class RequiredNodes(Model):
    """Nodes on which alone a pod runs."""

    node_selector_terms: Annotated[tuple[NodeTerm, ...], Field(min_length=1, max_length=10)] = Field(
        description="One of them must hold."
    )


class NodeAffinity(Model):
    """Which nodes a pod needs and prefers."""

    required_during_scheduling_ignored_during_execution: RequiredNodes | None = Field(
        default=None,
        description=(
            "Nodes on which alone a pod runs. A claim that only one node can mount binds it to that node as well: both"
            " must hold."
        ),
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredNodes, ...], Field(max_length=10)] | None
    ) = Field(default=None, description="Nodes that are preferred.")


class LabelRequirement(Model):
    """A requirement on the labels of a pod."""

    key: Key = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label is compared with the values."
    )
    values: Annotated[tuple[LabelValue, ...], Field(max_length=50)] | None = Field(
        default=None, description="Values; none for `Exists` and `DoesNotExist`."
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "(self.operator in ['Exists', 'DoesNotExist']) == (!has(self.values) || size(self.values) == 0)",
                "give values with In and NotIn, and none with Exists and DoesNotExist",
            ),
        )
    )


class LabelSelector(Model):
    """Pods of the namespace, by their labels."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = Field(
        default=None, description="Labels that they have."
    )
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=10)] | None = Field(
        default=None, description="Requirements on their labels."
    )


class PodTerm(Model):
    """Pods of the namespace, and what counts as the same place."""

    label_selector: LabelSelector = Field(description="Which pods.")
    topology_key: Key = Field(description="Label of nodes; nodes with the same value are one place.")


class PreferredPods(Model):
    """Places that are preferred."""

    weight: Weight = Field(description="Added to the score of a node in such a place.")
    pod_affinity_term: PodTerm = Field(description="Which pods and places.")


class PodAffinity(Model):
    """Pods in whose places a pod runs, or does not run."""

    required_during_scheduling_ignored_during_execution: Annotated[tuple[PodTerm, ...], Field(max_length=10)] | None = (
        Field(default=None, description="All of them must hold.")
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredPods, ...], Field(max_length=10)] | None
    ) = Field(default=None, description="These are preferred.")


class Affinity(Model):
    """Near what a pod runs."""

    node_affinity: NodeAffinity | None = Field(default=None, description="On which nodes.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Beside which pods.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Apart from which pods.")


class SpreadConstraint(Model):
    """How the pods that the selector finds spread over places."""

    max_skew: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="By how many pods the places with the most and the fewest may differ."
    )
    topology_key: Key = Field(description="Label of nodes; nodes with the same value are one place.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="Whether a pod waits for a place, or runs in the best one that there is."
    )
    label_selector: LabelSelector | None = Field(
        default=None, description="Which pods of the namespace are counted. Without it none is."
    )


class PodTemplate(Model):
    """What Jobs' pods carry, and where they run. The chart has defaults for all Environments (`jobs` in its values);
    they are merged as a strategic merge patch merges: maps by key, topologySpreadConstraints by topologyKey, other
    lists as a whole."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = Field(
        default=None,
        description=(
            "Labels of the Jobs and their pods, beside the operator's own. Services, NetworkPolicies, workloads and"
            " injectors select pods by labels, so the chart must allow the beginning of each key"
            " (`jobs.allowed.labels`)."
        ),
    )
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=16)] | None = Field(
        default=None,
        description=(
            "Annotations of the Jobs and their pods. An injector may mount a Secret by one, so the chart must allow the"
            " beginning of each key (`jobs.allowed.annotations`)."
        ),
    )
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = Field(
        default=None, description="Labels that a node must have."
    )
    affinity: Affinity | None = Field(default=None, description="On which nodes, and near which pods.")
    topology_spread_constraints: Annotated[tuple[SpreadConstraint, ...], Field(max_length=5)] | None = Field(
        default=None,
        description="How the pods spread.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["topologyKey"],
        },
    )
    priority_class_name: ObjectName | None = Field(
        default=None,
        description=(
            "PriorityClass. It may evict pods of others, so the chart must list it (`jobs.allowed.priorityClasses`)."
        ),
    )
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=20)] = Field(
        default=(),
        description=(
            "Added to the workload's own. The chart may list which ones are allowed (`jobs.allowed.tolerations`)."
        ),
    )
    resources: Resources | None = Field(
        default=None, description="Requests and limits; default requests 100m and 256Mi."
    )
    start_deadline_seconds: Annotated[int, Field(ge=30, le=3600)] | None = Field(
        default=None,
        description=(
            "Seconds until the container of a new Job must run: image, volumes, scheduling. Raise it where an"
            " autoscaler makes the node first. The default is the chart's `settings.startDeadline`."
        ),
    )


#: Rules of whatever has the fields of a :class:`PodTemplate`.
TEMPLATE_RULES = (*_all_keys("labels"), *_all_keys("annotations"))
