//! libFuzzer's way into `fuzz::sse::source`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::sse::source(input));
