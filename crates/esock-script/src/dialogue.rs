//! What a script and the packets of its run say to each other: the peer's packets are written, what comes is compared.

use crate::build::Peer;
use crate::compare;
use crate::packet::{self, Packet};
use crate::syntax::{ChunkSpec, PacketSpec};
use crate::value::{Names, Value};
use std::net::{IpAddr, Ipv4Addr};

/// Who talks to whom.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The addresses of what is tested.
    pub addresses: Vec<IpAddr>,
    /// Those of the peer that the script plays.
    pub peer: Vec<IpAddr>,
    /// The SCTP port of what is tested; 0: the one that its first packet comes from.
    pub port: u16,
    /// The peer's.
    pub peer_port: u16,
    /// The UDP port that the peer's packets come from; `None`: they are native.
    pub udp: Option<u16>,
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            addresses: vec![Ipv4Addr::new(10, 0, 0, 1).into()],
            peer: vec![Ipv4Addr::new(10, 0, 0, 2).into()],
            port: 30400,
            peer_port: 4000,
            udp: Some(9899),
        }
    }
}

impl Ends {
    /// Our address on the way to a peer's address.
    fn opposite(&self, peer: IpAddr) -> IpAddr {
        let at = self.peer.iter().position(|known| *known == peer).unwrap_or(0);
        *self.addresses.get(at).unwrap_or(&self.addresses[0])
    }
}

/// A packet of the peer.
#[derive(Debug, Clone)]
pub struct Written {
    /// The address that it comes from.
    pub from: IpAddr,
    /// The address that it goes to.
    pub to: IpAddr,
    /// The UDP port that it comes from, unless it is native.
    pub udp: Option<u16>,
    /// The SCTP packet.
    pub bytes: Vec<u8>,
}

/// A packet of what is tested.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The address that it comes from, if that is known.
    pub from: Option<IpAddr>,
    /// The address that it goes to.
    pub to: IpAddr,
    /// The UDP port that it goes to, unless it is native.
    pub udp: Option<u16>,
    /// The SCTP packet.
    pub packet: Packet,
}

/// What has been said until now.
#[derive(Debug, Default)]
pub struct Dialogue {
    /// Who talks.
    pub ends: Ends,
    /// What the script's names stand for.
    pub names: Names,
    peer: Peer,
}

impl Dialogue {
    /// Nothing has been said between them.
    pub fn new(ends: Ends) -> Self {
        Self { ends, ..Self::default() }
    }

    /// The packet of a `<` line.
    pub fn write(&mut self, spec: &PacketSpec) -> Result<Written, String> {
        let alone = spec.chunks.first().is_some_and(|chunk| chunk.is("INIT"));
        let chunks: Vec<Vec<u8>> = {
            let (peer, names) = (&mut self.peer, &mut self.names);
            spec.chunks.iter().map(|chunk| peer.chunk(chunk, names)).collect::<Result<_, _>>()?
        };
        let header = self.header(spec, Header { udp: self.ends.udp, ..Header::default() }, &self.names)?;
        let tag = match header.tag {
            Some(tag) => tag,
            None if alone => 0,
            None => self.names.number("tag").ok_or("the stack's tag is not known yet: write (tag=...)")? as u32,
        };
        let from = header.from.unwrap_or(self.ends.peer[0]);
        let to = header.to.unwrap_or_else(|| self.ends.opposite(from));
        let (source, destination) =
            (header.sport.unwrap_or(self.ends.peer_port), header.dport.unwrap_or(self.ends.port));
        let bytes = packet::write(source, destination, tag, u32::from(header.bad_checksum), &chunks);
        Ok(Written { from, to, udp: header.udp, bytes })
    }

    /// Whether a packet is that of a `>` line; if it is, learns from it.
    pub fn check(&mut self, spec: &PacketSpec, arrived: &Arrived) -> Result<(), String> {
        let mut names = self.names.clone();
        self.compare(spec, arrived, &mut names)?;
        self.names = names;
        if self.ends.port == 0 {
            self.ends.port = arrived.packet.source;
        }
        self.peer.on_packet(&arrived.packet, &mut self.names);
        Ok(())
    }

