//! sandgate: a Kubernetes admission webhook that keeps every Pod of chosen namespaces inside a gVisor sandbox.
//!
//! The engine, in the order data flows: [`json`] reads a Pod, [`policy`] says what it must look like, [`rules`] fill
//! and check it, [`verdict`] tells what is wrong, [`review`] answers the API server. It is pure. The I/O around it is
//! behind the feature `server`.

mod hash;
mod text;

pub mod json;
pub mod pod;
pub mod policy;
pub mod rules;
pub mod verdict;

pub mod review;

#[cfg(feature = "server")]
pub mod audit;
#[cfg(feature = "server")]
pub mod certs;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub mod readiness;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod telemetry;
