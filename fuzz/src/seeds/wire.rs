//! Packets as they were, one of each kind; and the bodies of cookies.

use super::{Capture, chunks};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// No link of ours carries more but by a probe of the path MTU.
const LONGEST_PACKET: usize = 1500;
/// Bytes of the MAC behind a cookie's body.
const MAC_BYTES: usize = 32;

/// One input for each shape of a packet, the shortest that there is, by name.
pub(super) fn seeds(captures: &[Capture]) -> BTreeMap<String, Vec<u8>> {
    let mut shapes: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    let mut add = |shape: String, name: String, bytes: Vec<u8>| {
        let old = shapes.get(&shape).map(|(_, bytes)| bytes.len());
        if old.is_none_or(|old| bytes.len() < old) {
            shapes.insert(shape, (name, bytes));
        }
    };
    for capture in captures {
        let packets = capture.packets.iter().enumerate().filter(|(_, packet)| packet.data.len() < LONGEST_PACKET);
        for (at, packet) in packets {
            let name = format!("{}-{at}", capture.name);
            add(shape(&packet.data), name.clone(), [&[0], packet.data.as_slice()].concat());
            // Only the stack's own cookies have a body that it can read.
            if capture.both || packet.to == 0 {
                let mut seen = crate::seen::Seen::default();
                seen.note(&packet.data);
                if let Some(body) = seen.cookie.len().checked_sub(MAC_BYTES) {
                    let shape = format!("cookie {body}");
                    add(shape, format!("{name}-cookie"), [&[1], &seen.cookie[..body]].concat());
                }
            }
        }
    }
    shapes.into_values().collect()
}

/// What is peculiar to a packet: types, flags, parameters, counts, and what is behind the last whole chunk.
fn shape(packet: &[u8]) -> String {
    let mut shape = String::new();
    let (mut end, mut last) = (12, None);
    for (kind, flags, value) in chunks(packet) {
        end += (value.len() + 4).next_multiple_of(4);
        // Of fragments and messages in one packet, the first.
        if kind == 0 && last.replace(kind) == Some(0) {
            continue;
        }
        last = Some(kind);
        let count = match kind {
            0 => value.len().min(13),
            3 => value.len().saturating_sub(12).div_ceil(4).min(3),
            _ => value.len().min(20),
        };
        // Text takes text.
        let _ = write!(shape, "{kind}/{flags:x}/{count}{}", types(kind, value));
    }
    let _ = write!(shape, "+{}", packet.len().saturating_sub(end).min(8));
    shape
}

/// The types of the parameters or causes of a chunk.
fn types(kind: u8, value: &[u8]) -> String {
    let mut rest = match kind {
        1 | 2 => value.get(16..).unwrap_or_default(),
        4..=6 | 9 => value,
        _ => &[],
    };
    let mut types = String::new();
    while let [high, low, long, short, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([long, short]));
        let _ = write!(types, ",{}", u16::from_be_bytes([high, low]));
        if length < 4 || length > rest.len() {
            types.push('!');
            break;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    types
}
