//! The engine of sandgate: from the bytes of an admission review to a verdict. It opens no socket and no file, and knows
//! neither the time nor a cluster.
//!
//! In the order data flows: [`json`] reads a Pod, [`policy`] says what it must look like, [`rules`] fill and check it,
//! [`verdict`] collects what violates it, [`review`] answers the API server.

pub mod hash;
pub mod json;
pub mod pod;
pub mod policy;
// pub mod review;
// pub mod rules;
pub mod text;
pub mod verdict;
