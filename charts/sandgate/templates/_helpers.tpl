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
{{- if or (include "sandgate.isManaged" .) (include "sandgate.hasEvents" .) (include "sandgate.hasBackstop" .) }}yes{{ end }}
{{- end }}

{{- define "sandgate.hasBackstop" -}}
{{- if (default (dict) .Values.backstop).enabled }}yes{{ end }}
{{- end }}

{{- /* The names that objects of the backstop can have, as a JSON list: those of the policies, and those that are there, so that
the objects of a policy that is gone can be removed. */}}
{{- define "sandgate.backstopNames" -}}
{{- $names := dict }}
{{- range $policy, $spec := .Values.policies }}
{{- if $spec }}
{{- range $scope := list "" ".patterns" ".rest" }}
{{- range $level := list "" ".enforce" ".warn" ".audit" }}
{{- range $kind := list "" ".binding" }}
{{- $_ := set $names (printf "sandgate-%s%s%s%s" $policy $scope $level $kind) "" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range (lookup "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicy" "" "").items }}
{{- $labels := default (dict) .metadata.labels }}
{{- if and (eq (dig "app.kubernetes.io/component" "" $labels) "backstop") (eq (dig "app.kubernetes.io/managed-by" "" $labels) "sandgate") }}
{{- $_ := set $names .metadata.name "" }}
{{- end }}
{{- end }}
{{- keys $names | sortAlpha | toJson }}
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

{{- /* The namespaces that policies name, sorted, as JSON; patterns and `*` are no names. A dict, not a list: appending to a
list copies it. */}}
{{- define "sandgate.namespaces" -}}
{{- if not (values (default (dict) .Values.policies) | compact) }}
{{- fail "policies is empty, must have at least one policy: set the namespaces to guard, such as --set 'policies.workflow-runner.namespaces={workflows}'" }}
{{- end }}
{{- $owners := dict }}
{{- $names := dict }}
{{- $selects := false }}
{{- range $name, $spec := .Values.policies }}
{{- $spec := default (dict) $spec }}
{{- if $spec.namespaceSelector }}
{{- $selects = true }}
{{- if $spec.namespaces }}
{{- fail (printf "policies.%s has namespaces and namespaceSelector, must have one of them: make a policy for each" $name) }}
{{- end }}
{{- end }}
{{- range default (list) $spec.namespaces }}
{{- if hasKey $owners . }}
{{- fail (printf "policies.%s.namespaces has %s, which another policy has too: a namespace has one policy" $name .) }}
{{- end }}
{{- $_ := set $owners . $name }}
{{- if ne . "*" }}
{{- $start := first (splitList "*" .) }}
{{- $isPattern := contains "*" . }}
{{- if or (eq . "kube-system") (and $isPattern (or (hasPrefix "kube-" $start) (hasPrefix $start "kube-"))) }}
{{- $what := ternary "can match a namespace of Kubernetes (kube-*)" "a policy must never guard" $isPattern }}
{{- fail (printf "policies.%s.namespaces has %s, which %s: nothing of the cluster could start without sandgate; %s" $name . $what (ternary "write a longer beginning" "remove it" $isPattern)) }}
{{- end }}
{{- if or (eq . $.Release.Namespace) (and $isPattern (regexMatch (include "sandgate.regex" .) $.Release.Namespace)) }}
{{- fail (printf "policies.%s.namespaces has %s, which %s: sandgate could not start without itself; remove it" $name . (ternary "matches the namespace of the release" "a policy must never guard" $isPattern)) }}
{{- end }}
{{- if not $isPattern }}{{ $_ := set $names . "" }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not $owners) (not $selects) }}
{{- fail "policies select no namespace, must have one policy with namespaces or a namespaceSelector: a policy without them is only extended or a candidate" }}
{{- end }}
{{- keys $names | sortAlpha | toJson }}
{{- end }}

{{- /* The regular expression of the namespaces that a pattern stands for. */}}
{{- define "sandgate.regex" -}}
^({{ . | replace "*" "[^/]*" }})$
{{- end }}

{{- /* The CEL expression that is true in the namespaces that patterns of policies match; nothing without patterns. Text, not
a list: appending to a list copies it. */}}
{{- define "sandgate.byPattern" -}}
{{- $alternatives := include "sandgate.patterns" . | trimPrefix "|" }}
{{- with $alternatives }}request.namespace.matches('^({{ . }})$'){{ end }}
{{- end }}

