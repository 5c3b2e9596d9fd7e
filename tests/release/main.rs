//! sandgate as helm installs it: real processes for its pods, a real API server in front, from the first install to the
//! last word of an uninstall, and what becomes of the creates that go on meanwhile.
//!
//! `make ha` runs them for longer, and prints figures.

mod availability;
mod cert_manager;
mod guarded;
mod installed;
mod lifecycle;
mod own_certificates;
mod previous;
mod replaced;
mod rights;
mod self_restriction;
mod upgrades;
