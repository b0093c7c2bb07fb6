//! usrsctp: the userspace stack of FreeBSD's descent, through its Debian package. A small program in C is compiled
//! when it is first wanted; each end is a process, since usrsctp keeps its state in globals.

use crate::pattern::Pattern;
use crate::{Bulk, End, Plan, Rate, RoundTrips};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The program, compiled beside this one.
fn program() -> Result<PathBuf, String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peers/usrsctp.c");
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = own.with_file_name("usrsctp-bench");
    let modified = |path: &std::path::Path| path.metadata().and_then(|data| data.modified()).ok();
    if modified(&program).is_some_and(|built| modified(source.as_ref()).is_some_and(|changed| changed < built)) {
        return Ok(program);
    }
    let fresh = program.with_extension(std::process::id().to_string());
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-o"])
        .arg(&fresh)
        .args([source, "-lusrsctp", "-lpthread"])
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("usrsctp's program does not compile (Debian: libusrsctp-dev, gcc, libc6-dev):\n{said}"));
    }
    std::fs::rename(&fresh, &program).map_err(|error| error.to_string())?;
    Ok(program)
}

/// Whether it can be measured here; compiles it.
pub fn check() -> Result<(), String> {
    program().map(|_| ())
}

/// A process of an end, which ends with this.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// One end; `count` is what the mode counts.
    fn start(mode: &str, plan: &Plan, end: End, ports: [u16; 2], bytes: usize, count: usize) -> Result<Self, String> {
        let [own, peer] = ports;
        let words: [usize; 9] = [
            plan.cores.of(end),
            own.into(),
            peer.into(),
            plan.packet_bytes,
            bytes,
            Pattern::count(bytes),
            count,
            plan.warm_up.as_millis() as usize,
            plan.measure.as_millis() as usize,
        ];
        let mut child = Command::new(program()?)
            .arg(mode)
            .args(words.iter().map(usize::to_string))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("usrsctp's program does not start: {error}"))?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, output })
    }

    /// The numbers of its next line.
    fn numbers(&mut self) -> Result<Vec<u64>, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        let numbers: Option<Vec<u64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        numbers.filter(|numbers| !numbers.is_empty()).ok_or_else(|| format!("usrsctp said `{}`", line.trim_end()))
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        (line.trim_end() == "ready").then_some(()).ok_or_else(|| "usrsctp does not listen".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two UDP ports that are free now.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound"));
    sockets.map(|socket| socket.local_addr().expect("a bound socket has an address").port())
}

/// The listening end and the connecting one.
fn pair(plan: &Plan, modes: [&str; 2], bytes: usize, count: usize, listener: End) -> Result<[Process; 2], String> {
    let [a, b] = free_ports();
    let connector = if listener == End::First { End::Second } else { End::First };
    let mut server = Process::start(modes[0], plan, listener, [a, b], bytes, count)?;
    server.wait_until_ready()?;
    let client = Process::start(modes[1], plan, connector, [b, a], bytes, count)?;
    Ok([server, client])
}

/// One end sends messages, the other reads them.
pub fn bulk(plan: &Plan, message_bytes: usize) -> Result<Bulk, String> {
    let [mut receiver, _sender] = pair(plan, ["recv", "send"], message_bytes, 0, End::Second)?;
    match receiver.numbers()?[..] {
        [bytes, messages, nanoseconds] => Ok(Bulk { bytes, messages, time: Duration::from_nanos(nanoseconds) }),
        _ => Err("usrsctp did not say three numbers".to_owned()),
    }
}

/// A message back and forth.
pub fn ping_pong(plan: &Plan, message_bytes: usize) -> Result<RoundTrips, String> {
    let warm_up = plan.exchanges / 10;
    let [_server, mut client] = pair(plan, ["echo", "ping"], message_bytes, plan.exchanges + warm_up, End::Second)?;
    let times = client.numbers()?;
    Ok(RoundTrips::new(times[warm_up..].iter().map(|time| Duration::from_nanos(*time)).collect()))
}

/// Associations set up, `at_once` at a time.
pub fn setup(plan: &Plan, at_once: usize) -> Result<Rate, String> {
    set_up(plan, "connect", 64, at_once)
}

/// The same 64 at a time, where there are `existing` ones already.
pub fn setup_among(plan: &Plan, existing: usize) -> Result<Rate, String> {
    set_up(plan, "connect-among", existing, 64)
}

fn set_up(plan: &Plan, mode: &str, bytes: usize, at_once: usize) -> Result<Rate, String> {
    let [_server, mut client] = pair(plan, ["accept", mode], bytes, at_once, End::Second)?;
    match client.numbers()?[..] {
        [count, nanoseconds] => Ok(Rate { count, time: Duration::from_nanos(nanoseconds) }),
        _ => Err("usrsctp did not say two numbers".to_owned()),
    }
}
