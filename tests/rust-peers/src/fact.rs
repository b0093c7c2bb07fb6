//! What a test has shown, for the matrix in the README.

/// Says that this run has shown `feature` with `peer`; `cargo xtask matrix` collects these lines, and has the list of
/// features. To be called last in a test: what fails shows nothing.
///
/// `detail` must be the same in every run; a remark goes under the table.
pub fn fact(peer: &str, feature: &str, detail: &str, remark: Option<&str>) {
    let remark = remark.map(|remark| format!(" | {remark}")).unwrap_or_default();
    println!("matrix: {peer} | {feature} | {detail}{remark}");
}
