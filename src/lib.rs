//! sandgate: a Kubernetes admission webhook that keeps every Pod of chosen namespaces inside a gVisor sandbox.
//!
//! [`sandgate_engine`] decides; this crate is the I/O around it: the server, its certificates, the Kubernetes client, the
//! audit trail, logs, metrics and traces, and the command line.

pub mod audit;
pub mod certs;
pub mod cli;
pub mod cluster;
pub mod observe;
pub mod policy_files;
pub mod readiness;
pub mod server;
pub mod supervisor;
pub mod telemetry;
