{{/* What the operator may do in a namespace that it watches. No Secrets, no exec. */}}
{{- define "ocore-snapshots.rules" -}}
- apiGroups: [ocore.dev]
  resources: [environments, snapshotstores, snapshots, rollbacks]
  verbs: [get, list, watch, patch]
- apiGroups: [ocore.dev]
  resources: [environments/status, snapshotstores/status, snapshots/status, rollbacks/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, list, watch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch] # patch: the signal to the switch Job's pod is an annotation
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list] # list: why a pod does not start
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims, configmaps]
  verbs: [get]
{{- end }}

{{/*
What it may do everywhere, also where it watches only some namespaces: the Roles of a namespace vanish while it is being deleted,
and the finalizers of our own objects must still go.
*/}}
{{- define "ocore-snapshots.clusterRules" -}}
# Whether an object goes because everything around it goes: then its data in the store is kept.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [environments.ocore.dev, snapshotstores.ocore.dev, snapshots.ocore.dev, rollbacks.ocore.dev]
  verbs: [get]
{{- if .Values.watchNamespaces }}
- apiGroups: [ocore.dev]
  resources: [environments, snapshotstores, snapshots, rollbacks]
  verbs: [get, patch]
- apiGroups: [ocore.dev]
  resources: [environments/status, snapshotstores/status, snapshots/status, rollbacks/status]
  verbs: [patch]
{{- end }}
{{- end }}
