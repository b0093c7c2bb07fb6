//! Every function and option of the socket API over esock, by a C program that calls them as any other does.

use esock_interop::command::esock;
use esock_interop::compile::compile;
use esock_interop::lab::Lab;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The sources of the program.
const SOURCES: [&str; 10] = [
    "main.c",
    "options.c",
    "associations.c",
    "messages.c",
    "sending.c",
    "ending.c",
    "polling.c",
    "partial.c",
    "sharing.c",
    "peers.c",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("api")
}

/// Compiles the program against the system's headers and its libsctp; `None` if they are not there.
fn compiled() -> Option<PathBuf> {
    if !Path::new("/usr/include/netinet/sctp.h").exists() {
        return None;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("socket-api");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu17", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]);
    compile(&program, compiler.args(SOURCES.map(|source| folder().join(source))).arg("-lsctp"));
    Some(program)
}

/// A network with nobody but us: who is asked there for an answer gives none, and nobody says that it is not there.
const SILENCE: &str = "ip link add silent type veth peer name nobody && ip link set silent up && ip link set nobody up \
    && ip address add 10.71.0.1/24 dev silent && ip neighbour add 10.71.0.77 lladdr 02:00:00:00:00:77 dev silent";

/// Runs it over esock in a network namespace of its own, where this process is its own root.
fn run(backend: &str) {
    let Some(program) = compiled() else {
        println!("SKIPPED: libsctp-dev is not installed");
        return;
    };
    let esock = esock().display();
    let script = format!(
        "ip link set lo up && ip address add 10.3.3.3/32 dev lo && {SILENCE} && exec '{esock}' run --backend {backend} --broker esock/test/api/{backend}/{} -- '{}'",
        std::process::id(),
        program.display()
    );
    let output = Command::new("unshare").args(["--map-root-user", "--net", "sh", "-c", &script]).output();
    let output = output.unwrap_or_else(|error| panic!("unshare: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("not-ok"), "{}", output.status);
    let parts = said.lines().filter(|line| line.starts_with("ok ")).count();
    let checks = said.lines().find_map(|line| line.strip_prefix("checks ")).and_then(|rest| rest.split(' ').next());
    let checks: usize = checks.and_then(|number| number.parse().ok()).unwrap_or(0);
    assert!(parts == 25 && checks > 3000, "{parts} parts, {checks} checks");
}

#[test]
fn linux_itself_answers_as_the_program_expects() {
    let name = "linux_itself_answers_as_the_program_expects";
    let Some(program) = compiled() else { return };
    let Some(mut lab) = Lab::enter(name, env!("CARGO_TARGET_TMPDIR"), env!("CARGO_BIN_EXE_esock-peer")) else {
        return;
    };
    let mut lines = lab.execute_in_guest("api", &format!("{} --kernel", program.display()));
    let done = lines.wait("event=done", Instant::now() + Duration::from_secs(120));
    println!("{} checks on {}", done.number("checks"), lab.kernel());
    assert!(done.number("failures") == 0 && done.number("checks") > 3000, "{}", lines.transcript());
}

#[test]
fn every_function_and_option_of_the_socket_api_answers_as_on_linux_over_udp() {
    run("udp");
}

#[test]
fn every_function_and_option_of_the_socket_api_answers_as_on_linux_over_raw_ip() {
    run("raw");
}
