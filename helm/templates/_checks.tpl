{{/* What is refused when rendered; every message names the values to change. */}}
{{- define "podwire.checks" -}}
{{- $v := .Values -}}
{{- if not $v.image.repository }}{{ fail "image.repository is required: the image of Podwire" }}{{ end -}}
{{- range $part, $of := dict "database" $v.database "redis" $v.redis -}}
{{- if and $of.url $of.existingSecret }}{{ fail (printf "%s.url and %s.existingSecret exclude each other" $part $part) }}{{ end -}}
{{- if not (or $of.url $of.existingSecret $v.dev.enabled) }}{{ fail (printf "%s.existingSecret is required (or %s.url; to try Podwire out: dev.enabled)" $part $part) }}{{ end -}}
{{- end -}}
{{- if and (gt (int (include "podwire.mostReplicas" .)) 1) (not (include "podwire.severalAreSafe" .)) -}}
{{- $field := ternary "app.autoscaling.maxReplicas" "app.replicaCount" $v.app.autoscaling.enabled -}}
{{- if not $v.app.allowMultiReplica -}}
{{- fail (printf "%s is more than 1 and app.allowMultiReplica is false: set one of them otherwise" $field) -}}
{{- end -}}
{{- fail (printf "%s is more than 1 and app.workspaces.accessModes has no ReadWriteMany: set one of them otherwise" $field) -}}
{{- end -}}
{{- $need := add (int $v.app.preStopDelaySeconds) (int (include "podwire.stopSeconds" .)) -}}
{{- if le (int $v.app.terminationGracePeriodSeconds) (int $need) -}}
{{- fail (printf "app.terminationGracePeriodSeconds (%d) must be more than app.preStopDelaySeconds (%d) and the time to stop (drain_s + 15 = %s)" (int $v.app.terminationGracePeriodSeconds) (int $v.app.preStopDelaySeconds) (include "podwire.stopSeconds" .)) -}}
{{- end -}}
{{- if and $v.flower.enabled (not $v.flower.existingSecret) }}{{ fail "flower.existingSecret is required with flower.enabled: Flower is never open" }}{{ end -}}
{{- if and $v.worker.keda.enabled $v.worker.autoscaling.enabled }}{{ fail "worker.keda.enabled and worker.autoscaling.enabled exclude each other: both would set the number of workers" }}{{ end -}}
{{- range $part, $of := dict "app.autoscaling" $v.app.autoscaling "worker.autoscaling" $v.worker.autoscaling "worker.keda" $v.worker.keda -}}
{{- if and $of.enabled (gt (int $of.minReplicas) (int $of.maxReplicas)) }}{{ fail (printf "%s.minReplicas is more than %s.maxReplicas" $part $part) }}{{ end -}}
{{- end -}}
{{- if and $v.worker.keda.enabled (not $v.worker.keda.serverAddress) }}{{ fail "worker.keda.serverAddress is required with worker.keda.enabled" }}{{ end -}}
{{- if and $v.app.workspaces.enabled (hasKey $v.settings "workspaces_dir") }}{{ fail "settings.workspaces_dir and app.workspaces.enabled exclude each other: the chart sets it to app.workspaces.mountPath" }}{{ end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}{{ fail "ingress.host is required with ingress.enabled" }}{{ end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ fail "httpRoute.parentRefs is required with httpRoute.enabled: the Gateways that it belongs to" }}{{ end -}}
{{- if eq (include "podwire.runsNamespace" .) .Release.Namespace }}{{ fail "runs.namespace must not be the release's namespace: runs have theirs to themselves" }}{{ end -}}
{{- end -}}
