//! JSON as the engine reads it: a tree that borrows its text from the request and remembers what was changed.
//!
//! A typed Pod would drop the fields that this build does not know, and an owned `serde_json::Value` costs
//! more than all rules together. So the tree borrows strings, skips what no rule reads, and marks each
//! change in place: the JSON patch is read off the marks.

mod patch;
mod read;
pub(crate) mod steps;
mod value;
mod write;

pub(crate) use patch::{ChangeVisitor, JsonStep, ValueChange, each_change, each_removal, visit_changes};
pub use patch::{is_changed, write_patch};
pub use read::{MAX_TREE_BYTES, MAX_VALUES, MEMORY_PER_BYTE, PodTree, Text, pod_from_str, value_from_str};
pub(crate) use value::is_same;
pub use value::{List, Object, Value};
pub(crate) use write::{ObjectWriter, to_string, write_base64, write_json, write_string};
