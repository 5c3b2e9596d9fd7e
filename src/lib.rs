//! sandgate: a Kubernetes admission webhook that keeps every Pod of chosen namespaces inside a gVisor sandbox.

pub mod json;
pub mod pod;
pub mod policy;
pub mod rules;
pub mod verdict;
pub mod review;
