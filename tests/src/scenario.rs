//! One association between two peers, from its beginning to its end.

use crate::capture::{Capture, Verdict, chunk};
use crate::lab::{Lab, Peer};
use crate::line::{Line, Lines};
use crate::network::{Family, Host};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encapsulation {
    /// SCTP over IP.
    Native,
    /// SCTP in UDP, from and to port 9899.
    Udp,
}

/// How the association ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SHUTDOWN.
    Shutdown,
    /// ABORT, with a reason.
    Abort,
}

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name, for files and figures.
    pub name: &'static str,
    /// Who connects, and to whom.
    pub client: Host,
    /// Who listens.
    pub server: Host,
    /// How packets travel.
    pub encapsulation: Encapsulation,
    /// The family of the addresses on each link in use: one entry, one path.
    pub links: &'static [Family],
    /// What the client sends, as [`Workload`](crate::workload::Workload) has it.
    pub client_sends: &'static str,
    /// What the server sends.
    pub server_sends: &'static str,
    /// Who ends it.
    pub ends: Host,
    /// How.
    pub end: End,
    /// Timers for failover within a second or two.
    pub fast: bool,
    /// A pause after each message sent.
    pub pace: Duration,
    /// Send and receive buffers, in bytes.
    pub buffer: u32,
    /// Our driver drops some packets, before they are captured.
    pub lossy: bool,
    /// Before all this the client connects once and is killed: the server sees it restart.
    pub restart: bool,
    /// Further options of esock's peer.
    pub ours: Vec<String>,
    /// Capture the first packets only.
    pub captured: Option<u32>,
    /// How many packets tshark must decode, at least.
    pub least_packets: usize,
    /// How long the whole may take.
    pub limit: Duration,
}

impl Scenario {
    /// One path, small workloads, defaults.
    pub fn new(name: &'static str, client: Host, server: Host, encapsulation: Encapsulation) -> Self {
        Self {
            name,
            client,
            server,
            encapsulation,
            links: &[Family::V4],
            client_sends: "fixed:1000:100:1",
            server_sends: "fixed:1000:100:2",
            ends: client,
            end: End::Shutdown,
            fast: false,
            pace: Duration::ZERO,
            buffer: 1 << 20,
            lossy: false,
            restart: false,
            ours: Vec::new(),
            captured: None,
            least_packets: 100,
            limit: Duration::from_secs(30),
        }
    }

