//! Packet scripts over sockets: a program under `esock run`, and the packets that its calls bring about on a TUN device.

#[path = "packets/synchronous.rs"]
mod synchronous;

use esock_interop::packets::play;
use esock_script::scripts_under;
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What a packet may be too late on a machine that is busy with other tests. Too early it may not be.
const LATE: Duration = Duration::from_millis(2000);

fn main() {
    let arguments = Arguments::from_args();
    if std::env::var_os("ESOCK_NO_PEERS").is_some_and(|value| value == "1") {
        println!("skipped: packets: ESOCK_NO_PEERS=1");
        return;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packets");
    fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packets");
    let files = scripts_under(&root).expect("the folder of scripts can be read");
    assert!(!files.is_empty(), "there are no scripts in {}", root.display());
    let mut trials: Vec<Trial> = files.into_iter().map(|file| trial(&root, &file, &directory)).collect();
    trials.extend(synchronous::trials(&directory));
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test named after its file and title.
fn trial(root: &Path, file: &Path, directory: &Path) -> Trial {
    let text = fs::read_to_string(file).unwrap_or_default();
    let short = file.strip_prefix(root).unwrap_or(file).with_extension("").display().to_string();
    let title = text.lines().next().unwrap_or_default().trim_start_matches('#').trim();
    let (name, path) = (format!("{short}: {title}"), format!("tests/packets/{short}.sctp"));
    let directory = directory.to_owned();
    Trial::test(name, move || play(&path, &text, &directory, LATE).map_err(Failed::from))
}
