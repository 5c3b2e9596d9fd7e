//! `sandgate check`.

use serde_json::Value;

use crate::{Folder, HOSTILE_POD, PLAIN_POD, policy, sandgate, sandgate_with};

fn deployment(kind: &str, api_version: &str, restart: &str) -> String {
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: it, namespace: workflows}}\nspec:\n  template:\n    \
         spec:\n      restartPolicy: {restart}\n      containers:\n      - {{name: a, image: b}}\n"
    )
}

#[test]
fn a_plain_pod_would_be_admitted() {
    let folder = Folder::with(&[("pod.yaml", PLAIN_POD)]);
    let text = folder.run(&["check", "pod.yaml"]).fine();
    assert_eq!(
        text,
        "pod.yaml:1: Pod plain in namespace workflows would be admitted, 14 fields filled in\n\n1 Pod: 1 admitted\n"
    );
}

#[test]
fn a_hostile_pod_would_be_denied_for_every_reason_at_its_line() {
    let folder = Folder::with(&[("pod.yaml", HOSTILE_POD)]);
    let text = folder.run(&["check", "pod.yaml"]).violations();
    assert_eq!(
        text,
        "pod.yaml:1: Pod hostile in namespace workflows would be denied: 2 violations\n  \
         pod.yaml:5: spec.hostNetwork is true, must be false or unset: remove hostNetwork (host-namespaces)\n  \
         pod.yaml:10: spec.containers[0].securityContext.privileged is true, must be false or unset: remove privileged \
         (privileged)\n\n\
         1 Pod: 1 denied, 2 violations\n"
    );
}

#[test]
fn standard_input_is_a_file_called_minus() {
    let text = sandgate_with(&["check", "-"], PLAIN_POD).fine();
    assert!(
        text.starts_with("standard input:1: Pod plain in namespace workflows would be admitted"),
        "{text}"
    );
}

#[test]
fn a_jobs_pod_may_retry_and_a_deployments_may_not_run_for_ever() {
    for (kind, api_version) in [("Job", "batch/v1"), ("PodTemplate", "v1")] {
        let mut text = deployment(kind, api_version, "OnFailure");
        if kind == "PodTemplate" {
            text =
                text.replace("spec:\n  template:", "template:\n  x:").replace("  x:\n    spec:", "  spec:");
            text = text.replace("restartPolicy: OnFailure", "restartPolicy: Never");
        }
        assert!(sandgate_with(&["check", "-"], text).fine().contains("would be admitted"), "{kind}");
    }
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        let text = sandgate_with(&["check", "-"], deployment(kind, "apps/v1", "Always")).violations();
        let controller = if kind == "Deployment" { "ReplicaSet" } else { kind };
        let line = format!(
            "standard input:7: spec.template.spec.restartPolicy is \"Always\", must be Never: run it as a Job, a \
             {controller} creates a new Pod each time one ends (policy key lifecycle.restartPolicy.allowed) (restart-policy)"
        );
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn a_cron_jobs_pod_stands_deep_inside() {
    let text = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  jobTemplate:
    spec:
      template:
        metadata:
          labels:
            app: other
        spec:
          containers:
          - {name: a, image: b}
";
    let text = sandgate_with(&["check", "-"], text).violations();
    assert!(
        text.contains(
            "  standard input:11: spec.jobTemplate.spec.template.metadata.labels[app] is \"other\""
        ),
        "{text}"
    );
}

#[test]
fn what_a_controller_adds_is_checked_too() {
    let folder = Folder::with(&[(
        "policy.yaml",
        "\
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: services}
spec:
  namespaces: [workflows]
  lifecycle: {restartPolicy: {default: Always, allowed: [Always]}}
",
    )]);
    let check = |text: String| folder.run_with(&["check", "--policy", "policy.yaml", "-"], text);
    assert!(check(deployment("Deployment", "apps/v1", "Always")).fine().contains("would be admitted"));
    let claims = "  volumeClaimTemplates: [{metadata: {name: data}}]\n";
    let text = check(deployment("StatefulSet", "apps/v1", "Always") + claims).violations();
    assert!(text.contains("spec.template.spec.volumes[0].persistentVolumeClaim"), "{text}");
    let text = check(deployment("DaemonSet", "apps/v1", "Always")).violations();
    assert!(text.contains("node.kubernetes.io/disk-pressure"), "{text}");
}

#[test]
fn lists_and_many_documents_and_folders_are_taken_apart() {
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": {"containers": [{"name": "a"}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "two"}}
    ]}"#;
    let typed = r#"{"apiVersion": "v1", "kind": "PodList", "items": [
        {"metadata": {"name": "three"}, "spec": {"containers": [{"name": "a"}]}}
    ]}"#;
    let both = format!("# two\n{PLAIN_POD}---\n---\n{HOSTILE_POD}");
    let folder = Folder::with(&[
        ("all/b.yml", both.as_str()),
        ("all/a.json", list),
        ("all/deep/c.json", typed),
        ("all/.hidden.yaml", "nonsense"),
        ("all/README.md", "nonsense"),
    ]);
    let text = folder.run(&["check", "all"]).violations();
    let places: Vec<&str> =
        text.lines().filter(|line| line.starts_with("all/")).map(|line| &line[..30]).collect();
    assert_eq!(
        places,
        [
            "all/a.json:2: Pod one in names",
            "all/b.yml:2: Pod plain in name",
            "all/b.yml:11: Pod hostile in n",
            "all/deep/c.json:2: Pod three i",
        ]
    );
    assert!(
        text.ends_with("\n4 Pods: 3 admitted, 1 denied, 2 violations, 1 object without Pods\n"),
        "{text}"
    );
}

