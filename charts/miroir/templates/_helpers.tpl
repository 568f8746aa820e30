{{- define "miroir.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "miroir.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "miroir.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "miroir.selector" -}}
app.kubernetes.io/name: {{ include "miroir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "miroir.labels" -}}
{{ include "miroir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "miroir.meilisearch.fullname" -}}
{{- printf "%s-meilisearch" (include "miroir.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "miroir.meilisearch.selector" -}}
app.kubernetes.io/name: {{ include "miroir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: meilisearch
{{- end -}}

{{- define "miroir.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "miroir.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "miroir.secretName" -}}
{{- default (printf "%s-keys" (include "miroir.fullname" .)) .Values.keys.existingSecret -}}
{{- end -}}

{{/* True when some key is to be had from a secret. */}}
{{- define "miroir.hasKeys" -}}
{{- if or .Values.keys.existingSecret .Values.keys.values.masterKey .Values.keys.values.adminKey .Values.keys.values.nodeKey .Values.keys.values.statePassword .Values.keys.values.clusterSecret -}}true{{- end -}}
{{- end -}}

{{/* The nodes: those of the values, or the chart's own pods by their stable names. */}}
{{- define "miroir.nodes" -}}
{{- if .Values.meilisearch.enabled -}}
{{- $service := include "miroir.meilisearch.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
{{- range $i := until (int .Values.meilisearch.replicas) }}
- id: node-{{ $i }}
  url: http://{{ $service }}-{{ $i }}.{{ $service }}.{{ $namespace }}.svc:7700
{{- end -}}
{{- else -}}
{{- required "give config.cluster.nodes, or set meilisearch.enabled" (not (empty .Values.config.cluster.nodes) | ternary (toYaml .Values.config.cluster.nodes) "") -}}
{{- end -}}
{{- end -}}

{{/* True when the state is on a PostgreSQL server, which any number of gateways share. */}}
{{- define "miroir.onPostgres" -}}
{{- if regexMatch "^postgres(ql)?://" (default "" .Values.config.state) -}}true{{- end -}}
{{- end -}}
