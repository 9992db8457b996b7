{{/* Rights of the operator in a watched namespace. It reads no Secret, and has no exec. */}}
{{- define "ocore-snapshots.rules" -}}
- apiGroups: [ocore.dev]
  resources: [environments, snapshotstores, snapshots, snapshotpolicies, rollbacks, extracts]
  verbs: [get, list, watch]
- apiGroups: [ocore.dev]
  resources: [snapshots]
  verbs: [create, patch, delete] # a SnapshotPolicy takes snapshots, retention deletes them; patch: finalizers, and the spec of imported ones
- apiGroups: [ocore.dev]
  resources: [rollbacks]
  verbs: [create, patch, delete] # an import creates those that have ended, the history limit deletes old ones; patch: finalizers
- apiGroups: [ocore.dev]
  resources: [extracts]
  verbs: [patch] # finalizers
- apiGroups: [ocore.dev]
  resources: [environments/status, snapshotstores/status, snapshots/status, snapshotpolicies/status, rollbacks/status, extracts/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, list, watch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch] # patch: the signal to the switch Job's pod is an annotation
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list] # list: why a pod does not start
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get]
{{- if .Values.settings.restoreImage }}
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [patch] # a Rollback with restoreImage: Always sets the image that the snapshot has recorded
{{- end }}
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [patch]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, patch] # patch: spec.suspend
{{- range .Values.workloads.kinds }}
- apiGroups: [{{ splitList "/" .apiVersion | first }}]
  resources: [{{ .resource }}]
  verbs: [get] # whether it exists
- apiGroups: [{{ splitList "/" .apiVersion | first }}]
  resources: [{{ .resource }}/scale]
  verbs: [get, patch]
{{- end }}
- apiGroups: [""]
  resources: [persistentvolumeclaims, configmaps]
  verbs: [get]
{{- if .Values.rbac.jobIdentities }}
{{- if not .Values.admissionPolicies.operatorAccount }}
{{- fail "rbac.jobIdentities needs admissionPolicies.operatorAccount: without that policy the operator's account could create a Secret with the token of any service account" }}
{{- end }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete] # of one type: see admission-operator.yaml
{{- end }}
{{- if .Values.rbac.cnpg }}
- apiGroups: [postgresql.cnpg.io]
  resources: [clusters]
  verbs: [get]
- apiGroups: [postgresql.cnpg.io]
  resources: [databases]
  verbs: [list] # who owns a database that the Cluster does not name
{{- end }}
{{- end }}

{{/*
Rights in the whole cluster, also if only some namespaces are watched: the Roles of a namespace disappear while it is deleted,
and the finalizers of our own objects must still be removed.
*/}}
{{- define "ocore-snapshots.clusterRules" -}}
# Whether a Snapshot is deleted together with its namespace or CRD: then its data in the store is kept.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [snapshots.ocore.dev]
  verbs: [get]
# Whether another release watches one of the namespaces: its ClusterRole announces it, and names its Lease.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  verbs: [list]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get]
# Nothing is served there. By it the admission policies of one release know the operator of another one.
- apiGroups: [ocore.dev]
  resources: [operators]
  verbs: [run]
{{- if .Values.watchNamespaces }}
- apiGroups: [ocore.dev]
  resources: [snapshots, rollbacks, extracts]
  verbs: [get, patch] # finalizers
{{- end }}
{{- end }}
