//! `esock run`: a program that knows nothing of esock, with SCTP sockets that are esock's.

use crate::args::{BackendArg, BrokerArgs, RunArgs, ServeArgs};
use crate::console::say;
use crate::exit::{Exit, Failure};
use esock_sockets::{BrokerConfig, Greeting, Sysctl};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The library that programs are run with.
const LIBRARY: &str = "libesock_preload.so";

/// What a broker says when programs can come.
const READY: &str = "ready";

/// `esock run`. Returns only if the program could not be started.
pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let (program, arguments) = args.command.split_first().ok_or_else(|| {
        Failure::new(Exit::Usage, "give a program to run, as in `esock run -- iperf3 --sctp -c 192.0.2.1`")
    })?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(why) = by_kernel(args.broker.backend) {
        if args.verbose {
            say(&format!("without esock: {why}"));
        }
        // Not even a library that an outer `esock run` has given.
        command.env("ESOCK_BACKEND", "kernel");
    } else {
        let config = config(&args.broker)?;
        let library = library()?;
        let greeting = broker(&args.broker, &config)?;
        if args.verbose {
            let settings = if greeting.settings.is_empty() { "its defaults" } else { &greeting.settings };
            say(&format!("broker at {}, with {settings}", config.name()));
        }
        command
            .env("LD_PRELOAD", with_others(library.as_os_str()))
            .env("ESOCK_BROKER", config.name())
            .env("ESOCK_KEY", greeting.key);
        // For a broker that is started when this one has ended.
        command.envs(variables(&args.broker));
    }
    let error = command.exec();
    Err(Failure::new(Exit::Other, format!("cannot run {}: {error}", Path::new(program).display())))
}

/// Ours behind all others that are preloaded: they are part of the program, and what they ask of the C library is ours.
fn with_others(own: &OsStr) -> OsString {
    let others = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    // Separated by either (ld.so(8)); an outer `esock run` has given ours already.
    let others = others.as_bytes().split(|byte| matches!(byte, b':' | b' ')).map(OsStr::from_bytes);
    let all: Vec<&OsStr> = others.filter(|other| !other.is_empty() && *other != own).chain([own]).collect();
    all.join(OsStr::new(":"))
}

/// Why a program's SCTP sockets are the kernel's, if they are.
fn by_kernel(backend: BackendArg) -> Option<String> {
    match backend {
        BackendArg::Kernel => Some("the kernel's SCTP was asked for".into()),
        BackendArg::Auto => {
            let seen_in = esock_sockets::kernel_sctp()?;
            Some(format!("the kernel's SCTP is loaded ({seen_in}); --backend udp takes esock's"))
        }
        BackendArg::Raw | BackendArg::Udp => None,
    }
}

/// Greets the broker, which is started if there is none.
fn broker(args: &BrokerArgs, config: &BrokerConfig) -> Result<Greeting, Failure> {
    let fail = |error: io::Error| Failure::new(Exit::Other, format!("the broker at {}: {error}", config.name()));
    let greeting = match config.greet() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            start(args, config)?;
            config.greet().map_err(fail)?
        }
        greeting => greeting.map_err(fail)?,
    };
    if !config.settings.is_empty() && config.settings != greeting.settings {
        let has = if greeting.settings.is_empty() { "its defaults" } else { &greeting.settings };
        say(&format!(
            "the broker at {} runs with {has}, and goes on so: {} is not done. End its programs first, or give the \
             program a broker of its own (--broker NAME)",
            config.name(),
            config.settings
        ));
    }
    Ok(greeting)
}

/// `esock broker`.
pub fn serve(args: &ServeArgs) -> Result<Exit, Failure> {
    if args.orphan {
        return orphan();
    }
    if args.report {
        let config = config(&args.broker)?;
        let fail = |error| Failure::new(Exit::Other, format!("no report from the broker {}: {error}", config.name()));
        print!("{}", config.report().map_err(fail)?);
        return Ok(Exit::Well);
    }
    esock_sockets::detach();
    let broker = config(&args.broker)
        .and_then(|config| config.start().map_err(|error| Failure::new(Exit::Other, error.to_string())));
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

/// Starts the broker and ends: it has no parent then that would be told of its end.
fn orphan() -> Result<Exit, Failure> {
    let fail = |error: io::Error| Failure::new(Exit::Other, format!("cannot start a broker: {error}"));
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--orphan");
    Command::new(std::env::current_exe().map_err(fail)?).args(arguments).spawn().map_err(fail)?;
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
    config.settings = words(args).join(" ");
    Ok(config)
}

/// What a broker is started with, as arguments; nothing for what was not given.
fn words(args: &BrokerArgs) -> Vec<String> {
    let mut words = Vec::new();
    if args.backend != BackendArg::Auto {
        words.push(format!("--backend={}", esock::Backend::from(args.backend)));
    }
    words.extend(args.udp_port.map(|port| format!("--udp-port={port}")));
    words.extend(args.encap_port.map(|port| format!("--encap-port={port}")));
    words.extend(args.preset.map(|preset| format!("--preset={preset}")));
    words.extend(args.sysctl.iter().map(|setting| format!("--sysctl={setting}")));
    words
}

/// The same as environment variables.
fn variables(args: &BrokerArgs) -> Vec<(&'static str, String)> {
    let mut variables = vec![("ESOCK_BACKEND", esock::Backend::from(args.backend).to_string())];
    variables.extend(args.udp_port.map(|port| ("ESOCK_UDP_PORT", port.to_string())));
    variables.extend(args.encap_port.map(|port| ("ESOCK_ENCAP_PORT", port.to_string())));
    variables.extend(args.preset.map(|preset| ("ESOCK_PRESET", preset.to_string())));
    if !args.sysctl.is_empty() {
        variables.push(("ESOCK_SYSCTL", args.sysctl.join(",")));
    }
    variables
}

/// Starts a broker, which goes on when we are gone.
fn start(args: &BrokerArgs, config: &BrokerConfig) -> Result<(), Failure> {
    let fail = |problem: String| Failure::new(Exit::Other, problem);
    let own = std::env::current_exe().map_err(|error| fail(format!("cannot find the esock command: {error}")))?;
    let mut command = Command::new(own);
    command.args(["broker", "--orphan", "--broker"]).arg(config.name()).args(words(args));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| fail(format!("cannot start a broker: {error}")))?;
    let _ = child.wait();
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
