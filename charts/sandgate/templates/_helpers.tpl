{{- define "sandgate.name" -}}
{{- default .Chart.Name .Values.nameOverride }}
{{- end }}

{{- /* A text of at most so many characters. A longer one is cut, and ends with its hash, so that two long texts never
become one. Call with (text, most). */}}
{{- define "sandgate.cut" -}}
{{- $text := index . 0 }}
{{- $most := index . 1 | int }}
{{- if gt (len $text) $most }}
{{- printf "%s-%s" ($text | trunc (sub $most 9 | int) | trimSuffix "-") ($text | sha256sum | trunc 8) }}
{{- else }}
{{- $text }}
{{- end }}
{{- end }}

{{- /* A release called sandgate, or something with sandgate in it, is not called sandgate-sandgate. The name is also that
of the Service, which must begin with a letter before Kubernetes 1.36. */}}
{{- define "sandgate.fullname" -}}
{{- $name := include "sandgate.name" . }}
{{- $full := printf "%s-%s" .Release.Name $name }}
{{- if .Values.fullnameOverride }}
{{- $full = .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- $full = .Release.Name }}
{{- end }}
{{- $full = include "sandgate.cut" (list $full 63) }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{- fail (printf "the release's Service would be called %s, must begin with a letter, and have only a-z, 0-9 and hyphens: set fullnameOverride" $full) }}
{{- end }}
{{- $full }}
{{- end }}

{{- /* The name of another object of the release. Call with (context, what it ends with). */}}
{{- define "sandgate.named" -}}
{{- $suffix := index . 1 }}
{{- printf "%s%s" (include "sandgate.cut" (list (include "sandgate.fullname" (index . 0)) (sub 63 (len $suffix)))) $suffix }}
{{- end }}

