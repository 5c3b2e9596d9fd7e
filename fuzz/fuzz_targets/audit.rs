#![no_main]

#[path = "../cost.rs"]
mod cost;
#[path = "../program.rs"]
#[allow(dead_code, reason = "each target has one of them")]
mod program;

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(program::audit, data));
