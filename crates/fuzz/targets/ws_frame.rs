//! libFuzzer's way into `fuzz::ws::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::ws::frame(input));
