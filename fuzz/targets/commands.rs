//! See `esock_fuzz::commands`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esock_fuzz::commands::run(data));
