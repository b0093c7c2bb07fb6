//! A captured packet in the language of `packets::build`: this is its inverse, as far as it goes.

use crate::seen::{Seen, chunks, word};
use std::net::IpAddr;

/// What a packet is told relative to.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// What was seen of the end that it goes to.
    pub to: &'a Seen,
    /// What was seen of the end that it comes from.
    pub from: &'a Seen,
    /// The usual ports of packets that go this way.
    pub ports: (u16, u16),
    /// Addresses of the end that it comes from.
    pub addresses: &'a [IpAddr],
}

/// Chunks of one packet at most.
const CHUNKS: usize = 4;
/// Any type and flags follow.
const ANY_CHUNK: u8 = 24;
/// A wrong length follows.
const WRONG_LENGTH: u8 = 0xe0;

/// The bytes that make a packet like this one; `None` where there is no chunk in it.
pub(super) fn tell(packet: &[u8], context: &Context<'_>) -> Option<Vec<u8>> {
    let mut all: Vec<(u8, u8, usize, &[u8])> =
        chunks(packet).map(|(kind, flags, value)| (kind, flags, value.len() + 4, value)).collect();
    // A last chunk whose length is wrong takes what there is.
    let end = all.iter().fold(12, |end: usize, (_, _, length, _)| end + length.next_multiple_of(4));
    if let Some([kind, flags, high, low, value @ ..]) = packet.get(end..) {
        all.push((*kind, *flags, usize::from(u16::from_be_bytes([*high, *low])), value));
    }
    all.truncate(CHUNKS);
    let mut out = header(packet, context);
    let sum = word(packet, 8);
    let mut right = packet.to_vec();
    crate::packets::fix_checksum(&mut right);
    let bad = if word(&right, 8) == sum { 0 } else { 0xf0 };
    out.push(all.len().checked_sub(1)? as u8 | bad);
    for (kind, flags, length, value) in all {
        chunk(&mut out, kind, flags, length, value, context);
    }
    Some(out)
}

/// Which tag and ports.
fn header(packet: &[u8], context: &Context<'_>) -> Vec<u8> {
    let (ports, tag) = (word(packet, 0), word(packet, 4));
    let (source, destination) = ((ports >> 16) as u16, ports as u16);
    let last = context.to.tags.last().copied().unwrap_or(1);
    let (mut how, tag) = if tag == last {
        (0, None)
    } else if tag == 0 {
        (11, None)
    } else if context.to.tags.first() == Some(&tag) {
        (13, None)
    } else if tag == last ^ 1 {
        (15, None)
    } else {
        (14, Some(their_tag(tag, context).unwrap_or(tag)))
    };
    let mut numbers: Vec<u8> = tag.into_iter().flat_map(u32::to_be_bytes).collect();
    if source != context.ports.0 {
        how |= 0x30;
        numbers.extend_from_slice(&source.to_be_bytes());
    }
    if destination != context.ports.1 {
        how |= 0xc0;
        numbers.extend_from_slice(&destination.to_be_bytes());
    }
    [&[how], numbers.as_slice()].concat()
}

/// The byte that makes a tag of the end that is played: its first is 0x000abeef.
fn tag_byte(tag: u32, context: &Context<'_>) -> u8 {
    let known = context.from.tags.iter().position(|known| *known == tag);
    10 + known.unwrap_or(context.from.tags.len()).min(200) as u8
}

/// What a tag of that end is when it is played; `None` for one that it did not choose.
fn their_tag(tag: u32, context: &Context<'_>) -> Option<u32> {
    context.from.tags.contains(&tag).then(|| u32::from(tag_byte(tag, context)) << 16 | 0xbeef)
}

