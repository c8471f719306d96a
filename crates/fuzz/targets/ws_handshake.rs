//! libFuzzer's way into `fuzz::ws::handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::ws::handshake(input));
