//! The rig: a network namespace, a TUN device in it, a broker, and a puppet that runs with the preloaded library.

use crate::command::esock;
use crate::lab::compiled_from;
use crate::network::Namespace;
use crate::process::{Process, run};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The device.
const DEVICE: &str = "wire";
/// SCTP as a protocol of IP.
const SCTP: u8 = 132;
/// ICMP as one.
const ICMP: u8 = 1;
/// A host on the way.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
/// Nothing takes longer than this but by mistake, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The puppet's addresses.
pub const OURS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1))];
/// Addresses behind the device.
pub const PEERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 1))];

/// A moment of the monotonic clock, in nanoseconds.
pub type Nanos = u64;

/// What the puppet says.
#[derive(Debug)]
enum Said {
    Done(Done),
    Sent(Sent),
}

/// A command has been carried out.
#[derive(Debug, Clone)]
pub struct Done {
    /// When.
    pub at: Nanos,
    /// What the call returned.
    pub result: i64,
    /// Its `errno`, if it returned -1.
    pub error: i32,
    /// What it told besides.
    pub bytes: Vec<u8>,
}

/// An SCTP packet has left.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When.
    pub at: Nanos,
    /// Its addresses.
    pub from: IpAddr,
    /// Where it goes.
    pub to: IpAddr,
    /// What IP carries.
    pub bytes: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct Rig {
    puppet: Process,
    strings: ChildStdin,
    said: Receiver<Said>,
    sent: std::collections::VecDeque<Sent>,
    _broker: Process,
    _namespace: Namespace,
}

impl Rig {
    /// Builds it, with these settings of `net.sctp`.
    ///
    /// # Panics
    /// If it cannot be built: this needs root, TUN and a C compiler.
    pub fn new(directory: &Path, settings: &[String]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("esock/packets/{}/{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace::with_loopback();
        namespace.ip(&format!(
            "tuntap add {DEVICE} mode tun\n\
             link set {DEVICE} mtu 1500 up\n\
             address add {}/16 dev {DEVICE}\n\
             address add {}/64 dev {DEVICE} nodad\n\
             route add {}/24 dev {DEVICE}\n\
             route add {}/64 dev {DEVICE}\n",
            OURS[0],
            OURS[1],
            Ipv4Addr::new(192, 0, 2, 0),
            Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0)
        ));
        let command = esock().display().to_string();
        let mut words = vec![command.as_str(), "broker", "--broker", &name, "--backend", "raw"];
        for setting in settings {
            words.extend(["--sysctl", setting]);
        }
        let mut broker = Process::start(&namespace.enter(&words), |command| {
            command.stdout(Stdio::piped());
        });
        let (sender, ready) = channel();
        broker.read_lines(move |line| {
            let _ = sender.send(line.trim().to_owned());
        });
        let word = ready.recv_timeout(PATIENCE);
        assert_eq!(word.as_deref(), Ok("ready"), "the broker");
        let program = compiled_from(directory, "puppet").display().to_string();
        let words = [command.as_str(), "run", "--broker", &name, "--", &program, DEVICE];
        let mut puppet = Process::start(&namespace.enter(&words), |command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        });
        let strings = puppet.take_stdin().unwrap_or_else(|| unreachable!("it was piped"));
        let (sender, said) = channel();
        let (ready_sender, ready) = channel();
        puppet.read_lines(move |line| {
            if line.trim() == "ready" {
                let _ = ready_sender.send(());
            } else if let Some(said) = read(line) {
                // An error: nobody listens any more.
                let _ = sender.send(said);
            }
        });
        assert!(ready.recv_timeout(PATIENCE).is_ok(), "the puppet does not start");
        // With its device, which the puppet has opened.
        await_address(&namespace, OURS[1]);
        Self { puppet, strings, said, sent: Default::default(), _broker: broker, _namespace: namespace }
    }

    /// Has commands carried out at once, one after the other.
    ///
    /// # Panics
    /// If the puppet does not answer.
    pub fn pull(&mut self, commands: &[String], patience: Duration) -> Vec<Done> {
        let line = commands.join(";") + "\n";
        let pulled = self.strings.write_all(line.as_bytes());
        pulled.unwrap_or_else(|error| panic!("the puppet has ended: {error}"));
        let mut done = Vec::with_capacity(commands.len());
        while done.len() < commands.len() {
            match self.said.recv_timeout(PATIENCE + patience) {
                Ok(Said::Done(one)) => done.push(one),
                Ok(Said::Sent(packet)) => self.sent.push_back(packet),
                Err(_) => panic!("the puppet hangs in `{}` (runs: {})", line.trim(), self.puppet.is_running()),
            }
        }
        done
    }

    /// The next packet that left, if one does within `patience`.
    pub fn next_sent(&mut self, patience: Duration) -> Option<Sent> {
        if let Some(packet) = self.sent.pop_front() {
            return Some(packet);
        }
        match self.said.recv_timeout(patience) {
            Ok(Said::Sent(packet)) => Some(packet),
            Ok(Said::Done(_)) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => None,
        }
    }
}

