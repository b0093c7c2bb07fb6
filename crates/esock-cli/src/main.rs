//! The esock command.
fn main() {}
