//! Wrong values fail before anything is installed, and say where they are wrong.

use super::template;

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
    (&["--set", "policies.workflow-runner=null"], &["policies", "minProperties"]),
    // What a schema cannot say.
    (
        &["--set", "policies.workflow-runner.namespaces={workflows,kube-system}"],
        &["policies.workflow-runner.namespaces has kube-system", "must never guard", "remove it"],
    ),
    (
        &["--set", "policies.rest.namespaces={*}"],
        &["a policy for the namespace * and webhook.namespaceSelector go together"],
    ),
    (
        &["--set", "webhook.namespaceSelector.matchLabels.guard=on"],
        &["a policy for the namespace * and webhook.namespaceSelector go together"],
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
async fn a_wrong_value_is_refused_with_its_path() {
    for (flags, wanted) in WRONG {
        let complaint = template(flags).await.expect_failure();
        for part in *wanted {
            assert!(complaint.contains(part), "{flags:?} should name {part:?}: {complaint}");
        }
    }
}
