{{/* Names, labels and images. */}}
{{- define "podwire.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- default (ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name)) .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- end -}}

{{- define "podwire.runsNamespace" -}}
{{- default (printf "%s-runs" .Release.Namespace) .Values.runs.namespace -}}
{{- end -}}

{{- define "podwire.serviceAccount" -}}
{{- default (include "podwire.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* What a Deployment selects by; never to be changed. */}}
{{- define "podwire.selector" -}}
app.kubernetes.io/name: podwire
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels and annotations of every object: (dict "root" $ "component" "web"). */}}
{{- define "podwire.metadata" -}}
labels:
  {{- include "podwire.selector" . | nindent 2 }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
  {{- with .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "podwire.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "podwire.flowerImage" -}}
{{- with .Values.flower.image -}}
{{- if .repository -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- else -}}{{ include "podwire.image" $ }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where the service is, from within the cluster. */}}
{{- define "podwire.url" -}}
http://{{ include "podwire.fullname" . }}.{{ .Release.Namespace }}:{{ int .Values.service.port }}
{{- end -}}
