{{- define "ocore-snapshots.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Names of the release's objects. Shorter than 63, because suffixes follow. */}}
{{- define "ocore-snapshots.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- $name := include "ocore-snapshots.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ocore-snapshots.labels" -}}
{{ include "ocore-snapshots.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: ocore-snapshots
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "ocore-snapshots.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ocore-snapshots.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ocore-snapshots.operatorLabels" -}}
{{ include "ocore-snapshots.selectorLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "ocore-snapshots.apiLabels" -}}
{{ include "ocore-snapshots.selectorLabels" . }}
app.kubernetes.io/component: api
{{- end }}

{{- define "ocore-snapshots.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ocore-snapshots.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Service account of the REST facade. */}}
{{- define "ocore-snapshots.apiServiceAccountName" -}}
{{- printf "%s-api" (include "ocore-snapshots.fullname" .) }}
{{- end }}

{{/* Service account of the Jobs; empty is the namespace's default one. */}}
{{- define "ocore-snapshots.jobServiceAccountName" -}}
{{- if .Values.mover.serviceAccount.create }}
{{- default (printf "%s-jobs" (include "ocore-snapshots.fullname" .)) .Values.mover.serviceAccount.name }}
{{- else }}
{{- .Values.mover.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Name of an image, of its values. */}}
{{- define "ocore-snapshots.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end }}
{{- end }}

{{/* A value as the text of an environment variable: Helm reads numbers as floats and would write 1e+06. Lists are written with commas. */}}
{{- define "ocore-snapshots.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{/* Binds an admission policy to the watched namespaces; without watched namespaces the policies apply everywhere. */}}
{{- define "ocore-snapshots.watched" -}}
{{- with .Values.watchNamespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ toJson . }}
{{- end }}
{{- end }}
