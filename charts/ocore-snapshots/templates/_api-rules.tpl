{{/* Rights of the REST facade in a served namespace: what it reads, and what its writes need. No Secrets, no Jobs, no pods, no status. */}}
{{- define "ocore-snapshots.apiRules" -}}
- apiGroups: [ocore.dev]
  resources: [environments, snapshots, snapshotpolicies, rollbacks]
  verbs: [get, list, watch]
- apiGroups: [ocore.dev]
  resources: [extracts]
  verbs: [create, get, list, watch]
- apiGroups: [ocore.dev]
  resources: [snapshotstores]
  verbs: [list] # which store of the target's namespace is the snapshot's, for a rollback into another namespace
- apiGroups: [ocore.dev]
  resources: [snapshots]
  verbs: [create, patch, delete] # patch: pin and deletionPolicy
- apiGroups: [ocore.dev]
  resources: [rollbacks]
  verbs: [create, delete] # delete: a rollback that has not begun to switch is cancelled
- apiGroups: [ocore.dev]
  resources: [snapshotpolicies]
  verbs: [create, patch] # the settings
- apiGroups: [ocore.dev]
  resources: [environments]
  verbs: [patch] # the annotation that asks for sizes; admission-api.yaml allows nothing else
{{- end }}
