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
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
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

{{/*
A repository with its registry, of a list: the root, the repository, the name of its value. Without a registry the nodes would ask one of their own choice, where anyone
may own the name.
*/}}
{{- define "ocore-snapshots.repository" -}}
{{- $root := index . 0 }}
{{- $first := splitList "/" (index . 1) | first }}
{{- if and (contains "/" (index . 1)) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- index . 1 }}
{{- else if $root.Values.global.imageRegistry }}
{{- printf "%s/%s" (trimSuffix "/" $root.Values.global.imageRegistry) (index . 1) }}
{{- else }}
{{- fail (printf "%s %s names no registry: set global.imageRegistry, for example registry.example.org/team" (index . 2) (index . 1)) }}
{{- end }}
{{- end }}

{{/* Name of an image, of a list: the root, its values, their name. */}}
{{- define "ocore-snapshots.image" -}}
{{- $image := index . 1 }}
{{- $repository := include "ocore-snapshots.repository" (list (index . 0) $image.repository (printf "%s.repository" (index . 2))) }}
{{- if $image.digest }}{{ $repository }}@{{ $image.digest }}{{ else }}{{ $repository }}:{{ default (index . 0).Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{/* Names of the pull Secrets, with commas. Other charts share `global` where this is a subchart, and many of them take `- name: …`. */}}
{{- define "ocore-snapshots.pullSecrets" -}}
{{- $names := list }}
{{- range .Values.global.imagePullSecrets }}
{{- if kindIs "map" . }}
{{- $names = append $names .name }}
{{- else }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- uniq $names | join "," }}
{{- end }}

{{/* The field of a pod in the release's namespace. The operator gets the names for the Jobs' pods. */}}
{{- define "ocore-snapshots.imagePullSecrets" -}}
{{- with include "ocore-snapshots.pullSecrets" . -}}
imagePullSecrets:
  {{- range splitList "," . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The image of the Jobs; the operator replaces {major}. */}}
{{- define "ocore-snapshots.moverImage" -}}
{{- include "ocore-snapshots.repository" (list . .Values.mover.image "mover.image") | replace "{version}" .Chart.AppVersion }}
{{- end }}

{{- define "ocore-snapshots.moverDigests" -}}
{{- range $i, $major := keys .Values.mover.digests | sortAlpha }}{{ if $i }},{{ end }}{{ $major }}={{ index $.Values.mover.digests $major }}{{ end }}
{{- end }}

{{/* OCORE_JOBS: the value jobs as the operator reads it. */}}
{{- define "ocore-snapshots.jobs" -}}
{{- $defaults := dict }}
{{- range $name := list "labels" "annotations" "nodeSelector" "affinity" "topologySpreadConstraints" "priorityClassName" "tolerations" "resources" }}
{{- with get $.Values.jobs $name }}
{{- $_ := set $defaults $name . }}
{{- end }}
{{- end }}
{{- with .Values.jobs -}}
{{ dict "defaults" $defaults "allowed" .allowed "env" .extraEnv "volumes" .extraVolumes "volumeMounts" .extraVolumeMounts "runtimeClassName" .runtimeClassName "dnsPolicy" .dnsPolicy "dnsConfig" (.dnsConfig | default nil) | toJson }}
{{- end }}
{{- end }}

{{/* A value as the text of an environment variable: Helm reads numbers as floats and would write 1e+06. Lists are written with commas. */}}
{{- define "ocore-snapshots.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{/*
CEL: whether the user is the operator of any release, so that two releases do not stop each other. It has a right that means nothing, and not every right
(as a cluster administrator has).
*/}}
{{- define "ocore-snapshots.anOperator" -}}
(authorizer.group("ocore.dev").resource("operators").check("run").allowed() && !authorizer.group("ocore.dev").resource("operators").check("any").allowed())
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

{{/* Pods of a Deployment prefer different nodes. Those of the revision before do not count, or both new ones may be left on one node. */}}
{{- define "ocore-snapshots.differentNodes" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- . | nindent 6 }}
{{- end }}

{{/* And different zones. Not by a constraint as above: the scheduler then ignores both on nodes without a zone's label. */}}
{{- define "ocore-snapshots.differentZones" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        matchLabelKeys: [pod-template-hash]
        labelSelector:
          matchLabels:
            {{- . | nindent 12 }}
{{- end }}
