//! libFuzzer's way into `fuzz::ws::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::ws::connection(input));
