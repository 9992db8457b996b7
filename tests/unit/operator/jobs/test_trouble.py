"""Why a Job does not start, with the line to change, as soon as it is known."""

from datetime import timedelta

import pytest

from ocore_operator.jobs.observing.outcome import JobFailed, JobState, Starting, classify, start_deadline_of
from ocore_operator.jobs.observing.pod_failures import advice
from ocore_operator.kube.resources import Object
from support.operator.objects import NOW, at, job, pod

#: Messages of a real scheduler and of real admission (Kubernetes 1.33) → what the advice names.
MESSAGES = {
    "0/1 nodes are available: 1 node(s) had untolerated taint {tier: db}.": ("spec.jobs.tolerations",),
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.": (
        "spec.jobs.nodeSelector",
        "spec.jobs.affinity",
    ),
    "0/2 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity], 1 node(s) had untolerated taint(s).": (
        "kubectl taint node NODE node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
        "delete its Node",
    ),
    "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.": ("spec.jobs.affinity",),
    "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints.": (
        "spec.jobs.topologySpreadConstraints",
    ),
    "0/1 nodes are available: 1 Insufficient memory.": ("spec.jobs.resources.requests",),
    "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.": ("Pending", "storageClassName"),
    "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {a: b}.": (
        "spec.jobs.resources.requests",
        "spec.jobs.tolerations",
    ),
    'pods "a" is forbidden: violates PodSecurity "restricted:latest": forbidden AppArmor profile': (
        "spec.jobs.annotations",
        "jobs",
    ),
    'pods "a" is forbidden: exceeded quota: small, requested: requests.cpu=1, used: requests.cpu=0': (
        "ResourceQuota",
        "spec.jobs.resources",
    ),
    'pods "a" is forbidden: failed quota: small: must specify limits.cpu for: mover': ("spec.jobs.resources",),
    'pods "a" is forbidden: minimum memory usage per Container is 1Gi, but request is 256Mi': ("LimitRange",),
    'pods "a" is forbidden: maximum cpu usage per Container is 50m, but limit is 100m': ("spec.jobs.resources",),
    'Pod "a" is invalid: spec.containers[0].resources.requests: must be less than or equal to memory limit of 128Mi': (
        "LimitRange",
    ),
    'pods "a" is forbidden: no PriorityClass with name high was found': ("spec.jobs.priorityClassName",),
    'pods "a" is forbidden: pod rejected: RuntimeClass "x" not found': ("jobs.runtimeClassName",),
    'pods "a" is forbidden: error looking up service account shop/mover: serviceaccount "mover" not found': (
        "mover.serviceAccount.name",
    ),
    "ValidatingAdmissionPolicy 'labels' with binding 'labels' denied request: label team is missing": (
        "spec.jobs.labels",
        "jobs.labels",
    ),
    'admission webhook "labels.example.org" denied the request: label team is missing': ("spec.jobs.labels",),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_the_advice_names_the_line(message: str) -> None:
    for words in MESSAGES[message]:
        assert words in advice(message)


def test_an_unknown_message_has_no_advice_of_its_own() -> None:
    assert advice("something else") == ""


#: Of Kubernetes 1.36, about a Job that must run on one node: with a dead one, and where it is gone.
DEAD = "0/2 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity], 1 node(s) had untolerated taint(s)."
GONE = "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate."
TAINTED = "0/1 nodes are available: 1 node(s) had untolerated taint {tier: db}."


