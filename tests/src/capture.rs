//! Captures of both links, and tshark's judgement of every packet in them.

use crate::network::{Host, LINKS, Network};
use crate::process::{Process, run};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Chunk types by their names in the RFCs.
pub mod chunk {
    #![expect(missing_docs, reason = "the names are the RFC's")]
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const SACK: u8 = 3;
    pub const HEARTBEAT: u8 = 4;
    pub const HEARTBEAT_ACK: u8 = 5;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// What is captured: SCTP, native and in UDP, fragments, and marks.
const FILTER: &str = "sctp or udp port 9899 or (ip[6:2] & 0x3fff != 0) or ip6 proto 44 or udp port 9";

/// How long marks are waited for, how often they are sent, and how far from its end they are looked for in a file.
const DRAINED: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_millis(100);
const TAIL: u64 = 1 << 16;

/// How much dumpcap may hold that it has not written yet, in bytes.
const QUEUE: &str = "268435456";

/// A running capture of both links.
#[derive(Debug)]
pub struct Capture {
    dumpcap: Process,
    /// Whether it takes no more than some packets.
    limited: bool,
    /// What it says until it ends.
    said: JoinHandle<Vec<String>>,
    /// The word that has `nsenter` enter the namespace of the links.
    links: String,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture into `file`, the first `limit` packets if there is a limit.
    ///
    /// # Panics
    /// If dumpcap does not get going.
    pub fn start(network: &Network, file: &Path, limit: Option<u32>) -> Self {
        let path = file.display().to_string();
        let links: Vec<String> = (0..LINKS).map(|link| format!("link{link}")).collect();
        // By default it drops what its writer has not taken yet of more than 1,000 packets.
        let mut words = vec!["dumpcap", "-q", "-B", "32", "-C", QUEUE, "-w", &path, "-f", FILTER];
        links.iter().for_each(|link| words.extend(["-i", link]));
        let limit = limit.map(|limit| limit.to_string());
        words.extend(limit.iter().flat_map(|limit| ["-c", limit]));
        let mut dumpcap = Process::start(&network.switch.enter(&words), |command| {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        });
        // "File: ..." is said when the sockets are open. The rest is read on, so that no pipe fills.
        let (mut said, stderr) = (String::new(), dumpcap.take_stderr());
        let mut lines = stderr.map(BufRead::lines).into_iter().flatten().map_while(Result::ok);
        let ready = lines.by_ref().inspect(|line| said += &format!("{line}\n")).any(|line| line.starts_with("File: "));
        assert!(ready, "dumpcap did not start:\n{said}");
        let said = std::thread::spawn(move || lines.collect());
        Self { dumpcap, limited: limit.is_some(), said, links: network.switch.flag().to_owned(), file: file.to_owned() }
    }

    /// Ends the capture and has the packets between two SCTP ports judged.
    pub fn finish(self, ports: (u16, u16)) -> Verdict {
        judge(&self.end(), Some(ports))
    }

    /// Ends the capture and has all its packets judged.
    pub fn finish_all(self) -> Verdict {
        judge(&self.end(), None)
    }

    fn end(mut self) -> PathBuf {
        // What was sent last is on its way through the captures' rings, from which dumpcap takes it when it has its turn:
        // what is sent over the links now comes behind it. It writes when more comes later: hence again and again.
        let deadline = Instant::now() + DRAINED;
        // It ends by itself once it has as many packets as it was to take.
        while self.dumpcap.is_running() && !is_marked(&self.file) {
            assert!(Instant::now() < deadline, "{}: the capture does not come to its end", self.file.display());
            (0..LINKS).for_each(|link| {
                let command = format!("printf '{}' > /dev/udp/{}/9", mark(link), Network::group(link));
                run(&["nsenter", &self.links, "--", "bash", "-c", &command]);
            });
            std::thread::sleep(PATIENCE);
        }
        self.dumpcap.terminate();
        let said = self.said.join().unwrap_or_default();
        // Where only a beginning is asked for, more comes than can be captured, and holes in it do no harm.
        let lost = said.iter().find(|line| line.contains("dropped") && !line.contains("(pcap:0/dumpcap:0/"));
        let lost = lost.filter(|_| !self.limited);
        assert!(lost.is_none(), "{}: not all was captured: {lost:?}", self.file.display());
        self.file
    }
}

/// What is sent over a link when all is over.
fn mark(link: u8) -> String {
    format!("Here the capture of link {link} ends.")
}

/// Whether there is a mark of each link at the end of a capture.
fn is_marked(file: &Path) -> bool {
    let mut tail = Vec::new();
    let read = File::open(file).and_then(|mut file| {
        let from = file.metadata()?.len().saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut tail)
    });
    let has = |mark: String| tail.windows(mark.len()).any(|bytes| bytes == mark.as_bytes());
    read.is_ok() && (0..LINKS).all(|link| has(mark(link)))
}

