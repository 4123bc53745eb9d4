{{/* Name of everything: the release is called sandyard unless somebody says otherwise. */}}
{{- define "sandyard.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "sandyard.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "sandyard" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sandyard.labels" -}}
{{ include "sandyard.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of pods: what selects them first, then a value's own, then those of everything; called with component, further and context. */}}
{{- define "sandyard.podLabels" -}}
{{- $own := include "sandyard.selector" .context | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/component" .component }}
{{- merge $own (.further | default dict) .context.Values.commonLabels | toYaml }}
{{- end }}

{{/* Of the operator's pods and the chart's jobs: where they run, how important they are, how they resolve names. */}}
{{- define "sandyard.placement" -}}
{{- $own := dict }}
{{- range $key := list "nodeSelector" "tolerations" "priorityClassName" "dnsPolicy" "dnsConfig" }}
{{- with index $.Values $key }}{{ $_ := set $own $key . }}{{ end }}
{{- end }}
{{- with $own }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "sandyard.repository" -}}
{{- required "image.repository: no public registry has the operator's image. Build it (docker build -f Containerfile), push it where your nodes pull from, and set this to its name without the tag: --set image.repository=registry.example/sandyard/operator" .Values.image.repository -}}
{{- end }}

{{- define "sandyard.image" -}}
{{- if .Values.image.digest -}}
{{ include "sandyard.repository" . }}@{{ .Values.image.digest }}
{{- else -}}
{{ include "sandyard.repository" . }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The user that the operator acts as, as admission policies see it. */}}
{{- define "sandyard.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "sandyard.name" . }}
{{- end }}

{{/* CEL: the request comes from the operator. */}}
{{- define "sandyard.isOperator" -}}
request.userInfo.username == '{{ include "sandyard.user" . }}'
{{- end }}

{{/* CEL: the request comes from the drain before an uninstall. */}}
{{- define "sandyard.isDrain" -}}
request.userInfo.username == '{{ include "sandyard.user" . }}-drain'
{{- end }}

{{/* CEL: the request comes from the control plane: garbage collection, namespace deletion, scheduling. */}}
{{- define "sandyard.isControlPlane" -}}
request.userInfo.username.startsWith('system:serviceaccount:kube-system:') || request.userInfo.username.startsWith('system:kube-') || request.userInfo.username == 'system:apiserver'
{{- end }}

{{/* CEL: the request comes from the cluster's network plugin, where that does not live in kube-system. */}}
{{- define "sandyard.isNetworkPlugin" -}}
{{ toJson .Values.admission.networkPlugins }}.exists(plugin, request.userInfo.username.startsWith('system:serviceaccount:' + plugin + ':'))
{{- end }}

{{/* CEL: the request comes from a kubelet. */}}
{{- define "sandyard.isNode" -}}
'system:nodes' in request.userInfo.groups
{{- end }}

{{/* CEL: the request comes from somebody who may put right by hand what nothing else does. */}}
{{- define "sandyard.isBreakGlass" -}}
request.userInfo.groups.exists(group, group in {{ toJson .Values.admission.breakGlassGroups }})
{{- end }}

{{/* CEL: a network policy of that name is the operator's; called with the name of its variable. */}}
{{- define "sandyard.isOurPolicyName" -}}
{{ . }}.matches('^sandyard-(closed|dns|internet|allow-.*|ingress-.*)$')
{{- end }}

{{/* CEL: an object has labels of ours; called with the name of its variable. */}}
{{- define "sandyard.hasOurLabels" -}}
({{ . }} != null && has({{ . }}.metadata.labels) && {{ . }}.metadata.labels.exists(key, key.startsWith('sandyard.dev/')))
{{- end }}

{{/* CEL: a pod has labels that only the operator can have put there; called with the name of its variable. */}}
{{- define "sandyard.isMadeByUs" -}}
(has({{ . }}.metadata.labels) && ['sandyard.dev/state', 'sandyard.dev/sandbox-uid', 'sandyard.dev/pool-uid'].exists(key, key in {{ . }}.metadata.labels))
{{- end }}

{{/* CEL: a pod belongs to a Sandbox or a pool, whatever somebody has done to its labels; called with its variable. */}}
{{- define "sandyard.isOwnedByUs" -}}
(has({{ . }}.metadata.ownerReferences) && {{ . }}.metadata.ownerReferences.exists(o, o.apiVersion.startsWith('sandyard.dev/')))
{{- end }}

{{/* CEL: a label selector selects what has these labels; called with the names of both variables. */}}
{{- define "sandyard.selects" -}}
((!has({{ .selector }}.matchLabels) || {{ .selector }}.matchLabels.all(key,
key in {{ .labels }} && {{ .labels }}[key] == {{ .selector }}.matchLabels[key])) &&
(!has({{ .selector }}.matchExpressions) || {{ .selector }}.matchExpressions.all(e,
(e.operator in ['In', 'Exists']) == (e.key in {{ .labels }} &&
(!(e.operator in ['In', 'NotIn']) || {{ .labels }}[e.key] in e.values)))))
{{- end }}

{{/* The binding of a policy that is called like it; called with the chart's context and the name. */}}
{{- define "sandyard.binding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "sandyard.labels" .context | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
  {{- include "sandyard.where" .context }}
{{- end }}

{{/* Of a binding's spec: the namespaces in which a policy holds, those that the release serves. */}}
{{- define "sandyard.where" -}}
{{- with .Values.namespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end }}
{{- end }}

{{/* Fails where another release serves a namespace of this one: each would refuse the other's pods. */}}
{{- define "sandyard.alone" -}}
{{- $own := . }}
{{- range (lookup "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicyBinding" "" "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- $other := index $labels "app.kubernetes.io/instance" | default "" }}
{{- if and (hasPrefix "sandyard-" (index $labels "helm.sh/chart" | default "")) (ne $other $own.Release.Name) (hasSuffix "-objects" .metadata.name) }}
{{- $theirs := list }}
{{- range (((.spec.matchResources | default dict).namespaceSelector | default dict).matchExpressions | default list) }}
{{- $theirs = concat $theirs (.values | default list) }}
{{- end }}
{{- if not $own.Values.namespaces }}
{{- fail (printf "namespaces: is empty, so this release (%s) would serve every namespace, and release %s serves %s already: two operators refuse each other's pods. List namespaces that no other release serves, or uninstall one of them" $own.Release.Name $other (empty $theirs | ternary "every one" (join ", " $theirs))) }}
{{- else if not $theirs }}
{{- fail (printf "namespaces: release %s serves every namespace already, and two operators refuse each other's pods. Set its value namespaces first, or uninstall it" $other) }}
{{- end }}
{{- range $own.Values.namespaces }}
{{- if has . $theirs }}
{{- fail (printf "namespaces: %s is served by release %s already, and two operators refuse each other's pods. Take it out here, or there first" . $other) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* CEL: the namespace is one in which sandboxes may live. */}}
{{- define "sandyard.isServed" -}}
!(request.namespace in {{ toJson .Values.admission.exemptNamespaces }})
{{- with .Values.namespaces }} && request.namespace in {{ toJson . }}{{ end }}
{{- end }}

{{/* JSON: the bounds of a namespace, or of those that are not listed; called with the chart's context and the name. */}}
{{- define "sandyard.bounds" -}}
{{- $bounds := omit .context.Values.policy "namespaces" "foreignNetworkPolicies" }}
{{- with .namespace }}{{ range $key, $value := index $.context.Values.policy.namespaces . }}{{ $_ := set $bounds $key $value }}{{ end }}{{ end }}
{{- toJson $bounds }}
{{- end }}

{{/* CEL: one bound as it holds in the namespace of the request; called with the chart's context and its key. */}}
{{- define "sandyard.bound" -}}
{{- $key := .key }}
{{- $own := dict }}
{{- range $namespace, $bounds := .context.Values.policy.namespaces }}
{{- if hasKey $bounds $key }}{{ $_ := set $own $namespace (index $bounds $key) }}{{ end }}
{{- end }}
{{- $everywhere := index .context.Values.policy $key | toJson }}
{{- if $own }}(request.namespace in {{ toJson $own }} ? {{ toJson $own }}[request.namespace] : {{ $everywhere }}){{ else }}{{ $everywhere }}{{ end }}
{{- end }}

{{/* CEL: the longest grace period of sandboxes in the namespace of the request, in seconds. */}}
{{- define "sandyard.mostGrace" -}}
[{{ include "sandyard.bound" (dict "context" . "key" "maxGraceSeconds") }}].map(most, most == 0 ? 3600 : most)[0]
{{- end }}

{{- define "sandyard.containerSecurity" -}}
{{- $given := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) }}
{{- mergeOverwrite $given .Values.securityContext | toYaml }}
{{- end }}

{{- define "sandyard.podSecurity" -}}
{{- $profile := dict "type" "RuntimeDefault" }}
{{- $given := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "seccompProfile" $profile }}
{{- mergeOverwrite $given .Values.podSecurityContext | toYaml }}
{{- end }}

{{/* Rules of the operator in a namespace that it serves: verbs that are used, nothing else. */}}
{{- define "sandyard.rules" -}}
- apiGroups: [sandyard.dev]
  resources: [sandboxes]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [sandyard.dev]
  resources: [sandboxpools]
  verbs: [get, list, watch, patch]
- apiGroups: [sandyard.dev]
  resources: [sandboxes/status, sandboxpools/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# Persistent workspaces: made by Kubernetes with the pod, kept and deleted with the Sandbox.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, patch, delete]
# Whether a sandbox that nobody talks to is at work (idleSeconds), where there is a metrics API.
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [get]
{{- if or .Values.pausing.enabled .Values.restarting.enabled }}
# Stopping and continuing the processes of a paused sandbox, having a used one restarted. Over a websocket an exec is a
# GET, and since Kubernetes 1.35 it needs create as well.
- apiGroups: [""]
  resources: [pods/exec]
  verbs: [get, create]
{{- end }}
{{- end }}

{{- define "sandyard.drainRules" -}}
- apiGroups: [sandyard.dev]
  resources: [sandboxes, sandboxpools]
  verbs: [get, list, delete, patch]
# What only finalizers of others hold, and what may still run.
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims]
  verbs: [list]
{{- end }}

{{- define "sandyard.view-rules" -}}
- apiGroups: [sandyard.dev]
  resources: [sandboxes, sandboxpools]
  verbs: [get, list, watch]
{{- end }}

{{/* Sandboxes from pools, and what happens in them. Who may enter one pod of a namespace may enter them all. */}}
{{- define "sandyard.user-rules" -}}
{{ include "sandyard.view-rules" . }}
- apiGroups: [sandyard.dev]
  resources: [sandboxes]
  verbs: [create, update, patch, delete, deletecollection]
- apiGroups: [sandyard.dev]
  resources: [sandboxes/exec]
  verbs: [create]
# Over a websocket an exec is a GET, and since Kubernetes 1.35 it needs create as well.
- apiGroups: [""]
  resources: [pods/exec, pods/portforward]
  verbs: [get, create]
- apiGroups: [""]
  resources: [pods, pods/log, events]
  verbs: [get, list, watch]
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [get]
{{- end }}

{{/* Templates of one's own too, and networks beyond a profile that the pool allows. */}}
{{- define "sandyard.author-rules" -}}
{{ include "sandyard.user-rules" . }}
- apiGroups: [sandyard.dev]
  resources: [sandboxes/template, sandboxes/network]
  verbs: [create]
{{- end }}

{{- define "sandyard.pool-admin-rules" -}}
{{ include "sandyard.view-rules" . }}
- apiGroups: [sandyard.dev]
  resources: [sandboxpools]
  verbs: [create, update, patch, delete, deletecollection]
- apiGroups: [sandyard.dev]
  resources: [sandboxpools/scale]
  verbs: [get, update, patch]
{{- end }}
