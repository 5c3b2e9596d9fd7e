//! The policies that come with the program, one for each known engine.

/// Name and text of every preset, in alphabetical order.
pub const PRESETS: [(&str, &str); 27] = [
    ("agent-sandbox", include_str!("../../../presets/agent-sandbox.yaml")),
    ("airflow", include_str!("../../../presets/airflow.yaml")),
    ("aks-identity", include_str!("../../../presets/aks-identity.yaml")),
    ("argo-workflows", include_str!("../../../presets/argo-workflows.yaml")),
    ("buildkite", include_str!("../../../presets/buildkite.yaml")),
    ("coder", include_str!("../../../presets/coder.yaml")),
    ("dagster-prefect-flyte", include_str!("../../../presets/dagster-prefect-flyte.yaml")),
    ("drone-woodpecker", include_str!("../../../presets/drone-woodpecker.yaml")),
    ("eks-identity", include_str!("../../../presets/eks-identity.yaml")),
    ("github-arc", include_str!("../../../presets/github-arc.yaml")),
    ("github-arc-kubernetes", include_str!("../../../presets/github-arc-kubernetes.yaml")),
    ("gitlab-runner", include_str!("../../../presets/gitlab-runner.yaml")),
    ("gpu-jobs", include_str!("../../../presets/gpu-jobs.yaml")),
    ("gpu-serving", include_str!("../../../presets/gpu-serving.yaml")),
    ("istio-cni", include_str!("../../../presets/istio-cni.yaml")),
    ("jenkins", include_str!("../../../presets/jenkins.yaml")),
    ("jobs", include_str!("../../../presets/jobs.yaml")),
    ("jupyterhub", include_str!("../../../presets/jupyterhub.yaml")),
    ("kaniko", include_str!("../../../presets/kaniko.yaml")),
    ("knative", include_str!("../../../presets/knative.yaml")),
    ("kubeflow-pipelines", include_str!("../../../presets/kubeflow-pipelines.yaml")),
    ("kueue-jobs", include_str!("../../../presets/kueue-jobs.yaml")),
    ("linkerd", include_str!("../../../presets/linkerd.yaml")),
    ("openshift", include_str!("../../../presets/openshift.yaml")),
    ("ray", include_str!("../../../presets/ray.yaml")),
    ("spark", include_str!("../../../presets/spark.yaml")),
    ("tekton", include_str!("../../../presets/tekton.yaml")),
];

/// Returns the text of the preset `name`, as it can be read, copied and changed.
#[must_use]
pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
