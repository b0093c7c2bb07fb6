//! `esock-suite --over BACKEND [--only WORDS]`: the suite of the public API over one backend.
//! `esock-suite --over BACKEND --serve PORT [--udp-port PORT]`: a server for it, until it is killed.
//!
//! Exit code 0: all that can run passed; 1: something failed; 2: bad arguments.

use esock_interop::suite::{self, Outcome, Over};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut over, mut only, mut serve, mut udp_port) = (None, String::new(), None, None);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--over", Some(name)) => match name.parse::<Over>() {
                Ok(parsed) => over = Some(parsed),
                Err(error) => return usage(&error),
            },
            ("--only", Some(words)) => only = words,
            ("--serve", Some(port)) => serve = port.parse::<u16>().ok(),
            ("--udp-port", Some(port)) => udp_port = port.parse::<u16>().ok().filter(|port| *port != 0),
            // For the laboratory, which names what it starts.
            ("--tag", Some(_)) => {}
            (other, _) => return usage(&format!("what is `{other}`?")),
        }
    }
    let Some(over) = over else { return usage("over which backend?") };
    if let Some(port) = serve {
        return match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                runtime.block_on(suite::serve(over, port, udp_port));
                ExitCode::SUCCESS
            }
            Err(error) => usage(&error.to_string()),
        };
    }
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for case in suite::all().filter(|case| case.name.contains(&only)) {
        let (outcome, took) = suite::run(case, over);
        let name = case.name;
        match outcome {
            Outcome::Passed => {
                passed += 1;
                println!("@suite event=passed name={name} millis={}", took.as_millis());
            }
            Outcome::Skipped(missing) => {
                skipped += 1;
                println!("@suite event=skipped name={name} missing={}", missing.to_string().replace(' ', "-"));
            }
            Outcome::Failed(why) => {
                failed += 1;
                println!("@suite event=failed name={name} why={}", why.replace(char::is_whitespace, "_"));
            }
        }
    }
    println!("@suite event=end passed={passed} skipped={skipped} failed={failed}");
    ExitCode::from(u8::from(failed > 0 || passed == 0))
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("esock-suite: {problem}\nusage: esock-suite --over udp|raw|kernel|tcp|tcp-raw [--only WORDS]");
    ExitCode::from(2)
}
