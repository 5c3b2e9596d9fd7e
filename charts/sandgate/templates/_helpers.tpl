{{- define "sandgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* A release called sandgate, or something with sandgate in it, is not called sandgate-sandgate. Names made from it
append at most 17 characters. */}}
{{- define "sandgate.fullname" -}}
{{- $name := include "sandgate.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* What the Service, the Deployment and their like select by; never changes. The Pod of `helm test` is none of them. */}}
{{- define "sandgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sandgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end }}

{{- /* Of the Pods. Nothing that an upgrade changes without need: each change of these replaces all Pods. */}}
{{- define "sandgate.podLabels" -}}
{{ include "sandgate.selectorLabels" . }}
{{- with merge (dict) .Values.podLabels .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sandgate.labels" -}}
app.kubernetes.io/name: {{ include "sandgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sandgate
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sandgate.serviceAccount" -}}
{{- default (include "sandgate.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "sandgate.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sandgate.isManaged" -}}
{{- if eq .Values.certificates.mode "managed" }}yes{{ end }}
{{- end }}

{{- /* Whether Events are written: where the API server is called anyway, unless the values say. */}}
{{- define "sandgate.hasEvents" -}}
{{- if kindIs "bool" .Values.server.events }}
{{- if .Values.server.events }}yes{{ end }}
{{- else }}
{{- include "sandgate.isManaged" . }}
{{- end }}
{{- end }}

{{- /* Whether the API server is called at all. */}}
{{- define "sandgate.callsApiServer" -}}
{{- if or (include "sandgate.isManaged" .) (include "sandgate.hasEvents" .) }}yes{{ end }}
{{- end }}

{{- /* The Secret with the certificate, or, in mode managed, with the CA. */}}
{{- define "sandgate.secret" -}}
{{- $modes := dict
      "managed" (printf "%s-ca" (include "sandgate.fullname" .))
      "cert-manager" (printf "%s-tls" (include "sandgate.fullname" .))
      "files" .Values.certificates.secretName }}
{{- get $modes .Values.certificates.mode }}
{{- end }}

{{- /* The names that the certificate holds for, as JSON: those by which the API server may call. */}}
{{- define "sandgate.serverNames" -}}
{{- if .Values.webhook.url }}
{{- $host := (urlParse .Values.webhook.url).hostname }}
{{- list $host | toJson }}
{{- else }}
{{- $service := printf "%s.%s.svc" (include "sandgate.fullname" .) .Release.Namespace }}
{{- list $service (printf "%s.cluster.local" $service) | toJson }}
{{- end }}
{{- end }}

{{- /* The namespaces that policies name, sorted, as JSON; `*` is no name. */}}
{{- define "sandgate.namespaces" -}}
{{- $namespaces := list }}
{{- range $name, $spec := .Values.policies }}
{{- range $spec.namespaces }}
{{- if has . (list "kube-system" $.Release.Namespace) }}
{{- $why := ternary "nothing of the cluster could start without sandgate" "sandgate could not start without itself" (eq . "kube-system") }}
{{- fail (printf "policies.%s.namespaces has %s, which a policy must never guard: %s; remove it" $name . $why) }}
{{- end }}
{{- if has . $namespaces }}
{{- fail (printf "policies.%s.namespaces has %s, which another policy has too: a namespace has one policy" $name .) }}
{{- end }}
{{- $namespaces = append $namespaces . }}
{{- end }}
{{- end }}
{{- if has "*" $namespaces | ne (not (empty .Values.webhook.namespaceSelector)) }}
{{- fail "a policy for the namespace * and webhook.namespaceSelector go together: the policy says how Pods must look where nothing else does, the selector which namespaces that is; set both or neither" }}
{{- end }}
{{- without $namespaces "*" | sortAlpha | toJson }}
{{- end }}

{{- /* How the webhooks select namespaces, as JSON: by the names of policies, and by the user's own selector. Each comes
with what its webhooks' names begin with. By name: the label that the API server sets itself. There is no
objectSelector: users control the labels of Pods. */}}
{{- define "sandgate.selectors" -}}
{{- $named := include "sandgate.namespaces" . | fromJsonArray }}
{{- $selectors := list }}
{{- $name := "kubernetes.io/metadata.name" }}
{{- with $named }}
{{- $selector := dict "matchExpressions" (list (dict "key" $name "operator" "In" "values" .)) }}
{{- $selectors = append $selectors (dict "prefix" "" "selector" $selector) }}
{{- end }}
{{- with .Values.webhook.namespaceSelector }}
{{- $never := concat (list "kube-system" $.Release.Namespace) $named | uniq | sortAlpha }}
{{- $others := dict "key" $name "operator" "NotIn" "values" $never }}
{{- $selector := dict "matchExpressions" (append (default list .matchExpressions) $others) }}
{{- with .matchLabels }}{{ $_ := set $selector "matchLabels" . }}{{ end }}
{{- $selectors = append $selectors (dict "prefix" "labelled." "selector" $selector) }}
{{- end }}
{{- toJson $selectors }}
{{- end }}

{{- /* The first namespace, in the order of their policies' names, where a hostile Pod is refused; none if none enforces. */}}
{{- define "sandgate.enforcedNamespace" -}}
{{- $found := "" }}
{{- range $name, $spec := .Values.policies }}
{{- if and (not $found) (eq (default "enforce" $spec.mode) "enforce") }}
{{- $found = first (append (without $spec.namespaces "*") "") }}
{{- end }}
{{- end }}
{{- $found }}
{{- end }}

{{- /* What may stand in a webhook's configuration beside its name, path, rules and conditions. Call with (context, path,
which namespaces). */}}
{{- define "sandgate.webhook" -}}
{{- $context := index . 0 }}
{{- $path := index . 1 }}
{{- $selector := index . 2 }}
{{- with $context.Values -}}
admissionReviewVersions: [v1]
clientConfig:
  {{- if .webhook.url }}
  url: {{ printf "%s%s" .webhook.url $path | quote }}
  {{- else }}
  service:
    name: {{ include "sandgate.fullname" $context }}
    namespace: {{ $context.Release.Namespace }}
    path: {{ $path }}
    port: 443
  {{- end }}
  {{- if and (eq .certificates.mode "files") .certificates.caBundle }}
  caBundle: {{ b64enc .certificates.caBundle }}
  {{- end }}
failurePolicy: {{ .webhook.failurePolicy }}
matchPolicy: Equivalent
# A dry run leaves no trace but its audit line.
sideEffects: NoneOnDryRun
timeoutSeconds: {{ int .webhook.timeoutSeconds }}
namespaceSelector: {{- toYaml $selector | nindent 2 }}
{{- end }}
{{- end }}

{{- /* An UPDATE that changes nothing that a rule reads, such as finalizers, is not sent. `.?` is none where a field is
missing, so this never fails, and a failure would refuse the request. */}}
{{- define "sandgate.changes" -}}
- name: changes-something-judged
  expression: >-
    request.operation != "UPDATE" ||
    object.?spec != oldObject.?spec ||
    object.metadata.?labels != oldObject.metadata.?labels ||
    object.metadata.?annotations != oldObject.metadata.?annotations ||
    object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences
{{- end }}

{{- /* The rules of each webhook, by its name, as YAML. */}}
{{- define "sandgate.rules" -}}
mutate.sandgate.dev: &pods
  - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods], scope: Namespaced}
  - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/ephemeralcontainers, pods/resize], scope: Namespaced}
validate.sandgate.dev: *pods
status.sandgate.dev:
  - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/status], scope: Namespaced}
binding.sandgate.dev:
  - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods/binding, bindings], scope: Namespaced}
{{- end }}

{{- /* Metadata of a webhook configuration. Call with (context, names of its webhooks). In mode managed the rules stand in
an annotation only: a webhook without rules is asked about nothing, and sandgate puts them where they count as soon as
it answers. So no request ever waits for a webhook that is not there yet. */}}
{{- define "sandgate.webhookMetadata" -}}
{{- $context := index . 0 }}
{{- $names := index . 1 -}}
name: {{ include "sandgate.fullname" $context }}
labels: {{- include "sandgate.labels" $context | nindent 2 }}
{{- $annotations := deepCopy $context.Values.webhook.annotations }}
{{- if include "sandgate.isManaged" $context }}
{{- $rules := include "sandgate.rules" $context | fromYaml }}
{{- $ours := dict }}
{{- range $selector := include "sandgate.selectors" $context | fromJsonArray }}
{{- range $names }}{{ $_ := set $ours (printf "%s%s" $selector.prefix .) (get $rules .) }}{{ end }}
{{- end }}
{{- $_ := set $annotations "sandgate.dev/rules" (toJson $ours) }}
{{- $_ := set $annotations "sandgate.dev/rendered" (include "sandgate.rendered" (list $context $names)) }}
{{- end }}
{{- if eq $context.Values.certificates.mode "cert-manager" }}
{{- $certificate := printf "%s/%s" $context.Release.Namespace (include "sandgate.fullname" $context) }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" $certificate }}
{{- end }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What each webhook matches beside its rules, by its name, as YAML. */}}
{{- define "sandgate.conditions" -}}
mutate.sandgate.dev: &changes {{- include "sandgate.changes" . | nindent 2 }}
validate.sandgate.dev: *changes
# Whoever may write a Pod's status may change its labels and annotations there. The kubelet, which does so all the time,
# changes neither, and so never waits for sandgate.
status.sandgate.dev:
  - name: changes-metadata
    expression: >-
      object.metadata.?labels != oldObject.metadata.?labels ||
      object.metadata.?annotations != oldObject.metadata.?annotations
# Whoever may bind a Pod to a node may change its labels and annotations with that. The scheduler changes neither, and so
# never waits for sandgate.
binding.sandgate.dev:
  - name: carries-metadata
    expression: >-
      object.metadata.?labels.orValue({}).size() > 0 ||
      object.metadata.?annotations.orValue({}).size() > 0
{{- end }}

{{- /* The match conditions of one webhook. Call with (context, name). */}}
{{- define "sandgate.conditionsOf" -}}
{{- get (include "sandgate.conditions" (index . 0) | fromYaml) (index . 1) | toYaml }}
{{- end }}

{{- /* A digest of each field of each webhook, as JSON, by which sandgate sees that somebody has changed one: the first 16
hex digits of the SHA-256 of its JSON. What the chart leaves out is entered as the API server fills it in. Call with
(context, names of the webhooks). */}}
{{- define "sandgate.rendered" -}}
{{- $context := index . 0 }}
{{- $names := index . 1 }}
{{- $digests := dict }}
{{- range $selector := include "sandgate.selectors" $context | fromJsonArray }}
{{- range $name := $names }}
{{- $path := ternary "/mutate" "/validate" (eq $name "mutate.sandgate.dev") }}
{{- $webhook := include "sandgate.webhook" (list $context $path $selector.selector) | fromYaml }}
{{- $_ := set $webhook "matchConditions" (get (include "sandgate.conditions" $context | fromYaml) $name) }}
{{- $_ := set $webhook "objectSelector" dict }}
{{- if eq $name "mutate.sandgate.dev" }}{{ $_ := set $webhook "reinvocationPolicy" "IfNeeded" }}{{ end }}
{{- $fields := dict }}
{{- range $field, $value := $webhook }}
{{- $_ := set $fields $field (toRawJson $value | sha256sum | trunc 16) }}
{{- end }}
{{- $_ := set $digests (printf "%s%s" $selector.prefix $name) $fields }}
{{- end }}
{{- end }}
{{- toJson $digests }}
{{- end }}

{{- /* The rules of one webhook, where the chart sets them itself. Call with (context, name). */}}
{{- define "sandgate.plainRules" -}}
{{- $context := index . 0 }}
{{- if not (include "sandgate.isManaged" $context) -}}
rules: {{- get (include "sandgate.rules" $context | fromYaml) (index . 1) | toYaml | nindent 2 }}
{{- end }}
{{- end }}
