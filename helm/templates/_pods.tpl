{{/* What the pods of web, workers, migrations and Flower have in common. */}}

{{- define "podwire.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Where web and worker pods see the storage of artefacts: its mount, its volume. */}}
{{- define "podwire.workspacesMount" -}}
{{- if .Values.app.workspaces.enabled }}
- {name: workspaces, mountPath: {{ .Values.app.workspaces.mountPath | quote }}}
{{- end }}
{{- end -}}

{{- define "podwire.workspacesVolume" -}}
{{- if .Values.app.workspaces.enabled }}
- name: workspaces
  persistentVolumeClaim: {claimName: {{ include "podwire.fullname" . }}-workspaces}
{{- end }}
{{- end -}}

{{- define "podwire.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* A number of YAML is a float to Helm; large ones would come out as 1e+07. */}}
{{- define "podwire.setting" -}}
{{- if or (kindIs "map" .) (kindIs "slice" .) -}}{{ toJson . }}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}{{ int64 . }}
{{- else -}}{{ . }}
{{- end -}}
{{- end -}}

{{- define "podwire.secretRef" -}}
valueFrom:
  secretKeyRef:
    name: {{ default (include "podwire.fullname" .root) .of.existingSecret }}
    key: {{ ternary .of.key .generated (ne .of.existingSecret "") }}
{{- end -}}

{{/* The settings, in the environment of every process of Podwire. */}}
{{- define "podwire.env" -}}
- name: PODWIRE_DATABASE_URL
  {{- include "podwire.secretRef" (dict "root" . "of" .Values.database "generated" "database-url") | nindent 2 }}
- name: PODWIRE_REDIS_URL
  {{- include "podwire.secretRef" (dict "root" . "of" .Values.redis "generated" "redis-url") | nindent 2 }}
- name: PODWIRE_SECRET_KEY
  {{- include "podwire.secretRef" (dict "root" . "of" .Values.secretKey "generated" "secret-key") | nindent 2 }}
{{- $own := dict "STATE_DIR" "/tmp/podwire" "LAUNCHER" "kubernetes" "BIND" "0.0.0.0:8080" "KUBE_NAMESPACE" (include "podwire.runsNamespace" .) }}
{{- $_ := set $own "KUBE_INSTANCE" .Release.Name }}
{{- $_ := set $own "KUBE_AGENT_IMAGE" (include "podwire.image" .) }}
{{- $_ := set $own "KUBE_IMAGES" (toJson .Values.runs.images) }}
{{- $_ := set $own "KUBE_DEFAULT_IMAGE" .Values.runs.defaultImage }}
{{- $_ := set $own "KUBE_ALLOWED_IMAGES" (toJson .Values.runs.allowedImages) }}
{{- $_ := set $own "KUBE_PULL_SECRETS" (toJson .Values.runs.pullSecrets) }}
{{- if .Values.app.workspaces.enabled }}
{{- $_ := set $own "WORKSPACES_DIR" .Values.app.workspaces.mountPath }}
{{- end }}
{{- range $name, $value := $own }}
- name: PODWIRE_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: PODWIRE_{{ upper $name }}
  value: {{ include "podwire.setting" $value | quote }}
{{- end }}
{{- end -}}

{{/* One container of Podwire's own image: (dict "root" $ "name" … "args" (list …)). */}}
{{- define "podwire.container" -}}
name: {{ .name }}
image: {{ include "podwire.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [podwire]
args: {{ toJson .args }}
securityContext:
  {{- include "podwire.containerSecurity" . | nindent 2 }}
env:
  {{- include "podwire.env" .root | nindent 2 }}
{{- end -}}

{{/* Holds a pod back until the database is at this version, so that nobody has to wait for a hook. */}}
{{- define "podwire.waitForSchema" -}}
initContainers:
  - {{- include "podwire.container" (dict "root" . "name" "schema" "args" (list "migrate" "--wait" (toString (int .Values.migrations.waitSeconds)))) | nindent 4 }}
    resources:
      {{- toYaml .Values.migrations.resources | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* The head of a pod's spec: (dict "root" $ "token" bool). Service links would be unknown PODWIRE_ variables, which are refused. */}}
{{- define "podwire.podHead" -}}
enableServiceLinks: false
automountServiceAccountToken: {{ .token }}
{{- if .token }}
serviceAccountName: {{ include "podwire.serviceAccount" .root }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "podwire.podSecurity" . | nindent 2 }}
  {{- if .root.Values.app.workspaces.enabled }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
{{- end -}}

{{/* Where a pod goes: (dict "root" $ "of" values "component" …). */}}
{{- define "podwire.placement" -}}
{{- if and .of.spread (not (include "podwire.oneNode" .root)) }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: {{ .of.spread }}
    labelSelector:
      matchLabels:
        {{- include "podwire.selector" . | nindent 8 }}
    # Each version by itself: the pods that an upgrade replaces do not push all new ones onto one node.
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- $of := .of }}
{{- if and (include "podwire.oneNode" .root) (not (dig "podAffinity" "" .of.affinity)) }}
{{- $of = merge (dict "affinity" (merge (dict "podAffinity" (include "podwire.together" . | fromYaml)) .of.affinity)) .of }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $of $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of a pod. Plain addresses are hashed, so that pods follow a change. */}}
{{- define "podwire.podMetadata" -}}
labels:
  {{- include "podwire.selector" . | nindent 2 }}
  {{- if and (include "podwire.oneNode" .root) (has .component (list "web" "worker")) }}
  podwire.dev/workspaces: {{ .root.Release.Name }}
  {{- end }}
  {{- with merge (dict) .of.podLabels .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  podwire.dev/addresses: {{ printf "%s %s" .root.Values.database.url .root.Values.redis.url | sha256sum }}
  {{- with merge (dict) .of.podAnnotations .root.Values.commonAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* A volume that one node may mount holds web and workers there. The first of these pods chooses: its own label satisfies it. */}}
{{- define "podwire.together" -}}
requiredDuringSchedulingIgnoredDuringExecution:
  - topologyKey: kubernetes.io/hostname
    labelSelector:
      matchLabels:
        podwire.dev/workspaces: {{ .root.Release.Name }}
{{- end -}}
