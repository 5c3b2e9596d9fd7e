//! Questions of people who meet sandgate for the first time, and where the pages answer them: the contents lead to the page, and the
//! heading is on it.

use std::{collections::BTreeSet, path::PathBuf};

use crate::pages::Page;

/// A question, the heading under which its answer is, and what that must have.
const QUESTIONS: [(&str, &str, &str); 35] = [
    ("How do I exempt one Pod?", "docs/how-to.md#exempt-a-user", "A single Pod cannot be exempted"),
    ("How do I allow a claim?", "docs/how-to.md#a-persistentvolumeclaim", "persistentVolumeClaim: {names:"),
    ("How do I mount a ConfigMap?", "docs/how-to.md#a-configmap-as-files", "configMap: {names:"),
    ("How do I allow a GPU?", "docs/how-to.md#a-gpu", "preset/gpu-jobs"),
    ("How do I run as user 1001?", "docs/how-to.md#another-user-id", "min: 1001, max: 1001"),
    ("Does a Service on port 8080 work?", "docs/how-to.md#a-service", "Nothing to open"),
    ("How do I roll it out safely?", "docs/rolling-out.md#4-audit-record-change-nothing", "mode: audit"),
    ("What would break?", "docs/rolling-out.md#2-scan-what-runs-and-would-be-denied", "sandgate scan"),
    ("What if sandgate is down?", "docs/limits.md#limits", "While no replica answers"),
    (
        "How do I switch it off?",
        "docs/emergency.md#emergency-switch-sandgate-off",
        "kubectl delete validatingwebhook",
    ),
    ("Does it run on EKS?", "docs/platforms.md#eks", "hostNetwork=true"),
    ("Which versions of Kubernetes?", "docs/install.md#versions", "Kubernetes 1.30 or newer"),
    ("How do I see what was denied?", "docs/how-to.md#see-what-was-denied", "--verdict denied"),
    ("How do I upgrade?", "docs/install.md#upgrade", "helm upgrade sandgate"),
    ("Which image do I pull?", "docs/install.md#the-image", "No image is published"),
    ("What is the rule privileged?", "docs/rules/privileged.md#why", "privileged container"),
    ("How do nodes get gVisor?", "docs/node.md#gvisor", "installation page"),
    ("How do I have several policies?", "docs/how-to.md#two-teams", "Two policies"),
    (
        "Why does my Job make no Pods?",
        "docs/troubleshooting.md#my-job-deployment-or-workflow-makes-no-pods",
        "kubectl describe job",
    ),
    ("Do Deployments work?", "docs/how-to.md#a-deployment", "allowed: [Always]"),
    ("How do I check in CI?", "docs/ci.md#github-actions", "sandgate check"),
    (
        "What about Istio and Vault?",
        "docs/how-to.md#istio-linkerd-vault-and-other-injectors",
        "preset/istio-cni",
    ),
    (
        "What about Argo, Tekton, GitLab?",
        "docs/pods-of-others.md#find-out-what-is-missing",
        "presets/tekton.md",
    ),
    ("Is the trail evidence, and how is it kept?", "docs/audit.md#retention-and-shipping", "ship them"),
    ("Is the image signed, with an SBOM?", "docs/release.md#release", "nothing is published or signed"),
    ("What may sandgate do in my cluster?", "SECURITY.md#sandgates-own-rights", "by name"),
    ("How is it unlike Kyverno?", "README.md#beside-other-tools", "Kyverno"),
    (
        "How do I get the command line?",
        "docs/install.md#the-command-line-on-your-machine",
        "macOS and Windows have not been tried",
    ),
    ("How do I report a vulnerability?", "SECURITY.md#report-a-vulnerability", "BLANK"),
    ("How many replicas, how large?", "docs/availability.md#availability", "100m CPU"),
    ("Do I need cert-manager?", "docs/install.md#versions", "cert-manager is not needed"),
    ("An alert fires: what now?", "docs/runbook.md#sandgatedown", "#### Diagnosis"),
    ("Are imagePullSecrets allowed?", "docs/how-to.md#a-private-registry", "always allowed"),
    ("How do I debug a Pod?", "docs/how-to.md#debug-a-pod", "--profile=restricted"),
    ("How mature is it?", "CHANGELOG.md#010---not-released", "The first version"),
];

#[test]
fn first_questions_are_answered_under_a_heading() {
    let in_contents: BTreeSet<PathBuf> =
        Page::read("docs/SUMMARY.md").links().iter().map(|link| PathBuf::from("docs").join(link)).collect();
    let mut wrong = Vec::new();
    for (question, address, answer) in QUESTIONS {
        let (path, heading) = address.split_once('#').unwrap();
        let link = path.strip_prefix("docs/").map_or_else(|| format!("docs/../{path}"), |_| path.to_owned());
        let section = Page::read(path).section(heading).map(|section| one_line(&section));
        let has_answer = section.is_some_and(|section| section.contains(answer));
        if !has_answer || !in_contents.contains(&PathBuf::from(link)) {
            wrong.push(format!("{question} {address}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
