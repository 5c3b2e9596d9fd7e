//! The table of kinds that make Pods: where each keeps its Pod templates, and what owns the Pods.
//!
//! The paths are those of the projects' own `CustomResourceDefinition`s.

use super::owner::{Addition, Controller};
use crate::json::Value;

/// A kind of object that makes Pods.
#[derive(Debug)]
pub struct WorkloadKind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The versions whose paths are known.
    pub versions: &'static [&'static str],
    /// The kind of the workload.
    pub kind: &'static str,
    /// The source of the workload's Pods.
    pub templates: Templates,
}

/// The source of the Pods of a kind.
#[derive(Debug)]
pub enum Templates {
    /// The object is a Pod.
    Whole,
    /// Pod templates, or specs of Pods, are at these paths.
    At(&'static [TemplatePath]),
    /// Argo Workflows: a list of templates that hold containers, in the spec at this path.
    Argo(&'static str),
    /// Tekton: lists of steps, in the task specs at these paths.
    Tekton(&'static [&'static str]),
    /// Spark: a driver and an executor, in the spec at this path.
    Spark(&'static str),
    /// Another object has the template: its kind, and the path of its name.
    Reference(&'static str, &'static str),
}

/// A path in an object of the kind at which a Pod template, or the spec of a Pod, is.
#[derive(Debug)]
pub struct TemplatePath {
    /// The path; `[*]` is every item of a list or every member of a mapping.
    pub path: &'static str,
    /// The kind that owns the Pods; `None` if the object itself does.
    pub(super) controller: Option<Controller>,
    /// The fields that are added to the template's spec.
    pub(super) addition: Addition,
    /// True if the object is invalid without it.
    pub(super) is_required: bool,
}

/// The fields that can be filled into the Pod templates of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillableFields {
    /// No field: there is no Pod template, or its own API takes only some fields of a Pod.
    None,
    /// Every field but `activeDeadlineSeconds`, which the API server denies in templates of Pods that run for ever.
    WithoutDeadline,
    /// Every field.
    All,
}

impl WorkloadKind {
    /// Returns the fields that can be filled into the Pod templates of the kind.
    #[must_use]
    pub fn fillable_fields(&self) -> FillableFields {
        let Templates::At(paths) = &self.templates else { return FillableFields::None };
        let of_path = |path: &TemplatePath| match path.addition {
            Addition::None => FillableFields::All,
            Addition::RestartAlways | Addition::Daemon | Addition::Claims => FillableFields::WithoutDeadline,
            Addition::Knative => FillableFields::None,
        };
        paths.first().map_or(FillableFields::None, of_path)
    }

    /// Returns true if the Pods of the kind are put together from fields of its own, and are only partly known.
    #[must_use]
    pub fn is_composed(&self) -> bool {
        matches!(self.templates, Templates::Argo(_) | Templates::Tekton(_) | Templates::Spark(_))
    }

    /// Returns the kind of an object, if it is known.
    #[must_use]
    pub fn of(object: &Value) -> Option<&'static Self> {
        let object = object.as_object()?;
        Self::of_version(object.str("apiVersion")?, object.str("kind")?)
    }

    /// Returns the kind of an `apiVersion`, if it is known.
    #[must_use]
    pub fn of_version(api_version: &str, kind: &str) -> Option<&'static Self> {
        Self::find(api_version.split_once('/').map_or("", |(group, _)| group), kind)
    }

    /// Returns the kind of a group, if it is known.
    #[must_use]
    pub fn find(group: &str, kind: &str) -> Option<&'static Self> {
        KINDS.iter().find(|known| known.group == group && known.kind == kind)
    }
}

const fn template(path: &'static str) -> TemplatePath {
    TemplatePath { path, controller: None, addition: Addition::None, is_required: true }
}

const fn optional(path: &'static str) -> TemplatePath {
    TemplatePath { is_required: false, ..template(path) }
}

