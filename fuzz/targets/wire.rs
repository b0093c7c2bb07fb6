//! See `esock_fuzz::wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esock_fuzz::wire::run(data));
