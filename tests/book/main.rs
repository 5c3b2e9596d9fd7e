//! The pages of this repository: their links, the commands and outputs that they show, and the parts that are generated.
//!
//! `make book-pages` writes the generated pages.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod commands;
mod consoles;
mod counts;
mod generated;
mod links;
mod messages;
mod pages;
mod questions;
mod readme;
mod scanned;
mod words;
mod workflows;
