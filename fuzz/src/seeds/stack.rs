//! A capture as steps of `stack`: end 1 is the stack under test, and what end 0 said is put in front of it.

use super::packet::{self, Context};
use super::{Capture, Captured, LONGEST, Sent, Story, jumps, length, word};
use crate::seen::Seen;
use std::time::Duration;

/// Steps of one input are no more, and neither are those of a seed.
const STEPS: usize = 250;
/// The step is for host 1.
const UNDER_TEST: u8 = 0x80;

/// The input that plays this capture.
pub(super) fn seed(capture: &Capture) -> Vec<u8> {
    let mut teller = Teller { out: capture.world(), steps: 0, seen: Default::default(), last: None, ended: false };
    let story = Story::of(capture);
    for packet in &capture.packets {
        let whole = (teller.out.len(), teller.steps);
        teller.packet(capture, &story, packet);
        if teller.out.len() > LONGEST || teller.steps > STEPS {
            teller.out.truncate(whole.0);
            break;
        }
        teller.seen[packet.from()].note(&packet.data);
    }
    // Without a step there is nothing to be seen.
    if teller.steps == 0 { Vec::new() } else { teller.out }
}

struct Teller {
    out: Vec<u8>,
    steps: usize,
    seen: [Seen; 2],
    last: Option<Duration>,
    /// The user of the stack has said goodbye.
    ended: bool,
}

impl Teller {
    fn step(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.steps += 1;
    }

    fn packet(&mut self, capture: &Capture, story: &Story, packet: &Captured) {
        let time = packet.at.saturating_sub(self.last.replace(packet.at).unwrap_or(packet.at));
        if packet.to == 0 {
            // It came by itself, with a timer, or because the user said something.
            match time.as_millis() {
                0 => {}
                millis @ 1..=255 => self.step(&[20, millis as u8]),
                _ => self.step(&[19]),
            }
            self.said(story, packet);
        } else {
            match time.as_millis() {
                0 => {}
                millis @ 1..=255 => self.step(&[20, millis as u8]),
                _ => jumps(time).for_each(|bit| self.step(&[21, bit])),
            }
            self.heard(capture, packet);
        }
    }

    /// What the stack sent: what made it do so, if that was its user.
    fn said(&mut self, story: &Story, packet: &Captured) {
        let tag = packet.of_kind(1).next().map(|(_, value)| word(value, 0));
        if tag.is_some_and(|tag| self.seen[1].tags.last() != Some(&tag)) {
            self.step(&[UNDER_TEST | 5, 0]);
        }
        for message in story.messages(packet, &self.seen[1]) {
            let Sent { stream, unordered, immediate, bytes } = message;
            let (len, shift) = length(bytes, 1, 3);
            let flags = u8::from(unordered) << 3 | u8::from(immediate) << 4;
            self.step(&[UNDER_TEST | 22, (stream & 7) as u8 | flags | (shift as u8) << 5, len]);
        }
        if packet.of_kind(3).next().is_some() {
            // The user reads.
            self.step(&[UNDER_TEST | 25, 255]);
        }
        if packet.of_kind(7).next().is_some() && !std::mem::replace(&mut self.ended, true) {
            self.step(&[UNDER_TEST | 26, 0, 0]);
        }
        if packet.is_user_abort() {
            self.step(&[UNDER_TEST | 26, 0, 2]);
        }
    }

    /// What the stack was sent.
    fn heard(&mut self, capture: &Capture, packet: &Captured) {
        let usual = if capture.both { (5000, 30400) } else { (4000, 30400) };
        let context =
            Context { to: &self.seen[1], from: &self.seen[0], ports: usual, addresses: &capture.addresses[0] };
        let told = packet::tell(&packet.data, &context);
        let from = match capture.path(0, packet.source) {
            Some(0) => 0,
            Some(_) => 9,
            None => 14,
        };
        let to = if capture.path(1, packet.destination).unwrap_or(0) == 0 { 0 } else { 0x30 };
        let whence = from | to | if packet.udp { 0 } else { 0x80 };
        match told {
            Some(told) => self.step(&[&[UNDER_TEST | 6, whence], told.as_slice()].concat()),
            None => {
                let bytes = &packet.data[..packet.data.len().min(255)];
                self.step(&[&[UNDER_TEST | 17, whence, bytes.len() as u8], bytes].concat());
            }
        }
    }
}