#[test]
fn other_kinds_are_looked_into_by_path() {
    let object = "
apiVersion: example.com/v1
kind: Cluster
metadata: {name: big}
spec:
  groups:
  - template:
      metadata: {labels: {app: mine}}
      spec:
        restartPolicy: Never
        containers:
        - {name: a, image: b}
  - template:
      spec: {restartPolicy: Never, containers: [{name: a, image: b}]}
  head: {restartPolicy: Never, hostPID: true, containers: [{name: a, image: b}]}
";
    let run = sandgate_with(&["check", "-"], object);
    assert_eq!(
        run.stderr,
        "note: standard input:2: Cluster big of example.com/v1 may make Pods, which are not checked; if it does, add --path \
         'Cluster=spec.groups[*].template' --path 'Cluster=spec.head'\n"
    );
    assert_eq!((run.status, run.stdout.as_str()), (0, "0 Pods: 1 object whose Pods are not checked\n"));

    let paths = ["check", "-", "--path", "Cluster=spec.groups[*].template", "--path", "Cluster=spec.head"];
    let text = sandgate_with(&paths, object).violations();
    assert!(
        text.contains("standard input:8: spec.groups[0].template.metadata.labels[app] is \"mine\""),
        "{text}"
    );
    assert!(text.contains("standard input:15: spec.head.hostPID is true"), "{text}");
    assert!(text.ends_with("\n3 Pods: 1 admitted, 2 denied, 2 violations\n"), "{text}");

    sandgate_with(&["check", "-", "--path", "Cluster=spec.grops"], object)
        .fails("standard input:2: Cluster big has nothing at spec.grops; correct --path");
    let run = sandgate(&["check", "-", "--path", "Cluster"]);
    assert!(
        run.stderr.contains("write it as KIND=PATH, such as Workflow=spec.podTemplate"),
        "{}",
        run.stderr
    );
}

#[test]
fn namespaces_are_those_of_kubectl() {
    let named = PLAIN_POD.replace("name: plain", "name: plain, namespace: workflows");
    assert!(
        sandgate_with(&["check", "-", "-n", "workflows"], named.as_str())
            .fine()
            .contains("would be admitted")
    );
    sandgate_with(&["check", "-", "-n", "web"], named.as_str()).fails(
        "standard input:1: Pod plain is in namespace \"workflows\", not in \"web\"; leave --namespace out",
    );
}

