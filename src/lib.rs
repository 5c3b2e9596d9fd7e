//! sandgate: a Kubernetes admission webhook that keeps every pod of chosen namespaces inside a gVisor sandbox.

pub mod policy;
pub mod review;
