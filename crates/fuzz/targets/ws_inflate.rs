//! libFuzzer's way into `fuzz::ws::inflate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::ws::inflate(input));