fn chunk(out: &mut Vec<u8>, kind: u8, flags: u8, length: usize, value: &[u8], context: &Context<'_>) {
    let mut told = vec![ANY_CHUNK, kind, flags];
    let made = 4 + tell_value(&mut told, kind, value, context);
    let wrong = (length as i64 - made as i64).clamp(-128, 127);
    // A value that can only be told by and large has a length of its own, which is right.
    let exact = matches!(kind, 1..=4 | 6 | 7 | 9);
    if wrong != 0 && (exact || length != 4 + value.len()) {
        told[0] |= WRONG_LENGTH;
        told.push(wrong as i8 as u8);
    }
    out.extend_from_slice(&told);
}

/// A number near another one that is known when it is played.
fn near(out: &mut Vec<u8>, number: u32, base: u32) {
    let off = number.wrapping_sub(base);
    match off as i32 {
        -127..=126 => out.push(off as u8),
        _ => {
            out.push(0x7f);
            out.extend_from_slice(&off.to_be_bytes());
        }
    }
}

/// Bytes behind a byte that counts them. Returns how many there will be.
fn blob(out: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let bytes = &bytes[..bytes.len().min(255)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
    bytes.len()
}

/// Tells the value of a chunk. Returns how many bytes it will have.
fn tell_value(out: &mut Vec<u8>, kind: u8, value: &[u8], context: &Context<'_>) -> usize {
    match kind {
        0 => {
            near(out, word(value, 0), 0);
            out.extend_from_slice(&[(word(value, 4) >> 16).min(31) as u8, word(value, 4) as u8]);
            12 + user_data(out, value.len().saturating_sub(12))
        }
        1 | 2 => {
            let tag = word(value, 0);
            out.push(if tag == 0 { 0 } else { tag_byte(tag, context) });
            near(out, word(value, 4), 100_000);
            let streams = word(value, 8);
            out.extend_from_slice(&[(streams >> 16).min(255) as u8, (streams & 0xffff).min(255) as u8]);
            near(out, word(value, 12), 0);
            16 + params(out, value.get(16..).unwrap_or_default(), context)
        }
        3 => sack(out, value, context),
        4 => params(out, value, context),
        5 => changed(out, value, &context.to.heartbeat, 7),
        6 | 9 => causes(out, value),
        7 => {
            near(out, word(value, 0), context.to.next_tsn.wrapping_sub(1));
            4
        }
        10 => changed(out, value, &context.to.cookie, 3),
        8 | 11..=14 => 0,
        _ => blob(out, value),
    }
}

/// `a * (1 + 8 * b)` bytes, as near as can be.
fn user_data(out: &mut Vec<u8>, bytes: usize) -> usize {
    let all = (0..8).flat_map(|b| (0..32).map(move |a: usize| (a, b, a * (1 + 8 * b))));
    let (a, b, made) = all.min_by_key(|(_, b, made)| (made.abs_diff(bytes), *b)).unwrap_or_default();
    // Both are read, the second only to be multiplied.
    out.extend_from_slice(&[a as u8, b as u8]);
    made
}

fn sack(out: &mut Vec<u8>, value: &[u8], context: &Context<'_>) -> usize {
    near(out, word(value, 0), context.to.next_tsn.wrapping_sub(1));
    near(out, word(value, 4), 20_000);
    let counts = word(value, 8);
    let all = value.len().saturating_sub(12) / 4;
    let gaps = (counts as usize >> 16).min(4).min(all);
    let duplicates = (counts as usize & 0xffff).min(2).min(all - gaps);
    out.extend_from_slice(&[gaps as u8, duplicates as u8]);
    for gap in 0..gaps {
        let block = word(value, 12 + 4 * gap);
        let (start, end) = (block >> 16, block & 0xffff);
        out.extend_from_slice(&[start as u8, (end as i32 - start as i32).clamp(-128, 127) as i8 as u8]);
    }
    for at in 0..duplicates {
        near(out, word(value, 12 + 4 * (gaps + at)), context.to.next_tsn);
    }
    12 + 4 * (gaps + duplicates)
}

/// Bytes that the other end made and that come back, whole or altered; `mark` says which.
fn changed(out: &mut Vec<u8>, value: &[u8], genuine: &[u8], mark: u8) -> usize {
    if value == genuine {
        out.push(0);
        return genuine.len();
    }
    out.extend_from_slice(&[mark, 0]);
    if value.len() < genuine.len() {
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.push(5);
        return value.len();
    }
    let at = value.iter().zip(genuine).position(|(one, other)| one != other).unwrap_or(0);
    out.extend_from_slice(&(at as u16).to_be_bytes());
    out.extend_from_slice(&[1, value.get(at).copied().unwrap_or(0)]);
    genuine.len()
}

/// Type, stated length and value of each parameter or cause; the last takes what there is.
fn tlvs(mut rest: &[u8]) -> Vec<(u16, usize, &[u8])> {
    let mut all = Vec::new();
    while let [high, low, long, short, ..] = *rest {
        let (kind, length) = (u16::from_be_bytes([high, low]), usize::from(u16::from_be_bytes([long, short])));
        let whole = length >= 4 && length <= rest.len();
        all.push((kind, length, if whole { &rest[4..length] } else { &rest[4..] }));
        rest = if whole { rest.get(length.next_multiple_of(4)..).unwrap_or_default() } else { &[] };
    }
    all
}

/// Parameters. Returns how many bytes they will have.
fn params(out: &mut Vec<u8>, value: &[u8], context: &Context<'_>) -> usize {
    let all = tlvs(value);
    out.push(all.len().min(7) as u8);
    let told = all.into_iter().take(7).map(|(kind, length, value)| {
        let begin = out.len();
        out.push(0);
        let (what, made) = param(out, kind, value, context);
        out[begin] = what;
        wrong_length(out, begin, length, made)
    });
    told.sum()
}

/// One parameter: the number that stands for its type, and how many bytes its value will have.
fn param(out: &mut Vec<u8>, kind: u16, value: &[u8], context: &Context<'_>) -> (u8, usize) {
    let path = |octets: &IpAddr| context.addresses.iter().position(|known| known == octets);
    match (kind, value.len()) {
        (5, 4) => match path(&std::net::Ipv4Addr::from_bits(word(value, 0)).into()) {
            Some(path) if path < 2 => {
                out.extend_from_slice(&[path as u8, 1]);
                (0, 4)
            }
            _ => {
                out.extend_from_slice(value);
                (3, 4)
            }
        },
        (6, 16) => {
            out.extend_from_slice(value);
            (5, 16)
        }
        (7, _) if !value.is_empty() && value == context.to.cookie => (6, value.len()),
        (9, 4) => {
            out.extend_from_slice(value);
            (8, 4)
        }
        (12, 4) if value == [0, 5, 0, 6] => (9, 4),
        (0xc006, 4) => {
            out.extend_from_slice(value);
            (10, 4)
        }
        (11, _) => (11, blob(out, value)),
        (1, _) => (12, blob(out, value)),
        (8, _) => (13, blob(out, value)),
        _ => {
            out.extend_from_slice(&kind.to_be_bytes());
            (14, blob(out, value))
        }
    }
}

/// Says that a parameter or cause has a length that it should not have. Returns the bytes that it will have.
fn wrong_length(out: &mut Vec<u8>, what: usize, length: usize, made: usize) -> usize {
    let wrong = (length as i64 - 4 - made as i64).clamp(-128, 127);
    if wrong != 0 {
        out[what] |= WRONG_LENGTH;
        out.push(wrong as i8 as u8);
    }
    (4 + made).next_multiple_of(4)
}

/// Causes. Returns how many bytes they will have.
fn causes(out: &mut Vec<u8>, value: &[u8]) -> usize {
    let all = tlvs(value);
    out.push(all.len().min(3) as u8);
    let told = all.into_iter().take(3).map(|(kind, length, value)| {
        let begin = out.len();
        if kind < 16 {
            out.push(kind as u8);
        } else {
            out.push(0x10);
            out.extend_from_slice(&kind.to_be_bytes());
        }
        let made = blob(out, value);
        wrong_length(out, begin, length, made)
    });
    told.sum()
}
