//! Wrong values fail before anything is installed, with their path.

use super::{template, template_least};

/// Flags, and what the complaint must say.
const WRONG: &[(&[&str], &[&str])] = &[
    (&["--set", "replica=3"], &["replica"]),
    (&["--set", "replicas=0"], &["replicas", "1"]),
    (&["--set", "replicas=many"], &["replicas", "integer"]),
    (&["--set", "image.pullPolicy=Sometimes"], &["image/pullPolicy", "IfNotPresent"]),
    (&["--set", "image.digest=sha256:abc"], &["image/digest"]),
    (&["--set", "webhook.failurePolicy=fail"], &["webhook/failurePolicy", "Ignore"]),
    (&["--set", "webhook.timeoutSeconds=31"], &["webhook/timeoutSeconds", "30"]),
    (&["--set", "webhook.url=http://gate.example.com"], &["webhook/url", "https"]),
    (&["--set", "webhook.url=https://gate.example.com/"], &["webhook/url"]),
    (&["--set", "certificates.mode=self-signed"], &["certificates/mode", "managed"]),
    (&["--set", "certificates.mode=files"], &["certificates/secretName", "certificates/caBundle"]),
    (
        &["--set", "certificates.mode=files,certificates.secretName=tls,certificates.caBundle=hello"],
        &["certificates/caBundle", "BEGIN CERTIFICATE"],
    ),
    (&["--set", "podDisruptionBudget.maxUnavailable=0"], &["podDisruptionBudget/maxUnavailable"]),
    (&["--set", "networkPolicy.apiServerCIDRs={everywhere}"], &["networkPolicy/apiServerCIDRs/0"]),
    (&["--set", "spread.nodes=Maybe"], &["spread/nodes"]),
    (&["--set", "server.extraArgs={threads}"], &["server/extraArgs/0"]),
    (&["--set", "server.audit=syslog"], &["server/audit", "file"]),
    (&["--set", "server.auditFile.fsync=daily"], &["server/auditFile/fsync", "rotate"]),
    (&["--set", "server.auditFile.maxBytes=100"], &["server/auditFile/maxBytes"]),
    (&["--set", "server.events=sometimes"], &["server/events", "boolean"]),
    (&["--set", "podLabels.app\\.kubernetes\\.io/name=x"], &["podLabels"]),
    (&["--set", "workflowNamespaces.networkPolicy.callback.enabled=true"], &["callback/podLabels"]),
    (&["--set", "metrics.prometheusRule.errorRatio=2"], &["prometheusRule/errorRatio", "1"]),
    (&["--set", "metrics.prometheusRule.runbookURL=runbook.md"], &["prometheusRule/runbookURL"]),
    (&["--set", "metrics.prometheusRule.runners.namespaces={a|b}"], &["runners/namespaces/0"]),
    // The policies have the schema that `sandgate policy schema` prints.
    (&["--set", "policies.workflow-runner.mod=warn"], &["policies/workflow-runner", "mod"]),
    (&["--set", "policies.workflow-runner.mode=block"], &["policies/workflow-runner/mode"]),
    (&["--set", "policies.workflow-runner.namespaces={Workflows}"], &["workflow-runner/namespaces/0"]),
    (&["--set", "policies.other.mode=warn"], &["policies/other", "namespaces"]),
    (&["--set", "policies.workflow-runner=null"], &["policies is empty, must have at least one policy"]),
    (&["--set", "image.repository="], &["image.repository is empty, must be the repository of your image"]),
    (
        &["--set", "image.repository=null"],
        &["image.repository is empty, must be the repository of your image"],
    ),
    (
        &["--set", "image.registry=registry.example.com"],
        &["image.registry is registry.example.com, must be empty where image.repository"],
    ),
    (&["--set", "image.repository=UPPER/case"], &["image/repository"]),
    (&["--set", "podDisruptionBudget.maxUnavailable=0%"], &["podDisruptionBudget/maxUnavailable"]),
    (&["--set", "podDisruptionBudget.minAvailable=101%"], &["podDisruptionBudget/minAvailable"]),
    (&["--set", "webhook.binding.failurePolicy=Never"], &["webhook/binding/failurePolicy", "Ignore"]),
    (&["--set", "server.port=0"], &["server/port"]),
    (&["--set", "server.bindAddress=::"], &["server/bindAddress"]),
    (&["--set", "server.clientCa.configMap=a,server.clientCa.secret=b"], &["server/clientCa"]),
    (&["--set", "server.clientTokens.configMap=keys"], &["server.clientTokens.audience is empty, must be"]),
    (&["--set", "service.ipFamilies={IPv5}"], &["service/ipFamilies/0", "IPv6"]),
    (&["--set", "policyConfigMaps=0"], &["policyConfigMaps"]),
    (&["--set", "workflowNamespaces.resourceQuota.modes={off}"], &["resourceQuota/modes/0", "enforce"]),
    (
        &["--set", "autoscaling.enabled=true,autoscaling.targetCPUUtilizationPercentage=null"],
        &["autoscaling has no metric"],
    ),
    (
        &[
            "--set",
            "metrics.prometheusRule.enabled=true,metrics.prometheusRule.disabledAlerts={SandgateGone}",
        ],
        &["metrics.prometheusRule has the alert SandgateGone, must be one of SandgateDown"],
    ),
    (&["--set", "metrics.prometheusRule.selector=cluster"], &["prometheusRule/selector"]),
    (
        &[
            "--set",
            "workflowNamespaces.names={workflows},workflowNamespaces.networkPolicy.enabled=true",
            "--set-json",
            r#"policies.workflow-runner.labels={"required":{}}"#,
        ],
        &[
            "policies.workflow-runner.labels.required is empty",
            "every Pod of workflows",
            "set workflowNamespaces.podLabels",
        ],
    ),
    (&["--set", "readinessProbe.httpGet.path=/x"], &["readinessProbe", "httpGet"]),
    // What a schema cannot say.
    (
        &["--set", "policies.workflow-runner.namespaces={workflows,kube-system}"],
        &["policies.workflow-runner.namespaces has kube-system", "must never guard", "remove it"],
    ),
    (
        &["--set", "policies.other.namespaces={kub*}"],
        &[
            "policies.other.namespaces has kub*, which can match a namespace of Kubernetes",
            "longer beginning",
        ],
    ),
    (
        &["--set", "policies.other.namespaces={*-system}"],
        &["policies.other.namespaces has *-system, which can match a namespace of Kubernetes"],
    ),
    (
        &["--set", "policies.other.namespaces={sandgate-*}"],
        &["policies.other.namespaces has sandgate-*, which matches the namespace of the release"],
    ),
    (
        &["--set", "policies.workflow-runner.namespaceSelector.matchLabels.guard=on"],
        &["policies.workflow-runner has namespaces and namespaceSelector, must have one of them"],
    ),
    (
        &[
            "--set",
            "image.pullPolicy=Always",
            "--set-json",
            "policies={\"workflow-runner\":{\"namespaces\":[]}}",
        ],
        &["policies select no namespace, must have one policy with namespaces or a namespaceSelector"],
    ),
    (&["--set", "policies.other.namespaces={team.*}"], &["policies/other/namespaces/0"]),
    (
        &["--set", "policies.other.namespaceSelector.matchLabel.guard=on"],
        &["policies/other/namespaceSelector", "matchLabel"],
    ),
    (
        &["--set", "runtimeClass.create=true,runtimeClass.scheduling.tolerations[0].operator=Exists"],
        &["runtimeClass.scheduling.tolerations has a toleration without a key", "name the taint"],
    ),
    (
        &["--set", "policies.workflow-runner.namespaces={sandgate-system}"],
        &["policies.workflow-runner.namespaces has sandgate-system", "could not start without itself"],
    ),
    (
        &["--set", "policies.other.namespaces={workflows}"],
        &["workflows, which another policy has too", "a namespace has one policy"],
    ),
    (
        &["--set", "workflowNamespaces.names={elsewhere}"],
        &["workflowNamespaces.names has elsewhere, which no policy guards"],
    ),
];

#[tokio::test]
async fn a_wrong_value_fails_with_its_path() {
    for (flags, wanted) in WRONG {
        let complaint = template_least(flags).await.expect_failure();
        for part in *wanted {
            assert!(complaint.contains(part), "{flags:?} should name {part:?}: {complaint}");
        }
    }
}

/// Nothing has a default that could be meant by mistake: neither a namespace nor an image of a public registry.
#[tokio::test]
async fn without_a_policy_or_an_image_the_installation_fails_with_a_sentence() {
    let image = "image.repository=registry.example.com/sandgate";
    let complaint = template(&["--set", image]).await.expect_failure();
    assert!(complaint.contains("--set 'policies.workflow-runner.namespaces={workflows}'"), "{complaint}");
    let policy = "policies.workflow-runner.namespaces={workflows}";
    let complaint = template(&["--set", policy]).await.expect_failure();
    assert!(complaint.contains("then set image.repository, such as"), "{complaint}");
    assert!(template(&["--set", policy, "--set", image]).await.success);
}