/// A packet, as tshark understood it.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Its number in the capture.
    pub number: u64,
    /// When it passed the link, in seconds since 1970.
    pub time: f64,
    /// The link that it passed.
    pub link: u8,
    /// Where it came from.
    pub source: IpAddr,
    /// Whether it was UDP-encapsulated.
    pub udp: bool,
    /// The types of its chunks.
    pub chunks: Vec<u8>,
    /// Of an INIT or INIT ACK: the types of chunks, beyond those of RFC 9260, that its sender announces.
    pub announced: Vec<u8>,
}

/// tshark's judgement of a capture: all its packets were well-formed and had good checksums.
#[derive(Debug)]
pub struct Verdict {
    /// The packets.
    pub packets: Vec<Packet>,
    /// How many of them came as IP fragments.
    pub fragmented: usize,
}

const FIELDS: [&str; 14] = [
    "frame.number",
    "frame.time_epoch",
    "frame.interface_name",
    "ip.src",
    "ipv6.src",
    "udp.port",
    "sctp.chunk_type",
    "sctp.checksum.status",
    "_ws.malformed",
    "_ws.expert.severity",
    "ip.flags.mf",
    "ipv6.fraghdr.more",
    "sctp.parameter_type",
    "sctp.supported_chunk_type",
];

/// tshark's number for experts' remarks of severity "error".
const SEVERITY_ERROR: &str = "8388608";

/// Has tshark decode the packets between two SCTP ports in `file` (those of other associations are from tests that
/// failed before), or all.
///
/// # Panics
/// If a packet is not SCTP as far as tshark can see, is malformed, earns an expert's error, or has a bad checksum.
pub fn judge(file: &Path, ports: Option<(u16, u16)>) -> Verdict {
    let path = file.display().to_string();
    let mut words =
        vec!["tshark", "-n", "-r", &path, "-o", "sctp.checksum:crc-32c", "-T", "fields", "-E", "separator=|"];
    // What is not recognised as SCTP at all has no ports, and is not let off, unless it is a mark.
    let filter = match ports {
        Some((one, other)) => {
            format!("!(udp.port == 9) && (!sctp.port || (sctp.port == {one} && sctp.port == {other}))")
        }
        None => "!(udp.port == 9)".to_owned(),
    };
    words.extend(["-Y", &filter]);
    FIELDS.iter().for_each(|field| words.extend(["-e", field]));
    let output = run(&words);
    let (mut faults, mut fragmented) = (Vec::new(), 0);
    let mut packets = Vec::new();
    for line in output.lines() {
        match packet(line, &mut faults) {
            Some(Decoded::Packet(packet)) => packets.push(packet),
            Some(Decoded::Fragment) => fragmented += 1,
            None => {}
        }
    }
    assert!(faults.is_empty(), "{}: tshark found faults:\n{}", file.display(), faults.join("\n"));
    Verdict { packets, fragmented }
}

/// What a line of tshark's is about.
#[derive(Debug)]
enum Decoded {
    Packet(Packet),
    /// A fragment that more follow: the packet is decoded with the last one.
    Fragment,
}

/// Takes one line of tshark's; what is wrong with the packet is added to `faults`.
fn packet(line: &str, faults: &mut Vec<String>) -> Option<Decoded> {
    let fields: Vec<&str> = line.split('|').collect();
    let [
        number,
        time,
        link,
        v4,
        v6,
        udp,
        chunks,
        checksum,
        malformed,
        severity,
        more_v4,
        more_v6,
        parameters,
        supported,
    ] = fields[..]
    else {
        faults.push(format!("not {} fields: {line}", FIELDS.len()));
        return None;
    };
    let mut fault = |what: &str| faults.push(format!("packet {number} ({v4}{v6}, chunks {chunks}): {what}"));
    if !malformed.is_empty() {
        fault("malformed");
    }
    if severity.split(',').any(|severity| severity == SEVERITY_ERROR) {
        fault("an expert's error");
    }
    if chunks.is_empty() && [more_v4, more_v6].iter().any(|more| ["1", "True"].contains(more)) {
        return Some(Decoded::Fragment);
    }
    let chunks: Option<Vec<u8>> = chunks.split(',').map(|chunk| chunk.parse().ok()).collect();
    let parsed = (number.parse(), time.parse(), link.trim_start_matches("link").parse(), format!("{v4}{v6}").parse());
    let (Some(chunks), (Ok(number), Ok(time), Ok(link), Ok(source))) = (chunks, parsed) else {
        fault("not decoded as SCTP");
        return None;
    };
    // 1 is tshark's "good"; 0 bad, 2 unverified.
    if checksum != "1" {
        fault("bad checksum");
    }
    let mut announced: Vec<u8> = supported.split(',').filter_map(|kind| kind.parse().ok()).collect();
    // The parameter that says the same of FORWARD-TSN (RFC 3758 §3.1); behind an Unrecognized Parameter (8) it is the
    // one that is given back.
    let parameters: Vec<&str> = [""].into_iter().chain(parameters.split(',')).collect();
    let forward_tsn = parameters.windows(2).any(|pair| pair[0] != "0x0008" && pair[1] == "0xc000");
    announced.extend(forward_tsn.then_some(192));
    Some(Decoded::Packet(Packet { number, time, link, source, udp: !udp.is_empty(), chunks, announced }))
}

