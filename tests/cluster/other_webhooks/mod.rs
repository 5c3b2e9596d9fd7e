//! Other people's mutating webhooks, before and after ours.

mod admission_policies;
mod known_injectors;
mod mutations_reverted;
mod removals;
mod sidecars;
