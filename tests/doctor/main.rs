//! `sandgate doctor` against a real API server: each check broken once, each right taken away once.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod clinic;
mod healthy;
mod nodes_and_namespaces;
mod rights;
mod webhooks;
