//! Moves the TSNs of the peer, as seen from us, to where they wrap: no peer can be told where to begin.

use crate::wire::{code, seal, word_at};

/// What is added to the peer's TSNs on their way to us, and taken from our acknowledgements of them.
#[derive(Debug, Clone, Copy)]
pub struct Shift(u32);

impl Shift {
    /// Moves a peer's initial TSN `from` to `to`.
    pub fn new(from: u32, to: u32) -> Self {
        Self(to.wrapping_sub(from))
    }

    /// Changes a packet from the peer to us.
    pub fn inbound(self, packet: &mut [u8]) {
        each_chunk(packet, |kind, chunk| match kind {
            code::DATA => add(chunk, 4, self.0),
            code::INIT | code::INIT_ACK => add(chunk, 16, self.0),
            _ => {}
        });
    }

    /// Changes a packet from us to the peer. A cookie is left alone: it is the peer's own.
    pub fn outbound(self, packet: &mut [u8]) {
        let back = self.0.wrapping_neg();
        each_chunk(packet, |kind, chunk| match kind {
            code::SHUTDOWN => add(chunk, 4, back),
            code::SACK => {
                add(chunk, 4, back);
                let gaps = usize::from(u16::from_be_bytes([chunk[12], chunk[13]]));
                for at in (16 + gaps * 4..chunk.len()).step_by(4) {
                    add(chunk, at, back);
                }
            }
            _ => {}
        });
    }
}

fn each_chunk(packet: &mut [u8], mut change: impl FnMut(u8, &mut [u8])) {
    let mut at = 12;
    while at + 4 <= packet.len() {
        let length = usize::from(u16::from_be_bytes([packet[at + 2], packet[at + 3]]));
        change(packet[at], &mut packet[at..at + length]);
        at += length.next_multiple_of(4);
    }
    seal(packet);
}

fn add(chunk: &mut [u8], at: usize, amount: u32) {
    let word = word_at(chunk, at).wrapping_add(amount);
    chunk[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_moved_back_by_what_the_data_was_moved() {
        let shift = Shift::new(100, u32::MAX - 1);
        let mut data = [&[0; 12][..], &[0, 3, 0, 17], &105u32.to_be_bytes(), &[0; 8], &[1, 0, 0, 0]].concat();
        shift.inbound(&mut data);
        assert_eq!(data[16..20], 3u32.to_be_bytes());
        // One gap block, one duplicate.
        let counts = [0, 1, 0, 1, 0, 2, 0, 2];
        let mut sack =
            [&[0; 12][..], &[3, 0, 0, 24], &3u32.to_be_bytes(), &[0; 4], &counts, &2u32.to_be_bytes()].concat();
        shift.outbound(&mut sack);
        assert_eq!(sack[16..20], 105u32.to_be_bytes());
        assert_eq!(sack[24..32], counts);
        assert_eq!(sack[32..36], 104u32.to_be_bytes());
    }
}