{{- define "sandgate.patterns" -}}
{{- range $name, $spec := .Values.policies }}
{{- range default (list) (default (dict) $spec).namespaces }}
{{- if and (contains "*" .) (ne . "*") }}|{{ . | replace "*" "[^/]*" }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The requirements of a LabelSelector, those of matchLabels as expressions, as JSON. */}}
{{- define "sandgate.requirements" -}}
{{- $requirements := list }}
{{- range $key, $value := default (dict) .matchLabels }}
{{- $requirements = append $requirements (dict "key" $key "operator" "In" "values" (list $value)) }}
{{- end }}
{{- range default (list) .matchExpressions }}
{{- $requirements = append $requirements (empty .values | ternary (omit . "values") .) }}
{{- end }}
{{- toJson $requirements }}
{{- end }}

{{- /* The names of the policies by what they are for, as JSON: names, regular expressions of patterns, selectors, and the
rest. */}}
{{- define "sandgate.selection" -}}
{{- $names := dict }}
{{- $patterns := dict }}
{{- $selectors := dict }}
{{- $rest := "" }}
{{- range $name, $spec := .Values.policies }}
{{- $spec := default (dict) $spec }}
{{- with $spec.namespaceSelector }}{{ $_ := set $selectors $name (include "sandgate.requirements" . | fromJsonArray) }}{{ end }}
{{- range default (list) $spec.namespaces }}
{{- if eq . "*" }}{{ $rest = $name }}
{{- else if contains "*" . }}{{ $_ := set $patterns (include "sandgate.regex" .) $name }}
{{- else }}{{ $_ := set $names . $name }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "names" $names "patterns" $patterns "selectors" $selectors "rest" $rest | toJson }}
{{- end }}

{{- /* The name of the policy of a namespace; nothing if it has none. Call with (selection, name, labels of the namespace). */}}
{{- define "sandgate.policyOf" -}}
{{- $selection := index . 0 }}
{{- $namespace := index . 1 }}
{{- $labels := default (dict) (index . 2) }}
{{- $policy := $selection.rest }}
{{- range $name, $requirements := $selection.selectors }}
{{- $selects := true }}
{{- range $requirements }}
{{- $isListed := and (hasKey $labels .key) (has (get $labels .key) (default (list) .values)) }}
{{- $holds := dict "In" $isListed "NotIn" (not $isListed) "Exists" (hasKey $labels .key) "DoesNotExist" (not (hasKey $labels .key)) }}
{{- if not (get $holds .operator) }}{{ $selects = false }}{{ end }}
{{- end }}
{{- if $selects }}{{ $policy = $name }}{{ end }}
{{- end }}
{{- range $regex, $ofPattern := $selection.patterns }}
{{- if regexMatch $regex $namespace }}{{ $policy = $ofPattern }}{{ end }}
{{- end }}
{{- get $selection.names $namespace | default $policy }}
{{- end }}

{{- /* The mode of a policy. Call with (context, name). */}}
{{- define "sandgate.modeOf" -}}
{{- default "enforce" (get (index . 0).Values.policies (index . 1)).mode }}
{{- end }}

{{- /* The `value` of a key of a policy, as JSON: its own, else that of what it extends. Call with (policies, name, section,
key, its value in every preset, its value without a base, how many further policies may be extended). */}}
{{- define "sandgate.keyOf" -}}
{{- $spec := default (dict) (get (index . 0) (index . 1)) }}
{{- $section := default (dict) (get $spec (index . 2)) }}
{{- $base := default "" $spec.extends }}
{{- if and (hasKey $section (index . 3)) (not (kindIs "invalid" (get $section (index . 3)))) }}
{{- dict "value" (get $section (index . 3)) | toJson }}
{{- else if hasPrefix "preset/" $base }}
{{- dict "value" (index . 4) | toJson }}
{{- else if and $base (gt (int (index . 6)) 0) }}
{{- include "sandgate.keyOf" (list (index . 0) $base (index . 2) (index . 3) (index . 4) (index . 5) (sub (index . 6) 1)) }}
{{- else }}
{{- dict "value" (index . 5) | toJson }}
{{- end }}
{{- end }}

