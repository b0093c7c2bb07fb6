//! Packets as bytes: put together, taken apart, and shown in the notation of scripts.

use crate::layout::{self, Form, Layout, Tail};
use crate::value::Value;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of the common header (RFC 9260 §3.1).
pub const HEADER: usize = 12;

/// A packet, taken apart.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The port that it comes from.
    pub source: u16,
    /// The port that it goes to.
    pub destination: u16,
    /// The verification tag.
    pub tag: u32,
    /// Whether the checksum is right.
    pub checksum_ok: bool,
    /// The chunks, in order.
    pub chunks: Vec<Chunk>,
    /// What does not hold together, if anything.
    pub fault: Option<String>,
}

/// A chunk, without its padding.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub kind: u8,
    pub flags: u8,
    pub value: Vec<u8>,
}

/// A parameter or cause, without its padding.
#[derive(Debug, Clone)]
pub struct Tlv {
    pub kind: u16,
    pub value: Vec<u8>,
}

/// Puts a packet together; `checksum_off` is added to its checksum.
pub fn write(source: u16, destination: u16, tag: u32, checksum_off: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend_from_slice(&source.to_be_bytes());
    packet.extend_from_slice(&destination.to_be_bytes());
    packet.extend_from_slice(&tag.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    for chunk in chunks {
        packet.extend_from_slice(chunk);
        pad(&mut packet);
    }
    let checksum = crc32c(&packet).wrapping_add(checksum_off);
    // RFC 9260 Appendix A: the least significant byte first.
    packet[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
    packet
}

/// Fills up to a multiple of four bytes.
pub fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// CRC32c, bit by bit (RFC 9260 Appendix A).
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

/// A number of up to eight bytes, most significant first.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Packet {
    /// Takes a packet apart. What the stack sends has to be right to the last bit of padding.
    pub fn read(bytes: &[u8]) -> Self {
        let mut head = [0; HEADER];
        let length = bytes.len().min(HEADER);
        head[..length].copy_from_slice(&bytes[..length]);
        let mut zeroed = bytes.to_vec();
        zeroed.get_mut(8..HEADER).unwrap_or_default().fill(0);
        let mut packet = Self {
            source: number(&head[0..2]) as u16,
            destination: number(&head[2..4]) as u16,
            tag: number(&head[4..8]) as u32,
            checksum_ok: crc32c(&zeroed).to_le_bytes() == head[8..HEADER],
            chunks: Vec::new(),
            fault: None,
        };
        let mut rest = bytes.get(HEADER..).unwrap_or_default();
        if bytes.len() < HEADER || !bytes.len().is_multiple_of(4) || rest.is_empty() {
            packet.fault = Some(format!("a packet of {} bytes", bytes.len()));
        }
        while let [kind, flags, high, low, ..] = *rest {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let (Some(chunk), Some(padding)) = (rest.get(4..length), rest.get(length..length.next_multiple_of(4)))
            else {
                packet.fault = Some(format!("chunk {kind} has length {length} where {} bytes are left", rest.len()));
                break;
            };
            if padding.iter().any(|byte| *byte != 0) {
                packet.fault = Some(format!("padding that is not zero behind chunk {kind}"));
            }
            packet.chunks.push(Chunk { kind, flags, value: chunk.to_vec() });
            rest = &rest[length.next_multiple_of(4)..];
        }
        packet
    }
}

impl Chunk {
    pub fn layout(&self) -> Option<&'static Layout> {
        layout::chunk_of(self.kind)
    }

    pub fn is(&self, name: &str) -> bool {
        self.layout().is_some_and(|layout| layout.name == name)
    }

    /// A fixed field; `None` if the chunk has none of that name, or is too short for it.
    pub fn field(&self, name: &str) -> Option<u64> {
        let mut at = 0;
        for (field, bytes) in self.layout()?.fields {
            if *field == name {
                return self.value.get(at..at + bytes).map(number);
            }
            at += bytes;
        }
        None
    }

    /// What follows the fixed fields.
    pub fn rest(&self) -> &[u8] {
        let fixed: usize = self.layout().map_or(0, |layout| layout.fields.iter().map(|(_, bytes)| bytes).sum());
        self.value.get(fixed..).unwrap_or_default()
    }

    /// The parameters or causes.
    pub fn tlvs(&self) -> Result<Vec<Tlv>, String> {
        let mut rest = self.rest();
        let mut all = Vec::new();
        while !rest.is_empty() {
            let length = number(rest.get(2..4).ok_or("a parameter or cause cut short")?) as usize;
            let value = rest.get(4..length).ok_or(format!("a parameter or cause of length {length}"))?;
            all.push(Tlv { kind: number(&rest[..2]) as u16, value: value.to_vec() });
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(all)
    }

    /// Gap blocks and duplicates of a SACK.
    pub fn sack(&self) -> Option<(Vec<Value>, Vec<Value>)> {
        let rest = self.rest();
        let gaps_end = 4 + 4 * number(rest.get(..2)?) as usize;
        let dups_end = gaps_end + 4 * number(rest.get(2..4)?) as usize;
        let gaps = rest.get(4..gaps_end)?.chunks_exact(4);
        let gaps = gaps.map(|gap| Value::Range(number(&gap[..2]) as i64, number(&gap[2..]) as i64));
        let dups = rest.get(gaps_end..dups_end)?.chunks_exact(4).map(|tsn| Value::Num(number(tsn) as i64));
        (rest.len() == dups_end).then(|| (gaps.collect(), dups.collect()))
    }
}

impl Tlv {
    /// The value, as its form says. What does not fit its form stays bytes.
    pub fn typed(&self, form: Form) -> Value {
        let value = &self.value;
        let counted = |at: usize| {
            let numbers = value.get(at..)?.chunks_exact(2);
            numbers.remainder().is_empty().then(|| numbers.map(|pair| Value::Num(number(pair) as i64)).collect())
        };
        let typed = match (form, value.len()) {
            (Form::Address, 4) => {
                value.as_slice().try_into().ok().map(|four: [u8; 4]| Value::Address(Ipv4Addr::from(four).into()))
            }
            (Form::Address, 16) => {
                value.as_slice().try_into().ok().map(|all: [u8; 16]| Value::Address(Ipv6Addr::from(all).into()))
            }
            (Form::Number { bytes, reserved }, length) if length == bytes + reserved => {
                Some(Value::Num(number(&value[..bytes]) as i64))
            }
            (Form::Numbers { counted: false }, _) => counted(0).map(Value::List),
            (Form::Numbers { counted: true }, 4..) => {
                counted(4).filter(|list: &Vec<Value>| list.len() as u64 == number(&value[..4])).map(Value::List)
            }
            _ => None,
        };
        typed.unwrap_or_else(|| Value::Bytes(value.clone()))
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(tag={:#x})", self.tag)?;
        self.chunks.iter().try_for_each(|chunk| write!(f, " {chunk}"))?;
        if !self.checksum_ok {
            f.write_str("  !! wrong checksum")?;
        }
        match &self.fault {
            Some(fault) => write!(f, "  !! {fault}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let Some(layout) = self.layout() else {
            let value = Value::Bytes(self.value.clone());
            return write!(f, "CHUNK({:#04x})[flags={}, {value}]", self.kind, self.flags);
        };
        match layout.letters_of(self.flags) {
            Some(letters) if !letters.is_empty() => parts.push(letters),
            Some(_) if self.flags == layout.usual_flags => {}
            _ => parts.push(format!("flags={}", self.flags)),
        }
        for (name, _) in layout.fields {
            match self.field(name) {
                Some(value) if *name == "tag" => parts.push(format!("tag={value:#x}")),
                Some(value) => parts.push(format!("{name}={value}")),
                None => parts.push(format!("!! no {name}")),
            }
        }
        match layout.tail {
            Tail::Nothing => {}
            Tail::Bytes("cookie") => parts.push(format!("cookie={}", Value::Bytes(self.rest().to_vec()))),
            Tail::Bytes(_) => {
                parts.push(format!("len={}", self.rest().len()));
                if self.rest().len() <= 20 {
                    parts.push(Value::Bytes(self.rest().to_vec()).to_string());
                }
            }
            Tail::Sack => match self.sack() {
                Some((gaps, dups)) => {
                    parts.push(format!("gaps={}", Value::List(gaps)));
                    parts.push(format!("dups={}", Value::List(dups)));
                }
                None => parts.push("!! malformed".to_owned()),
            },
            Tail::Params | Tail::Causes => match self.tlvs() {
                Ok(tlvs) => parts.extend(tlvs.iter().map(|tlv| show_tlv(layout.tail, tlv))),
                Err(problem) => parts.push(format!("!! {problem}")),
            },
        }
        f.write_str(layout.name)?;
        if parts.is_empty() { Ok(()) } else { write!(f, "[{}]", parts.join(", ")) }
    }
}

/// A parameter or cause in the notation of scripts.
pub fn show_tlv(tail: Tail, tlv: &Tlv) -> String {
    let (name, form) = layout::tlv_name(tail, tlv.kind);
    if form == Form::Nothing && tlv.value.is_empty() { name } else { format!("{name}={}", tlv.typed(form)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720 B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn what_is_put_together_is_taken_apart_and_shown() {
        let data = [0, 3, 0, 18, 0, 0, 0, 7, 0, 1, 0, 2, 0, 0, 0, 46, b'h', b'i'];
        let sack = [3, 0, 0, 20, 0, 0, 0, 5, 0, 0, 16, 0, 0, 1, 0, 0, 0, 2, 0, 3];
        let abort = [6, 1, 0, 12, 0, 1, 0, 8, 0, 9, 0, 0];
        let bytes = write(1, 2, 0xabcd, 0, &[data.to_vec(), sack.to_vec(), abort.to_vec()]);
        let packet = Packet::read(&bytes);
        assert_eq!(
            packet.to_string(),
            "(tag=0xabcd) DATA[BE, tsn=7, sid=1, ssn=2, ppid=46, len=2, \"hi\"] \
             SACK[cum=5, a_rwnd=4096, gaps=[2..3], dups=[]] ABORT[T, INVALID_STREAM=9]"
        );
        assert!(!Packet::read(&write(1, 2, 0, 1, &[data.to_vec()])).checksum_ok);
    }

    #[test]
    fn what_does_not_hold_together_is_told() {
        let fault = |chunk: &[u8]| Packet::read(&write(1, 2, 3, 0, &[chunk.to_vec()])).fault;
        assert_eq!(fault(&[11, 0, 0, 4]), None);
        assert!(fault(&[11, 0, 0, 3]).is_some());
        assert!(fault(&[11, 0, 0, 9]).is_some());
        assert!(fault(&[10, 0, 0, 5, 1, 1, 0, 0]).is_some());
        assert!(fault(&[]).is_some());
    }
}
