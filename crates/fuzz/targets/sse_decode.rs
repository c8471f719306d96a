//! libFuzzer's way into `fuzz::sse::decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::sse::decode(input));