#[test]
fn a_namespace_without_a_policy_is_reported_and_not_shown_as_checked() {
    let text = sandgate_with(&["check", "-", "-n", "web"], PLAIN_POD).fine();
    assert_eq!(
        text,
        "standard input:1: Pod plain in namespace web is not checked: no policy covers the namespace (covered: \
         workflows)\n\n1 Pod: 1 not covered by a policy\n"
    );
}

#[test]
fn a_policy_for_every_other_namespace_holds_for_the_default_one_too() {
    let everywhere = policy("rest", "enforce").replace("[rest]", "[\"*\"]");
    let folder = Folder::with(&[("p.yaml", &everywhere), ("plain.yaml", PLAIN_POD)]);
    let text = folder.run(&["check", "--policy", "p.yaml", "plain.yaml"]).fine();
    assert!(text.contains("Pod plain in namespace default would be admitted"), "{text}");
    let text = folder.run(&["check", "--policy", "p.yaml", "-n", "anywhere", "plain.yaml"]).fine();
    assert!(text.contains("would be admitted, 14 fields filled in"), "{text}");
}

#[test]
fn several_policies_need_a_namespace() {
    let policies = [policy("a", "enforce"), policy("b", "warn"), policy("c", "audit")].join("---\n");
    let folder = Folder::with(&[
        ("p.yaml", &policies),
        ("plain.yaml", PLAIN_POD),
        ("bad.yaml", &HOSTILE_POD.replace(", namespace: workflows", "")),
    ]);
    folder.run(&["check", "--policy", "p.yaml", "plain.yaml"]).fails(
        "plain.yaml:1: Pod plain names no namespace and there are several policies; choose with --namespace",
    );
    let check = |file, namespace| folder.run(&["check", "--policy", "p.yaml", "-n", namespace, file]);
    for namespace in ["b", "c"] {
        let text = check("plain.yaml", namespace).fine();
        assert!(
            text.contains("admitted, unchanged (14 fields would be filled if every rule were enforced)\n"),
            "{text}"
        );
    }
    let text = check("bad.yaml", "b").violations();
    assert!(
        text.contains(
            "would be admitted with warnings, unchanged (16 fields would be filled if every rule were enforced): 2"
        ),
        "{text}"
    );
    assert!(text.contains("remove hostNetwork (host-namespaces, warn)\n"), "{text}");
    assert!(text.ends_with("\n1 Pod: 1 admitted with warnings, 2 violations\n"), "{text}");
    let text = check("bad.yaml", "c").violations();
    assert!(text.contains("(host-namespaces, audit)") && text.contains("1 admitted and recorded"), "{text}");
    assert!(check("bad.yaml", "a").violations().contains("would be denied: 2 violations"));
}

