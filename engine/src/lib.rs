//! The engine of sandgate: from the bytes of an admission review to a verdict. It opens no socket and no file, and knows
//! neither the time nor a cluster.
//!
//! In the order data flows: [`json`] reads a Pod, [`policy`] defines what it must look like, [`rules`] fill and check it,
//! [`violations`] collects what violates it, [`review`] answers the API server. [`path`] names fields, [`yaml`] reads
//! policies and manifests, [`workload`] finds the Pods that other objects make, [`templates`] reviews those objects.

pub mod backstop;
mod cel;
pub mod hash;
pub mod json;
#[cfg(test)]
mod linear_tests;
pub mod path;
pub mod pod;
pub mod policy;
pub mod review;
pub mod rules;
pub mod scan;
pub mod suggest;
pub mod templates;
pub mod text;
pub mod violations;
pub mod workload;
pub mod yaml;

#[cfg(any(test, feature = "steps"))]
pub use json::steps::steps_of;
