//! Tests of the policies that load, and of the errors of those that do not.

use super::*;

#[test]
fn empty_spec_is_the_full_sandbox() {
    for text in ["spec: {}", ""] {
        let text = format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: workflow-runner}}\n{text}"
        );
        let set = load(&text).unwrap();
        assert_eq!(set.policies()[0].base().spec, Spec::default());
        assert_eq!(set.policies()[0].hash, PolicySet::builtin().policies()[0].hash);
    }
}

#[test]
fn key_that_is_left_out_keeps_its_default() {
    let spec = spec("resources: {container: {limits: {cpu: 500m}}}\nsecurity: {runAsUser: {max: 2000}}");
    assert_eq!(spec.resources.container.limits.cpu.text, "500m");
    assert_eq!(spec.resources.container.limits.memory.text, "4Gi");
    assert_eq!(spec.resources.container.requests.memory.text, "1Gi");
    assert_eq!(spec.security.run_as_user, IdRange { default: Some(1000), min: 1000, max: 2000 });
    assert_eq!(spec.runtime_class.default, "gvisor");
}

/// The oracle loads a policy with each value of each key (`tests/oracle/policies.rs`).
#[test]
fn null_and_values_are_read_as_written() {
    let spec = spec(
        "serviceAccount: {default: null, allowed: ['*']}
lifecycle: {restartPolicy: {allowedForJobs: []}, activeDeadlineSeconds: {default: null, max: null}}
security: {supplementalGroupsPolicy: Strict}
resources: {extended: {nvidia.com/gpu: {max: 1, runtimeClasses: [gvisor]}}}",
    );
    assert_eq!(spec.service_account.default, None);
    assert_eq!(spec.lifecycle.active_deadline_seconds.max, None);
    assert_eq!(spec.security.supplemental_groups_policy, Some(SupplementalGroupsPolicy::Strict));
    assert_eq!(spec.resources.extended["nvidia.com/gpu"].max, 1);
}

#[test]
fn hash_follows_the_content_and_not_the_spelling() {
    let hash = |spec: &str| policy(spec).hash;
    assert_eq!(hash("mode: enforce"), hash("# a comment\nlabels: {required: {app: workflow-runner}}"));
    assert_ne!(hash("mode: enforce"), hash("mode: warn"));
    assert_ne!(hash("help: a"), hash("profiles: [{name: a, match: {labels: {x: y}}}]"));
    assert_eq!(hash("extends: preset/jenkins"), hash(&written_out("jenkins")));
}

