//! sandgate in front of a real API server: what people do, and what is stored of it.
//!
//! One control plane serves the whole run; each test has namespaces and a sandgate of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod examples;
mod sandbox;
mod sandboxed;
mod webhooks;

mod audit;
mod backstop;
mod certificates;
mod chart;
mod controllers;
mod creating;
mod deployments;
mod engines;
mod events;
mod filling;
mod hostile;
mod limitations;
mod modes;
mod monitoring;
mod other_webhooks;
mod rolling_out;
mod schema;
mod suggesting;
mod templates;
mod testbed_itself;
mod traces;
mod unguarded;
mod updating;