{{- /* What the webhooks select, as JSON: a webhook for all names, one for all patterns, one for each policy with a selector,
and one for the rest. Each namespace is selected once: a name beats a pattern, a pattern a selector, a selector the rest.
`prefix` begins the names of the webhooks, `path` is what their path ends in. No selector and no rest means a namespace of
Kubernetes or that of the release: without sandgate, they could not start again. There is no objectSelector: users control
the labels of Pods. */}}
{{- define "sandgate.scopes" -}}
{{- $label := "kubernetes.io/metadata.name" }}
{{- $named := include "sandgate.namespaces" . | fromJsonArray }}
{{- $notNamed := list }}
{{- with $named }}{{ $notNamed = list (dict "key" $label "operator" "NotIn" "values" .) }}{{ end }}
{{- $notOurs := dict "key" $label "operator" "NotIn" "values" (append $named .Release.Namespace) }}
{{- $byPattern := include "sandgate.byPattern" . }}
{{- $others := list (dict "name" "not-kubernetes" "expression" "!request.namespace.startsWith('kube-')") }}
{{- with $byPattern }}{{ $others = append $others (dict "name" "not-by-pattern" "expression" (printf "!(%s)" .)) }}{{ end }}
{{- $scopes := list }}
{{- with $named }}
{{- $requirement := dict "key" $label "operator" "In" "values" . }}
{{- $scopes = append $scopes (dict "prefix" "" "path" "" "requirements" (list $requirement) "conditions" list) }}
{{- end }}
{{- with $byPattern }}
{{- $condition := dict "name" "by-pattern" "expression" . }}
{{- $scopes = append $scopes (dict "prefix" "patterns." "path" "" "requirements" $notNamed "conditions" (list $condition)) }}
{{- end }}
{{- $isForRest := false }}
{{- $notSelected := list }}
{{- range $name, $spec := .Values.policies }}
{{- $spec := default (dict) $spec }}
{{- if has "*" (default (list) $spec.namespaces) }}{{ $isForRest = true }}{{ end }}
{{- with $spec.namespaceSelector }}
{{- $requirements := include "sandgate.requirements" . | fromJsonArray }}
{{- range $requirements }}{{ $notSelected = append $notSelected . }}{{ end }}
{{- $scope := dict "prefix" (printf "%s.selector." $name) "path" (printf "/%s" $name) "requirements" (append $requirements $notOurs) "conditions" $others }}
{{- $scopes = append $scopes $scope }}
{{- end }}
{{- end }}
{{- if $isForRest }}
{{- $opposite := dict "In" "NotIn" "NotIn" "In" "Exists" "DoesNotExist" "DoesNotExist" "Exists" }}
{{- $requirements := list $notOurs }}
{{- range $notSelected }}{{ $requirements = append $requirements (merge (dict "operator" (get $opposite .operator)) .) }}{{ end }}
{{- $scopes = append $scopes (dict "prefix" "rest." "path" "" "requirements" $requirements "conditions" $others) }}
{{- end }}
{{- toJson $scopes }}
{{- end }}

{{- /* The namespaces that `helm test` tries, as JSON: those where a hostile Pod is denied. */}}
{{- define "sandgate.testedNamespaces" -}}
{{- $found := default (list) .Values.test.namespaces }}
{{- if not $found }}
{{- $enforced := dict }}
{{- range $name, $policy := (include "sandgate.selection" . | fromJson).names }}
{{- if eq (include "sandgate.modeOf" (list $ $policy)) "enforce" }}{{ $_ := set $enforced $name "" }}{{ end }}
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
{{- with include "sandgate.templateResources" . | fromJson }}
templates.sandgate.dev:
{{- range $group, $resources := . }}
  - {apiGroups: [{{ $group | quote }}], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: {{ toJson $resources }}, scope: Namespaced}
{{- end }}
{{- end }}
{{- end }}

{{- /* The resources of workloads that are sent to /templates, by group, as JSON; none unless that webhook is enabled. */}}
{{- define "sandgate.templateResources" -}}
{{- $groups := dict }}
{{- $templates := default (dict) .Values.webhook.templates }}
{{- if $templates.enabled }}
{{- range default (list) $templates.kinds | uniq | sortAlpha }}
{{- $parts := regexSplit "[.]" . 2 }}
{{- $group := "" }}
{{- if gt (len $parts) 1 }}{{ $group = last $parts }}{{ end }}
{{- $_ := set $groups $group (append (default (list) (get $groups $group)) (first $parts)) }}
{{- end }}
{{- if not $groups }}
{{- fail "webhook.templates.kinds is empty, must name the kinds to review: name some, such as deployments.apps, or set webhook.templates.enabled=false" }}
{{- end }}
{{- end }}
{{- toJson $groups }}
{{- end }}

{{- /* The names of the webhooks of the mutating configuration, as JSON. */}}
{{- define "sandgate.mutatingWebhooks" -}}
{{- $names := list "mutate.sandgate.dev" }}
{{- if (default (dict) .Values.webhook.templates).enabled }}{{ $names = append $names "templates.sandgate.dev" }}{{ end }}
{{- toJson $names }}
{{- end }}

{{- /* Whether a policy fills templates. */}}
{{- define "sandgate.fillsTemplates" -}}
{{- range .Values.policies }}
{{- if eq (toString (default (dict) .).templates) "fill" }}yes{{ end }}
{{- end }}
{{- end }}