/// The spec of a preset, as if it were written into the file.
fn written_out(preset: &str) -> String {
    let text = super::super::preset(preset).unwrap();
    let spec = text.split_once("\nspec:\n").unwrap().1;
    spec.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn old_version_is_denied_with_what_changed() {
    let text = with_spec("mode: warn").replace("v1beta1", "v1alpha1");
    let error = load(&text).unwrap_err();
    assert!(
        error.starts_with("policy.yaml:1: apiVersion: v1alpha1 is no longer read; in sandgate.dev/v1beta1 "),
        "{error}"
    );
    assert!(error.contains("docs/policy.md"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn key_cannot_forge_a_line_of_the_error() {
    let error = load(&with_spec("\"mo\\rde\\e[2J\": enforce")).unwrap_err();
    assert!(error.starts_with("policy.yaml:5: spec.mo\u{fffd}de\u{fffd}[2J: "), "{error}");
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn unknown_key_is_named_with_file_line_and_path() {
    denied_at(
        "security:\n  runAsUsr: {default: 1}",
        "spec.security.runAsUsr",
        "unknown key `runAsUsr`: use `runAsUser`",
    );
    denied_at("volumes: {allowed: [emptyDir]}", "spec.volumes.allowed", "unknown key");
    denied_at("volumes: {hostPath: {}}", "spec.volumes.hostPath", "unknown key");
    denied_at("bogus: 1", "spec.bogus", "unknown key `bogus`");
    denied_at("profiles: [{name: a, match: {label: {x: y}}}]", "spec.profiles[0].match.label", "unknown key");
    denied_at(
        "profiles: [{name: a, match: {labels: {x: y}}, spec: {mode: audit}}]",
        "spec.profiles[0].spec.mode",
        "unknown key",
    );
}

#[test]
fn value_of_the_wrong_kind_is_named_with_file_line_and_path() {
    for (spec, line, path) in [
        ("mode: strict", 5, "spec.mode"),
        ("namespaces: workflows", 5, "spec.namespaces"),
        ("security:\n  runAsUser:\n    max: lots", 7, "spec.security.runAsUser.max"),
        ("resources:\n  pod:\n    limits:\n      cpu: 2x", 8, "spec.resources.pod.limits.cpu"),
        ("resources:\n  pod:\n    limits:\n      cpu: 0", 8, "spec.resources.pod.limits.cpu"),
        ("security: 5", 5, "spec.security"),
        ("volumes:\n  writablePaths:\n  - /a\n  - /etc", 8, "spec.volumes.writablePaths[1]"),
        ("profiles: {}", 5, "spec.profiles"),
        ("containers: {}", 5, "spec.containers"),
    ] {
        let error = load(&with_spec(spec)).unwrap_err();
        assert!(error.starts_with(&format!("policy.yaml:{line}: {path}: ")), "{error}");
    }
}

#[test]
fn null_is_a_value_only_where_it_is_listed() {
    for (spec, path) in [
        ("mode: null", "spec.mode"),
        ("runtimeClass: {default: null}", "spec.runtimeClass.default"),
        ("security: {runAsUser: {max: null}}", "spec.security.runAsUser.max"),
        ("volumes: {writablePaths: null}", "spec.volumes.writablePaths"),
        ("security: null", "spec.security"),
    ] {
        denied_at(spec, path, "must be");
    }
}

#[test]
fn contradiction_is_named_where_it_stands() {
    denied(
        "lifecycle:\n  activeDeadlineSeconds:\n    default: 7200",
        "policy.yaml:7: spec.lifecycle.activeDeadlineSeconds.default: 7200 is above its own max 3600",
    );
    denied(
        "runtimeClass: {default: runc}",
        "policy.yaml:5: spec.runtimeClass.default: \"runc\" is not one of runtimeClass.allowed [\"gvisor\"]: a Pod that is filled would be denied",
    );
    denied(
        "resources:\n  pod:\n    limits: {memory: 1Gi}",
        "policy.yaml:6: spec.resources.container.limits.memory: 4Gi is above the whole Pod's 1Gi of resources.pod.limits.memory",
    );
    denied(
        "security: {fsGroup: {default: 5}}",
        "policy.yaml:5: spec.security.fsGroup.default: 5 lies outside its own range 1000 to 1000",
    );
}

#[test]
fn every_contradiction_is_denied() {
    for (spec, path) in [
        ("namespaces: []", "spec.namespaces"),
        ("namespaces: [a, a]", "spec.namespaces[1]"),
        ("namespaces: [Team]", "spec.namespaces[0]"),
        ("namespaces: ['kube*']", "spec.namespaces[0]"),
        ("namespaces: ['*-system']", "spec.namespaces[0]"),
        ("namespaces: ['k*']", "spec.namespaces[0]"),
        ("namespaces: ['ci-*', '*-ci-*']", "spec.namespaces[1]"),
        ("namespaces: [a]\nnamespaceSelector: {matchLabels: {a: b}}", "spec.namespaceSelector"),
        ("namespaceSelector: {}", "spec.namespaceSelector"),
        ("namespaceSelector: {matchExpressions: [{key: a, operator: In}]}", "spec.namespaceSelector"),
        (
            "namespaceSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}",
            "spec.namespaceSelector",
        ),
        (
            "namespaceSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}",
            "spec.namespaceSelector",
        ),
        ("labels: {required: {'bad key': x}}", "spec.labels.required"),
        ("labels: {required: {a: x}, forbidden: [a]}", "spec.labels.required"),
        ("labels: {forbidden: ['*']}", "spec.labels.forbidden[0]"),
        ("annotations: {forbidden: ['*']}", "spec.annotations.forbidden[0]"),
        ("annotations: {allowed: [dev.gvisor.*]}", "spec.annotations.allowed[0]"),
        ("annotations: {allowed: [dev.gvisor.flag.host-uds]}", "spec.annotations.allowed[0]"),
        ("annotations: {allowed: [dev.gvisor.empty-dir.*]}", "spec.annotations.allowed[0]"),
        ("runtimeClass: {allowed: ['*', gvisor]}", "spec.runtimeClass.allowed[0]"),
        ("serviceAccount: {default: ''}", "spec.serviceAccount.default"),
        ("serviceAccount: {default: a}", "spec.serviceAccount.default"),
        ("serviceAccount: {allowed: []}", "spec.serviceAccount.allowed"),
        ("lifecycle: {activeDeadlineSeconds: {default: 0}}", "spec.lifecycle.activeDeadlineSeconds.default"),
        ("lifecycle: {activeDeadlineSeconds: {max: null}}", "spec.lifecycle.restartPolicy.allowedForJobs"),
        ("lifecycle: {restartPolicy: {default: Always}}", "spec.lifecycle.restartPolicy.default"),
        (
            "lifecycle: {terminationGracePeriodSeconds: {max: null, onExcess: clamp}}",
            "spec.lifecycle.terminationGracePeriodSeconds.onExcess",
        ),
        ("placement: {nodeAffinity: [{key: a, operator: In}]}", "spec.placement.nodeAffinity[0].values"),
        (
            "placement: {nodeAffinity: [{key: a, operator: Gt, values: ['1', '2']}]}",
            "spec.placement.nodeAffinity[0].values",
        ),
        ("placement: {nodeAffinity: [{key: '', operator: Exists}]}", "spec.placement.nodeAffinity[0].key"),
        ("placement: {tolerations: [{key: ''}]}", "spec.placement.tolerations[0].key"),
        (
            "placement: {allowedTolerations: [{key: '', operator: Exists}]}",
            "spec.placement.allowedTolerations[0].key",
        ),
        (
            "placement: {allowedTolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}",
            "spec.placement.allowedTolerations[0].key",
        ),
        (
            "placement: {tolerations: [{key: a, operator: Exists, value: b}]}",
            "spec.placement.tolerations[0].value",
        ),
        ("placement: {schedulerNames: []}", "spec.placement.schedulerNames"),
        ("placement: {priorityClassNames: ['*']}", "spec.placement.priorityClassNames"),
        ("security: {runAsUser: {min: 0}}", "spec.security.runAsUser.min"),
        ("security: {runAsGroup: {min: 5, max: 4}}", "spec.security.runAsGroup.min"),
        ("security: {runAsUser: {max: 4000000000}}", "spec.security.runAsUser.max"),
        ("security: {hostUsers: true}", "spec.security.hostUsers"),
        ("security: {seccompProfiles: []}", "spec.security.seccompProfiles"),
        ("security: {seccompProfiles: [Unconfined]}", "spec.security.seccompProfiles[0]"),
        ("security: {root: {runtimeClasses: [kata]}}", "spec.security.root.runtimeClasses[0]"),
        ("security: {root: {runtimeClasses: ['*']}}", "spec.security.root.runtimeClasses[0]"),
        ("security: {root: {userNamespace: true}}", "spec.security.root.userNamespace"),
        ("security: {sysctls: [kernel.msgmax]}", "spec.security.sysctls[0]"),
        ("security: {capabilities: {drop: [CAP_ALL]}}", "spec.security.capabilities.drop[0]"),
        ("security: {capabilities: {allowedAdd: [ALL]}}", "spec.security.capabilities.allowedAdd[0]"),
        ("volumes: {filled: [{name: w, mountPath: w, sizeLimit: 1Gi}]}", "spec.volumes.filled[0].mountPath"),
        (
            "volumes: {filled: [{name: w, mountPath: /etc/x, sizeLimit: 1Gi}]}",
            "spec.volumes.filled[0].mountPath",
        ),
        ("volumes: {filled: [{name: W, mountPath: /w, sizeLimit: 1Gi}]}", "spec.volumes.filled[0].name"),
        (
            "volumes: {filled: [{name: w, mountPath: /w, sizeLimit: 20Gi}]}",
            "spec.volumes.filled[0].sizeLimit",
        ),
        (
            "volumes: {filled: [{name: w, mountPath: /w, sizeLimit: 1Gi}, {name: v, mountPath: /w/x, sizeLimit: 1Gi}]}",
            "spec.volumes.filled[1].mountPath",
        ),
        ("volumes: {terminationMessagePaths: [/usr/bin/env]}", "spec.volumes.terminationMessagePaths[0]"),
        ("volumes: {csi: [{driver: '*'}]}", "spec.volumes.csi[0].driver"),
        ("volumes: {csi: [{driver: a.b, attributes: {share: []}}]}", "spec.volumes.csi[0].attributes"),
        (
            "resources: {extended: {nvidia.com/*: {max: 1, runtimeClasses: [gvisor]}}}",
            "spec.resources.extended",
        ),
        (
            "resources: {extended: {nvidia.com/gpu: {max: 0, runtimeClasses: [gvisor]}}}",
            "spec.resources.extended",
        ),
        (
            "resources: {extended: {nvidia.com/gpu: {max: 1, runtimeClasses: [runc]}}}",
            "spec.resources.extended",
        ),
        ("resources: {container: {requests: {cpu: 3}}}", "spec.resources.container.requests.cpu"),
        ("resources: {pod: {requests: {cpu: 3}}}", "spec.resources.pod.requests.cpu"),
        ("images: {allowed: []}", "spec.images.allowed"),
        ("images: {allowed: [quay.io]}", "spec.images.allowed[0]"),
        ("candidate: x", "spec.candidate"),
        ("candidate: p", "spec.candidate"),
        ("rules: {bogus: warn}", "spec.rules.bogus"),
        ("exempt: {groups: [system:authenticated]}", "spec.exempt.groups[0]"),
        ("exempt: {groups: [system:masters]}", "spec.exempt.groups[0]"),
        ("exempt: {groups: ['system:serviceaccounts:ci']}", "spec.exempt.groups[0]"),
        ("exempt: {users: ['*']}", "spec.exempt.users[0]"),
        ("env: {'a b': c}", "spec.env"),
        ("help: \"a\\nb\"", "spec.help"),
    ] {
        let error = load(&with_spec(spec)).expect_err(spec);
        assert!(
            error.contains(&format!("policy.yaml:5: {path}"))
                || error.contains(&format!("policy.yaml:6: {path}")),
            "{path}: {error}"
        );
    }
}

#[test]
fn rule_of_the_floor_cannot_be_lowered() {
    for rule in FLOOR_RULES {
        for level in ["off", "audit", "warn"] {
            denied_at(
                &format!("rules: {{{rule}: {level}}}"),
                &format!("spec.rules.{rule}"),
                "leave the sandbox",
            );
        }
        assert_eq!(
            policy(&format!("rules: {{{rule}: enforce}}\nmode: audit")).level_of(rule),
            Level::Enforce
        );
    }
    let policy = policy("rules: {labels: off}\nmode: warn");
    assert_eq!([policy.level_of("labels"), policy.level_of("seccomp")], [Level::Off, Level::Warn]);
}

#[test]
fn naive_token_is_denied() {
    let audience = |text: &str| format!("serviceAccount: {{tokens: [{{audience: {text}}}]}}");
    for text in [
        "''",
        "'*'",
        "api",
        "kubernetes.default.svc",
        "https://kubernetes.default.svc",
        "https://kubernetes.default.svc.cluster.local",
        "https://container.googleapis.com/v1/projects/p",
        "https://oidc.eks.eu-west-1.amazonaws.com/id/A",
        "https://x.oic.prod-aks.azure.com/y/",
        "sts.*",
        "'spiffe://*/x'",
    ] {
        let error = load(&with_spec(&audience(text))).expect_err(text);
        assert!(error.contains("spec.serviceAccount.tokens[0].audience"), "{text}: {error}");
    }
    for text in
        ["sts.amazonaws.com", "'api://AzureADTokenExchange'", "istio-ca", "'spiffe://td/ns/*/dapr-sentry'"]
    {
        assert!(load(&with_spec(&audience(text))).is_ok(), "{text}");
    }
    denied_at(
        "serviceAccount: {allowed: ['*'], tokens: [{audience: sts.amazonaws.com}]}",
        "spec.serviceAccount.tokens[0]",
        "every account's cloud role",
    );
    denied_at(
        "serviceAccount: {tokens: [{audience: a.b, maxExpirationSeconds: 60}]}",
        "spec.serviceAccount.tokens[0].maxExpirationSeconds",
        "600 s",
    );
}

#[test]
fn naive_environment_is_denied() {
    denied_at("env: {A: x$(B)}", "spec.env.A", "the kubelet expands");
    for env in [
        "PATH: /workspace/bin:/usr/bin",
        "LD_PRELOAD: /tmp/x.so",
        "JAVA_TOOL_OPTIONS: -javaagent:/tmp/a.jar",
        "BASH_ENV: /tmp/x",
    ] {
        let name = env.split(':').next().unwrap();
        denied_at(&format!("env: {{{env}}}"), &format!("spec.env.{name}"), "containers can write");
    }
    assert!(load(&with_spec("env: {PATH: '/usr/local/bin:/usr/bin', HOME: /tmp}")).is_ok());
    denied_at(
        "env: {HOME: /w/home}\nvolumes: {filled: [{name: w, mountPath: /w, sizeLimit: 1Gi, shared: true}]}",
        "spec.env.HOME",
        "share",
    );
}

#[test]
fn capability_needs_root_under_every_class() {
    for key in ["add", "allowedAdd"] {
        let path = format!("spec.security.capabilities.{key}[0]");
        denied_at(
            &format!("security: {{capabilities: {{{key}: [CHOWN]}}}}"),
            &path,
            "security.root.runtimeClasses",
        );
        denied_at(
            &format!(
                "runtimeClass: {{allowed: [gvisor, kata]}}\nsecurity: {{root: {{runtimeClasses: [gvisor]}}, capabilities: {{{key}: [NET_ADMIN]}}}}"
            ),
            &path,
            "every class",
        );
        let harmless = format!("security: {{capabilities: {{{key}: [NET_BIND_SERVICE]}}}}");
        assert!(load(&with_spec(&harmless)).is_ok());
    }
    assert!(
        load(&with_spec("security: {root: {runtimeClasses: [gvisor]}, capabilities: {add: [CHOWN]}}"))
            .is_ok()
    );
}

#[test]
fn exception_needs_registry_and_repository() {
    let exception = |images: &str| {
        format!(
            "containers: [{{name: a, match: {{images: {images}}}, spec: {{serviceAccount: {{automountToken: true}}}}}}]"
        )
    };
    for images in ["['*']", "[quay.io/**]", "['docker.io/library/*']", "['quay.io/argoproj/*']", "[]"] {
        let error = load(&with_spec(&exception(images))).expect_err(images);
        assert!(error.contains("spec.containers[0].match.images"), "{images}: {error}");
    }
    denied_at(&exception("[quay.io]"), "spec.containers[0].match.images[0]", "no repository");
    denied_at(
        "containers: [{name: a, match: {names: [istio-proxy]}, spec: {secrets: {volumes: [a]}}}]",
        "spec.containers[0].match",
        "images",
    );
    assert!(load(&with_spec(&exception("[quay.io/argoproj/argoexec]"))).is_ok());
}

#[test]
fn exception_takes_keys_of_containers_only() {
    let exception =
        |spec: &str| format!("containers: [{{name: a, match: {{images: [a/b]}}, spec: {{{spec}}}}}]");
    for (spec, path) in [
        ("runtimeClass: {default: runc}", "runtimeClass"),
        ("serviceAccount: {allowed: ['*']}", "serviceAccount.allowed"),
        ("security: {hostUsers: null}", "security.hostUsers"),
        ("volumes: {configMap: {names: ['*']}}", "volumes.configMap"),
        ("add: {volumes: {csi: [{driver: a}]}}", "volumes.csi"),
    ] {
        denied_at(&exception(spec), &format!("spec.containers[0].spec.{path}"), "single containers");
    }
    denied_at(&exception("env: {}"), "spec.containers[0].spec", "changes nothing");
}

#[test]
fn exception_of_a_preset_that_the_policy_makes_needless_is_no_error() {
    load(&with_spec("extends: preset/agent-sandbox\nsecurity: {readOnlyRootFilesystem: false}")).unwrap();
}

#[test]
fn all_that_is_wrong_is_reported_at_once_and_only_once() {
    let error = load(&with_spec(
        "placement: {schedulerNames: []}\nserviceAccount: {allowed: []}\nprofiles: [{name: a, match: {labels: {x: y}}}]",
    ))
    .unwrap_err();
    assert_eq!(error.lines().count(), 3, "{error}");
    let error = load(&with_spec("mode: x\nsecurity: {a: 1}\nvolumes: {b: 1}")).unwrap_err();
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn several_documents_and_files_are_several_policies() {
    let two = format!("# first\n{}---\n{}", named("p", "namespaces: [a]"), named("q", "namespaces: [b]"));
    let set = load_all(&[("one.yaml", &two), ("two.yaml", &named("r", "namespaces: [c]"))]).unwrap();
    assert_eq!(set.names().collect::<Vec<_>>(), ["p", "q", "r"]);
    let error = load_all(&[
        ("one.yaml", &named("p", "namespaces: [a]")),
        ("two.yaml", &named("p", "namespaces: [b]")),
    ]);
    assert_eq!(
        error.unwrap_err(),
        "two.yaml:3: metadata.name: the name \"p\" is taken by another policy, in one.yaml"
    );
}

#[test]
fn line_counts_from_the_top_of_the_file_in_the_second_document_too() {
    let first = named("p", "namespaces: [a]");
    let second = named("q", "namespaces: [b]\nplacement: {schedulerNames: []}");
    let error = load(&format!("{first}---\n{second}")).unwrap_err();
    assert!(error.starts_with("policy.yaml:12: spec.placement.schedulerNames"), "{error}");
}

#[test]
fn text_that_is_no_policy_is_denied_in_one_line() {
    for text in ["", "# nothing\n", "---\n---\n"] {
        assert!(load(text).unwrap_err().contains("policy.yaml: no SandboxPolicy in it"), "{text:?}");
    }
    let long = "a: ".repeat(100_000);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n";
    for text in [
        "hello",
        "[1,2]",
        "kind: Pod",
        "{",
        "a: b: c",
        "kind: SandboxPolicy\nkind: SandboxPolicy",
        &long,
        &deep,
        bomb,
        "\u{0}",
    ] {
        let error = load(text).unwrap_err();
        assert!(error.starts_with("policy.yaml") && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn json_is_yaml_too() {
    let text = r#"{"apiVersion":"sandgate.dev/v1beta1","kind":"SandboxPolicy","metadata":{"name":"p"},"spec":{"mode":"warn"}}"#;
    assert_eq!(load(text).unwrap().policies()[0].name, "p");
}

#[test]
fn schema_describes_every_key_with_a_sentence() {
    let schema = serde_json::to_value(json_schema()).unwrap();
    let mut keys = 0;
    let mut open = vec![&schema];
    while let Some(value) = open.pop() {
        if let Some(properties) = value.get("properties").and_then(serde_json::Value::as_object) {
            for (key, property) in properties {
                keys += 1;
                let text =
                    property.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
                assert!(text.ends_with('.') && text.contains(' '), "{key}: {text:?}");
            }
            assert_eq!(
                value.get("additionalProperties").or(value.get("unevaluatedProperties")),
                Some(&false.into()),
                "{value}"
            );
        }
        match value {
            serde_json::Value::Object(members) => open.extend(members.values()),
            serde_json::Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(keys > 100, "{keys}");
}

#[test]
fn probable_mistake_is_warned_of() {
    for (spec, path, words) in [
        (
            "resources: {resourceClaimTemplates: [gpu]}",
            "spec.resources.resourceClaimTemplates",
            "gvisor#13621",
        ),
        (
            "exempt: {users: ['system:serviceaccount:argo:argo-controller']}",
            "spec.exempt.users[0]",
            "controller",
        ),
        (
            "volumes: {persistentVolumeClaim: {names: [a]}}",
            "spec.security.supplementalGroupsPolicy",
            "Strict",
        ),
        (
            "volumes: {csi: [{driver: a.b}]}\nsecurity: {root: {runtimeClasses: [gvisor]}}",
            "spec.security.root",
            "userNamespace",
        ),
        (
            "profiles: [{name: a, match: {owners: [Workflow]}}]",
            "spec.profiles[0].match.owners[0]",
            "write KIND.GROUP",
        ),
        (
            "extends: preset/argo-workflows\nadd: {secrets: {volumes: [s3-creds]}}",
            "spec.add.secrets.volumes",
            "does not reach the exception \"argoexec\", which has a list of its own: write it there too",
        ),
        (
            "extends: preset/github-arc-kubernetes\nadd: {serviceAccount: {allowed: [builder]}}",
            "spec.add.serviceAccount.allowed",
            "does not reach the profile \"runner\"",
        ),
    ] {
        let set = load(&with_spec(spec)).unwrap();
        let warnings: Vec<String> = set.warnings().iter().map(ToString::to_string).collect();
        assert!(
            warnings.iter().any(|line| line.contains(&format!(": {path}: ")) && line.contains(words)),
            "{warnings:?}"
        );
    }
    assert!(load(&with_spec("mode: enforce")).unwrap().warnings().is_empty());
    let reached = "extends: preset/airflow\nadd: {volumes: {configMap: {names: [settings]}}}";
    assert!(load(&with_spec(reached)).unwrap().warnings().is_empty(), "the profile appends to the list, too");
    let safe = "volumes: {persistentVolumeClaim: {names: [a]}}\nsecurity: {supplementalGroupsPolicy: Strict, root: {runtimeClasses: [gvisor], userNamespace: true}}";
    assert!(load(&with_spec(safe)).unwrap().warnings().is_empty());
}

#[test]
fn unknown_key_is_an_error_with_every_key_that_there_is() {
    let error = load(&with_spec("storage: {}")).unwrap_err();
    for key in ["volumes", "serviceAccount", "profiles", "containers", "add", "namespaces"] {
        assert!(
            error.contains("spec.storage: unknown key `storage`") && error.contains(&format!("`{key}`")),
            "{error}"
        );
    }
}

#[test]
fn unknown_key_hides_no_other_problem() {
    let error = load(&with_spec("storage: {}\nmode: sometimes\nvolumes: {image: 5}")).unwrap_err();
    for path in ["spec.storage: ", "spec.mode: ", "spec.volumes.image: "] {
        assert!(error.contains(path), "{error}");
    }
}

#[test]
fn exception_that_an_earlier_one_covers_is_an_error() {
    let spec = "containers:
- {name: wide, match: {images: [ghcr.io/a/b, ghcr.io/a/c]}, spec: {env: {A: x}}}
- {name: narrow, match: {images: [ghcr.io/a/b], names: [main]}, spec: {env: {A: y}}}";
    let error = load(&with_spec(spec)).unwrap_err();
    assert!(
        error.contains("spec.containers[1].match: never matches, since the earlier exception \"wide\""),
        "{error}"
    );
}

#[test]
fn kube_system_is_never_guarded() {
    let error = load(&with_spec("namespaces: [kube-system]")).unwrap_err();
    assert!(error.contains("spec.namespaces[0]: kube-system must never be guarded"), "{error}");
}
