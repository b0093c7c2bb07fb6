//! The peer's packets: what a script leaves out is filled in.

use crate::layout::{Form, Layout, Tail};
use crate::packet::{self, Packet};
use crate::syntax::{ChunkSpec, Shape, TlvSpec};
use crate::value::{self, Expr, Names, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The peer's tag and first TSN, where the script does not choose them.
const TAG: i64 = 0x1111_1111;
const TSN: i64 = 1001;
const A_RWND: u64 = 131_072;
const STREAMS: u64 = 10;

/// Where the peer of the script stands.
#[derive(Debug, Default)]
pub struct Peer {
    /// The TSN behind the highest that was sent.
    next_tsn: Option<u32>,
    /// The next SSN of each stream.
    ssns: BTreeMap<u64, u16>,
    /// The highest TSN that the stack sent.
    pub seen: Option<u32>,
}

impl Peer {
    /// Notes what the stack sent.
    pub fn on_packet(&mut self, packet: &Packet, names: &mut Names) {
        for chunk in &packet.chunks {
            if let (true, Some(tsn)) = (chunk.is("DATA"), chunk.field("tsn")) {
                let tsn = tsn as u32;
                let newer = self.seen.is_none_or(|seen| tsn.wrapping_sub(seen) < 1 << 31);
                self.seen = if newer { Some(tsn) } else { self.seen };
            }
            if chunk.is("INIT") || chunk.is("INIT_ACK") {
                for name in ["tag", "tsn"] {
                    if let Some(value) = chunk.field(name) {
                        names.learn(name, Value::Num(value as i64));
                    }
                }
            }
            for tlv in chunk.tlvs().unwrap_or_default() {
                if chunk.is("INIT_ACK") && tlv.kind == 7 {
                    names.learn("cookie", Value::Bytes(tlv.value));
                } else if chunk.is("HEARTBEAT") && tlv.kind == 1 {
                    names.set("info", Value::Bytes(tlv.value));
                }
            }
        }
    }

    /// A chunk as bytes, without padding.
    pub fn chunk(&mut self, spec: &ChunkSpec, names: &mut Names) -> Result<Vec<u8>, String> {
        let (kind, flags, value) = match spec.shape {
            Shape::Raw => return bytes_of(spec.data.as_ref().ok_or("RAW needs its bytes")?, names),
            Shape::Numbered(kind) => (kind, 0, self.data(spec, names, &[])?),
            Shape::Known(layout) => (layout.kind, layout.usual_flags, self.known(spec, layout, names)?),
        };
        let flags = match &spec.flags {
            Some(flags) => number_of(flags, names)? as u8,
            None => flags,
        };
        let length = match spec.field("length") {
            Some(length) => number_of(length, names)?,
            None => 4 + value.len() as u64,
        };
        let length = u16::try_from(length).map_err(|_| format!("a chunk of {length} bytes"))?;
        let mut chunk = vec![kind, flags];
        chunk.extend_from_slice(&length.to_be_bytes());
        chunk.extend_from_slice(&value);
        Ok(chunk)
    }

    fn known(&mut self, spec: &ChunkSpec, layout: &Layout, names: &mut Names) -> Result<Vec<u8>, String> {
        let mut value = Vec::new();
        let mut fields = BTreeMap::new();
        for (name, bytes) in layout.fields {
            let number = match spec.field(name) {
                Some(expr) => number_of(expr, names)?,
                None => self
                    .usual(spec, layout, name, &fields, names)
                    .ok_or(format!("{} needs its field {name}", layout.name))?,
            } & value::mask(*bytes);
            fields.insert(*name, number);
            value.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
        }
        match layout.tail {
            Tail::Nothing => {}
            Tail::Bytes(_) => {
                let usual = match (layout.name, names.get("cookie")) {
                    ("DATA", _) => value::fill(10),
                    ("COOKIE_ECHO", Some(Value::Bytes(cookie))) => cookie.clone(),
                    _ => Vec::new(),
                };
                value.extend(self.data(spec, names, &usual)?);
            }
            Tail::Params | Tail::Causes => tlvs(&mut value, &with_usual(spec, layout, names), names)?,
            Tail::Sack => sack(&mut value, spec, names)?,
        }
        self.learn(spec, layout, &fields, names);
        Ok(value)
    }

    /// A field that the script left out.
    fn usual(
        &self,
        spec: &ChunkSpec,
        layout: &Layout,
        field: &str,
        before: &BTreeMap<&str, u64>,
        names: &Names,
    ) -> Option<u64> {
        match (layout.name, field) {
            ("INIT" | "INIT_ACK", "tag") => Some(names.number("ptag").unwrap_or(TAG) as u64),
            ("INIT" | "INIT_ACK", "tsn") => Some(names.number("ptsn").unwrap_or(TSN) as u64),
            ("INIT" | "INIT_ACK" | "SACK", "a_rwnd") => Some(A_RWND),
            ("INIT" | "INIT_ACK", _) => Some(STREAMS),
            ("DATA", "tsn") => Some(self.next_tsn.map_or(names.number("ptsn").unwrap_or(TSN) as u64, u64::from)),
            ("DATA", "ssn") if flags_of(spec, layout) & 4 != 0 => Some(0),
            ("DATA", "ssn") => Some(self.ssns.get(before.get("sid")?).copied().unwrap_or(0).into()),
            ("DATA", _) => Some(0),
            ("SACK" | "SHUTDOWN", "cum") => {
                let none_yet = || names.number("tsn").map(|tsn| (tsn - 1) as u64);
                self.seen.map(u64::from).or_else(none_yet)
            }
            _ => None,
        }
    }

    fn learn(&mut self, spec: &ChunkSpec, layout: &Layout, fields: &BTreeMap<&str, u64>, names: &mut Names) {
        match layout.name {
            "INIT" | "INIT_ACK" => {
                names.learn("ptag", Value::Num(fields["tag"] as i64));
                names.learn("ptsn", Value::Num(fields["tsn"] as i64));
            }
            "DATA" => {
                let next = (fields["tsn"] as u32).wrapping_add(1);
                let newer = self.next_tsn.is_none_or(|known| next.wrapping_sub(known) < 1 << 31);
                self.next_tsn = if newer { Some(next) } else { self.next_tsn };
                // The last fragment of an ordered message uses its number up.
                if flags_of(spec, layout) & 5 == 1 {
                    self.ssns.insert(fields["sid"], (fields["ssn"] as u16).wrapping_add(1));
                }
            }
            _ => {}
        }
    }

    fn data(&self, spec: &ChunkSpec, names: &Names, usual: &[u8]) -> Result<Vec<u8>, String> {
        match (&spec.data, spec.field("len")) {
            (Some(data), _) => bytes_of(data, names),
            (None, Some(length)) => Ok(value::fill(number_of(length, names)? as usize)),
            (None, None) => Ok(usual.to_vec()),
        }
    }
}

fn flags_of(spec: &ChunkSpec, layout: &Layout) -> u8 {
    match &spec.flags {
        Some(Expr::Value(Value::Num(flags))) => *flags as u8,
        _ => layout.usual_flags,
    }
}

/// The TLVs to write, those that every such chunk has included.
fn with_usual(spec: &ChunkSpec, layout: &Layout, names: &Names) -> Vec<TlvSpec> {
    let usual = match layout.name {
        "INIT_ACK" => Some((7, Value::Bytes(b"cookie".to_vec()))),
        "HEARTBEAT" => Some((1, Value::Bytes(b"beat".to_vec()))),
        "HEARTBEAT_ACK" => names.get("info").map(|info| (1, info.clone())),
        _ => None,
    };
    let mut all: Vec<TlvSpec> = spec.tlvs.iter().filter(|tlv| !tlv.absent).cloned().collect();
    if let Some((number, value)) = usual.filter(|(number, _)| !spec.tlvs.iter().any(|tlv| tlv.kind.number == *number)) {
        let kind = crate::layout::TlvKind { number, form: Form::Bytes, raw: false };
        all.push(TlvSpec { kind, value: Some(Expr::Value(value)), absent: false });
    }
    all
}

fn tlvs(out: &mut Vec<u8>, specs: &[TlvSpec], names: &Names) -> Result<(), String> {
    for spec in specs {
        // Between TLVs there is padding that their chunk's length counts; behind the last it does not (§3.2.1).
        packet::pad(out);
        let value = match &spec.value {
            Some(expr) => tlv_value(spec.kind.form, &names.eval(expr)?)?,
            None => Vec::new(),
        };
        if !spec.kind.raw {
            let length = u16::try_from(4 + value.len()).map_err(|_| "a parameter or cause that long".to_owned())?;
            out.extend_from_slice(&spec.kind.number.to_be_bytes());
            out.extend_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(&value);
    }
    Ok(())
}

fn tlv_value(form: Form, value: &Value) -> Result<Vec<u8>, String> {
    match (form, value) {
        // Bytes are taken as they are, whatever the form: that is how wrong ones are made.
        (_, Value::Bytes(bytes)) => Ok(bytes.clone()),
        (Form::Address, Value::Address(IpAddr::V4(address))) => Ok(address.octets().to_vec()),
        (Form::Address, Value::Address(IpAddr::V6(address))) => Ok(address.octets().to_vec()),
        (Form::Number { bytes, reserved }, number) => {
            let number = number.as_wire(bytes).ok_or(format!("{value} is no number"))?;
            let mut out = number.to_be_bytes()[8 - bytes..].to_vec();
            out.resize(bytes + reserved, 0);
            Ok(out)
        }
        (Form::Numbers { counted }, Value::List(items)) => {
            let mut out = if counted { (items.len() as u32).to_be_bytes().to_vec() } else { Vec::new() };
            for item in items {
                let number = item.as_wire(2).ok_or(format!("{item} is no number"))? as u16;
                out.extend_from_slice(&number.to_be_bytes());
            }
            Ok(out)
        }
        _ => Err(format!("{value} cannot be its value")),
    }
}

fn sack(out: &mut Vec<u8>, spec: &ChunkSpec, names: &Names) -> Result<(), String> {
    let list = |name: &str| match spec.field(name).map(|expr| names.eval(expr)).transpose()? {
        None => Ok(Vec::new()),
        Some(Value::List(items)) => Ok(items),
        Some(other) => Err(format!("{name} is a list, not {other}")),
    };
    let (gaps, dups) = (list("gaps")?, list("dups")?);
    for (name, count) in [("ngaps", gaps.len()), ("ndups", dups.len())] {
        let count = match spec.field(name) {
            Some(expr) => number_of(expr, names)?,
            None => count as u64,
        };
        out.extend_from_slice(&(count as u16).to_be_bytes());
    }
    for gap in gaps {
        let (start, end) = match gap {
            Value::Range(start, end) => (start, end),
            Value::Num(only) => (only, only),
            other => return Err(format!("{other} is no gap block: write 2..3")),
        };
        out.extend_from_slice(&(start as u16).to_be_bytes());
        out.extend_from_slice(&(end as u16).to_be_bytes());
    }
    for dup in dups {
        let tsn = dup.as_wire(4).ok_or(format!("{dup} is no TSN"))? as u32;
        out.extend_from_slice(&tsn.to_be_bytes());
    }
    Ok(())
}

fn number_of(expr: &Expr, names: &Names) -> Result<u64, String> {
    match names.eval(expr)? {
        Value::Num(number) => Ok(number as u64),
        other => Err(format!("{other} is no number")),
    }
}

fn bytes_of(expr: &Expr, names: &Names) -> Result<Vec<u8>, String> {
    match names.eval(expr)? {
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(format!("{other} is not bytes: write \"text\", hex(00 ff) or fill(100)")),
    }
}
