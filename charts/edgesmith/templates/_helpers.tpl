{{/* The prefix of every object's name: the release's name, with the chart's where the release does not say it. */}}
{{- define "edgesmith.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What pods are selected by: never changes for a release. */}}
{{- define "edgesmith.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "edgesmith.labels" -}}
{{ include "edgesmith.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* One image reference; its digest wins over its tag. Call with (list NAME REFERENCE). */}}
{{- define "edgesmith.image" -}}
{{- $name := index . 0 -}}
{{- $reference := index . 1 | required (printf "image.%s is empty: expected a reference such as HOST/edgesmith/%s@sha256:HEX, as `python3 hack/images push HOST` prints it" $name (replace "." "-" $name)) -}}
{{- $parts := splitList "@" $reference -}}
{{- if eq (len $parts) 2 -}}
{{- printf "%s@%s" (regexReplaceAll ":[A-Za-z0-9_][A-Za-z0-9_.-]*$" (index $parts 0) "") (index $parts 1) -}}
{{- else -}}
{{- $reference -}}
{{- end -}}
{{- end -}}

{{/* The runtime base images by flavour, as JSON; those that are empty are left out. */}}
{{- define "edgesmith.runtimeImages" -}}
{{- $images := dict "onnxruntime" (include "edgesmith.image" (list "runtime.onnxruntime" .Values.image.runtime.onnxruntime)) -}}
{{- range $flavour, $reference := omit .Values.image.runtime "onnxruntime" -}}
{{- if $reference -}}
{{- $_ := set $images $flavour (include "edgesmith.image" (list (printf "runtime.%s" $flavour) $reference)) -}}
{{- end -}}
{{- end -}}
{{- $images | toJson -}}
{{- end -}}

{{/* The builder images with a vendor's packages by flavour, as JSON; those that are empty are left out. */}}
{{- define "edgesmith.builderImages" -}}
{{- $images := dict -}}
{{- range $flavour, $reference := .Values.image.builders -}}
{{- if $reference -}}
{{- $_ := set $images $flavour (include "edgesmith.image" (list (printf "builders.%s" $flavour) $reference)) -}}
{{- end -}}
{{- end -}}
{{- $images | toJson -}}
{{- end -}}

{{/* One DeviceProfile of the catalogue as it is installed: with the node label and the overrides of the values. Call with
(list ROOT NAME). */}}
{{- define "edgesmith.profile" -}}
{{- $values := (index . 0).Values.profiles -}}
{{- $name := index . 1 -}}
{{- $file := (index . 0).Files.Get (printf "profiles/%s.yaml" $name) -}}
{{- $profile := $file | replace "edgesmith.dev/device:" (printf "%s:" $values.nodeLabel) | fromYaml -}}
{{- mergeOverwrite $profile (dict "spec" (get $values.overrides $name | default dict)) | toYaml -}}
{{- end -}}

{{/* The restricted Pod Security Standard, for pods of the chart. */}}
{{- define "edgesmith.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "edgesmith.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The registry's port: the one that registry.repository names, or the scheme's. */}}
{{- define "edgesmith.registryPort" -}}
{{- $host := splitList "/" .Values.registry.repository | first -}}
{{- if contains ":" $host -}}
{{- splitList ":" $host | last -}}
{{- else -}}
{{- ternary "80" "443" .Values.registry.plainHTTP -}}
{{- end -}}
{{- end -}}

{{/* The buckets' ports, separated by spaces. */}}
{{- define "edgesmith.bucketPorts" -}}
{{- with .Values.bucket.endpoint -}}
{{- $host := (urlParse .).host -}}
{{- if contains ":" $host -}}
{{- splitList ":" $host | last -}}
{{- else -}}
{{- ternary "443" "80" (hasPrefix "https:" .) -}}
{{- end -}}
{{- else -}}
443 9000
{{- end -}}
{{- end -}}

{{/* One egress rule: TCP to address ranges (none: any) on ports. Call with (dict "cidrs" LIST "ports" LIST). */}}
{{- define "edgesmith.egressRule" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . | int }}}
    {{- end }}
  {{- with .cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "edgesmith.dnsRule" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    {{- range .Values.networkPolicies.dns.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
{{- end -}}

{{- define "edgesmith.registryRule" -}}
{{- $registry := .Values.networkPolicies.registry -}}
{{- $ports := $registry.ports | default (list (include "edgesmith.registryPort" .)) -}}
{{- include "edgesmith.egressRule" (dict "cidrs" $registry.cidrs "ports" $ports) -}}
{{- end -}}

{{- define "edgesmith.bucketRule" -}}
{{- $bucket := .Values.networkPolicies.bucket -}}
{{- $ports := $bucket.ports | default (splitList " " (include "edgesmith.bucketPorts" .)) -}}
{{- include "edgesmith.egressRule" (dict "cidrs" $bucket.cidrs "ports" $ports) -}}
{{- end -}}

{{/* Servers and registries of sources at https:// and oci://. */}}
{{- define "edgesmith.sourcesRule" -}}
{{- include "edgesmith.egressRule" .Values.networkPolicies.sources -}}
{{- end -}}

{{/* The namespaces that the operator works in, as JSON: none where it works in all. Its own holds the Lease it watches. */}}
{{- define "edgesmith.watched" -}}
{{- if .Values.watchNamespaces -}}
{{- append .Values.watchNamespaces .Release.Namespace | uniq | sortAlpha | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* What the operator does in each namespace that it works in. */}}
{{- define "edgesmith.namespacedRules" -}}
- apiGroups: [edgesmith.dev]
  resources: [edgemodels]
  verbs: [list, watch]
- apiGroups: [edgesmith.dev]
  resources: [edgemodels/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  # Made for trials alone: servers and builds are DaemonSets' and Jobs'. A server's is deleted where the device that it
  # was given is gone, so that its DaemonSet makes another.
  verbs: [list, watch, create, delete]
{{- if .Values.builder.enabled }}
# A Job is made once and never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, delete]
{{- end }}
# Server-side apply is a patch; where there is nothing yet, it asks for create too.
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create, patch]
{{- if .Values.builder.enabled }}
# Listed for what no status shows: why a build's pod cannot mount its volumes.
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- else }}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
# kopf watches in every namespace that it is given; the name narrows it to the operator's Lease.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [edgesmith-operator]
  verbs: [list, watch]
{{- end -}}
