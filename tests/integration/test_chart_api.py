"""The REST facade in the chart: what is rendered, what it may do, and that admission holds its account to one
annotation of an Environment."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ocore_api.settings import Settings
from support.cluster.chart import CHART, Helm, HelmError, accepted, environment, find, prefer_different_nodes_and_zones
from support.cluster.cluster import GROUP, Cluster, Object, unique, wait_for
from support.crds.samples import SPECS

#: The least that an enabled facade needs.
KEYS: Object = {"jwks": {"configMap": {"name": "keys"}}}
JWT: Object = {"issuer": "https://issuer.example.org", "audience": ["ocore"], **KEYS}
ON: Object = {"api": {"enabled": True, "jwt": JWT}}
PEERS: list[Object] = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]
SCRAPERS: list[Object] = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
EVERYTHING: Object = {
    "fullnameOverride": "snapshots",
    "global": {"imagePullSecrets": ["pull"]},
    "networkPolicy": {"metricsFrom": SCRAPERS},
    "api": {
        "enabled": True,
        "image": {"repository": "registry.example.org/api", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
        "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 9, "cpuPercent": 50},
        "podDisruptionBudget": {"maxUnavailable": 2},
        "port": 9000,
        "monitoringPort": 9001,
        "drainSeconds": 0,
        "jwt": {
            **JWT,
            "audience": ["ocore", "other"],
            "jwks": {"url": "https://issuer.example.org/keys", "caConfigMap": {"name": "authorities"}},
        },
        "settings": {
            "maxStreams": 5000000,
            "ratePerSecond": 2.5,
            "corsOrigins": ["https://a.example.org", "https://b.example.org"],
            "defaultScopes": ["read"],
            "docs": False,
            "uiClientId": "page",
            "uiScopes": ["openid", "offline_access"],
            "uiProviderOrigins": ["https://token.example.org"],
        },
        "service": {"type": "NodePort", "port": 8000, "nodePort": 30999, "annotations": {"a": "b"}},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"a": "b"},
            "hosts": ["api.example.org", "*.example.net"],
            "tls": [{"secretName": "tls", "hosts": ["api.example.org"]}],
        },
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["api.example.org"]},
        "monitor": {"kind": "ServiceMonitor", "interval": "1m", "labels": {"team": "a"}},
        "networkPolicy": {"from": PEERS, "restrictEgress": True},
        "serviceAccount": {"annotations": {"a": "b"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "a"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "tier", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}],
        "extraVolumes": [{"name": "company-ca", "configMap": {"name": "company-ca"}}],
        "extraVolumeMounts": [{"name": "company-ca", "mountPath": "/etc/company-ca", "readOnly": True}],
    },
}
NOTHING: Object = {
    "crds": {"install": False},
    "rbac": {"create": False},
    "admissionPolicies": {"apiAccount": False},
    "api": {
        "enabled": True,
        "jwt": {**JWT, "jwks": {}, "sharedSecret": {"name": "shared"}},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}
NAMESPACED: Object = {
    "watchNamespaces": ["default", "kube-system"],
    "api": {
        "enabled": True,
        "jwt": {**JWT, "jwks": {"secret": {"name": "keys", "key": "set.json"}}},
        "monitor": {"kind": "PodMonitor"},
        "ingress": {"enabled": True},
    },
}
COMBINATIONS = {"defaults": ON, "everything": EVERYTHING, "nothing": NOTHING, "namespaced": NAMESPACED}
#: Settings that are for running outside a pod.
NOT_IN_THE_CHART = {"kubeconfig", "http_host", "ui_folder"}


@pytest.fixture(scope="module")
def helm(cluster: Cluster) -> Helm:
    return Helm(cluster)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A restricted namespace."""
    name = cluster.namespace("chart-api")
    yield name
    cluster.delete("Namespace", name)


def api_objects(objects: list[Object]) -> list[Object]:
    """The facade's own objects."""
    return [o for o in objects if o["metadata"]["labels"].get("app.kubernetes.io/component") == "api"]


def pod_of(objects: list[Object]) -> Object:
    """The template of the facade's pods."""
    return dict(find(objects, "Deployment", "-api")["spec"]["template"])


@pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)
class TestRendered:
    def test_the_api_server_takes_every_object(self, crds: Cluster, helm: Helm, namespace: str, values: Object) -> None:
        for obj in helm.render(values, release=unique("r"), namespace=namespace):
            accepted(crds, obj)

    def test_the_pod_is_restricted(self, cluster: Cluster, helm: Helm, namespace: str, values: Object) -> None:
        template = pod_of(helm.render(values, namespace=namespace))
        metadata = template["metadata"] | {"name": unique("pod"), "namespace": namespace}
        spec = template["spec"] | {"serviceAccountName": "default"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        cluster.core.create_namespaced_pod(namespace, pod, dry_run="All")

    def test_the_facade_reads_its_environment(
        self, helm: Helm, values: Object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environment(helm.render(values), "-api").items():
            monkeypatch.setenv(name, value)
        settings = Settings()
        assert list(settings.namespaces) == values.get("watchNamespaces", [])
        assert settings.jwt_issuer == "https://issuer.example.org"

    def test_every_selector_finds_the_pods_and_only_them(self, helm: Helm, values: Object) -> None:
        objects = helm.render(values)
        labels = pod_of(objects)["metadata"]["labels"]
        operator = find([o for o in objects if o not in api_objects(objects)], "Deployment")["spec"]["template"]
        for obj in api_objects(objects):
            spec = obj.get("spec", {})
            selectors = [spec.get("selector"), spec.get("podSelector")]
            for selector in filter(None, selectors):
                wanted = selector.get("matchLabels", selector)
                assert wanted.items() <= labels.items()
                assert not wanted.items() <= operator["metadata"]["labels"].items()


def test_it_is_off_by_default(helm: Helm) -> None:
    objects = helm.render({})
    assert api_objects(objects) == []
    assert not [o for o in objects if "-api" in o["metadata"]["name"]]


def test_the_settings_are_the_facades(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting can be reached by a value, and the chart's defaults are the facade's own."""
    names: set[str] = set()
    for values in COMBINATIONS.values():
        (container,) = pod_of(helm.render(values))["spec"]["containers"]
        names |= {v["name"].removeprefix("OCORE_API_").lower() for v in container["env"] if "OCORE" in v["name"]}
    assert names == set(Settings.model_fields) - NOT_IN_THE_CHART
    variables = environment(helm.render(ON), "-api")
    for name in ("OCORE_API_JWT_ISSUER", "OCORE_API_JWT_AUDIENCE", "OCORE_API_JWKS_FILE"):
        monkeypatch.setenv(name, variables[name])
    plain = Settings()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings() == plain


def test_values_are_written_out(helm: Helm) -> None:
    variables = environment(helm.render(EVERYTHING), "-api")
    assert variables["OCORE_API_MAX_STREAMS"] == "5000000"
    assert variables["OCORE_API_RATE_PER_SECOND"] == "2.5"
    assert variables["OCORE_API_CORS_ORIGINS"] == "https://a.example.org,https://b.example.org"
    assert variables["OCORE_API_JWT_AUDIENCE"] == "ocore,other"
    assert variables["OCORE_API_DOCS"] == "false"
    assert variables["OCORE_API_UI_SCOPES"] == "openid,offline_access"


@pytest.mark.parametrize(
    ("values", "variable", "volume"),
    [
        (ON, "OCORE_API_JWKS_FILE", ("configMap", "name", "keys", "jwks.json")),
        (NAMESPACED, "OCORE_API_JWKS_FILE", ("secret", "secretName", "keys", "set.json")),
        (NOTHING, "OCORE_API_JWT_SECRET_FILE", ("secret", "secretName", "shared", "secret")),
        (EVERYTHING, "OCORE_API_JWKS_CA_FILE", ("configMap", "name", "authorities", "ca.crt")),
    ],
    ids=["configMap", "secret", "sharedSecret", "ca"],
)
def test_keys_are_mounted_where_the_facade_reads_them(
    helm: Helm, values: Object, variable: str, volume: tuple[str, str, str, str]
) -> None:
    objects = helm.render(values)
    spec = pod_of(objects)["spec"]
    path = environment(objects, "-api")[variable]
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if path.startswith(m["mountPath"] + "/")]
    assert mount["readOnly"] is True
    assert "subPath" not in mount  # a file mounted alone is never updated
    (source,) = [v for v in spec["volumes"] if v["name"] == mount["name"]]
    kind, field, name, key = volume
    assert source[kind][field] == name
    assert source[kind]["items"] == [{"key": key, "path": path.removeprefix(mount["mountPath"] + "/")}]
    assert source[kind].get("defaultMode") == (0o440 if kind == "secret" else None)


def test_pods_are_replaced_one_after_the_other_and_drained(helm: Helm) -> None:
    objects = helm.render(ON)
    spec = find(objects, "Deployment", "-api")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    # Drained, then open requests, then some time to close.
    assert pod["terminationGracePeriodSeconds"] == 5 + 10 + 5
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    # Without a limit, which clients that share an address with the kubelet could use up.
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    assert {container[name]["httpGet"]["port"] for name in probes} == {"monitoring"}
    prefer_different_nodes_and_zones(spec)
    budget = find(objects, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert not [o for o in objects if o["kind"] == "HorizontalPodAutoscaler"]


def test_an_autoscaler_replaces_the_number_of_replicas(helm: Helm) -> None:
    objects = helm.render(EVERYTHING)
    deployment = find(objects, "Deployment", "-api")
    assert "replicas" not in deployment["spec"]
    scaler = find(objects, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    assert "lifecycle" not in deployment["spec"]["template"]["spec"]["containers"][0]


def test_only_the_api_and_its_documents_leave_the_cluster(helm: Helm) -> None:
    """Health and metrics have no token."""
    objects = helm.render(NAMESPACED)
    (rule,) = find(objects, "Ingress")["spec"]["rules"]
    assert "host" not in rule
    assert [p["path"] for p in rule["http"]["paths"]] == ["/api", "/console", "/docs", "/openapi.json"]
    assert {p["pathType"] for p in rule["http"]["paths"]} == {"Prefix"}  # the files of the page of /docs, too
    objects = helm.render(EVERYTHING)
    ingress, route, service = (find(objects, kind, "-api") for kind in ("Ingress", "HTTPRoute", "Service"))
    assert [r["host"] for r in ingress["spec"]["rules"]] == ["api.example.org", "*.example.net"]
    for rule in ingress["spec"]["rules"]:
        assert [p["path"] for p in rule["http"]["paths"]] == ["/api", "/console"]
        assert {p["backend"]["service"]["name"] for p in rule["http"]["paths"]} == {service["metadata"]["name"]}
    (rule,) = route["spec"]["rules"]
    assert [m["path"]["value"] for m in rule["matches"]] == ["/api", "/console"]
    assert rule["timeouts"] == {"request": "0s"}
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}]


def test_row_108_the_page_leaves_the_cluster_only_where_it_is_on(helm: Helm) -> None:
    assert environment(helm.render(ON), "-api")["OCORE_API_UI"] == "false"
    values = {"api": {**EVERYTHING["api"], "settings": {"ui": True, "docs": False}}}
    objects = helm.render(values)
    assert environment(objects, "-api")["OCORE_API_UI"] == "true"
    for rule in find(objects, "Ingress", "-api")["spec"]["rules"]:
        paths = [(p["path"], p["pathType"]) for p in rule["http"]["paths"]]
        assert paths == [("/api", "Prefix"), ("/console", "Prefix"), ("/ui", "Prefix")]
    (rule,) = find(objects, "HTTPRoute", "-api")["spec"]["rules"]
    assert [m["path"] for m in rule["matches"]] == [
        {"type": "PathPrefix", "value": p} for p in ("/api", "/console", "/ui")
    ]


def test_the_service_reaches_the_port(helm: Helm) -> None:
    objects = helm.render(EVERYTHING)
    (port,) = find(objects, "Service", "-api")["spec"]["ports"]
    assert (port["port"], port["nodePort"]) == (8000, 30999)
    (container,) = pod_of(objects)["spec"]["containers"]
    assert container["ports"] == [
        {"name": port["targetPort"], "containerPort": 9000},
        {"name": "monitoring", "containerPort": 9001},
    ]
    assert environment(objects, "-api")["OCORE_API_MONITORING_PORT"] == "9001"
    assert environment(objects, "-api")["OCORE_API_HTTP_PORT"] == "9000"
    assert "nodePort" not in find(helm.render(ON), "Service", "-api")["spec"]["ports"][0]


def test_monitors(helm: Helm) -> None:
    service = find(helm.render(EVERYTHING), "Service", "-api")
    monitor = find(helm.render(EVERYTHING), "ServiceMonitor")
    assert monitor["spec"]["endpoints"] == [{"targetPort": "monitoring", "path": "/metrics", "interval": "1m"}]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["team"] == "a"
    assert find(helm.render(NAMESPACED), "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] == "monitoring"


def test_the_network_policy(helm: Helm) -> None:
    spec = find(helm.render(ON), "NetworkPolicy", "-api")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    spec = find(helm.render(EVERYTHING), "NetworkPolicy", "-api")["spec"]
    assert spec["ingress"] == [
        {"ports": [{"port": 9000, "protocol": "TCP"}], "from": PEERS},
        {"ports": [{"port": 9001, "protocol": "TCP"}], "from": SCRAPERS},
    ]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 443, 6443}


@pytest.mark.parametrize(
    ("api", "words"),
    [
        ({"enabled": True, "jwt": {"audience": ["a"], **KEYS}}, "needs api.jwt.issuer"),
        ({"enabled": True, "jwt": {"issuer": "i", **KEYS}}, "needs api.jwt.audience"),
        ({"enabled": True, "jwt": {"issuer": "i", "audience": ["a"]}}, "needs exactly one of api.jwt.jwks.url"),
        ({"enabled": True, "jwt": JWT | {"sharedSecret": {"name": "s"}}}, "needs exactly one of api.jwt.jwks.url"),
        ({"enabled": True, "jwt": JWT | {"jwks": {"url": "http://keys"}}}, "must begin with https://"),
        ({"enabled": True, "jwt": JWT, "httpRoute": {"enabled": True}}, "needs api.httpRoute.parentRefs"),
        (
            {"enabled": True, "jwt": JWT, "autoscaling": {"enabled": True, "minReplicas": 9}},
            "greater than api.autoscaling.maxReplicas",
        ),
        ({"surprise": 1}, "'surprise' not allowed"),
        ({"settings": {"kubeconfig": "/k"}}, "'kubeconfig' not allowed"),
        ({"settings": {"corsOrigins": ["*"]}}, "/api/settings/corsOrigins/0"),
        ({"settings": {"defaultScopes": ["all"]}}, "/api/settings/defaultScopes/0"),
        ({"settings": {"uiScopes": []}}, "/api/settings/uiScopes"),
        ({"settings": {"uiProviderOrigins": ["https://a; script-src *"]}}, "/api/settings/uiProviderOrigins/0"),
        ({"port": 80}, "/api/port"),
        ({"monitor": {"kind": "Probe"}}, "/api/monitor/kind"),
        ({"image": {"digest": "abc"}}, "/api/image/digest"),
        ({"ingress": {"hosts": ["https://a"]}}, "/api/ingress/hosts/0"),
    ],
    ids=str,
)
def test_wrong_values_are_refused(helm: Helm, api: Object, words: str) -> None:
    with pytest.raises(HelmError, match=re.escape(words)):
        helm.render({"api": api})


# --- permissions ---------------------------------------------------------------------------------------------
GRANTED = {
    "environments": {"get", "list", "watch", "patch"},
    "snapshots": {"get", "list", "watch", "create", "patch", "delete"},
    "rollbacks": {"get", "list", "watch", "create", "delete"},
    "extracts": {"get", "list", "watch", "create"},
    "snapshotpolicies": {"get", "list", "watch", "create", "patch"},
    "snapshotstores": {"list"},
}


def granted(role: Object) -> dict[str, set[str]]:
    """Resource → verbs, of our group only."""
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        assert rule["apiGroups"] == ["ocore.dev"]
        assert "resourceNames" not in rule
        for resource in rule["resources"]:
            found.setdefault(resource, set()).update(rule["verbs"])
    return found


def test_cluster_wide_permissions(helm: Helm) -> None:
    objects = helm.render(ON)
    assert granted(find(objects, "ClusterRole", "-api")) == GRANTED
    binding = find(objects, "ClusterRoleBinding", "-api")
    account = pod_of(objects)["spec"]["serviceAccountName"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "ocore-system"}]
    assert find(objects, "ServiceAccount", "-api")["metadata"]["name"] == account
    assert not [o for o in api_objects(objects) if o["kind"] == "Role"]


def test_namespaced_permissions(helm: Helm) -> None:
    objects = api_objects(helm.render(NAMESPACED))
    roles = [o for o in objects if o["kind"] == "Role"]
    assert [r["metadata"]["namespace"] for r in roles] == NAMESPACED["watchNamespaces"]
    assert all(granted(role) == GRANTED for role in roles)
    assert [b["metadata"]["namespace"] for b in objects if b["kind"] == "RoleBinding"] == NAMESPACED["watchNamespaces"]
    assert not [o for o in objects if o["kind"].startswith("ClusterRole")]


def test_rights_can_be_left_to_the_administrator(helm: Helm) -> None:
    assert not [o for o in api_objects(helm.render(NOTHING)) if "Role" in o["kind"]]


# --- admission -----------------------------------------------------------------------------------------------
class Account:
    """The facade's account at the API server."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.user = f"system:serviceaccount:{namespace}:{name}"

    def refused(self, method: str, body: Object | None = None, *, dry_run: bool = False, **how: Any) -> str:
        """What the server says to a write to the Environment `shop` that it refuses."""
        return self.cluster.refusal(
            method, "Environment", self.namespace, "shop", body, user=self.user, dry_run=dry_run, **how
        )

    def patch(self, body: Object, **how: Any) -> str:
        """The same of a merge patch."""
        return self.refused("PATCH", body, **how)


@pytest.fixture(scope="module")
def facade(crds: Cluster, helm: Helm, namespace: str) -> Iterator[Account]:
    """The facade's account, with its rights in one namespace and the admission policy in force. An Environment `shop`
    exists."""
    release = unique("r")
    objects = [
        o
        for o in helm.render(ON | {"watchNamespaces": [namespace]}, release=release, namespace=namespace)
        if o["metadata"]["name"].split("-api", 1)[1:]
        and (o["kind"].startswith("ValidatingAdmission") or o["kind"] in ("ServiceAccount", "Role", "RoleBinding"))
    ]
    crds.apply(*objects)
    account = Account(crds, namespace, find(objects, "ServiceAccount")["metadata"]["name"])
    crds.apply(
        {
            "apiVersion": GROUP,
            "kind": "Environment",
            "metadata": {"name": "shop", "namespace": namespace, "labels": {"a": "b"}, "annotations": {"kept": "yes"}},
            "spec": SPECS["Environment"][0],
        }
    )
    labelled: Object = {"metadata": {"labels": {"probe": "1"}}}
    wait_for("the policy", lambda: "may change only the annotation" in account.patch(labelled, dry_run=True))
    yield account
    crds.patch("Environment", "shop", namespace, {"metadata": {"finalizers": None}})
    crds.delete("Environment", "shop", namespace)
    for obj in objects:
        crds.delete(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace"))


def test_the_facade_may_ask_for_sizes(facade: Account) -> None:
    for value in ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", None):
        assert facade.patch({"metadata": {"annotations": {"ocore.dev/probe-requested": value}}}) == ""
        found = facade.cluster.get("Environment", "shop", facade.namespace)
        assert found is not None
        assert found["metadata"]["annotations"].get("ocore.dev/probe-requested") == value


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"annotations": {"another": "one"}}},
        {"metadata": {"annotations": {"kept": "no"}}},
        {"metadata": {"annotations": {"kept": None}}},
        {"metadata": {"annotations": None}},
        {"metadata": {"annotations": {"ocore.dev/probe-requested": "x", "another": "one"}}},
        {"metadata": {"labels": {"a": "c"}}},
        {"metadata": {"labels": None}},
        {"metadata": {"finalizers": ["example.org/f"]}},
    ],
    ids=json.dumps,
)
def test_the_facade_changes_nothing_else_of_an_environment(facade: Account, body: Object) -> None:
    said = facade.patch(body)
    assert "the REST facade may change only the annotation ocore.dev/probe-requested of an Environment" in said


