//! sandgate.
fn main() {}
