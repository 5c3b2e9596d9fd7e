//! `sandgate doctor` against a real API server: each check broken once, each right taken away once.
//!
//! Nodes are objects, and so are the Pods of sandgate. Where a check reads what they answer, a test plays them: `played` has a
//! replica's metrics and a kubelet with one log, and the real API server reads them by pods/proxy and pods/log. Counters of
//! the API server, and an API server without an audit log, are in a control plane of its own (`apart`). `complete` finds a
//! check that no test breaks. Only `kubernetes-version` cannot be broken here: a real API server is not older than it is.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod apart;
mod backstop;
mod clinic;
mod complete;
mod counters;
mod healthy;
mod nodes_and_namespaces;
mod played;
mod probing;
mod rights;
mod webhooks;
