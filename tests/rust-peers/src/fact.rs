//! What a test has shown, for the matrix in the README.

/// Says that this run has shown `feature` with `peer`; `cargo xtask matrix` collects these lines. To be called
/// last in a test: what fails shows nothing.
///
/// `detail` must be the same in every run.
pub fn fact(peer: &str, feature: &str, detail: &str) {
    println!("matrix: {peer} | {feature} | {detail}");
}
