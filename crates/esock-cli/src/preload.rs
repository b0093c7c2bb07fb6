//! `esock run`: a program that knows nothing of esock, with SCTP sockets that are esock's.

use crate::args::{BrokerArgs, RunArgs};
use crate::console::say;
use crate::exit::{Exit, Failure};
use esock_sockets::{BrokerConfig, Sysctl};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The library that programs are run with.
const LIBRARY: &str = "libesock_preload.so";

/// What a broker says when programs can come.
const READY: &str = "ready";

/// `esock run`. Returns only if the program could not be started.
pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let config = config(&args.broker)?;
    let library = library()?;
    if !config.is_running() {
        start(&args.broker, &config)?;
    }
    if args.verbose {
        say(&format!("broker at {}", config.name()));
    }
    let mut libraries = OsString::from(library);
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        libraries.push(":");
        libraries.push(others);
    }
    let (program, arguments) = args.command.split_first().ok_or_else(|| {
        Failure::new(Exit::Usage, "give a program to run, as in `esock run -- iperf3 --sctp -c 192.0.2.1`")
    })?;
    let mut command = Command::new(program);
    command.args(arguments).env("LD_PRELOAD", libraries).env("ESOCK_BROKER", config.name());
    let error = command.exec();
    Err(Failure::new(Exit::Other, format!("cannot run {}: {error}", Path::new(program).display())))
}

/// `esock broker`.
pub fn serve(args: &BrokerArgs) -> Result<Exit, Failure> {
    esock_sockets::detach();
    let broker =
        config(args).and_then(|config| config.start().map_err(|error| Failure::new(Exit::Other, error.to_string())));
    let mut broker = match broker {
        Ok(broker) => broker,
        Err(failure) => {
            // Whoever started us reads it there.
            println!("{failure}");
            return Err(failure);
        }
    };
    println!("{READY}");
    let _ = io::stdout().flush();
    broker.serve().map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
    Ok(Exit::Well)
}

fn config(args: &BrokerArgs) -> Result<BrokerConfig, Failure> {
    let mut sysctl = Sysctl::default();
    if let Some(preset) = args.preset {
        sysctl.apply_preset(preset);
    }
    for setting in &args.sysctl {
        sysctl.set(setting).map_err(|error| Failure::new(Exit::Usage, format!("--sysctl {error}")))?;
    }
    if let Some(port) = args.encap_port {
        let setting = format!("encap_port={port}");
        sysctl.set(&setting).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    }
    let mut config = BrokerConfig::default();
    config.name = args.name.clone();
    config.backend = esock::Backend::from(args.backend);
    config.udp_port = args.udp_port;
    config.sysctl = sysctl;
    Ok(config)
}

/// Starts a broker, which goes on when we are gone.
fn start(args: &BrokerArgs, config: &BrokerConfig) -> Result<(), Failure> {
    let fail = |problem: String| Failure::new(Exit::Other, problem);
    let own = std::env::current_exe().map_err(|error| fail(format!("cannot find the esock command: {error}")))?;
    let mut command = Command::new(own);
    command.arg("broker").arg("--broker").arg(config.name());
    command.arg(format!("--backend={}", config.backend));
    if let Some(port) = args.udp_port {
        command.arg(format!("--udp-port={port}"));
    }
    if let Some(port) = args.encap_port {
        command.arg(format!("--encap-port={port}"));
    }
    if let Some(preset) = args.preset {
        command.arg(format!("--preset={preset}"));
    }
    for setting in &args.sysctl {
        command.arg("--sysctl").arg(setting);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| fail(format!("cannot start a broker: {error}")))?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        let _ = BufReader::new(output).read_line(&mut said);
    }
    match said.trim() {
        READY => Ok(()),
        // Somebody else was faster.
        _ if config.is_running() => Ok(()),
        "" => Err(fail("the broker ended without a word".into())),
        problem => Err(fail(format!("cannot start a broker: {problem}"))),
    }
}

/// Where the library is: named by ESOCK_PRELOAD, beside this command, or where packages put libraries.
fn library() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os("ESOCK_PRELOAD") {
        return Ok(named.into());
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.parent().unwrap_or(Path::new(".")).to_path_buf();
    let places = [beside.clone(), beside.join("../lib"), beside.join("../lib/esock")];
    places.iter().map(|place| place.join(LIBRARY)).find(|path| path.exists()).ok_or_else(|| {
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        let problem = format!(
            "{LIBRARY} is not in {}: build it (cargo build -p esock-preload), or name it with ESOCK_PRELOAD",
            looked.join(", ")
        );
        Failure::new(Exit::Other, problem)
    })
}
