//! The real binary, over real sockets and real TLS: what the API server, an operator and an attacker meet.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod admin;
mod audit;
mod authentication;
mod client;
mod lifecycle;
mod limits;
mod logs;
mod metrics;
mod pki;
mod process;
mod reload;
mod requests;
mod templates;
mod tls;
mod traces;
