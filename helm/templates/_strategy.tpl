{{/* When several web pods are safe, how many there are, and how they are replaced. */}}

{{/* "true" where two web pods may exist at once, else empty. Membership, not equality: a claim may have several modes. */}}
{{- define "podwire.severalAreSafe" -}}
{{- $app := .Values.app -}}
{{- if and $app.allowMultiReplica (or (not $app.workspaces.enabled) (has "ReadWriteMany" (default list $app.workspaces.accessModes))) -}}
true
{{- end -}}
{{- end -}}

{{/* "true" where the storage of artefacts is a volume that only one node may mount, which web and workers share then. */}}
{{- define "podwire.oneNode" -}}
{{- $storage := .Values.app.workspaces -}}
{{- if and $storage.enabled (not (has "ReadWriteMany" (default list $storage.accessModes))) -}}
true
{{- end -}}
{{- end -}}

{{- define "podwire.replicas" -}}
{{- if kindIs "invalid" .Values.app.replicaCount -}}
{{- ternary 2 1 (eq (include "podwire.severalAreSafe" .) "true") -}}
{{- else -}}
{{- int .Values.app.replicaCount -}}
{{- end -}}
{{- end -}}

{{/* The most web pods that there may be. */}}
{{- define "podwire.mostReplicas" -}}
{{- if .Values.app.autoscaling.enabled -}}
{{- max (int .Values.app.autoscaling.maxReplicas) (int .Values.app.autoscaling.minReplicas) -}}
{{- else -}}
{{- include "podwire.replicas" . -}}
{{- end -}}
{{- end -}}

{{/* What the operator says, as it stands; else rolling where that is safe; else Recreate. */}}
{{- define "podwire.strategy" -}}
{{- if .Values.app.strategy -}}
{{- toYaml .Values.app.strategy -}}
{{- else if include "podwire.severalAreSafe" . -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: 1
  maxUnavailable: 0
{{- else -}}
type: Recreate
# An upgrade from RollingUpdate would otherwise keep its numbers, which the API server refuses.
rollingUpdate: null
{{- end -}}
{{- end -}}

{{/* Seconds that gunicorn needs to stop: the drain and its 15 s for the last requests, see config/gunicorn.py. */}}
{{- define "podwire.stopSeconds" -}}
{{- add (int (dig "drain_s" 5 .Values.settings)) 15 -}}
{{- end -}}
