//! libFuzzer's way into `fuzz::sse::encode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::sse::encode(input));