    fn arguments(&self, host: Host, ports: (u16, u16)) -> Vec<String> {
        let is_client = host == self.client;
        let other = if is_client { self.server } else { self.client };
        let addresses = |host: Host| {
            let links = self.links.iter().enumerate();
            links.map(|(link, family)| host.address(link as u8, *family).to_string()).collect::<Vec<_>>().join(",")
        };
        let (port, remote_port) = if is_client { ports } else { (ports.1, ports.0) };
        let (send, expect) = match is_client {
            true => (self.client_sends, self.server_sends),
            false => (self.server_sends, self.client_sends),
        };
        let end = match self.end {
            _ if host != self.ends => "wait",
            End::Shutdown => "shutdown",
            End::Abort => "abort",
        };
        let udp = if self.encapsulation == Encapsulation::Udp { 9899 } else { 0 };
        let mut arguments: Vec<String> = [
            ("--role", if is_client { "connect" } else { "listen" }.to_owned()),
            ("--local", addresses(host)),
            ("--port", port.to_string()),
            ("--remote", addresses(other)),
            ("--remote-port", remote_port.to_string()),
            ("--udp", udp.to_string()),
            ("--send", send.to_owned()),
            ("--expect", expect.to_owned()),
            ("--end", end.to_owned()),
            ("--buffer", self.buffer.to_string()),
            ("--pace-us", self.pace.as_micros().to_string()),
            ("--time-limit", self.limit.as_secs().to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        if host == Host::Us {
            arguments.extend(self.ours.iter().cloned());
        }
        if self.restart && !is_client {
            arguments.push("--after-restart".to_owned());
        }
        if self.fast {
            arguments.push("--fast".to_owned());
        }
        arguments
    }

    /// Starts both peers, under a capture.
    pub fn start(self, lab: &mut Lab) -> Run {
        if self.client.is_guest() || self.server.is_guest() {
            // Its boot is not to be counted.
            lab.kernel();
        }
        for host in [self.client, self.server] {
            (0..self.links.len()).for_each(|link| lab.network.mend(host, link as u8));
        }
        let file = lab.file(self.name).with_extension("pcapng");
        let capture = Capture::start(&lab.network, &file, self.captured);
        let (began, start) = (Instant::now(), SystemTime::now());
        let deadline = began + self.limit;
        let ports = lab.ports();
        let tag = |host: Host| format!("{host:?}-{}", ports.0).to_lowercase();
        let mut server = lab.start(self.server, &tag(self.server), &self.arguments(self.server, ports));
        server.lines.wait("event=listening", deadline);
        if self.restart {
            self.live_and_die(lab, ports, &mut server, deadline);
        }
        let client = lab.start(self.client, &tag(self.client), &self.arguments(self.client, ports));
        let peer = lab.peer_name(if self.client == Host::Us { self.server } else { self.client });
        Run { scenario: self, peer, client, server, capture, file, ports, began, start, deadline }
    }

    /// Starts a client that exchanges nothing, and kills it without a word to the server.
    fn live_and_die(&self, lab: &mut Lab, ports: (u16, u16), server: &mut Peer, deadline: Instant) {
        let idle = Self { client_sends: "none", server_sends: "none", ends: self.server, ..self.clone() };
        let mut first = lab.start(self.client, "first", &idle.arguments(self.client, ports));
        first.lines.wait("event=up", deadline);
        server.lines.wait("event=up", deadline);
        drop(first);
    }

    /// Runs it from beginning to end and has the capture judged.
    pub fn run(self, lab: &mut Lab) -> Verdict {
        self.start(lab).finish()
    }
}

/// An end that takes longer than this is shown: nothing is lost on these links, so no timer should have been needed.
const SLOW_END: Duration = Duration::from_millis(900);

/// A scenario that runs.
#[derive(Debug)]
pub struct Run {
    scenario: Scenario,
    /// The name of the other end, in the matrix.
    peer: String,
    client: Peer,
    server: Peer,
    capture: Capture,
    file: PathBuf,
    ports: (u16, u16),
    began: Instant,
    /// When it was started.
    pub start: SystemTime,
    /// When it must have ended.
    pub deadline: Instant,
}

impl Run {
    /// What a peer says.
    pub fn lines(&mut self, host: Host) -> &mut Lines {
        if host == self.scenario.client { &mut self.client.lines } else { &mut self.server.lines }
    }

    /// Waits until a peer has received at least `count` messages (a multiple of 50).
    pub fn wait_for_progress(&mut self, host: Host, count: u64) {
        let deadline = self.deadline;
        while self.lines(host).wait("event=progress", deadline).number("received") < count {}
    }

    /// How many messages a peer has received, rounded down to the last line about it.
    pub fn progress(&mut self, host: Host) -> u64 {
        self.lines(host).last("event=progress").map_or(0, |line| line.number("received"))
    }

    /// Waits for the end, compares what both ends say, has the capture judged and prints figures.
    ///
    /// # Panics
    /// If anything does not hold.
    pub fn finish(mut self) -> Verdict {
        let (client, server) = (self.scenario.client, self.scenario.server);
        for (from, to) in [(client, server), (server, client)] {
            self.expect_exchange(from, to);
        }
        let exchanged = self.began.elapsed();
        if self.scenario.restart {
            let deadline = self.deadline;
            wait_unordered(self.lines(server), "event=restarted", deadline);
        }
        self.expect_end();
        let up = self.lines(Host::Us).last("event=up").cloned();
        let ending = self.began.elapsed() - exchanged;
        let verdict = self.capture.finish(self.ports);
        let scenario = &self.scenario;
        verdict.expect_packets(scenario.least_packets, scenario.encapsulation == Encapsulation::Udp);
        verdict.expect_chunks(&scenario.expected_chunks());
        // A chunk built for an IPv4 path is 20 bytes too large for an IPv6 path, and is fragmented there.
        let one_family = scenario.links.iter().all(|family| *family == scenario.links[0]);
        assert!(!one_family || verdict.fragmented == 0, "{} IP fragments", verdict.fragmented);
        println!(
            "figure: {}: exchanged in {:.2} s, {} packets judged, {:.2} s in all",
            scenario.name,
            exchanged.as_secs_f64(),
            verdict.packets.len(),
            self.began.elapsed().as_secs_f64()
        );
        if ending > SLOW_END {
            println!(
                "figure: {}: ended only after {:.2} s:\n{}",
                scenario.name,
                ending.as_secs_f64(),
                verdict.tail(20)
            );
        }
        if let Some(up) = up {
            scenario.tell_facts(&self.peer, &up, &verdict);
        }
        // Kept where a test fails, or on demand, to be looked at.
        if std::env::var_os("ESOCK_KEEP_CAPTURES").is_none() {
            let _ = std::fs::remove_file(&self.file);
        }
        verdict
    }

    /// That `to` received all that `from` sent: they say the same count and checksum, and `from` was told so.
    fn expect_exchange(&mut self, from: Host, to: Host) {
        let deadline = self.deadline;
        let sent = match from == self.scenario.client {
            true => self.scenario.client_sends,
            false => self.scenario.server_sends,
        };
        if sent == "none" {
            return;
        }
        let received = wait_unordered(self.lines(to), "event=received", deadline);
        let sent = wait_unordered(self.lines(from), "event=sent", deadline);
        let told = wait_unordered(self.lines(from), "event=done", deadline);
        for key in ["messages", "bytes", "sum"] {
            assert_eq!(sent.value(key), received.value(key), "{from:?} sent, {to:?} received: {key}");
        }
        assert_eq!(told.value("sum"), sent.value("sum"), "what {to:?} told {from:?}");
    }

    /// That both ends tell the same end, and ended well.
    fn expect_end(&mut self) {
        let (deadline, scenario) = (self.deadline, self.scenario.clone());
        for host in [scenario.client, scenario.server] {
            let is_ender = host == scenario.ends;
            let lines = self.lines(host);
            let closed = wait_unordered(lines, "event=closed", deadline);
            let how = closed.value("how").unwrap_or_default();
            let reason = closed.value("reason").unwrap_or_default();
            let expected = match (scenario.end, is_ender) {
                (End::Shutdown, _) => how == "shutdown",
                (End::Abort, true) => how == "local-abort" || how == "lost",
                // Cause 12 is User-Initiated Abort, and its reason is the other's; the kernel peer gives none.
                (End::Abort, false) => {
                    let given = scenario.ends != Host::Kernel;
                    how == "lost" && closed.number("cause") == 12 && reason.ends_with("_had_enough") == given
                }
            };
            assert!(
                expected,
                "{host:?}: {:?} by {:?}, told as {closed:?}\n{}",
                scenario.end,
                scenario.ends,
                lines.transcript()
            );
            let exit = wait_unordered(lines, "event=exit", deadline);
            assert_eq!(exit.number("code"), 0, "{host:?}\n{}", lines.transcript());
        }
    }
}

/// Waits for a line wherever it is: what both ends say has no order between them.
fn wait_unordered(lines: &mut Lines, pattern: &str, deadline: Instant) -> Line {
    match lines.last(pattern) {
        Some(line) => line.clone(),
        None => lines.wait(pattern, deadline),
    }
}

impl Scenario {
    /// The types of chunks that a capture of the whole must hold.
    fn expected_chunks(&self) -> Vec<u8> {
        let mut expected = vec![chunk::INIT, chunk::INIT_ACK, chunk::COOKIE_ECHO, chunk::DATA, chunk::SACK];
        // A lost COOKIE ACK need not be repeated: DATA after it tells usrsctp the same.
        if !self.lossy {
            expected.push(chunk::COOKIE_ACK);
        }
        if self.links.len() > 1 && self.fast {
            expected.extend([chunk::HEARTBEAT, chunk::HEARTBEAT_ACK]);
        }
        if self.captured.is_none() {
            expected.extend(match self.end {
                End::Shutdown => &[chunk::SHUTDOWN, chunk::SHUTDOWN_ACK, chunk::SHUTDOWN_COMPLETE][..],
                End::Abort => &[chunk::ABORT],
            });
        }
        expected
    }
}
