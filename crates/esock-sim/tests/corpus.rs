//! The stored corpus of the fuzz targets (`fuzz/corpus`, and the seeds that were made from captures, `fuzz/seeds`) as an
//! ordinary test: no fuzzer is needed for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

#[test]
fn every_stored_input_of_every_fuzz_target_runs() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut failed = Vec::new();
    for (name, target) in esock_fuzz::TARGETS {
        for of in ["corpus", "seeds"] {
            let mut inputs = 0;
            for file in std::fs::read_dir(root.join(of).join(name)).expect("each target has both") {
                let path = file.expect("it can be listed").path();
                let bytes = std::fs::read(&path).expect("it can be read");
                inputs += 1;
                if catch_unwind(AssertUnwindSafe(|| target(&bytes))).is_err() {
                    failed.push(path);
                }
            }
            println!("{name}: {inputs} inputs in {of}");
            assert!(inputs > 10, "the {of} of {name} are missing");
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
