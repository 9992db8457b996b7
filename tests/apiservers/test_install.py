"""The chart on a real API server of a version that it names. `tests/with-apiserver` runs it: nothing but an API server
is there."""

import pytest

from support.cluster.chart import Helm
from support.cluster.cluster import Cluster
from support.cluster.operator import NAMESPACE, RELEASE

#: Together they install every object that does not need foreign CRDs.
VALUES = {
    "defaults": {},
    "everything": {
        "admissionPolicies": {"projectLabel": "example.org/project", "requestedByTrusted": ["admin"]},
        "api": {"enabled": True, "jwt": {"issuer": "i", "audience": ["a"], "sharedSecret": {"name": "s"}}},
        "metrics": {"dashboard": {"enabled": True}},
    },
    "namespaced": {"watchNamespaces": ["default"]},
}


@pytest.mark.parametrize("name", VALUES)
def test_row_85_the_chart_installs(name: str) -> None:
    cluster = Cluster()
    helm = Helm(cluster)
    helm.install(RELEASE, NAMESPACE, VALUES[name])
    try:
        assert "osnap" in cluster.kubectl("api-resources", "--api-group=ocore.dev")
        for policy in cluster.objects("ValidatingAdmissionPolicy"):
            warnings = policy.get("status", {}).get("typeChecking", {}).get("expressionWarnings", [])
            assert not warnings, policy["metadata"]["name"]
    finally:
        helm.uninstall(RELEASE, NAMESPACE)
