"""The chart's admission policies in namespaces of a test."""

import json

from support.cluster.chart import Helm
from support.cluster.cluster import AS_OPERATOR, Cluster, Object, unique


class AdmissionPolicies:
    """The chart's admission policies under a name of their own, bound to some namespaces, which need not exist yet. The
    test may write statuses and Jobs as the operator does.
    """

    def __init__(self, cluster: Cluster, values: Object, *namespaces: str, group: str = "ocore.dev") -> None:
        self.cluster = cluster
        self.release = unique("policy")
        # Rendered once for all names: they are put in afterwards.
        chosen = {"admissionPolicies": AS_OPERATOR | values.get("admissionPolicies", {})}
        rendered = Helm(cluster).render(
            values | chosen | {"watchNamespaces": ["the-namespaces"]}, release="the-release"
        )
        text = json.dumps([o for o in rendered if o["kind"].startswith("ValidatingAdmissionPolicy")])
        text = text.replace("the-release", self.release).replace('"ocore.dev"', f'"{group}"')
        assert '"the-namespaces"' in text
        self.objects: list[Object] = json.loads(
            text.replace('"the-namespaces"', ", ".join(map(json.dumps, namespaces)))
        )

    def __enter__(self) -> "AdmissionPolicies":
        self.cluster.apply(*self.objects)
        return self

    def __exit__(self, *_: object) -> None:
        for obj in self.objects:
            self.cluster.delete(obj["kind"], obj["metadata"]["name"])
