#![no_main]

#[path = "../cost.rs"]
mod cost;
#[path = "../properties.rs"]
#[allow(dead_code, reason = "each target has one of them")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(properties::image, data));