def unplaced(message: str) -> Object:
    found = pod("a", {}, phase="Pending")
    found["spec"].pop("nodeName", None)
    found["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }
    return found


def test_a_pod_without_a_node_is_shown_at_once() -> None:
    state = classify(job("a"), [unplaced(TAINTED)], {}, NOW + timedelta(seconds=1), 180)
    assert isinstance(state, Starting)
    assert state.condition == "JobPending"
    assert "untolerated taint" in state.text
    assert "spec.jobs.tolerations" in state.text


def test_the_claim_of_a_dead_node_asks_for_no_toleration() -> None:
    """The taint of a node that does not respond must not be tolerated: it takes no pod, and another pod may write."""
    assert "Add the taint" not in advice(DEAD)


def test_row_103_a_job_for_a_node_that_is_gone_soon_gets_another_attempt() -> None:
    """The claim that bound it to the node is free by then: the next attempt may run elsewhere."""
    waits = classify(job("a"), [unplaced(GONE)], {}, NOW + timedelta(seconds=29), 180)
    assert isinstance(waits, Starting)
    state = classify(job("a"), [unplaced(GONE)], {}, NOW + timedelta(seconds=31), 180)
    assert isinstance(state, JobFailed)
    assert (state.failure.reason, state.failure.retryable) == ("PodNotStarted", True)


@pytest.mark.parametrize("message", [DEAD, TAINTED, GONE.replace("0/2", "0/3")])
def test_row_103_a_job_for_a_node_that_may_come_back_has_the_start_deadline(message: str) -> None:
    state = classify(job("a"), [unplaced(message)], {}, NOW + timedelta(seconds=179), 180)
    assert isinstance(state, Starting)


#: Of a kubelet of Kubernetes 1.36: a Secret, a key of it, a key of a ConfigMap. And one that only waits for its volume.
ABSENT = (
    'MountVolume.SetUp failed for volume "database" : secret "shop-db" not found',
    'MountVolume.SetUp failed for volume "tls" : references non-existent secret key: ca.crt',
    'MountVolume.SetUp failed for volume "config" : configmap references non-existent config key: odoo.conf',
)
UNMOUNTED = 'MountVolume.SetUp failed for volume "filestore" : mount failed: exit status 32'


def unmounted(message: str, seconds: float) -> JobState:
    """What is known of a Job whose pod has a node, and whose volume the kubelet could not mount, after some seconds."""
    creating = pod("a", {"waiting": {"reason": "ContainerCreating"}}, phase="Pending")
    warnings = {creating["metadata"]["uid"]: ("FailedMount", message)}
    return classify(job("a"), [creating], warnings, NOW + timedelta(seconds=seconds), 180)


@pytest.mark.parametrize("message", ABSENT)
def test_what_a_pod_mounts_and_does_not_exist_ends_the_job_soon(message: str) -> None:
    assert isinstance(unmounted(message, 29), Starting)
    state = unmounted(message, 31)
    assert isinstance(state, JobFailed)
    assert message in state.failure.message


def test_a_volume_that_is_not_mounted_yet_has_the_start_deadline() -> None:
    assert isinstance(unmounted(UNMOUNTED, 179), Starting)
    assert isinstance(unmounted(UNMOUNTED, 181), JobFailed)


def test_a_refused_pod_is_shown_with_the_line() -> None:
    made = job("a")
    message = 'Error creating: pods "a" is forbidden: exceeded quota: small'
    warnings = {made["metadata"]["uid"]: ("FailedCreate", message)}
    state = classify(made, [], warnings, NOW + timedelta(seconds=10), 180)
    assert isinstance(state, Starting)
    assert (state.condition, state.reason) == ("JobPending", "FailedCreate")
    assert "ResourceQuota" in state.text
    late = classify(made, [], warnings, NOW + timedelta(seconds=200), 180)
    assert isinstance(late, JobFailed)
    assert late.failure.reason == "JobRefused"
    assert "ResourceQuota" in late.failure.message


def test_what_only_starts_asks_nothing_of_a_person() -> None:
    found = pod("a", {"waiting": {"reason": "ContainerCreating"}}, phase="Pending")
    state = classify(job("a"), [found], {}, NOW, 180)
    assert isinstance(state, Starting)
    assert state.condition is None


def test_an_injected_init_container_that_does_not_run_is_named() -> None:
    found = pod("a", {"waiting": {"reason": "PodInitializing"}}, phase="Pending")
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    found["status"]["initContainerStatuses"] = [{"name": "istio-init", "state": waiting}]
    state = classify(job("a"), [found], {}, NOW, 180)
    assert isinstance(state, Starting)
    assert "istio-init, which was injected" in state.message
    found["status"]["initContainerStatuses"] = [{"name": "istio-proxy", "state": {"running": {"startedAt": at(0)}}}]
    state = classify(job("a"), [found], {}, NOW, 180)
    assert isinstance(state, Starting)
    assert state.reason == "PodInitializing"


@pytest.mark.parametrize(
    ("text", "seconds"), [("600", 600), ("", 180), ("x", 180), ("-1", 180), ("1e9", 180), ("99999", 180), ("²", 180)]
)
def test_the_start_deadline_of_a_job(text: str, seconds: float) -> None:
    """Where the chart's policies are off, anyone may write the annotation."""
    made = job("a")
    made["metadata"]["annotations"] = {"ocore.dev/start-deadline": text}
    assert start_deadline_of(made, 180) == seconds
    late = classify(made, [unplaced(TAINTED)], {}, NOW + timedelta(seconds=seconds + 1), 180)
    assert isinstance(late, JobFailed)
    assert isinstance(classify(made, [unplaced(TAINTED)], {}, NOW + timedelta(seconds=seconds - 1), 180), Starting)
