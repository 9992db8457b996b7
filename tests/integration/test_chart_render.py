"""The chart's templates: taken by the real API server for many values, strict about wrong ones, least privilege."""

import json
import re
from typing import Any

import pytest
import yaml

from ocore_crds.kinds import KINDS, SNAPSHOT
from ocore_kube import types
from ocore_operator.engine.releases import announced
from ocore_operator.settings import Settings
from support.cluster.chart import CHART, Helm, HelmError, accepted, environment, find, prefer_different_nodes_and_zones
from support.cluster.cluster import REPOSITORY, Cluster, Object, unique
from support.cluster.values_schema import SCHEMA, job_defaults
from support.operator.jobs import CHART_JOBS, settings_of_chart

PROMETHEUS: list[Object] = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
RUNBOOKS = "https://git.example.org/docs/runbooks"
ALERTING: Object = {
    "rules": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "alertLabels": {"team": "a"},
        "runbookUrl": RUNBOOKS,
        "disabled": ["OcoreSnapshotNotVerified"],
    },
    "dashboard": {"enabled": True, "labels": {"team": "a"}, "annotations": {"grafana_folder": "Backup"}},
}
MONITORED: Object = {
    "metrics": {"monitor": {"kind": "PodMonitor", "interval": "1m", "labels": {"team": "a"}}, **ALERTING},
    "networkPolicy": {"metricsFrom": PROMETHEUS},
}
EXTRA: Object = {
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "company-ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/company-ca", "readOnly": True}],
}
EVERYTHING: Object = {
    "fullnameOverride": "snapshots",
    "global": {"imagePullSecrets": ["one", {"name": "two"}, {"name": "one"}]},
    "operator": {
        "image": {
            "repository": "registry.example.org/operator",
            "digest": "sha256:" + "0" * 64,
            "pullPolicy": "Always",
        },
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "a"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "tier", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        **EXTRA,
    },
    "commonLabels": {"cost-centre": "12"},
    "mover": {
        "image": "registry.example.org/mover:{major}",
        "majors": [16, 17, 18],
        "serviceAccount": {"name": "mover"},
    },
    "jobs": CHART_JOBS,
    "workloads": {"kinds": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts"}]},
    "settings": {"logLevel": "DEBUG", "jobTtl": 5000000, "requestTimeout": 2.5},
    "serviceAccount": {"name": "snapshots", "annotations": {"a": "b"}},
    "admissionPolicies": {
        "projectLabel": "example.org/project",
        "requestedByTrusted": ["system:serviceaccount:argocd:argocd-application-controller"],
        "jobServiceAccounts": ["backup"],
        "jobAnnotations": ["sidecar.istio.io/inject"],
        "applicationImages": ["registry.example.org/shop/"],
        "statusWriters": ["restorer"],
        "jobWriters": ["restorer"],
        "podWriters": ["system:kube-controller-manager"],
    },
    "networkPolicy": {"restrictEgress": True, "apiServerPorts": [6443], "metricsFrom": PROMETHEUS},
    "metrics": MONITORED["metrics"],
}
NOTHING: Object = {
    "crds": {"install": False},
    "rbac": {"create": False},
    "serviceAccount": {"create": False},
    "admissionPolicies": {
        "pinnedSnapshots": False,
        "neededSnapshots": False,
        "requestedBy": False,
        "operatorAccount": False,
        "writers": False,
    },
    "metrics": {"service": {"enabled": False}},
    "networkPolicy": {"enabled": False},
}
NAMESPACED: Object = {
    "watchNamespaces": ["default", "kube-system"],
    "mover": {"serviceAccount": {"create": True, "annotations": {"example.org/role": "mover"}}},
    "admissionPolicies": {"projectLabel": "project"},
    "metrics": {"monitor": {"kind": "ServiceMonitor"}},
    "networkPolicy": {"metricsFrom": PROMETHEUS},
}
COMBINATIONS = {"defaults": {}, "everything": EVERYTHING, "nothing": NOTHING, "namespaced": NAMESPACED}
#: Settings that are for tests and for running outside a cluster.
NOT_IN_THE_CHART = {"kubeconfig", "allow_failpoints", "failpoint_marks"}


def test_the_defaults_of_jobs_have_the_schema_of_an_environment() -> None:
    """Else the operator would not start with a value that Helm takes. `python -m support.cluster.values_schema`."""
    found = json.loads(SCHEMA.read_text())["properties"]["jobs"]["properties"]
    assert {name: found.get(name) for name in job_defaults()} == job_defaults()


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": {"ocore.dev/uid": "a"}},
        {"annotations": {"batch.kubernetes.io/job-name": "a"}},
        {"labels": {"app.kubernetes.io/managed-by": "a"}},
        {"affinity": {"nodeAfinity": {}}},
        {"allowed": {"annotations": ["ocore.dev/"]}},
        {"extraEnv": [{"name": "OCORE_REQUEST", "value": "a"}]},
        {"extraEnv": [{"name": "PGPASSWORD", "value": "a"}]},
        {"extraEnv": [{"name": "A"}]},
        {"extraEnv": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        {"extraVolumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        {"extraVolumes": [{"name": "admin", "secret": {"secretName": "a"}}]},
        {"extraVolumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/app", "readOnly": True}]},
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/secrets/admin", "readOnly": True}]},
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/a", "readOnly": False}]},
        {"hostAliases": []},
    ],
    ids=str,
)
def test_wrong_values_of_jobs_are_refused(helm: Helm, wrong: Object) -> None:
    with pytest.raises(HelmError):
        helm.render({"jobs": wrong})


