//! A capture as deeds of `adversary`: who sent what, and what the network did to it as the SACKs tell it.

use super::{Capture, Captured, LONGEST, Sent, Story, jumps, length, word};
use crate::ledger::SHORTEST;
use crate::seen::Seen;
use std::time::Duration;

const DEEDS: usize = 350;
/// Every end sends so many messages at most.
const MESSAGES: usize = 40;

/// The input that plays this capture, before an adversary who cannot forge.
pub(super) fn seed(capture: &Capture) -> Vec<u8> {
    let mut out = capture.world();
    // End 0 connects by itself.
    out.push(0);
    let story = Story::of(capture);
    let mut seen: [Seen; 2] = Default::default();
    let (mut sent, mut deeds) = ([0; 2], 0);
    let mut last = Duration::MAX;
    for packet in &capture.packets {
        let from = packet.from();
        let host = (from as u8) << 7;
        let mut bytes = time(packet.at.saturating_sub(last));
        last = packet.at;
        for Sent { stream, unordered, immediate, bytes: len } in story.messages(packet, &seen[from]) {
            if sent[from] == MESSAGES {
                continue;
            }
            sent[from] += 1;
            let (len, shift) = length(len, SHORTEST, 3);
            let flags = u8::from(unordered) << 2 | u8::from(immediate) << 3;
            bytes.push(vec![host | 21, (stream & 3) as u8 | flags | (shift as u8) << 6, len]);
        }
        if packet.of_kind(3).next().is_some() {
            bytes.push(vec![host | 26]);
        }
        bytes.push(fate(&story, packet, &seen[from]));
        deeds += bytes.len();
        let bytes = bytes.concat();
        if deeds > DEEDS || out.len() + bytes.len() > LONGEST {
            break;
        }
        out.extend_from_slice(&bytes);
        seen[from].note(&packet.data);
    }
    out
}

fn time(time: Duration) -> Vec<Vec<u8>> {
    match time.as_millis() {
        0 => Vec::new(),
        millis @ 1..=255 => vec![vec![30, millis as u8]],
        // To the next timer; what is left of it is slept through.
        256..10_000 => vec![vec![28]],
        _ => jumps(time).take(1).map(|bit| vec![31, bit.min(17)]).collect(),
    }
}

/// What became of a packet: lost, overtaken, doubled, or delivered.
fn fate(story: &Story, packet: &Captured, seen: &Seen) -> Vec<u8> {
    let from = packet.from();
    let mut new =
        packet.of_kind(0).map(|(_, value)| word(value, 0)).filter(|tsn| tsn.wrapping_sub(seen.next_tsn) < 1 << 31);
    let Some(tsn) = new.next() else { return vec![0] };
    let (missed, again) = (story.missed[from].contains(&tsn), story.times(from, tsn) > 1);
    match (missed, again) {
        (true, true) => vec![7],
        // It came later than others without being sent again.
        (true, false) => vec![10, 1],
        _ if story.twice[from].contains(&tsn) && !again => vec![9, 0],
        _ => vec![0],
    }
}
