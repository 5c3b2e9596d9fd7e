//! Workloads: which objects make Pods, where their templates are, and what their controllers make of them.
//!
//! [`pod_templates`] is the way in. It reads an object as JSON and returns each Pod that the object's controller would
//! create, with the way back from a field of the Pod to a field of the object. `kinds.rs` is the table of what is known;
//! `argo.rs`, `tekton.rs` and `spark.rs` put together the Pods of kinds that have no Pod template.

mod argo;
mod bounds;
mod build;
mod kinds;
mod location;
mod owner;
mod runtime_class;
mod spark;
mod suspect;
mod tekton;
mod template;

pub use bounds::is_within_bounds;
pub use kinds::{FillableFields, KINDS, Templates, WorkloadKind};
pub use location::TemplateLocation;
pub use runtime_class::RuntimeClass;
pub use template::{Note, PodTemplateRef, Workload, pod_templates, pod_templates_at};

#[cfg(test)]
mod tests;
