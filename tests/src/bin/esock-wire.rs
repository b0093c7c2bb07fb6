//! Runs packet scripts over sockets: `esock-wire FILE...`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

/// Scripts at once.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let directory = std::env::temp_dir().join("esock-wire");
    let files = Mutex::new(std::env::args_os().skip(1).map(PathBuf::from).rev().collect::<Vec<_>>());
    let late = std::env::var("ESOCK_LATE_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    if let Err(error) = std::fs::create_dir_all(&directory) {
        eprintln!("{}: {error}", directory.display());
        return ExitCode::FAILURE;
    }
    let failed = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(file) = files.lock().ok().and_then(|mut files| files.pop()) else { return };
                    let name = file.display().to_string();
                    let text = std::fs::read_to_string(&file).unwrap_or_default();
                    match esock_interop::packets::play(&name, &text, &directory, Duration::from_millis(late)) {
                        Ok(()) => println!("ok    {name}"),
                        Err(problem) => {
                            println!("FAIL  {problem}\n");
                            failed.lock().map(|mut failed| *failed += 1).unwrap_or_default();
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or(1);
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