{{- /* The match conditions of each webhook, by its name, as YAML: only what a rule could read is sent. `.?` is none where
a field is missing, so no condition ever fails; a failure would deny the request.
- An UPDATE that changes nothing that a rule reads, such as finalizers, is not sent.
- A client that may write a Pod's status may change its labels and annotations there. The kubelet, which writes it all the
  time, changes neither, and so never waits for sandgate.
- An UPDATE of a workload that changes no template, as when it is scaled, may change its spec and is sent; one of its
metadata is not. Components of Kubernetes and service accounts see no warnings: unless a policy fills templates, only what
people write is sent. The administrator of some distributions is called system:admin.
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
templates.sandgate.dev:
  - name: changes-what-makes-pods
    expression: >-
      request.operation != "UPDATE" ||
      object.?spec != oldObject.?spec ||
      object.?template != oldObject.?template
{{- if not (include "sandgate.fillsTemplates" .) }}
  - name: is-of-a-person
    expression: >-
      !request.userInfo.username.startsWith('system:') ||
      request.userInfo.username == 'system:admin'
{{- end }}
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
{{- range $scope := include "sandgate.scopes" $context | fromJsonArray }}
{{- range $name := $names }}
{{- $own := default (dict) (get $values (first (splitList "." $name))) }}
{{- $isMutating := eq $name "mutate.sandgate.dev" }}
{{- $isForTemplates := eq $name "templates.sandgate.dev" }}
{{- $path := $isMutating | ternary "/mutate" ($isForTemplates | ternary "/templates" "/validate") }}
{{- /* Whatever becomes of a template, its Pods are reviewed: it never waits for long, and is never denied. */}}
{{- if $isForTemplates }}{{ $own = dict "failurePolicy" "Ignore" "timeoutSeconds" (default 1 $own.timeoutSeconds) }}{{ end }}
{{- $webhook := dict
      "name" (printf "%s%s" $scope.prefix $name)
      "admissionReviewVersions" (list "v1")
      "clientConfig" (include "sandgate.clientConfig" (list $context (printf "%s%s" $path $scope.path)) | fromJson)
      "failurePolicy" (default (default "Fail" $values.failurePolicy) $own.failurePolicy)
      "matchPolicy" "Equivalent"
      "matchConditions" (concat $scope.conditions (get $conditions $name))
      "namespaceSelector" (empty $scope.requirements | ternary (dict) (dict "matchExpressions" $scope.requirements))
      "sideEffects" "NoneOnDryRun"
      "timeoutSeconds" (default (default 5 $values.timeoutSeconds) $own.timeoutSeconds | int) }}
{{- /* Called again when another webhook changed the Pod after it. */}}
{{- if $isMutating }}{{ $_ := set $webhook "reinvocationPolicy" "IfNeeded" }}{{ end }}
{{- if $isForTemplates }}{{ $_ := set $webhook "reinvocationPolicy" "Never" }}{{ end }}
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
{{- /* What stands before the last three words of a webhook's name is the prefix of its scope. */}}
{{- range $webhooks }}{{ $_ := set $rules .name (get $allRules (regexFind "[^.]+[.]sandgate[.]dev$" .name)) }}{{ end }}
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

{{- /* Lets a policy, and its profiles that have their own list, allow the tolerations that the chart's RuntimeClass puts into
Pods: admission adds them before sandgate sees the Pod. Call with (context, spec), which is changed. */}}
{{- define "sandgate.allowTolerations" -}}
{{- $class := default (dict) (index . 0).Values.runtimeClass }}
{{- $spec := index . 1 }}
{{- $classes := default (list $class.name) (default (dict) $spec.runtimeClass).allowed }}
{{- $tolerations := list }}
{{- range default (list) (default (dict) $class.scheduling).tolerations }}
{{- if not .key }}
{{- fail "runtimeClass.scheduling.tolerations has a toleration without a key, which a policy cannot allow: name the taint" }}
{{- end }}
{{- $tolerations = append $tolerations (omit . "tolerationSeconds") }}
{{- end }}
{{- if and $class.create $tolerations (has $class.name $classes) }}
{{- $add := default (dict) $spec.add }}
{{- $placement := default (dict) $add.placement }}
{{- $_ := set $placement "allowedTolerations" (concat (default (list) $placement.allowedTolerations) $tolerations | uniq) }}
{{- $_ := set $add "placement" $placement }}
{{- $_ := set $spec "add" $add }}
{{- range default (list) $spec.profiles }}
{{- $own := default (dict) .spec }}
{{- if hasKey (default (dict) $own.placement) "allowedTolerations" }}{{ include "sandgate.allowTolerations" (list (index $ 0) $own) }}{{ end }}
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
{{- $spec := deepCopy $spec }}
{{- include "sandgate.allowTolerations" (list $ $spec) }}
{{- $document := dict "apiVersion" "sandgate.dev/v1beta1" "kind" "SandboxPolicy" "metadata" (dict "name" $name) "spec" $spec }}
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