def test_the_facade_changes_no_field_of_the_spec(crds: Cluster, facade: Account, namespace: str) -> None:
    spec = (crds.get("Environment", "shop", namespace) or {})["spec"]
    changed = {"spec": {"database": {**spec["database"], "capacity": "200Gi"}}}
    assert "the REST facade may change only the annotation" in facade.patch(changed)


def test_the_facade_may_not_delete_an_environment_or_write_a_status(facade: Account) -> None:
    assert "cannot delete resource" in facade.refused("DELETE")
    status = facade.patch({"status": {"phase": "Ready"}}, subresource="status")
    assert 'resource "environments/status"' in status


def made(kind: str, spec: Object, **metadata: object) -> Object:
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": "made", **metadata}, "spec": spec}


ROLLBACK: Object = {"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "shop"}}
TAKEN: Object = {"environmentRef": {"name": "shop"}, "retention": "Policy", "deletionPolicy": "Delete"}
FILES: Object = {"snapshotRef": {"name": "before"}, "files": {"paths": ["a"]}, "target": {"store": {}}}
OPENED: Object = {"schedule": ["@weekly"], "identitySecretRef": {"name": "drawer"}}
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "u"}
#: What the API cannot ask for, and what the API server says.
NOT_ASKED: dict[str, tuple[Object, str]] = {
    "image": (made("Rollback", {**ROLLBACK, "restoreImage": "Always"}), "asks for no restoreImage"),
    "not neutralised": (made("Rollback", {**ROLLBACK, "neutralize": "Never"}), "no other neutralize than Auto"),
    "not isolated": (made("Rollback", {**ROLLBACK, "isolation": "BestEffort"}), "no other isolation"),
    "replication": (made("Rollback", {**ROLLBACK, "allowReplicationLoss": True}), "no allowReplicationLoss"),
    "identity": (made("Rollback", {**ROLLBACK, "identitySecretRef": {"name": "drawer"}}), "names no Secret that opens"),
    "identity of an Extract": (made("Extract", {**FILES, "identitySecretRef": {"name": "drawer"}}), "names no Secret"),
    "identity of a policy": (
        made("SnapshotPolicy", {"environmentRef": {"name": "made"}, "verify": OPENED}),
        "names no Secret that opens",
    ),
    "quiesce": (made("Snapshot", {**TAKEN, "quiesce": True}), "stops no workload"),
    "finalizer": (made("Snapshot", TAKEN, finalizers=["ocore.dev/data"]), "neither finalizers nor owners"),
    "owner": (made("Rollback", ROLLBACK, ownerReferences=[OWNER]), "neither finalizers nor owners"),
    "annotation": (made("Snapshot", TAKEN, annotations={"ocore.dev/import": "u"}), "only its own annotations"),
}


