"""The resource types of the API server that our programs use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Type:
    """A resource type of the API server."""

    api_version: str
    plural: str
    kind: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        """Its URL path; `namespace` None or empty: the whole cluster."""
        parts = ["/api" if "/" not in self.api_version else "/apis", self.api_version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [p for p in (name, subresource) if p]
        return "/".join(parts)


ENVIRONMENTS = Type("ocore.dev/v1alpha1", "environments", "Environment")
STORES = Type("ocore.dev/v1alpha1", "snapshotstores", "SnapshotStore")
SNAPSHOTS = Type("ocore.dev/v1alpha1", "snapshots", "Snapshot")
POLICIES = Type("ocore.dev/v1alpha1", "snapshotpolicies", "SnapshotPolicy")
ROLLBACKS = Type("ocore.dev/v1alpha1", "rollbacks", "Rollback")
EXTRACTS = Type("ocore.dev/v1alpha1", "extracts", "Extract")
OURS = {t.kind: t for t in (ENVIRONMENTS, STORES, SNAPSHOTS, POLICIES, ROLLBACKS, EXTRACTS)}
#: Operations: they may hold the lock of an Environment. The operator gives them a finalizer; it has the right to patch
#: no others.
OPERATIONS = {t.kind: t for t in (SNAPSHOTS, ROLLBACKS, EXTRACTS)}
JOBS = Type("batch/v1", "jobs", "Job")
PODS = Type("v1", "pods", "Pod")
CLAIMS = Type("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SECRETS = Type("v1", "secrets", "Secret")
CONFIG_MAPS = Type("v1", "configmaps", "ConfigMap")
NAMESPACES = Type("v1", "namespaces", "Namespace")
EVENTS = Type("v1", "events", "Event")
DEPLOYMENTS = Type("apps/v1", "deployments", "Deployment")
STATEFUL_SETS = Type("apps/v1", "statefulsets", "StatefulSet")
CRDS = Type("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition")
CLUSTER_ROLES = Type("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole")
LEASES = Type("coordination.k8s.io/v1", "leases", "Lease")
CLUSTERS = Type("postgresql.cnpg.io/v1", "clusters", "Cluster")
CNPG_DATABASES = Type("postgresql.cnpg.io/v1", "databases", "Database")
CRON_JOBS = Type("batch/v1", "cronjobs", "CronJob")
WORKLOADS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}
