//! Which presets are meant for a Pod: each engine leaves marks in the Pods that it makes.

/// Name of a preset, and texts of which each shows that a Pod is of its engine. A text is searched in the JSON of the Pod,
/// so it holds a quotation mark where a key or a value begins.
const MARKS: [(&str, &[&str]); 27] = [
    ("agent-sandbox", &["\"agents.x-k8s.io/"]),
    (
        "airflow",
        &["\"airflow_version\"", "\"airflow-worker\"", "\"/airflow/xcom\"", "\"airflow_kpo_in_cluster\""],
    ),
    ("aks-identity", &["\"azure.workload.identity/", "\"azure-identity-token\""]),
    ("argo-workflows", &["\"workflows.argoproj.io/"]),
    ("buildkite", &["\"buildkite.com/"]),
    ("coder", &["\"coder-workspace\"", "\"com.coder.", "\"controller.devfile.io/"]),
    (
        "dagster-prefect-flyte",
        &["\"dagster/", "\"prefect.io/", "\"flyte.lyft.com/", "\"app.kubernetes.io/name\":\"dagster\""],
    ),
    ("drone-woodpecker", &["\"io.drone", "\"drone-", "\"woodpecker-ci.org/", "\"/woodpecker\""]),
    ("eks-identity", &["\"aws-iam-token\"", "\"eks-pod-identity-token\""]),
    ("github-arc", &["\"actions.github.com/", "\"actions-ephemeral-runner\""]),
    ("github-arc-kubernetes", &["\"actions.github.com/", "\"runner-pod\"", "\"/__w\""]),
    ("gitlab-runner", &["runner.gitlab.com/"]),
    ("gpu-jobs", &["\"nvidia.com/gpu\""]),
    ("gpu-serving", &["\"vllm", "/vllm"]),
    ("istio-cni", &["\"istio-proxy\"", "\"istio-token\""]),
    ("jenkins", &["\"kubernetes.jenkins.io/", "\"jenkins/"]),
    ("jobs", &["\"batch.kubernetes.io/job-name\"", "\"kind\":\"Job\""]),
    ("jupyterhub", &["\"hub.jupyter.org/", "\"notebook-name\""]),
    ("kaniko", &["/kaniko"]),
    ("knative", &["\"serving.knative.dev/"]),
    ("kubeflow-pipelines", &["\"pipelines.kubeflow.org/"]),
    ("kueue-jobs", &["\"kueue.x-k8s.io/"]),
    ("linkerd", &["\"linkerd.io/", "\"linkerd-proxy\""]),
    ("openshift", &["\"openshift.io/scc\""]),
    ("ray", &["\"ray.io/"]),
    ("spark", &["\"spark-role\""]),
    ("tekton", &["\"tekton.dev/"]),
];

/// The presets that are for an identity, a mesh or a platform, and not for an engine.
const ADDITIONS: [&str; 5] = ["aks-identity", "eks-identity", "istio-cni", "linkerd", "openshift"];

/// Returns true if a preset is for something that is added to the Pods of any engine.
pub(super) fn is_addition(preset: &str) -> bool {
    ADDITIONS.contains(&preset)
}

/// Returns the presets of the engines that made one of the Pods, each with the number of Pods.
pub(super) fn presets_for(pods: &[&str]) -> Vec<(&'static str, usize)> {
    let of_preset = |(preset, marks): &(&'static str, &[&str])| {
        let is_of_engine = |pod: &&&str| marks.iter().any(|mark| pod.contains(mark));
        (*preset, pods.iter().filter(is_of_engine).count())
    };
    MARKS.iter().map(of_preset).filter(|(_, pods)| *pods > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PRESETS;

    #[test]
    fn every_preset_has_marks() {
        let marked: Vec<&str> = MARKS.iter().map(|(preset, _)| *preset).collect();
        assert_eq!(marked, PRESETS.map(|(name, _)| name));
    }

    #[test]
    fn a_plain_pod_is_of_no_engine() {
        let pod = r#"{"kind":"Pod","metadata":{"name":"web","labels":{"app":"web"}},"spec":{"containers":[{"name":"c"}]}}"#;
        assert_eq!(presets_for(&[pod]), []);
    }
}