    fn compare(&self, spec: &PacketSpec, arrived: &Arrived, names: &mut Names) -> Result<(), String> {
        let header = self.header(spec, Header::default(), names)?;
        let packet = &arrived.packet;
        // Chunks first: what they are says more than a tag that differs.
        compare::chunks(spec, packet, names)?;
        let first_is = |name: &str| spec.chunks.first().is_some_and(|chunk: &ChunkSpec| chunk.is(name));
        let tag = match (header.tag, self.names.number("ptag")) {
            (Some(tag), _) => tag,
            (None, _) if first_is("INIT") => 0,
            (None, Some(tag)) => tag as u32,
            (None, None) => return Err("the peer's tag is not known yet: write (tag=...)".to_owned()),
        };
        let port = if self.ends.port == 0 { packet.source } else { self.ends.port };
        let checks = [
            ("tag", format!("{:#x}", packet.tag), format!("{tag:#x}")),
            ("source port", packet.source.to_string(), header.sport.unwrap_or(port).to_string()),
            (
                "destination port",
                packet.destination.to_string(),
                header.dport.unwrap_or(self.ends.peer_port).to_string(),
            ),
            ("destination", arrived.to.to_string(), header.to.unwrap_or(self.ends.peer[0]).to_string()),
        ];
        for (what, actual, wanted) in checks {
            if actual != wanted {
                return Err(format!("its {what} is {actual}, not {wanted}"));
            }
        }
        if let Some(from) = header.from.filter(|from| Some(*from) != arrived.from) {
            return Err(format!("its source is {:?}, not {from}", arrived.from));
        }
        if header.udp_given && header.udp != arrived.udp {
            return Err(format!("its UDP port is {:?}, not {:?}", arrived.udp, header.udp));
        }
        Ok(())
    }

    /// A packet as lines show it.
    pub fn show(&self, arrived: &Arrived) -> String {
        if arrived.to == self.ends.peer[0] {
            arrived.packet.to_string()
        } else {
            format!("to {} {}", arrived.to, arrived.packet)
        }
    }

    /// A packet of the peer as lines show it.
    pub fn show_written(&self, written: &Written) -> String {
        let way = if written.from == self.ends.peer[0] { String::new() } else { format!("from {} ", written.from) };
        format!("{way}{}", Packet::read(&written.bytes))
    }

    fn header(&self, spec: &PacketSpec, mut header: Header, names: &Names) -> Result<Header, String> {
        for (key, expr) in &spec.options {
            header.set(key, names.eval(expr)?)?;
        }
        Ok(header)
    }
}

/// What stands in front of the chunks.
#[derive(Debug, Default)]
struct Header {
    tag: Option<u32>,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    sport: Option<u16>,
    dport: Option<u16>,
    udp: Option<u16>,
    udp_given: bool,
    bad_checksum: bool,
}

impl Header {
    fn set(&mut self, key: &str, value: Value) -> Result<(), String> {
        let port = |value: &Value| value.as_wire(2).map(|port| port as u16);
        match (key, &value) {
            ("tag", Value::Num(_)) => self.tag = value.as_wire(4).map(|tag| tag as u32),
            ("from", Value::Address(address)) => self.from = Some(*address),
            ("to", Value::Address(address)) => self.to = Some(*address),
            ("sport", Value::Num(_)) => self.sport = port(&value),
            ("dport", Value::Num(_)) => self.dport = port(&value),
            ("udp", Value::Num(_)) => (self.udp, self.udp_given) = (port(&value), true),
            ("udp", Value::Word(word)) if word == "native" => (self.udp, self.udp_given) = (None, true),
            ("checksum", Value::Word(word)) if word == "bad" => self.bad_checksum = true,
            _ => {
                return Err(format!(
                    "{key}={value} means nothing in front of a packet: there are tag, from, to, sport, dport, udp and checksum=bad"
                ));
            }
        }
        Ok(())
    }
}