@pytest.mark.parametrize("what", NOT_ASKED)
def test_row_83_the_facade_creates_only_what_its_api_asks_for(facade: Account, what: str) -> None:
    body, said = NOT_ASKED[what]
    cluster, namespace = facade.cluster, facade.namespace

    def refused() -> str:
        return cluster.refusal("POST", body["kind"], namespace, body=body, user=facade.user)

    wait_for("this policy too", lambda: said in refused(), 30)  # each takes effect by itself
    own = {"ocore.dev/request-sha256": "0", "ocore.dev/requested-at": "t", "ocore.dev/temporary": "true"}
    for plain in (made("Rollback", ROLLBACK, annotations=own), made("Snapshot", TAKEN, annotations=own)):
        assert cluster.refusal("POST", plain["kind"], namespace, body=plain, user=facade.user) == ""


def test_row_83_the_facade_leaves_finalizers_and_owners_of_a_snapshot(facade: Account) -> None:
    """Data that no finalizer removes any more stays in the store, and an owner that does not exist deletes it."""
    cluster, namespace = facade.cluster, facade.namespace
    about = {"finalizers": ["example.org/f"], "annotations": {"ocore.dev/requested-at": "t"}}
    found = made("Snapshot", TAKEN, namespace=namespace, **about)
    cluster.apply(found)

    def patch(body: Object) -> str:
        return cluster.refusal("PATCH", "Snapshot", namespace, "made", body, user=facade.user)

    try:
        removed: Object = {"metadata": {"finalizers": None}}
        wait_for("this policy too", lambda: "neither finalizers nor owners" in patch(removed), 30)
        assert "neither finalizers nor owners" in patch({"metadata": {"ownerReferences": [OWNER]}})
        assert "only its own annotations" in patch({"metadata": {"annotations": {"ocore.dev/requested-at": "u"}}})
        assert "only its own annotations" in patch({"metadata": {"annotations": None}})
        for value in ("1", "2"):
            assert patch({"metadata": {"annotations": {"ocore.dev/restore-test-requested": value}}}) == ""
        assert patch({"spec": {"pin": {"label": "kept"}}}) == ""
        assert patch({"spec": {"deletionPolicy": "Retain"}}) == ""
    finally:
        cluster.patch("Snapshot", "made", namespace, removed)
        cluster.delete("Snapshot", "made", namespace)


def test_others_are_not_restricted(crds: Cluster, facade: Account, namespace: str) -> None:
    del facade
    crds.patch("Environment", "shop", namespace, {"metadata": {"labels": {"of-others": "c"}}})


def test_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", str(CHART), "--strict", values=EVERYTHING)
