//! Test, bench, soak and fuzz commands of the repository.
fn main() {}