#[test]
fn what_cannot_be_checked_does_not_hide_the_rest() {
    let folder = Folder::with(&[
        ("good.yaml", PLAIN_POD),
        ("bad.yaml", "kind: Pod\nkind: Pod\n"),
        ("no.yaml", "a: 1\n"),
    ]);
    let run = folder.run(&["check", "missing.yaml", "bad.yaml", "no.yaml", "good.yaml"]);
    assert_eq!(run.status, 2);
    assert!(
        run.stdout.contains("good.yaml:1: Pod plain in namespace workflows would be admitted"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.ends_with("\n1 Pod: 1 admitted, 3 inputs not checked\n"), "{}", run.stdout);
    assert_eq!(
        run.stderr,
        "error: missing.yaml: cannot be read: no such file or directory\n\
         error: bad.yaml:2: duplicate key \"kind\"\n\
         error: no.yaml:1: not a Kubernetes object: it needs an apiVersion and a kind, both of them strings\n"
    );
}

#[test]
fn nothing_to_check_is_no_success() {
    sandgate(&["check", "-"]).fails("standard input: no Kubernetes object in it");
    let folder = Folder::with(&[("empty/README.md", "")]);
    folder.run(&["check", "empty"]).fails("empty: no .yaml, .yml or .json file in this folder");
}

#[test]
fn a_workload_without_a_template_and_a_review_have_different_errors() {
    sandgate_with(&["check", "-"], "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\n")
        .fails("standard input:1: Job a has no Pod template; add one at spec.template");
    sandgate_with(&["check", "-"], r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#)
        .fails("standard input:1: an AdmissionReview, not a manifest; send it to \"sandgate review\"");
}

#[test]
fn json_carries_every_verdict_with_its_data() {
    let text =
        sandgate_with(&["check", "-", "-o", "json"], format!("{PLAIN_POD}---\n{HOSTILE_POD}")).violations();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["summary"]["admitted"], 1);
    assert_eq!(json["summary"]["denied"], 1);
    assert_eq!(json["pods"][0]["verdict"], "admitted");
    assert_eq!(json["pods"][0]["filled"][0], "metadata.labels");
    assert_eq!(json["pods"][1]["policy"], "workflow-runner");
    assert_eq!(json["pods"][1]["violations"][1]["rule"], "host-namespaces");
    assert_eq!(json["pods"][1]["violations"][1]["line"], 13);
}

#[test]
fn junit_has_one_test_case_for_each_pod() {
    let evil = HOSTILE_POD.replace("name: hostile", "name: 'a\"<&b'");
    let text = sandgate_with(&["check", "-", "-o", "junit"], format!("{PLAIN_POD}---\n{evil}")).violations();
    assert!(
        text.contains("<testsuites name=\"sandgate\" tests=\"2\" skipped=\"0\" failures=\"1\" errors=\"0\">"),
        "{text}"
    );
    assert!(text.contains("name=\"Pod a&quot;&lt;&amp;b in namespace workflows\""), "{text}");
    assert_eq!(text.matches("<failure").count(), 1);
}

#[test]
fn sarif_names_rules_files_and_lines() {
    let folder = Folder::with(&[("my pods/pod.yaml", HOSTILE_POD)]);
    let text = folder.run(&["check", "my pods/pod.yaml", "-o", "sarif"]).violations();
    let log: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let result = &run["results"][1];
    let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "my%20pods/pod.yaml");
    assert_eq!(place["region"]["startLine"], 5);
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
}

#[test]
fn the_policy_decides() {
    let mine = policy("workflows", "enforce")
        .replace("mode: enforce", "security: {runAsUser: {default: 7, min: 7, max: 7}}");
    let folder = Folder::with(&[
        ("policies/mine.yaml", &mine),
        ("pod.yaml", &PLAIN_POD.replace("spec:", "spec:\n  securityContext: {runAsUser: 1000}")),
    ]);
    let text = folder.run(&["check", "--policy", "policies", "pod.yaml"]).violations();
    assert!(text.contains("pod.yaml:5: spec.securityContext.runAsUser is 1000, must be 7"), "{text}");
    let text = folder.run_with(&["check", "--policy", "-", "pod.yaml"], mine).violations();
    assert!(text.contains("must be 7"), "{text}");
    folder
        .run_with(&["check", "--policy", "-", "-"], "")
        .fails("standard input cannot be both the policy and a manifest; put one into a file");
    folder.run(&["check", "--policy", "missing", "pod.yaml"]).fails("missing: No such file or directory");
}

const KNATIVE: &str = "\
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: kn, namespace: workflows}
spec:
  template:
    spec:
      containers:
      - image: registry.example.com/app:1
        securityContext: {privileged: true}
";

const WORKFLOW: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: hello-, namespace: workflows}
spec:
  entrypoint: main
  templates:
  - name: main
    container:
      image: registry.example.com/app:1
      command: [echo]
      securityContext: {privileged: true}
";

const UNKNOWN: &str = "\
apiVersion: example.com/v1
kind: Runner
metadata: {name: mine}
spec: {image: registry.example.com/app:1, args: [x]}
";