{{- /* What the Service, the Deployment and their like select by; never changes. The Pod of `helm test` is none of them. */}}
{{- define "sandgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sandgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end }}

{{- /* Labels of the Pods. Nothing that an upgrade changes without need: each change of these replaces all Pods. */}}
{{- define "sandgate.podLabels" -}}
{{ include "sandgate.selectorLabels" . }}
{{- with merge (dict) (default (dict) .Values.podLabels) (default (dict) .Values.commonLabels) }}
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

{{- /* Labels and annotations of an object. Call with {context, labels, annotations}; the last two are this object's own. */}}
{{- define "sandgate.about" -}}
labels: {{- merge (dict) (default (dict) .labels) (include "sandgate.labels" .context | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) (default (dict) .context.Values.commonAnnotations) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sandgate.serviceAccount" -}}
{{- default (include "sandgate.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- /* An image that is not named would be looked for on Docker Hub. */}}
{{- define "sandgate.image" -}}
{{- $image := default (dict) .Values.image }}
{{- $repository := default "" $image.repository }}
{{- if not $repository }}
{{- fail "image.repository is empty, must be the repository of your image: build and push it (make image), then set image.repository, such as registry.example.com/sandgate" }}
{{- end }}
{{- $first := first (splitList "/" $repository) }}
{{- $namesRegistry := and (contains "/" $repository) (or (regexMatch "[.:]" $first) (eq $first "localhost")) }}
{{- if and $image.registry $namesRegistry }}
{{- fail (printf "image.registry is %s, must be empty where image.repository (%s) names a registry: remove it from one of them" $image.registry $repository) }}
{{- end }}
{{- $registry := default (dig "imageRegistry" "" (default (dict) .Values.global)) $image.registry }}
{{- if and $registry (not $namesRegistry) }}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository }}
{{- end }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{- /* The fields of a Pod that pull its image. */}}
{{- define "sandgate.pullSecrets" -}}
{{- with concat (default (list) .Values.imagePullSecrets) (default (list) (dig "imagePullSecrets" (list) (default (dict) .Values.global))) | uniq }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* A number, or another one where it is null. Call with (number, other). */}}
{{- define "sandgate.number" -}}
{{- if kindIs "invalid" (index . 0) }}{{ index . 1 }}{{ else }}{{ index . 0 | int64 }}{{ end }}
{{- end }}

{{- /* A map without the keys that are null or empty text, as YAML. */}}
{{- define "sandgate.compact" -}}
{{- $kept := dict }}
{{- range $key, $value := . }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}{{ $_ := set $kept $key $value }}{{ end }}
{{- end }}
{{- with $kept }}{{ toYaml . }}{{ end }}
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
      "managed" (include "sandgate.named" (list . "-ca"))
      "cert-manager" (include "sandgate.named" (list . "-tls"))
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

{{- /* The namespaces that policies name, sorted, as JSON; `*` is no name. A dict, not a list: appending to a list copies
it. */}}
{{- define "sandgate.namespaces" -}}
{{- if not (values (default (dict) .Values.policies) | compact) }}
{{- fail "policies is empty, must have at least one policy: set the namespaces to guard, such as --set 'policies.workflow-runner.namespaces={workflows}'" }}
{{- end }}
{{- $owners := dict }}
{{- range $name, $spec := .Values.policies }}
{{- range dig "namespaces" (list) (default (dict) $spec) }}
{{- if or (eq . "kube-system") (eq . $.Release.Namespace) }}
{{- $why := ternary "nothing of the cluster could start without sandgate" "sandgate could not start without itself" (eq . "kube-system") }}
{{- fail (printf "policies.%s.namespaces has %s, which a policy must never guard: %s; remove it" $name . $why) }}
{{- end }}
{{- if hasKey $owners . }}
{{- fail (printf "policies.%s.namespaces has %s, which another policy has too: a namespace has one policy" $name .) }}
{{- end }}
{{- $_ := set $owners . $name }}
{{- end }}
{{- end }}
{{- if hasKey $owners "*" | ne (not (empty .Values.webhook.namespaceSelector)) }}
{{- fail "a policy for the namespace * and webhook.namespaceSelector go together: the policy says how Pods must look where nothing else does, the selector which namespaces that is; set both or neither" }}
{{- end }}
{{- keys (omit $owners "*") | sortAlpha | toJson }}
{{- end }}

{{- /* The modes of the policies, by the namespaces that they name, as JSON. */}}
{{- define "sandgate.modes" -}}
{{- $modes := dict }}
{{- range $name, $spec := .Values.policies }}
{{- range dig "namespaces" (list) (default (dict) $spec) }}{{ $_ := set $modes . (default "enforce" $spec.mode) }}{{ end }}
{{- end }}
{{- toJson $modes }}
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

{{- /* The namespaces that `helm test` tries, as JSON: those where a hostile Pod is denied. */}}
{{- define "sandgate.testedNamespaces" -}}
{{- $found := default (list) .Values.test.namespaces }}
{{- if not $found }}
{{- $enforced := dict }}
{{- range $name, $mode := include "sandgate.modes" . | fromJson }}
{{- if and (eq $mode "enforce") (ne $name "*") }}{{ $_ := set $enforced $name "" }}{{ end }}
{{- end }}
{{- $found = keys $enforced | sortAlpha }}
{{- end }}
{{- if gt (len $found) 20 }}{{ $found = slice $found 0 20 }}{{ end }}
{{- toJson $found }}
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

{{- /* The match conditions of each webhook, by its name, as YAML: only what a rule could read is sent. `.?` is none where
a field is missing, so no condition ever fails; a failure would deny the request.
- An UPDATE that changes nothing that a rule reads, such as finalizers, is not sent.
- A client that may write a Pod's status may change its labels and annotations there. The kubelet, which writes it all the
  time, changes neither, and so never waits for sandgate.
- A client that may bind a Pod to a node may change its labels and annotations with that. The scheduler changes neither,
  and so never waits for sandgate. The API server itself adds zone and region of the node, before it calls webhooks. */}}
{{- define "sandgate.conditions" -}}
mutate.sandgate.dev: &changes
  - name: changes-what-rules-read
    expression: >-
      request.operation != "UPDATE" ||
      object.?spec != oldObject.?spec ||
      object.metadata.?labels != oldObject.metadata.?labels ||
      object.metadata.?annotations != oldObject.metadata.?annotations ||
      object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences
validate.sandgate.dev: *changes
status.sandgate.dev:
  - name: changes-metadata
    expression: >-
      object.metadata.?labels != oldObject.metadata.?labels ||
      object.metadata.?annotations != oldObject.metadata.?annotations
binding.sandgate.dev:
  - name: carries-metadata
    expression: >-
      object.metadata.?labels.orValue({}).exists(key,
      !(key in ['topology.kubernetes.io/zone', 'topology.kubernetes.io/region'])) ||
      object.metadata.?annotations.orValue({}).size() > 0
{{- end }}

{{- /* Where the API server calls a webhook, as JSON. Call with (context, path). */}}
{{- define "sandgate.clientConfig" -}}
{{- $context := index . 0 }}
{{- $path := index . 1 }}
{{- $client := dict }}
{{- if $context.Values.webhook.url }}
{{- $_ := set $client "url" (printf "%s%s" $context.Values.webhook.url $path) }}
{{- else }}
{{- $service := dict "name" (include "sandgate.fullname" $context) "namespace" $context.Release.Namespace "path" $path "port" 443 }}
{{- $_ := set $client "service" $service }}
{{- end }}
{{- toJson $client }}
{{- end }}

{{- /* The webhooks of a configuration, as a JSON list, without rules and caBundle. Call with (context, names). There is no
objectSelector: users control the labels of Pods. */}}
{{- define "sandgate.webhooks" -}}
{{- $context := index . 0 }}
{{- $names := index . 1 }}
{{- $values := $context.Values.webhook }}
{{- $conditions := include "sandgate.conditions" $context | fromYaml }}
{{- $webhooks := list }}
{{- range $selector := include "sandgate.selectors" $context | fromJsonArray }}
{{- range $name := $names }}
{{- $own := default (dict) (get $values (first (splitList "." $name))) }}
{{- $isMutating := eq $name "mutate.sandgate.dev" }}
{{- $webhook := dict
      "name" (printf "%s%s" $selector.prefix $name)
      "admissionReviewVersions" (list "v1")
      "clientConfig" (include "sandgate.clientConfig" (list $context ($isMutating | ternary "/mutate" "/validate")) | fromJson)
      "failurePolicy" (default (default "Fail" $values.failurePolicy) $own.failurePolicy)
      "matchPolicy" "Equivalent"
      "matchConditions" (get $conditions $name)
      "namespaceSelector" $selector.selector
      "sideEffects" "NoneOnDryRun"
      "timeoutSeconds" (default (default 5 $values.timeoutSeconds) $own.timeoutSeconds | int) }}
{{- /* Called again when another webhook changed the Pod after it. */}}
{{- if $isMutating }}{{ $_ := set $webhook "reinvocationPolicy" "IfNeeded" }}{{ end }}
{{- $webhooks = append $webhooks $webhook }}
{{- end }}
{{- end }}
{{- toJson $webhooks }}
{{- end }}

{{- /* Digests of every field that the chart writes into webhooks, by webhook and field, as JSON. sandgate compares them
with what is stored, so that a change by others is noticed. Call with the webhooks. */}}
{{- define "sandgate.rendered" -}}
{{- $digests := dict }}
{{- range . }}
{{- $fields := dict }}
{{- range $field, $value := set (omit . "name") "objectSelector" (dict) }}
{{- $_ := set $fields $field (toRawJson $value | sha256sum | trunc 16) }}
{{- end }}
{{- $_ := set $digests .name $fields }}
{{- end }}
{{- toJson $digests }}
{{- end }}

{{- /* Metadata and webhooks of a configuration. Call with (context, names). In mode managed the rules stand in an
annotation only: a webhook without rules is never called, and sandgate writes them into the webhooks as soon as it
answers. So no request ever waits for a webhook that is not there yet. In the other modes the rules are in force at once. */}}
{{- define "sandgate.configuration" -}}
{{- $context := index . 0 }}
{{- $managed := include "sandgate.isManaged" $context }}
{{- $certificates := $context.Values.certificates }}
{{- $annotations := deepCopy (default (dict) $context.Values.webhook.annotations) }}
{{- $webhooks := include "sandgate.webhooks" . | fromJsonArray }}
{{- $allRules := include "sandgate.rules" $context | fromYaml }}
{{- $rules := dict }}
{{- range $webhooks }}{{ $_ := set $rules .name (get $allRules (trimPrefix "labelled." .name)) }}{{ end }}
{{- if $managed }}
{{- $_ := set $annotations "sandgate.dev/rules" (toJson $rules) }}
{{- $_ := set $annotations "sandgate.dev/rendered" (include "sandgate.rendered" $webhooks) }}
{{- else }}
{{- range $webhooks }}
{{- $_ := set . "rules" (get $rules .name) }}
{{- if and (eq $certificates.mode "files") $certificates.caBundle }}
{{- $_ := set .clientConfig "caBundle" (b64enc $certificates.caBundle) }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq $certificates.mode "cert-manager" }}
{{- $certificate := printf "%s/%s" $context.Release.Namespace (include "sandgate.fullname" $context) }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" $certificate }}
{{- end }}
metadata:
  name: {{ include "sandgate.fullname" $context }}
  {{- include "sandgate.about" (dict "context" $context "annotations" $annotations) | nindent 2 }}
webhooks: {{- toYaml $webhooks | nindent 2 }}
{{- end }}

{{- /* Fails if the webhooks of another release select a namespace of these policies. Two policies that demand different
things deny every Pod between them. */}}
{{- define "sandgate.checkOtherReleases" -}}
{{- if .Values.checkOtherReleases }}
{{- $fullname := include "sandgate.fullname" . }}
{{- $ours := dict }}
{{- range include "sandgate.namespaces" . | fromJsonArray }}{{ $_ := set $ours . "" }}{{ end }}
{{- range (lookup "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" "" "").items }}
{{- $configuration := .metadata.name }}
{{- $partOf := dig "metadata" "labels" "app.kubernetes.io/part-of" "" . }}
{{- if and (eq $partOf "sandgate") (ne $configuration $fullname) }}
{{- range .webhooks }}
{{- range dig "namespaceSelector" "matchExpressions" (list) . }}
{{- if and (eq .operator "In") (eq .key "kubernetes.io/metadata.name") }}
{{- range .values }}
{{- if hasKey $ours . }}
{{- fail (printf "policies has the namespace %s, which the webhooks of the release %s guard already: remove it from one of the two, or set checkOtherReleases=false" . $configuration) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The policies, as the files of each ConfigMap, as JSON: a list of maps from file to text. Where a policy goes depends
on its name alone, so that a change of one never moves another. */}}
{{- define "sandgate.policyFiles" -}}
{{- $count := int (default 1 .Values.policyConfigMaps) }}
{{- $maps := dict }}
{{- range $index := until $count }}{{ $_ := set $maps (toString $index) (dict) }}{{ end }}
{{- range $name, $spec := .Values.policies }}
{{- if $spec }}
{{- $map := mod (sha256sum $name | trunc 6 | printf "0x%s" | int64) $count | toString }}
{{- $document := dict "apiVersion" "sandgate.dev/v1alpha1" "kind" "SandboxPolicy" "metadata" (dict "name" $name) "spec" $spec }}
{{- $_ := set (get $maps $map) (printf "%s.yaml" $name) (toYaml $document) }}
{{- end }}
{{- end }}
{{- range $index, $files := $maps }}
{{- $size := len (toJson $files) }}
{{- if gt $size 1000000 }}
{{- fail (printf "policyConfigMaps is %d, must be more: the policies of ConfigMap %s take %d bytes, and a ConfigMap holds 1000000; set policyConfigMaps=%d" $count $index $size (add 1 (div (mul 2 $count $size) 1000000))) }}
{{- end }}
{{- end }}
{{- toJson $maps }}
{{- end }}

{{- /* The name of one of the ConfigMaps with policies. Call with (context, its number as text). */}}
{{- define "sandgate.policyConfigMap" -}}
{{- $number := index . 1 }}
{{- include "sandgate.named" (list (index . 0) (eq $number "0" | ternary "-policy" (printf "-policy-%s" $number))) }}
{{- end }}

{{- /* Which IP families a Service has, unless the cluster decides. */}}
{{- define "sandgate.families" -}}
{{- with .Values.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.service.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