impl Verdict {
    /// That at least `least` packets were decoded, all of them encapsulated in UDP or none.
    ///
    /// # Panics
    /// If it is not so.
    pub fn expect_packets(&self, least: usize, udp: bool) {
        let count = self.packets.len();
        assert!(count >= least, "only {count} packets were captured, at least {least} were expected");
        let other = self.packets.iter().find(|packet| packet.udp != udp);
        assert!(other.is_none(), "a packet that is{} encapsulated: {other:?}", if udp { " not" } else { "" });
    }

    /// That all these types of chunks were seen.
    ///
    /// # Panics
    /// If one is missing.
    pub fn expect_chunks(&self, expected: &[u8]) {
        let seen: BTreeSet<u8> = self.packets.iter().flat_map(|packet| packet.chunks.iter().copied()).collect();
        let missing: Vec<u8> = expected.iter().copied().filter(|chunk| !seen.contains(chunk)).collect();
        assert!(missing.is_empty(), "no chunks of types {missing:?} were seen, only of {seen:?}");
    }

    /// The types of chunks, beyond those of RFC 9260, that `host` announced.
    ///
    /// # Panics
    /// If its INIT or INIT ACK was not captured.
    pub fn announced(&self, host: Host) -> Vec<u8> {
        let is_setup = |packet: &&Packet| {
            is_of(packet.source, host) && packet.chunks.iter().any(|kind| [chunk::INIT, chunk::INIT_ACK].contains(kind))
        };
        let setup = self.packets.iter().rfind(is_setup);
        setup.map(|packet| packet.announced.clone()).unwrap_or_else(|| panic!("no INIT or INIT ACK of {host:?}"))
    }

    /// How many packets with DATA `host` sent over `link` between two moments.
    pub fn data_packets(&self, host: Host, link: u8, from: SystemTime, to: SystemTime) -> usize {
        let (from, to) = (seconds(from), seconds(to));
        let sent = |packet: &&Packet| {
            packet.link == link
                && is_of(packet.source, host)
                && (from..to).contains(&packet.time)
                && packet.chunks.contains(&chunk::DATA)
        };
        self.packets.iter().filter(sent).count()
    }
}

impl Verdict {
    /// The last packets, one a line.
    pub fn tail(&self, count: usize) -> String {
        let last = self.packets.iter().skip(self.packets.len().saturating_sub(count));
        let line = |packet: &Packet| {
            let Packet { number, time, link, source, chunks, .. } = packet;
            format!("  {number} {time:.6} link {link} from {source}: chunks {chunks:?}\n")
        };
        last.map(line).collect()
    }
}

fn is_of(address: IpAddr, host: Host) -> bool {
    use crate::network::Family::{V4, V6};
    (0..LINKS).any(|link| [V4, V6].into_iter().any(|family| host.address(link, family) == address))
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_init_announces_is_told_from_what_it_gives_back() {
        let announced = |parameters: &str| {
            let line = format!("7|1.5|link1|10.71.1.1||9899,9899|1|1||||0|{parameters}");
            match packet(&line, &mut Vec::new()) {
                Some(Decoded::Packet(packet)) => packet.announced,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(announced("0x8008,0xc000|130,64"), [130, 64, 192]);
        assert_eq!(announced("0xc000|"), [192]);
        assert_eq!(announced("0x0007,0x0008,0xc000|"), Vec::<u8>::new());
    }

    #[test]
    fn a_packet_with_a_bad_checksum_a_malformed_one_and_an_unknown_one_are_faults() {
        let faults = |line: &str| {
            let mut faults = Vec::new();
            packet(line, &mut faults);
            faults
        };
        let good = "7|1.5|link1|10.71.1.1||9899,9899|3,0|1||2097152|0|||";
        assert_eq!(faults(good), Vec::<String>::new());
        for (from, to, fault) in [
            ("3,0|1|", "3,0|0|", "bad checksum"),
            ("3,0|1|", "3,0|2|", "bad checksum"),
            ("|1||", "|1|1|", "malformed"),
            ("2097152", "2097152,8388608", "expert"),
            ("|3,0|1|", "|||", "not decoded"),
        ] {
            let faults = faults(&good.replace(from, to));
            assert!(faults.iter().any(|said| said.contains(fault)), "{faults:?}");
        }
    }
}
