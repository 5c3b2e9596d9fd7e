//! Other people's mutating webhooks, before and after ours.

mod known_injectors;
mod removals;
mod sidecars;
mod undoing;