impl Rig {
    /// Gives a packet back.
    pub fn put_back(&mut self, packet: Sent) {
        self.sent.push_front(packet);
    }
}

/// Waits until the namespace takes an IPv6 address for its own: before, what is sent to it has no route.
fn await_address(namespace: &Namespace, address: IpAddr) {
    let (deadline, route) = (Instant::now() + PATIENCE, format!("local {address} "));
    while !run(&namespace.enter(&["ip", "-6", "route", "show", "table", "local"])).contains(&route) {
        assert!(Instant::now() < deadline, "{address} does not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The command that makes a packet arrive.
pub fn arrival(from: IpAddr, to: IpAddr, bytes: &[u8]) -> String {
    format!("packet {}", hex(&in_ip(from, to, SCTP, bytes)))
}

/// The command that makes a report of ICMP arrive: a host on the way says this of a packet. For IPv4.
pub fn report(kind: u8, code: u8, packet: &Sent) -> String {
    let mut bytes = vec![kind, code, 0, 0, 0, 0, 0, 0];
    bytes.extend(in_ip(packet.from, packet.to, SCTP, &packet.bytes));
    // As long as routers make it (RFC 1812 §4.3.2.3).
    bytes.truncate(548);
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum);
    format!("packet {}", hex(&in_ip(ROUTER.into(), packet.from, ICMP, &bytes)))
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let pairs = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = pairs.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// A packet of IP.
fn in_ip(from: IpAddr, to: IpAddr, protocol: u8, bytes: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = (20 + bytes.len()) as u16;
            let mut packet = vec![0x45, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&packet);
            packet[10..12].copy_from_slice(&sum);
            packet.extend_from_slice(bytes);
            packet
        }
        (from, to) => {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => Ipv4Addr::to_ipv6_mapped(&ip).octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((bytes.len() as u16).to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(octets(from));
            packet.extend(octets(to));
            packet.extend_from_slice(bytes);
            packet
        }
    }
}

fn read(line: &str) -> Option<Said> {
    let mut words = line.split_whitespace();
    let kind = words.next()?;
    let at = words.next()?.parse().ok()?;
    if kind == "sent" {
        let packet = unhex(words.next()?);
        let (from, to, bytes) = out_of_ip(&packet)?;
        return Some(Said::Sent(Sent { at, from, to, bytes }));
    }
    let (result, error) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Said::Done(Done { at, result, error, bytes: unhex(words.next().unwrap_or_default()) }))
}

/// An SCTP packet, out of one of IP.
fn out_of_ip(packet: &[u8]) -> Option<(IpAddr, IpAddr, Vec<u8>)> {
    match packet.first()? >> 4 {
        4 if packet.get(9) == Some(&SCTP) => {
            let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            let header = usize::from(packet[0] & 15) * 4;
            Some((address(12)?, address(16)?, packet.get(header..)?.to_vec()))
        }
        6 if packet.get(6) == Some(&SCTP) => {
            let address = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
            Some((address(8)?, address(24)?, packet.get(40..)?.to_vec()))
        }
        _ => None,
    }
}

/// Bytes in the puppet's notation.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks_exact(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