def test_the_operator_reads_the_value_jobs(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    for values, wanted in (({}, Settings().jobs), ({"jobs": CHART_JOBS}, settings_of_chart(CHART_JOBS).jobs)):
        monkeypatch.setenv("OCORE_JOBS", environment(helm.render(values))["OCORE_JOBS"])
        assert Settings().jobs == wanted
        monkeypatch.delenv("OCORE_JOBS")


@pytest.fixture(scope="module")
def helm(cluster: Cluster) -> Helm:
    return Helm(cluster)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Any:
    """A restricted namespace."""
    name = cluster.namespace("chart")
    yield name
    cluster.delete("Namespace", name)


@pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)
class TestRendered:
    def test_the_api_server_takes_every_object(self, crds: Cluster, helm: Helm, namespace: str, values: Object) -> None:
        for obj in helm.render(values, release=unique("r"), namespace=namespace):
            accepted(crds, obj)

    def test_the_pod_is_restricted(self, cluster: Cluster, helm: Helm, namespace: str, values: Object) -> None:
        account = {"serviceAccount": {"create": False, "name": "default"}}
        template = find(helm.render(values | account, namespace=namespace), "Deployment")["spec"]["template"]
        metadata = template["metadata"] | {"name": unique("pod"), "namespace": namespace}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        cluster.core.create_namespaced_pod(namespace, pod, dry_run="All")

    def test_every_object_says_whose_it_is(self, helm: Helm, values: Object) -> None:
        for obj in helm.render(values):
            labels = obj["metadata"]["labels"]
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["app.kubernetes.io/instance"] == "ocore"

    def test_nothing_may_read_a_secret_or_use_a_wildcard(self, helm: Helm, values: Object) -> None:
        for obj in helm.render(values):
            for rule in obj.get("rules", ()):
                named = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
                assert not [n for n in named if "*" in n or "secret" in n or "exec" in n or n in ("escalate", "bind")]

    def test_one_replica_that_is_replaced_before_the_next_starts(self, helm: Helm, values: Object) -> None:
        objects = helm.render(values)
        spec = find(objects, "Deployment")["spec"]
        assert spec["replicas"] == 1
        assert spec["strategy"] == {"type": "Recreate"}
        assert environment(objects)["OCORE_STANDBY"] == "false"

    def test_the_operator_reads_its_environment(
        self, helm: Helm, values: Object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environment(helm.render(values)).items():
            monkeypatch.setenv(name, value)
        assert list(Settings().namespaces) == values.get("watchNamespaces", [])


def test_row_99_production_has_a_standby_on_another_node(helm: Helm) -> None:
    objects = helm.render(yaml.safe_load((CHART / "values-production.yaml").read_text()))
    spec = find(objects, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    assert environment(objects)["OCORE_STANDBY"] == "true"
    (budget,) = [obj for obj in objects if obj["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    prefer_different_nodes_and_zones(spec)


def test_helm_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", str(CHART), "--strict", values={})


def test_crds_are_kept(helm: Helm) -> None:
    found = [o for o in helm.render({}) if o["kind"] == "CustomResourceDefinition"]
    assert len(found) == len(KINDS)
    for annotations in (o["metadata"]["annotations"] for o in found):
        assert annotations["helm.sh/resource-policy"] == "keep"
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
        assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
    assert not [o for o in helm.render(NOTHING) if o["kind"] == "CustomResourceDefinition"]


# --- values --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"surprise": 1}, "'surprise' not allowed"),
        ({"operator": {"replicas": 0}}, "/operator/replicas"),
        ({"settings": {"allowFailpoints": True}}, "'allowFailpoints' not allowed"),
        ({"settings": {"jobTtl": 1}}, "/settings/jobTtl"),
        ({"settings": {"requestTimeout": 0}}, "/settings/requestTimeout"),
        ({"settings": {"logLevel": "TRACE"}}, "/settings/logLevel"),
        ({"watchNamespaces": ["Shop"]}, "/watchNamespaces/0"),
        ({"watchNamespaces": "shop"}, "/watchNamespaces"),
        ({"operator": {"image": {"digest": "abc"}}}, "/operator/image/digest"),
        ({"mover": {"majors": []}}, "/mover/majors"),
        ({"mover": {"digests": {"17": "abc"}}}, "/mover/digests/17"),
        ({"global": {"imageRegistry": "https://registry.example.org"}}, "/global/imageRegistry"),
        (
            {"global": {"imageRegistry": ""}},
            "operator.image.repository ocore-snapshots/operator names no registry: set global.imageRegistry",
        ),
        ({"operator": {"extraEnv": [{"name": "OCORE_JOB_TTL", "value": "60"}]}}, "/operator/extraEnv/0/name"),
        ({"commonLabels": {"app.kubernetes.io/name": "other"}}, "invalid propertyName 'app.kubernetes.io/name'"),
        ({"metrics": {"monitor": {"kind": "Probe"}}}, "/metrics/monitor/kind"),
        ({"metrics": {"rules": {"runbookUrl": "docs"}}}, "/metrics/rules/runbookUrl"),
        ({"metrics": {"rules": {"enabled": True, "disabled": ["OcoreNone"]}}}, "OcoreNone is not an alert"),
        ({"metrics": {"dashboard": {"label": ""}}}, "/metrics/dashboard/label"),
        ({"admissionPolicies": {"projectLabel": "a b"}}, "/admissionPolicies/projectLabel"),
        ({"admissionPolicies": {"requestedByTrusted": [""]}}, "/admissionPolicies/requestedByTrusted"),
        ({"admissionPolicies": {"jobServiceAccounts": ["A"]}}, "/admissionPolicies/jobServiceAccounts"),
        ({"admissionPolicies": {"statusWriters": [""]}}, "/admissionPolicies/statusWriters"),
        ({"admissionPolicies": {"jobWriters": [""]}}, "/admissionPolicies/jobWriters"),
        ({"admissionPolicies": {"podWriters": [""]}}, "/admissionPolicies/podWriters"),
        ({"admissionPolicies": {"jobAnnotations": ["a b"]}}, "/admissionPolicies/jobAnnotations"),
        ({"admissionPolicies": {"applicationImages": [""]}}, "/admissionPolicies/applicationImages"),
        ({"mover": {"serviceAccount": {"create": True}}}, "needs watchNamespaces"),
        (
            {
                "metrics": {"service": {"enabled": False}, "monitor": {"kind": "ServiceMonitor"}},
                "networkPolicy": {"metricsFrom": PROMETHEUS},
            },
            "needs metrics.service.enabled",
        ),
    ],
    ids=str,
)
def test_wrong_values_are_refused(helm: Helm, values: Object, words: str) -> None:
    with pytest.raises(HelmError, match=re.escape(words)):
        helm.render(values)


def _leaves(values: Object, path: str = "") -> list[str]:
    found: list[str] = []
    for name, value in values.items():
        here = f"{path}.{name}".lstrip(".")
        found += _leaves(value, here) if isinstance(value, dict) and value and name != "resources" else [here]
    return found


def test_every_value_is_in_the_readme_and_in_the_schema() -> None:
    text = (CHART / "README.md").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    # A row may name several: `a.b`, `.c` is a.b and a.c.
    documented: set[str] = set()
    for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE):
        names = re.findall(r"`([\w.]+)`", row)
        stem = names[0].rpartition(".")[0] if names else ""
        documented |= {f"{stem}{name}" if name.startswith(".") else name for name in names}
    for leaf in _leaves(yaml.safe_load((CHART / "values.yaml").read_text())):
        assert leaf in documented, f"{leaf} is not in README.md"
        node = schema
        for part in leaf.split("."):
            node = node["properties"][part]


def test_the_settings_are_the_operators(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting can be reached by a value but those for tests, and the chart's defaults are the operator's own."""
    objects = helm.render({})
    (container,) = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    names = {v["name"].removeprefix("OCORE_").lower() for v in container["env"]}
    assert names == set(Settings.model_fields) - NOT_IN_THE_CHART
    plain = Settings()
    for name, value in environment(objects).items():
        monkeypatch.setenv(name, value)
    assert Settings().model_dump(exclude={"lease_name", "mover_image"}) == plain.model_dump(
        exclude={"lease_name", "mover_image"}
    )


@pytest.mark.parametrize(("seconds", "grace"), [(150, 180), (0.5, 31), (600, 630)])
def test_the_operator_has_time_to_start_applications_again(helm: Helm, seconds: float, grace: int) -> None:
    objects = helm.render({"settings": {"shutdownSeconds": seconds}})
    pod = find(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == grace
    assert environment(objects)["OCORE_SHUTDOWN_SECONDS"] == str(seconds)


def test_numbers_are_written_out(helm: Helm) -> None:
    variables = environment(helm.render(EVERYTHING))
    assert variables["OCORE_JOB_TTL"] == "5000000"
    assert variables["OCORE_REQUEST_TIMEOUT"] == "2.5"
    assert variables["OCORE_MOVER_MAJORS"] == "16,17,18"
    assert variables["OCORE_IMAGE_PULL_SECRETS"] == "one,two"
    assert variables["OCORE_JOB_SERVICE_ACCOUNT"] == "mover"


def test_each_pod_of_the_release_has_the_pull_secrets(helm: Helm) -> None:
    """The Jobs get them of the operator (test_numbers_are_written_out)."""
    facade = {"api": {"enabled": True, "jwt": {"issuer": "https://i.example.org", "audience": ["o"],
                                               "jwks": {"configMap": {"name": "keys"}}}}}  # fmt: skip

    def secrets(values: Object) -> list[Object | None]:
        made = [o for o in helm.render(facade | values) if o["kind"] == "Deployment"]
        assert len(made) == 2
        return [o["spec"]["template"]["spec"].get("imagePullSecrets") for o in made]

    # As a subchart it shares `global` with charts that take the one form or the other.
    for given in ["one", "two"], [{"name": "one"}, {"name": "two"}], ["one", {"name": "two"}, {"name": "one"}]:
        assert secrets({"global": {"imagePullSecrets": given}}) == [[{"name": "one"}, {"name": "two"}]] * 2
    assert secrets({}) == [None, None]


def test_a_digest_goes_before_the_tag(helm: Helm) -> None:
    (container,) = find(helm.render(EVERYTHING), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.org/operator@sha256:{'0' * 64}"


def test_images_are_those_of_the_chart_in_the_registry_that_is_given(helm: Helm) -> None:
    """As a user installs a release: with a registry, and without the values of the local cluster."""
    released = {
        "global": {"imageRegistry": "registry.example.org/team/"},
        "operator": {"image": {"tag": ""}},
        "mover": {"image": "ocore-snapshots/mover:{version}-pg{major}", "digests": {"17": "sha256:" + "1" * 64}},
    }
    objects = helm.render(released)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    (container,) = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.org/team/ocore-snapshots/operator:{version}"
    variables = environment(objects)
    assert variables["OCORE_MOVER_IMAGE"] == f"registry.example.org/team/ocore-snapshots/mover:{version}-pg{{major}}"
    assert variables["OCORE_MOVER_DIGESTS"] == f"17=sha256:{'1' * 64}"


@pytest.mark.parametrize("repository", ["other.example.org/x/operator", "localhost/operator", "mirror:5000/operator"])
def test_a_repository_with_a_registry_keeps_it(helm: Helm, repository: str) -> None:
    objects = helm.render({"operator": {"image": {"repository": repository}}})
    (container,) = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{repository}:dev"


def test_what_is_added_to_the_pod(helm: Helm) -> None:
    objects = helm.render(EVERYTHING)
    template = find(objects, "Deployment")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert EXTRA["extraEnv"][0] in container["env"]
    assert EXTRA["extraVolumes"][0] in template["spec"]["volumes"]
    assert EXTRA["extraVolumeMounts"][0] in container["volumeMounts"]
    assert {"cost-centre": "12", "team": "a"}.items() <= template["metadata"]["labels"].items()
    assert all(o["metadata"]["labels"]["cost-centre"] == "12" for o in objects)


def test_monitors(helm: Helm) -> None:
    pods = find(helm.render(MONITORED), "PodMonitor")
    # Without honorLabels, the namespace of each Environment would become that of the operator.
    endpoint = {"port": "http", "path": "/metrics", "interval": "1m", "honorLabels": True}
    assert pods["spec"]["podMetricsEndpoints"] == [endpoint]
    assert pods["metadata"]["labels"]["team"] == "a"
    objects = helm.render(NAMESPACED)
    service, monitor = find(objects, "Service"), find(objects, "ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["spec"]["endpoints"][0]["honorLabels"] is True
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def _rules(objects: list[Object]) -> dict[str, Object]:
    """Name of the alert → its rule."""
    groups = find(objects, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_the_alerts_are_those_of_the_file(helm: Helm) -> None:
    """tests/unit/chart tests the file; the release changes its labels, adds the links, and leaves out what its settings
    name."""
    groups = yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]
    file = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    plain = helm.render({"metrics": {"rules": {"enabled": True}}})
    assert find(plain, "PrometheusRule")["spec"]["groups"] == groups
    objects = helm.render(EVERYTHING)
    assert find(objects, "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"
    rules = _rules(objects)
    assert set(file) - set(rules) == {"OcoreSnapshotNotVerified"}
    for name, rule in rules.items():
        assert (rule["expr"], rule["for"]) == (file[name]["expr"], file[name]["for"])
        assert rule["labels"] == {**file[name]["labels"], "team": "a"}
        assert rule["annotations"] == {**file[name]["annotations"], "runbook_url": f"{RUNBOOKS}/{name}.md"}


def test_labels_of_alerts_replace_the_severity(helm: Helm) -> None:
    values = {
        "metrics": {"rules": {"enabled": True, "alertLabels": {"severity": "page"}, "runbookUrl": f"{RUNBOOKS}/"}}
    }
    for name, rule in _rules(helm.render(values)).items():
        assert rule["labels"] == {"severity": "page"}
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}/{name}.md"


def test_the_dashboard_is_the_file(helm: Helm) -> None:
    found = find(helm.render(EVERYTHING), "ConfigMap", "-dashboard")
    assert json.loads(found["data"]["ocore-snapshots.json"]) == json.loads((CHART / "files/dashboard.json").read_text())
    assert found["metadata"]["labels"].items() >= {"grafana_dashboard": "1", "team": "a"}.items()
    assert found["metadata"]["annotations"] == {"grafana_folder": "Backup"}


def test_alerts_and_dashboard_are_off_by_default(helm: Helm) -> None:
    assert {"PrometheusRule", "ConfigMap"} & {o["kind"] for o in helm.render({})} == set()


def test_only_named_peers_reach_the_operators_port(helm: Helm) -> None:
    spec = find(helm.render({}), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"] == []
    pod = find(helm.render({}), "Deployment")["spec"]["template"]["metadata"]
    assert spec["podSelector"]["matchLabels"].items() <= pod["labels"].items()
    spec = find(helm.render(MONITORED | {"metrics": {"port": 9000}}), "NetworkPolicy")["spec"]
    assert spec["ingress"] == [{"ports": [{"port": 9000, "protocol": "TCP"}], "from": PROMETHEUS}]
    spec = find(helm.render({"networkPolicy": {"restrictEgress": True, "apiServerPorts": [8443]}}), "NetworkPolicy")[
        "spec"
    ]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 8443}
    assert not [o for o in helm.render({"networkPolicy": {"enabled": False}}) if o["kind"] == "NetworkPolicy"]


def test_a_monitor_that_no_policy_lets_in_is_refused(helm: Helm) -> None:
    monitor = {"metrics": MONITORED["metrics"]}
    with pytest.raises(HelmError, match=r"metrics\.monitor\.kind needs networkPolicy\.metricsFrom"):
        helm.render(monitor)
    assert find(helm.render(monitor | {"networkPolicy": {"enabled": False}}), "PodMonitor")


# --- permissions ---------------------------------------------------------------------------------------------
OURS = ("environments", "snapshotstores", "snapshots", "snapshotpolicies", "rollbacks", "extracts")
IN_A_NAMESPACE = {
    **{kind: {"get", "list", "watch"} for kind in OURS},
    **{f"{kind}/status": {"patch"} for kind in OURS},
    "snapshots": {"get", "list", "watch", "patch", "create", "delete"},
    "rollbacks": {"get", "list", "watch", "create", "patch", "delete"},  # create: an import
    "extracts": {"get", "list", "watch", "patch"},
    "jobs": {"create", "get", "list", "watch", "delete"},
    "pods": {"list", "watch", "patch"},
    "pods/log": {"get"},
    "events": {"create", "list"},
    "deployments": {"get", "patch"},
    "statefulsets": {"get", "patch"},
    "deployments/scale": {"patch"},
    "statefulsets/scale": {"patch"},
    "cronjobs": {"get", "patch"},
    "persistentvolumeclaims": {"get"},
    "configmaps": {"get"},
}
EVERYWHERE = {
    "namespaces": {"get"},
    "customresourcedefinitions": {"get"},
    "clusterroles": {"list"},  # which announce other releases
    "leases": {"get"},  # of these
    "operators": {"run"},  # nothing: the mark of an operator
}
OURS_EVERYWHERE = {kind: {"get", "patch"} for kind in ("snapshots", "rollbacks", "extracts")}  # finalizers


def granted(role: Object) -> dict[str, set[str]]:
    """Resource → verbs."""
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            found.setdefault(resource, set()).update(rule["verbs"])
    return found


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"mover": {"digests": {"17": f"sha256:{'a' * 64}"}}}])
def test_row_83_the_policy_names_the_images_of_the_jobs(
    helm: Helm, values: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = helm.render(values)
    for name, value in environment(objects).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    rules = json.dumps(find(objects, "ValidatingAdmissionPolicy", "-operator-jobs")).replace('\\"', '"')
    (named,) = re.findall(r"variables\.containers\[0\]\.image in (\[.*?\])", rules)
    assert json.loads(named) == [settings.image(major) for major in settings.mover_majors]


@pytest.mark.parametrize("values", [{}, NAMESPACED])
def test_row_83_the_operator_cannot_point_its_jobs_elsewhere(helm: Helm, values: Object) -> None:
    """A client with its token reads specs: that of an Environment names Secrets, claims and workloads, that of a store
    a bucket."""
    for role in (
        o for o in helm.render(values) if o["kind"] in ("Role", "ClusterRole") and "operator" in o["metadata"]["name"]
    ):
        rights = granted(role)
        for kind in ("environments", "snapshotstores", "snapshotpolicies"):
            assert rights.get(kind, set()) <= {"get", "list", "watch"}, role["metadata"]["name"]


def test_cluster_wide_permissions(helm: Helm) -> None:
    objects = helm.render({})
    assert granted(find(objects, "ClusterRole", "-operator")) == IN_A_NAMESPACE | EVERYWHERE
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "Role"] == ["ocore-ocore-snapshots-lease"]


def test_namespaced_permissions(helm: Helm) -> None:
    objects = helm.render(NAMESPACED)
    assert granted(find(objects, "ClusterRole", "-operator")) == EVERYWHERE | OURS_EVERYWHERE
    roles = [o for o in objects if o["kind"] == "Role" and o["metadata"]["name"].endswith("-operator")]
    assert [r["metadata"]["namespace"] for r in roles] == NAMESPACED["watchNamespaces"]
    assert all(granted(role) == IN_A_NAMESPACE for role in roles)
    bindings = [o for o in objects if o["kind"] == "RoleBinding" and o["metadata"]["name"].endswith("-operator")]
    assert [b["metadata"]["namespace"] for b in bindings] == NAMESPACED["watchNamespaces"]
    account = {"kind": "ServiceAccount", "name": "ocore-ocore-snapshots", "namespace": "ocore-system"}
    assert all(b["subjects"] == [account] for b in bindings)


def test_the_right_to_change_an_image_can_be_taken_away(helm: Helm) -> None:
    """The operator then refuses restoreImage: Always."""
    objects = helm.render({"settings": {"restoreImage": False}})
    without = IN_A_NAMESPACE | {"deployments": {"get"}, "statefulsets": {"get"}}
    assert granted(find(objects, "ClusterRole", "-operator")) == without | EVERYWHERE
    assert environment(objects)["OCORE_RESTORE_IMAGE"] == "false"
    listed = {"applicationImages": ["a/", "b/"]}
    assert environment(helm.render({"admissionPolicies": listed}))["OCORE_APPLICATION_IMAGES"] == "a/,b/"
    free = environment(helm.render({"admissionPolicies": {"operatorAccount": False}}))
    assert free["OCORE_APPLICATION_IMAGES"] == "*"
    assert environment(helm.render({}))["OCORE_RESTORE_IMAGE"] == "true"


def test_clusters_of_cloudnativepg_are_read_only_where_asked_for(helm: Helm) -> None:
    """With the default spec.database.cnpg is Stalled (ClusterAccessDenied)."""
    cnpg = {"clusters": {"get"}, "databases": {"list"}}
    objects = helm.render({"rbac": {"cnpg": True}})
    assert granted(find(objects, "ClusterRole", "-operator")) == IN_A_NAMESPACE | EVERYWHERE | cnpg
    objects = helm.render({**NAMESPACED, "rbac": {"cnpg": True}})
    roles = [o for o in objects if o["kind"] == "Role" and o["metadata"]["name"].endswith("-operator")]
    assert [granted(role) for role in roles] == [IN_A_NAMESPACE | cnpg] * len(NAMESPACED["watchNamespaces"])


def test_secrets_are_made_only_where_asked_for_and_held_by_a_policy(helm: Helm) -> None:
    """The right to create any Secret is that of any service account of the namespace."""
    objects = helm.render({"rbac": {"jobIdentities": True}})
    secrets = {"secrets": {"create", "delete"}}
    assert granted(find(objects, "ClusterRole", "-operator")) == IN_A_NAMESPACE | EVERYWHERE | secrets
    policies = [o for o in objects if o["kind"].startswith("ValidatingAdmission")]
    assert [o["kind"] for o in policies if o["metadata"]["name"].endswith("-operator-secrets")] == [
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]
    with pytest.raises(HelmError, match=r"admissionPolicies\.operatorAccount"):
        helm.render({"rbac": {"jobIdentities": True}, "admissionPolicies": {"operatorAccount": False}})


def test_a_listed_kind_can_be_scaled_and_no_more(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts"}
    objects = helm.render({"workloads": {"kinds": [kind]}})
    role = find(objects, "ClusterRole", "-operator")
    scaled = {"rollouts": {"get"}, "rollouts/scale": {"get", "patch"}}
    assert granted(role) == IN_A_NAMESPACE | EVERYWHERE | scaled
    groups = [r["apiGroups"] for r in role["rules"] if "rollouts" in r["resources"][0]]
    assert groups == [["argoproj.io"], ["argoproj.io"]]
    monkeypatch.setenv("OCORE_WORKLOAD_KINDS", environment(objects)["OCORE_WORKLOAD_KINDS"])
    assert [each.wire() for each in Settings().workload_kinds] == [kind]
    with pytest.raises(HelmError):
        helm.render({"workloads": {"kinds": [{**kind, "resource": "*"}]}})


def test_only_the_crd_that_is_read(helm: Helm) -> None:
    """By snapshot/cascade.py."""
    rules = find(helm.render({}), "ClusterRole", "-operator")["rules"]
    (rule,) = [r for r in rules if "customresourcedefinitions" in r["resources"]]
    assert rule["resourceNames"] == [SNAPSHOT.crd_name]


def test_the_lease_is_its_own(helm: Helm) -> None:
    objects = helm.render({})
    create, own = find(objects, "Role", "-lease")["rules"]
    assert create["verbs"] == ["create"]
    assert own["resourceNames"] == [environment(objects)["OCORE_LEASE_NAME"]]
    assert own["verbs"] == ["get", "patch"]


@pytest.mark.parametrize("values", [{}, NAMESPACED])
def test_row_122_a_release_is_announced_where_no_tenant_writes(helm: Helm, values: Object) -> None:
    """In a ClusterRole, as the operator reads it."""
    objects = helm.render(values)
    role = find(objects, "ClusterRole", "-operator")
    assert role["metadata"]["labels"]["ocore.dev/release"] == "true"
    meta = {**role["metadata"], "creationTimestamp": "2026-01-01T00:00:00Z", "uid": "u"}
    found = announced({"metadata": meta})
    assert found is not None
    settings = environment(objects)
    assert found.lease == ("ocore-system", settings["OCORE_LEASE_NAME"])
    assert ",".join(found.watches) == settings["OCORE_NAMESPACES"]
    assert [o["kind"] for o in objects if "ocore.dev/release" in o["metadata"].get("labels", {})] == ["ClusterRole"]


def test_everything_that_the_operator_asks_for_is_granted(helm: Helm) -> None:
    objects = helm.render({"rbac": {"cnpg": True, "jobIdentities": True}})
    roles = [find(objects, "ClusterRole", "-operator"), find(objects, "Role", "-lease")]
    resources = {resource for role in roles for resource in granted(role)}
    asked = {value.plural for value in vars(types).values() if isinstance(value, types.Type)}
    assert asked
    assert asked <= resources


def test_users_get_our_kinds_by_their_roles(helm: Helm) -> None:
    objects = helm.render({})
    assert granted(find(objects, "ClusterRole", "-view")) == {k: {"get", "list", "watch"} for k in OURS}
    assert set(granted(find(objects, "ClusterRole", "-edit"))) == {"snapshots", "rollbacks", "extracts"}
    assert set(granted(find(objects, "ClusterRole", "-admin"))) == {
        "environments",
        "snapshotstores",
        "snapshotpolicies",
    }
    assert not [o for o in helm.render({"rbac": {"aggregate": False}}) if "-edit" in o["metadata"]["name"]]


@pytest.mark.parametrize("path", ["argocd/application.yaml", "flux/operator.yaml"])
def test_the_examples_for_gitops_give_values_that_the_chart_takes(helm: Helm, path: str) -> None:
    """Those in comments, for a registry with a password."""
    text = (REPOSITORY / "examples/gitops" / path).read_text()
    text = re.sub(r"(?m)^( *)# (?= *(helm|valuesObject|values|global|imagePullSecrets):)", r"\1", text)
    found = [d for d in yaml.safe_load_all(text) if d]
    (values,) = [
        v
        for d in found
        for v in (d["spec"].get("values"), d["spec"].get("source", {}).get("helm", {}).get("valuesObject"))
        if v
    ]
    pod = find(helm.render(values), "Deployment")["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