const fn owned(path: &'static str, api_version: &'static str, kind: &'static str) -> TemplatePath {
    TemplatePath { controller: Some(Controller { api_version, kind }), ..template(path) }
}

impl TemplatePath {
    const fn adding(self, addition: Addition) -> Self {
        Self { addition, ..self }
    }

    const fn not_required(self) -> Self {
        Self { is_required: false, ..self }
    }
}

const fn kind(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    templates: Templates,
) -> WorkloadKind {
    WorkloadKind { group, versions, kind, templates }
}

const V1: &[&str] = &["v1"];
const V1ALPHA1: &[&str] = &["v1alpha1"];
const JOB: (&str, &str) = ("batch/v1", "Job");
const REPLICA_SET: (&str, &str) = ("apps/v1", "ReplicaSet");
const STATEFUL_SET: (&str, &str) = ("apps/v1", "StatefulSet");
const RAY_CLUSTER: (&str, &str) = ("ray.io/v1", "RayCluster");
const SPEC_TEMPLATE: &[TemplatePath] = &[template("spec.template")];

/// Every kind that is known to make Pods.
pub static KINDS: &[WorkloadKind] = &[
    kind("", V1, "Pod", Templates::Whole),
    kind("", V1, "PodTemplate", Templates::At(&[template("template")])),
    kind(
        "",
        V1,
        "ReplicationController",
        Templates::At(&[template("spec.template").adding(Addition::RestartAlways)]),
    ),
    kind("apps", V1, "DaemonSet", Templates::At(&[template("spec.template").adding(Addition::Daemon)])),
    kind(
        "apps",
        V1,
        "Deployment",
        Templates::At(
            &[owned("spec.template", REPLICA_SET.0, REPLICA_SET.1).adding(Addition::RestartAlways)],
        ),
    ),
    kind(
        "apps",
        V1,
        "ReplicaSet",
        Templates::At(&[template("spec.template").adding(Addition::RestartAlways)]),
    ),
    kind("apps", V1, "StatefulSet", Templates::At(&[template("spec.template").adding(Addition::Claims)])),
    kind("batch", V1, "CronJob", Templates::At(&[owned("spec.jobTemplate.spec.template", JOB.0, JOB.1)])),
    kind("batch", V1, "Job", Templates::At(SPEC_TEMPLATE)),
    // Agents: kubernetes-sigs/agent-sandbox
    kind(
        "agents.x-k8s.io",
        &["v1beta1", "v1alpha1"],
        "Sandbox",
        Templates::At(&[template("spec.podTemplate")]),
    ),
    kind(
        "extensions.agents.x-k8s.io",
        &["v1beta1", "v1alpha1"],
        "SandboxTemplate",
        Templates::At(&[owned("spec.podTemplate", "agents.x-k8s.io/v1beta1", "Sandbox")]),
    ),
    kind(
        "extensions.agents.x-k8s.io",
        &["v1beta1", "v1alpha1"],
        "SandboxWarmPool",
        Templates::Reference("SandboxTemplate", "spec.sandboxTemplateRef.name"),
    ),
    kind(
        "extensions.agents.x-k8s.io",
        &["v1beta1", "v1alpha1"],
        "SandboxClaim",
        Templates::Reference("SandboxTemplate", "spec.sandboxTemplateRef.name"),
    ),
    // Batch
    kind(
        "jobset.x-k8s.io",
        &["v1alpha2"],
        "JobSet",
        Templates::At(&[owned("spec.replicatedJobs[*].template.spec.template", JOB.0, JOB.1)]),
    ),
    kind(
        "leaderworkerset.x-k8s.io",
        V1,
        "LeaderWorkerSet",
        Templates::At(&[
            owned("spec.leaderWorkerTemplate.leaderTemplate", STATEFUL_SET.0, STATEFUL_SET.1)
                .adding(Addition::RestartAlways)
                .not_required(),
            owned("spec.leaderWorkerTemplate.workerTemplate", STATEFUL_SET.0, STATEFUL_SET.1)
                .adding(Addition::RestartAlways),
        ]),
    ),
    kind("batch.volcano.sh", V1ALPHA1, "Job", Templates::At(&[template("spec.tasks[*].template")])),
    kind(
        "batch.volcano.sh",
        V1ALPHA1,
        "CronJob",
        Templates::At(&[owned(
            "spec.jobTemplate.spec.tasks[*].template",
            "batch.volcano.sh/v1alpha1",
            "Job",
        )]),
    ),
    kind(
        "flow.volcano.sh",
        V1ALPHA1,
        "JobTemplate",
        Templates::At(&[owned("spec.tasks[*].template", "batch.volcano.sh/v1alpha1", "Job")]),
    ),
    // Ray: ray-project/kuberay
    kind(
        "ray.io",
        &["v1", "v1alpha1"],
        "RayCluster",
        Templates::At(&[
            template("spec.headGroupSpec.template"),
            optional("spec.workerGroupSpecs[*].template"),
        ]),
    ),
    kind(
        "ray.io",
        &["v1", "v1alpha1"],
        "RayJob",
        Templates::At(&[
            owned("spec.rayClusterSpec.headGroupSpec.template", RAY_CLUSTER.0, RAY_CLUSTER.1).not_required(),
            owned("spec.rayClusterSpec.workerGroupSpecs[*].template", RAY_CLUSTER.0, RAY_CLUSTER.1)
                .not_required(),
            owned("spec.submitterPodTemplate", JOB.0, JOB.1).not_required(),
        ]),
    ),
    kind(
        "ray.io",
        V1,
        "RayCronJob",
        Templates::At(&[
            owned("spec.jobTemplate.rayClusterSpec.headGroupSpec.template", RAY_CLUSTER.0, RAY_CLUSTER.1)
                .not_required(),
            owned(
                "spec.jobTemplate.rayClusterSpec.workerGroupSpecs[*].template",
                RAY_CLUSTER.0,
                RAY_CLUSTER.1,
            )
            .not_required(),
            owned("spec.jobTemplate.submitterPodTemplate", JOB.0, JOB.1).not_required(),
        ]),
    ),
    kind(
        "ray.io",
        &["v1", "v1alpha1"],
        "RayService",
        Templates::At(&[
            owned("spec.rayClusterConfig.headGroupSpec.template", RAY_CLUSTER.0, RAY_CLUSTER.1),
            owned("spec.rayClusterConfig.workerGroupSpecs[*].template", RAY_CLUSTER.0, RAY_CLUSTER.1)
                .not_required(),
        ]),
    ),
    // Kubeflow
    kind(
        "kubeflow.org",
        V1,
        "PyTorchJob",
        Templates::At(&[template("spec.pytorchReplicaSpecs[*].template")]),
    ),
    kind("kubeflow.org", V1, "TFJob", Templates::At(&[template("spec.tfReplicaSpecs[*].template")])),
    kind("kubeflow.org", V1, "XGBoostJob", Templates::At(&[template("spec.xgbReplicaSpecs[*].template")])),
    kind("kubeflow.org", V1, "PaddleJob", Templates::At(&[template("spec.paddleReplicaSpecs[*].template")])),
    kind("kubeflow.org", V1, "JAXJob", Templates::At(&[template("spec.jaxReplicaSpecs[*].template")])),
    kind(
        "kubeflow.org",
        &["v1", "v2beta1"],
        "MPIJob",
        Templates::At(&[template("spec.mpiReplicaSpecs[*].template")]),
    ),
    kind(
        "kubeflow.org",
        &["v1", "v1beta1"],
        "Notebook",
        Templates::At(&[
            owned("spec.template", STATEFUL_SET.0, STATEFUL_SET.1).adding(Addition::RestartAlways)
        ]),
    ),
    kind(
        "trainer.kubeflow.org",
        V1ALPHA1,
        "TrainingRuntime",
        Templates::At(&[owned("spec.template.spec.replicatedJobs[*].template.spec.template", JOB.0, JOB.1)]),
    ),
    kind(
        "trainer.kubeflow.org",
        V1ALPHA1,
        "ClusterTrainingRuntime",
        Templates::At(&[owned("spec.template.spec.replicatedJobs[*].template.spec.template", JOB.0, JOB.1)]),
    ),
    kind(
        "trainer.kubeflow.org",
        V1ALPHA1,
        "TrainJob",
        Templates::Reference("ClusterTrainingRuntime", "spec.runtimeRef.name"),
    ),
    // Knative
    kind("serving.knative.dev", V1, "Service", Templates::At(KNATIVE)),
    kind("serving.knative.dev", V1, "Configuration", Templates::At(KNATIVE)),
    kind(
        "serving.knative.dev",
        V1,
        "Revision",
        Templates::At(&[owned("spec", REPLICA_SET.0, REPLICA_SET.1).adding(Addition::Knative)]),
    ),
    // GitHub's runner controller
    kind("actions.github.com", V1ALPHA1, "AutoscalingRunnerSet", Templates::At(SPEC_TEMPLATE)),
    kind(
        "actions.github.com",
        V1ALPHA1,
        "EphemeralRunnerSet",
        Templates::At(&[template("spec.ephemeralRunnerSpec")]),
    ),
    kind("actions.github.com", V1ALPHA1, "EphemeralRunner", Templates::At(&[template("spec")])),
    kind("actions.summerwind.dev", V1ALPHA1, "RunnerDeployment", Templates::At(SPEC_TEMPLATE)),
    kind("actions.summerwind.dev", V1ALPHA1, "RunnerSet", Templates::At(SPEC_TEMPLATE)),
    // Argo
    kind(
        "argoproj.io",
        V1ALPHA1,
        "Rollout",
        Templates::At(&[owned("spec.template", REPLICA_SET.0, REPLICA_SET.1)
            .adding(Addition::RestartAlways)
            .not_required()]),
    ),
    kind("argoproj.io", V1ALPHA1, "Workflow", Templates::Argo("spec")),
    kind("argoproj.io", V1ALPHA1, "WorkflowTemplate", Templates::Argo("spec")),
    kind("argoproj.io", V1ALPHA1, "ClusterWorkflowTemplate", Templates::Argo("spec")),
    kind("argoproj.io", V1ALPHA1, "CronWorkflow", Templates::Argo("spec.workflowSpec")),
    // Tekton
    kind("tekton.dev", &["v1", "v1beta1"], "Task", Templates::Tekton(&["spec"])),
    kind("tekton.dev", &["v1", "v1beta1"], "TaskRun", Templates::Tekton(&["spec.taskSpec"])),
    kind(
        "tekton.dev",
        &["v1", "v1beta1"],
        "Pipeline",
        Templates::Tekton(&["spec.tasks[*].taskSpec", "spec.finally[*].taskSpec"]),
    ),
    kind(
        "tekton.dev",
        &["v1", "v1beta1"],
        "PipelineRun",
        Templates::Tekton(&["spec.pipelineSpec.tasks[*].taskSpec", "spec.pipelineSpec.finally[*].taskSpec"]),
    ),
    // Spark: kubeflow/spark-operator
    kind("sparkoperator.k8s.io", &["v1beta2"], "SparkApplication", Templates::Spark("spec")),
    kind(
        "sparkoperator.k8s.io",
        &["v1beta2"],
        "ScheduledSparkApplication",
        Templates::Spark("spec.template"),
    ),
];

const KNATIVE: &[TemplatePath] =
    &[owned("spec.template", REPLICA_SET.0, REPLICA_SET.1).adding(Addition::Knative)];
