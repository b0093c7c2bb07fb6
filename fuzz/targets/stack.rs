//! See `esock_fuzz::stack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esock_fuzz::stack::run(data));
