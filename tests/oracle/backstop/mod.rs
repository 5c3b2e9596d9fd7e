//! The backstop agrees with the engine: on a real API server without any webhook, the ValidatingAdmissionPolicies deny
//! exactly the Pods that `/validate` denies, and name exactly the same rules.
//!
//! `SANDGATE_PROVE_BACKSTOP=6000 cargo test --test oracle backstop -- --nocapture` sends that many Pods, each as it was
//! drawn and as sandgate would fill it.

mod agreement;
mod bounds;
mod fills;
mod fixture;
mod updating;

/// How many Pods are drawn in all; each is sent to two namespaces.
fn pods() -> usize {
    let wanted = std::env::var("SANDGATE_PROVE_BACKSTOP").ok();
    wanted.map_or(160, |pods| pods.parse().expect("SANDGATE_PROVE_BACKSTOP: a number"))
}
