//! See `esock_fuzz::adversary`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esock_fuzz::adversary::run(data));
