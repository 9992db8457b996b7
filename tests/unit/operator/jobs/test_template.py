"""What of spec.jobs reaches a Job: the merge over the chart's defaults, reserved keys, the chart's lists."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ocore_crds.resources.environment import Jobs
from ocore_crds.resources.scheduling import RESERVED_KEYS, is_reserved
from ocore_operator.errors import Stalled
from ocore_operator.jobs.building import pod_template
from ocore_operator.jobs.building.inputs import need_template, template_of
from ocore_operator.jobs.building.pod_template import covers, merged, pinned
from ocore_operator.kube.resources import Object
from ocore_operator.settings import JobSettings, Settings
from support.operator.jobs import SITES, all_jobs, job_inputs
from support.operator.objects import SETTINGS, environment

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def node_affinity(*pools: str) -> Object:
    """One term for each pool."""
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": [pool]}]} for pool in pools]
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}


def preferred(pool: str) -> Object:
    term = {"matchExpressions": [{"key": "pool", "operator": "In", "values": [pool]}]}
    return {"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": term}]}}


def spread(key: str, **fields: Any) -> Object:
    return {"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **fields}


#: Field → the chart's, the Environment's, what follows. As `kubectl patch --type=strategic` merges a pod template.
MERGES: dict[str, tuple[Object, Object, Object]] = {
    "labels by key": (
        {"labels": {"team": "platform", "tier": "backup"}},
        {"labels": {"team": "shop", "app": "shop"}},
        {"labels": {"team": "shop", "tier": "backup", "app": "shop"}},
    ),
    "nodeSelector by key": (
        {"nodeSelector": {"pool": "backup", "os": "linux"}},
        {"nodeSelector": {"pool": "shop"}},
        {"nodeSelector": {"pool": "shop", "os": "linux"}},
    ),
    "an empty map is no patch": ({"labels": {"team": "a"}}, {"labels": {}}, {"labels": {"team": "a"}}),
    "the terms of an affinity as a whole": (
        {"affinity": node_affinity("a", "b")},
        {"affinity": node_affinity("c")},
        {"affinity": node_affinity("c")},
    ),
    "preferred beside required": (
        {"affinity": node_affinity("a")},
        {"affinity": preferred("b")},
        {"affinity": {"nodeAffinity": {**node_affinity("a")["nodeAffinity"], **preferred("b")["nodeAffinity"]}}},
    ),
    "tolerations as a whole": (
        {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]},
        {"tolerations": [{"key": "c", "operator": "Exists"}]},
        {"tolerations": [{"key": "c", "operator": "Exists"}]},
    ),
    "no tolerations of its own": (
        {"tolerations": [{"key": "a", "operator": "Exists"}]},
        {"tolerations": []},
        {"tolerations": [{"key": "a", "operator": "Exists"}]},
    ),
    "spread by topologyKey": (
        {"topologySpreadConstraints": [spread("zone", labelSelector={"matchLabels": {"a": "1"}}), spread("host")]},
        {"topologySpreadConstraints": [spread("rack"), spread("zone", maxSkew=3)]},
        {
            "topologySpreadConstraints": [
                spread("zone", maxSkew=3, labelSelector={"matchLabels": {"a": "1"}}),
                spread("host"),
                spread("rack"),
            ]
        },
    ),
    "resources by key": (
        {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}},
        {"resources": {"requests": {"cpu": "200m"}, "limits": {"cpu": "1"}}},
        {"resources": {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"memory": "2Gi", "cpu": "1"}}},
    ),
    "a default request above the limit is left out": (
        {"resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}},
        {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
        {"resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}},
    ),
    "priorityClassName": ({"priorityClassName": "low"}, {"priorityClassName": "low"}, {"priorityClassName": "low"}),
    "startDeadlineSeconds": ({"startDeadlineSeconds": 60}, {"startDeadlineSeconds": 90}, {"startDeadlineSeconds": 90}),
}


def settings_of(defaults: Object | None = None, **allowed: Any) -> JobSettings:
    return JobSettings.model_validate({"defaults": defaults or {}, "allowed": allowed})


def as_fields(found: pod_template.Template) -> Object:
    fields = {
        "labels": dict(found.labels),
        "annotations": dict(found.annotations),
        **found.pod,
        "tolerations": list(found.tolerations),
        "resources": found.resources,
        "startDeadlineSeconds": found.start_deadline,
    }
    return {name: value for name, value in fields.items() if value}


@pytest.mark.parametrize("case", MERGES)
def test_how_the_fields_of_an_environment_are_merged(case: str) -> None:
    defaults, own, wanted = MERGES[case]
    assert as_fields(pod_template.of(settings_of(defaults, labels=["app"]), Jobs.model_validate(own))) == wanted
    assert as_fields(pod_template.of(settings_of(defaults), None)) == defaults
    assert as_fields(pod_template.of(settings_of(), Jobs.model_validate(own))).keys() <= own.keys()


def test_a_merge_changes_neither_side() -> None:
    for base, patch, _ in MERGES.values():
        before = json.dumps([base, patch])
        merged(base, patch)
        assert json.dumps([base, patch]) == before


EXISTS: Object = {"operator": "Exists"}
GPU: Object = {"key": "gpu", "operator": "Exists"}
GPU_A: Object = {"key": "gpu", "operator": "Equal", "value": "a"}


@pytest.mark.parametrize(
    ("wide", "narrow", "does"),
    [
        (EXISTS, EXISTS, True),
        (EXISTS, GPU_A, True),
        (GPU, EXISTS, False),
        (GPU, GPU_A, True),
        (GPU, {**GPU, "effect": "NoExecute"}, True),
        (GPU, {**GPU, "key": "other"}, False),
        (GPU_A, GPU, False),
        (GPU_A, GPU_A, True),
        (GPU_A, {**GPU_A, "value": "b"}, False),
        ({"key": "gpu"}, {"key": "gpu", "operator": "Equal"}, True),
        ({**EXISTS, "effect": "NoSchedule"}, {**GPU, "effect": "NoSchedule"}, True),
        ({**EXISTS, "effect": "NoSchedule"}, {**GPU, "effect": "NoExecute"}, False),
        ({**GPU, "effect": "NoSchedule"}, GPU, False),
        ({"operator": "Equal"}, GPU_A, False),  # the API server refuses it
    ],
)
def test_which_toleration_covers_another_one(wide: Object, narrow: Object, *, does: bool) -> None:
    assert covers(wide, narrow) == does


CLOSED: Object = {"tolerations": []}
#: What is wanted → the chart's lists that allow it, and what the refusal says.
LISTED: dict[str, tuple[Object, Object, tuple[str, str]]] = {
    "annotation": (
        {"annotations": {"sidecar.istio.io/inject": "false"}},
        {"annotations": ["sidecar.istio.io/"]},
        ("the key sidecar.istio.io/inject", "add sidecar.istio.io/ to the chart's value jobs.allowed.annotations"),
    ),
    "annotation without a prefix": (
        {"annotations": {"team": "shop"}},
        {"annotations": ["team"]},
        ("the key team", "add team to the chart's value jobs.allowed.annotations"),
    ),
    "a label that an injector knows": (
        {"labels": {"azure.workload.identity/use": "true"}},
        {"labels": ["azure.workload.identity/"]},
        (
            "the key azure.workload.identity/use",
            "add azure.workload.identity/ to the chart's value jobs.allowed.labels",
        ),
    ),
    "a label that a Service selects": (
        {"labels": {"app": "shop"}},
        {"labels": ["app"]},
        ("spec.jobs.labels has the key app", "add app to the chart's value jobs.allowed.labels"),
    ),
    "priority class": (
        {"priorityClassName": "high"},
        {"priorityClasses": ["low", "high"]},
        ("priorityClassName is high", "add high to the chart's value jobs.allowed.priorityClasses"),
    ),
    "toleration": (
        {"tolerations": [GPU_A]},
        {"tolerations": [GPU]},
        (
            "{key: gpu, operator: Equal, value: a}",
            "add {key: gpu, operator: Equal, value: a} to the chart's value jobs.allowed.tolerations",
        ),
    ),
}


def need(found: JobSettings, jobs: Object, *own: Object) -> None:
    workload: Object = {"spec": {"template": {"spec": {"containers": [{}], "tolerations": list(own)}}}}
    need_template(Settings(jobs=found), environment({"jobs": jobs}), workload)


@pytest.mark.parametrize("case", LISTED)
def test_what_only_the_chart_allows_stalls_the_environment(case: str) -> None:
    jobs, allowed, (names, says) = LISTED[case]
    with pytest.raises(Stalled) as stalled:
        need(settings_of(**CLOSED), jobs)
    assert stalled.value.reason == "JobTemplateRefused"
    assert names in stalled.value.message
    assert says in stalled.value.message
    need(settings_of(**{**CLOSED, **allowed}), jobs)
    assert as_fields(pod_template.of(settings_of(**{**CLOSED, **allowed}), Jobs.model_validate(jobs))) == jobs
    # An operation that is under way continues without it.
    assert as_fields(pod_template.of(settings_of(**CLOSED), Jobs.model_validate(jobs))) == {}


@pytest.mark.parametrize("case", LISTED)
def test_what_the_chart_itself_gives_is_allowed(case: str) -> None:
    jobs = LISTED[case][0]
    need(settings_of(jobs, **CLOSED), jobs)
    need(settings_of(jobs, **CLOSED), {})


def test_other_keys_than_the_listed_prefix_are_refused() -> None:
    listed = settings_of(annotations=["sidecar.istio.io/"])
    for key in ("istio.io/inject", "x.sidecar.istio.io/inject", "vault.hashicorp.com/agent-inject"):
        with pytest.raises(Stalled, match=key):
            need(listed, {"annotations": {key: "true"}})


def test_tolerations_are_open_until_the_chart_closes_them() -> None:
    """They worked before there was a list: an upgrade must not stop an Environment."""
    need(SETTINGS.jobs, {"tolerations": [EXISTS]})
    need(settings_of(**CLOSED), {"tolerations": [GPU_A]}, GPU)  # the workload has it
    with pytest.raises(Stalled, match="neither the workload nor the chart allows"):
        need(settings_of(**CLOSED), {"tolerations": [GPU]}, GPU_A)


@pytest.mark.parametrize(
    "key",
    [*RESERVED_KEYS, "ocore.dev/uid", "ocore.dev/signal", "batch.kubernetes.io/job-name"],
)
@pytest.mark.parametrize("kind", ["labels", "annotations"])
def test_reserved_keys_are_refused_whatever_the_chart_allows(kind: str, key: str) -> None:
    assert is_reserved(key)
    everything = settings_of(labels=[""], annotations=[""])
    with pytest.raises(Stalled) as stalled:
        need(everything, {kind: {key: "a"}})
    assert f"spec.jobs.{kind} has the key {key}" in stalled.value.message
    assert as_fields(pod_template.of(everything, Jobs.model_validate({kind: {key: "a", "team": "b"}}))) == {
        kind: {"team": "b"}
    }


def test_all_refusals_are_named_at_once() -> None:
    with pytest.raises(Stalled) as stalled:
        need(settings_of(), {"labels": {"job-name": "a"}, "priorityClassName": "high", "annotations": {"a": "b"}})
    for words in ("job-name", "high", "the key a,"):
        assert words in stalled.value.message


# --- the Jobs --------------------------------------------------------------------------------------------------------

WHOLE: Object = {
    "labels": {"team": "shop"},
    "annotations": {"example.org/note": "x"},
    "nodeSelector": {"pool": "backup"},
    "affinity": {**node_affinity("a", "b"), "podAntiAffinity": {REQUIRED: [{"labelSelector": {}, "topologyKey": "z"}]}},
    "topologySpreadConstraints": [spread("zone")],
    "priorityClassName": "low",
    "tolerations": [GPU],
    "resources": {"limits": {"memory": "512Mi"}},
    "startDeadlineSeconds": 600,
}
CHART: Object = {
    "allowed": {"labels": ["team"], "annotations": ["example.org/"], "priorityClasses": ["low"]},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "volumes": [{"name": "corporate-ca", "configMap": {"name": "corporate-ca"}}],
    "volumeMounts": [{"name": "corporate-ca", "mountPath": "/etc/corporate-ca", "readOnly": True}],
    "runtimeClassName": "gvisor",
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.53"]},
}
WITH_CHART = SETTINGS.model_copy(update={"jobs": JobSettings.model_validate(CHART)})


def with_template(where: str) -> Any:
    place = SITES[where]
    jobs = Jobs.model_validate(WHOLE)
    return replace(place, template=template_of(WITH_CHART, None, jobs))


@pytest.mark.parametrize("where", SITES)
def test_every_job_has_the_template(where: str) -> None:
    for name, job in all_jobs(with_template(where), WITH_CHART).items():
        pod, metadata = job["spec"]["template"]["spec"], job["spec"]["template"]["metadata"]
        for each in (job["metadata"], metadata):
            assert each["labels"]["team"] == "shop", name
            assert each["annotations"]["example.org/note"] == "x", name
        assert pod["nodeSelector"] == {"pool": "backup"}
        assert pod["tolerations"] == [GPU]
        assert pod["priorityClassName"] == "low"
        assert pod["topologySpreadConstraints"] == [spread("zone")]
        assert pod["affinity"]["podAntiAffinity"] == WHOLE["affinity"]["podAntiAffinity"]
        assert (pod["runtimeClassName"], pod["dnsPolicy"]) == ("gvisor", "None")
        assert pod["dnsConfig"] == CHART["dnsConfig"]
        assert job["metadata"]["annotations"]["ocore.dev/start-deadline"] == "600"
        assert "ocore.dev/start-deadline" not in metadata["annotations"]
        assert all(container["resources"] == WHOLE["resources"] for container in pod["containers"]), name


@pytest.mark.parametrize("where", SITES)
def test_what_the_chart_gives_reaches_the_mover_only(where: str) -> None:
    """The application's container, which neutralises, has foreign code: a proxy's password is not for it."""
    for name, job in all_jobs(with_template(where), WITH_CHART).items():
        mover, *others = job["spec"]["template"]["spec"]["containers"]
        assert CHART["env"][0] in mover["env"], name
        assert CHART["volumeMounts"][0] in mover["volumeMounts"], name
        for container in others:
            assert "HTTPS_PROXY" not in json.dumps(container), name
            assert "corporate-ca" not in json.dumps(container), name


def test_our_own_labels_win() -> None:
    """Whatever was let through: they say whose the Job is."""
    forged = {"ocore.dev/uid": "a", "app.kubernetes.io/managed-by": "a", "ocore.dev/command": "a"}
    place = job_inputs(template=pod_template.Template(labels=forged, annotations={"ocore.dev/name": "a"}))
    plain = all_jobs(job_inputs())
    for name, job in all_jobs(place).items():
        assert job["metadata"] == plain[name]["metadata"]
        assert job["spec"]["template"]["metadata"] == plain[name]["spec"]["template"]["metadata"]


PIN: Object = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node7"]}]}


@pytest.mark.parametrize(
    ("affinity", "terms"),
    [
        ({}, [PIN]),
        (preferred("a"), [PIN]),
        (
            node_affinity("a", "b"),
            [{**term, **PIN} for term in node_affinity("a", "b")["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]],
        ),
    ],
)
def test_the_node_of_the_claim_holds_together_with_the_affinity(affinity: Object, terms: list[Object]) -> None:
    """Terms are ORed: the node is in each of them, and never one of them."""
    found = pinned(affinity, "node7")
    assert found["nodeAffinity"][REQUIRED] == {"nodeSelectorTerms": terms}
    assert found["nodeAffinity"].get(PREFERRED) == affinity.get("nodeAffinity", {}).get(PREFERRED)


def test_every_job_on_a_claim_keeps_its_node() -> None:
    place = replace(with_template("claim"), node="node7")
    for name, job in all_jobs(place, WITH_CHART).items():
        if name == "prove" or name.startswith("neutralize"):
            continue  # they mount no claim
        found = job["spec"]["template"]["spec"]["affinity"]
        terms = found["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
        assert len(terms) == 2
        assert all(term["matchFields"] == PIN["matchFields"] and "matchExpressions" in term for term in terms), name
        assert "podAntiAffinity" in found


def test_the_start_deadline_of_the_environment_is_part_of_a_short_jobs_deadline() -> None:
    for name in ("probe", "probe-store", "inspect-rollback"):
        plain, longer = (all_jobs(place)[name] for place in (job_inputs(), with_template("s3")))
        more = longer["spec"]["activeDeadlineSeconds"] - plain["spec"]["activeDeadlineSeconds"]
        assert more == 600 - SETTINGS.start_deadline
