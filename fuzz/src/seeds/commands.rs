//! A capture as calls: what the users of both ends must have done for it to pass.

use super::{Capture, LONGEST, Sent, Story, jumps, length, word};
use crate::ledger::SHORTEST;
use crate::seen::Seen;
use std::time::Duration;

const STEPS: usize = 250;
/// The newest association is meant.
const NEWEST: u8 = 1;

/// The input that makes the calls.
pub(super) fn seed(capture: &Capture) -> Vec<u8> {
    let mut out = capture.world();
    // Nothing is set up yet.
    out.push(1);
    let story = Story::of(capture);
    let mut users = [User::default(), User::default()];
    let (mut steps, mut last) = (0, Duration::MAX);
    for packet in &capture.packets {
        let from = packet.from();
        let mut calls = Vec::new();
        match packet.at.saturating_sub(last).as_millis() {
            0 => {}
            1..=999 => calls.push(vec![5]),
            _ => calls.extend(jumps(packet.at.saturating_sub(last)).take(1).map(|bit| vec![7, bit])),
        }
        last = packet.at;
        calls.extend(users[from].calls(capture, &story, packet));
        // What is sent arrives.
        calls.push(vec![4]);
        steps += calls.len();
        let bytes = calls.concat();
        if steps > STEPS || out.len() + bytes.len() > LONGEST {
            break;
        }
        out.extend_from_slice(&bytes);
        users[from].seen.note(&packet.data);
    }
    out
}

/// The user of one end.
#[derive(Default)]
struct User {
    seen: Seen,
    said_goodbye: bool,
    path: usize,
}

impl User {
    /// What they did for a packet to be sent.
    fn calls(&mut self, capture: &Capture, story: &Story, packet: &super::Captured) -> Vec<Vec<u8>> {
        let host = (packet.from() as u8) << 7;
        let mut calls = Vec::new();
        let tag = packet.of_kind(1).next().map(|(_, value)| word(value, 0));
        if tag.is_some_and(|tag| self.seen.tags.last() != Some(&tag)) {
            // Over UDP or not as it comes; to all addresses, in order.
            calls.push(vec![host | 8, 5 << 2]);
        }
        for Sent { stream, unordered, immediate, bytes } in story.messages(packet, &self.seen) {
            let (len, shift) = length(bytes, 0, 7);
            let len = if bytes == 0 { 0 } else { len.max(SHORTEST as u8) };
            let shape = u8::from(unordered) << 2 | u8::from(immediate) << 3 | (shift as u8) << 5;
            calls.push(if stream < 4 {
                vec![host | 10, NEWEST, shape | stream as u8, 46, len]
            } else {
                let [high, low] = stream.to_be_bytes();
                vec![host | 10, NEWEST, shape | 0x10, high, low, 46, len]
            });
        }
        let path = capture.path(packet.to, packet.destination).unwrap_or(0);
        if packet.of_kind(0).next().is_some() && std::mem::replace(&mut self.path, path) != path {
            // Data goes to another address than before.
            calls.push(vec![host | 22, NEWEST, path as u8 & 7, 0]);
        }
        if packet.of_kind(4).next().is_some() {
            calls.push(vec![host | 22, NEWEST, path as u8 & 7, 1]);
        }
        if packet.of_kind(3).next().is_some() {
            calls.push(vec![host | 16, NEWEST, 255]);
        }
        if packet.of_kind(7).next().is_some() && !std::mem::replace(&mut self.said_goodbye, true) {
            calls.push(vec![host | 19, NEWEST]);
        }
        if packet.is_user_abort() {
            calls.push(vec![host | 20, NEWEST, 3, b'b', b'y', b'e', 0]);
        }
        calls
    }
}