#[test]
fn the_pods_of_other_controllers_are_checked() {
    let run = sandgate_with(&["check", "-"], KNATIVE);
    assert_eq!(run.status, 1);
    assert!(
        run.stdout.contains(
            "standard input:9: spec.template.spec.containers[0].securityContext.privileged is true"
        ),
        "{}",
        run.stdout
    );
    let run = sandgate_with(&["check", "-"], WORKFLOW);
    assert_eq!(run.status, 1);
    assert!(
        run.stdout
            .contains("standard input:11: spec.templates[0].container.securityContext.privileged is true"),
        "{}",
        run.stdout
    );
    assert_eq!(
        run.stderr,
        "note: standard input:1: the controller of Workflow adds to its Pods what no file shows, which is not checked\n"
    );
}

#[test]
fn what_was_not_checked_is_named_in_every_format() {
    let folder = Folder::with(&[("r.yaml", UNKNOWN), ("pod.yaml", PLAIN_POD)]);
    let named = "Runner mine of example.com/v1 may make Pods, which are not checked";
    for (format, status) in [("text", 0), ("json", 0), ("github", 0), ("junit", 2), ("sarif", 2)] {
        let run = folder.run(&["check", "-o", format, "r.yaml", "pod.yaml"]);
        assert_eq!(run.status, status, "{format}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains(named), "{format}: {}", run.stderr);
        assert!(format == "text" || run.stdout.contains(named), "{format}: {}", run.stdout);
    }
    let run = folder.run(&["check", "--strict", "r.yaml"]);
    assert_eq!((run.status, run.stdout.as_str()), (2, "0 Pods: 1 object whose Pods are not checked\n"));
    assert!(run.stderr.starts_with("error: r.yaml:1: Runner mine"), "{}", run.stderr);
    assert_eq!(folder.run(&["check", "--strict=false", "-o", "junit", "r.yaml"]).status, 0);
    let sarif: Value = serde_json::from_str(&folder.run(&["check", "-o", "sarif", "r.yaml"]).stdout).unwrap();
    let invocation = &sarif["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "error");
}

#[test]
fn strict_fails_for_a_namespace_without_a_policy() {
    assert_eq!(sandgate_with(&["check", "-", "-n", "web", "--strict"], PLAIN_POD).status, 2);
    let run = sandgate_with(&["check", "-", "-n", "web", "-o", "junit"], PLAIN_POD);
    assert_eq!(run.status, 2);
    assert!(run.stdout.contains("<error message=\"no policy covers the namespace\""), "{}", run.stdout);
}

#[test]
fn a_reference_is_checked_where_its_object_is() {
    let pool = "
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxWarmPool
metadata: {name: pool, namespace: workflows}
spec: {replicas: 2, sandboxTemplateRef: {name: python}}
";
    let template = "---
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxTemplate
metadata: {name: python, namespace: workflows}
spec: {podTemplate: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}
";
    let run = sandgate_with(&["check", "--strict", "-"], pool);
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("makes Pods from the SandboxTemplate python, which is not among the files"));
    let text = sandgate_with(&["check", "--strict", "-"], format!("{pool}{template}")).fine();
    assert!(text.ends_with("\n1 Pod: 1 admitted\n"), "{text}");
}

#[test]
fn a_deployment_without_a_restart_policy_gets_always() {
    let text = deployment("Deployment", "apps/v1", "Always").replace("      restartPolicy: Always\n", "");
    let text = sandgate_with(&["check", "-"], text).violations();
    assert!(text.contains("spec.template.spec.restartPolicy is \"Always\", must be Never"), "{text}");
}

#[test]
fn a_repository_is_checked_without_what_is_no_manifest() {
    let folder = Folder::with(&[
        ("repo/pod.yaml", PLAIN_POD),
        ("repo/kustomization.yaml", "resources: [pod.yaml]\n"),
        ("repo/chart/values.yaml", "image: x\n"),
        ("repo/chart/templates/pod.yaml", "apiVersion: v1\nkind: Pod\n{{- if .Values.x }}\n"),
        ("repo/old/bad.yaml", HOSTILE_POD),
        ("repo/test/bad.yaml", HOSTILE_POD),
        ("repo/.sandgateignore", "# not deployed\nold/\n"),
    ]);
    let run = folder.run(&["check", "repo", "--exclude", "test/"]);
    assert_eq!(run.status, 2, "a manifest that cannot be read is an error");
    assert!(run.stderr.starts_with("error: repo/chart/templates/pod.yaml:"), "{}", run.stderr);
    let text = folder.run(&["check", "repo", "--exclude", "test/", "--exclude", "templates"]).fine();
    assert!(text.ends_with("\n1 Pod: 1 admitted, 2 files skipped as no manifest\n"), "{text}");
    folder.run(&["check", "repo/kustomization.yaml"]).fails(
        "repo/kustomization.yaml:1: not a Kubernetes object: it needs an apiVersion and a kind, both of them strings",
    );
}

#[test]
fn the_summary_counts_by_rule() {
    let two = format!("{HOSTILE_POD}---\n{}", HOSTILE_POD.replace("  hostNetwork: true\n", ""));
    let text = sandgate_with(&["check", "--summary", "-"], two).violations();
    assert_eq!(
        text,
        "RULE             VIOLATIONS    PODS   FILES\n\
         privileged                2       2       1\n\
         host-namespaces           1       1       1\n\n\
         2 Pods: 2 denied, 3 violations\n"
    );
    sandgate_with(&["check", "--summary", "-o", "json", "-"], PLAIN_POD)
        .fails("--summary is for the output text; leave --output out");
}

#[test]
fn github_gets_an_annotation_for_each_violation() {
    let folder = Folder::with(&[("pods/bad.yaml", HOSTILE_POD), ("p.yaml", &policy("workflows", "warn"))]);
    let text = folder.run(&["check", "-o", "github", "pods"]).violations();
    assert!(
        text.contains("::error file=pods/bad.yaml,line=10,title=privileged::Pod hostile in namespace"),
        "{text}"
    );
    let text = folder.run(&["check", "-o", "github", "--policy", "p.yaml", "pods"]).violations();
    assert!(text.ends_with("\n1 Pod: 1 admitted with warnings, 2 violations\n"), "{text}");
    assert!(text.contains("::warning file=pods/bad.yaml,line=10,title=privileged::"), "{text}");
}

#[test]
fn a_runtime_class_adds_what_the_api_server_adds() {
    let class = "\
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: gvisor}
handler: runsc
scheduling:
  tolerations: [{key: example.com/gpu, operator: Exists}]
";
    let folder = Folder::with(&[
        ("class.yaml", class),
        ("other.yaml", &class.replace("name: gvisor", "name: other")),
        ("pod.yaml", PLAIN_POD),
    ]);
    let text = folder.run(&["check", "--runtime-class", "class.yaml", "pod.yaml"]).violations();
    assert!(text.contains("example.com/gpu") && text.contains("(tolerations)"), "{text}");
    assert!(
        folder.run(&["check", "--runtime-class", "other.yaml", "pod.yaml"]).fine().contains("1 admitted")
    );
    folder
        .run(&["check", "--runtime-class", "pod.yaml", "pod.yaml"])
        .fails("pod.yaml:1: it is Pod of v1, must be RuntimeClass of node.k8s.io/v1");
}

#[test]
fn policies_and_manifests_are_read_alike() {
    for around in ["%YAML 1.2\n---\n@", "\u{feff}# comment\n---\n@", "@---\n...\n"] {
        let policy = around.replace('@', &policy("workflows", "enforce"));
        assert!(sandgate_with(&["policy", "validate", "-"], policy).fine().starts_with("ok workflows"));
        let pod = around.replace('@', PLAIN_POD);
        assert!(sandgate_with(&["check", "-"], pod).fine().ends_with("\n1 Pod: 1 admitted\n"));
    }
}
