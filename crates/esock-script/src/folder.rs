//! Where scripts are.

use std::io;
use std::path::{Path, PathBuf};

/// All scripts in a folder and in those below it, in the order of their names.
pub fn scripts_under(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sctp") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
