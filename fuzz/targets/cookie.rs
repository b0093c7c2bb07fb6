//! See `esock_fuzz::cookie`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esock_fuzz::cookie::run(data));
