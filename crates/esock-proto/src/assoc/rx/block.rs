//! Small messages of a packet share blocks of memory: a few allocations for all of them instead of one each.

use bytes::{Bytes, BytesMut};

/// A larger message has memory of its own.
const SMALL_BYTES: usize = 256;

/// Where the small messages of one packet are copied to.
///
/// A message keeps its whole block alive. So a block is no larger than what the messages of its packet were charged
/// before it was made: whatever a peer sends, they hold at most twice what they are charged for.
#[derive(Debug, Default)]
pub struct Block {
    bytes: BytesMut,
    charged: usize,
}

impl Block {
    /// Copies a message that is charged `cost`; behind its beginning the packet has `rest` bytes.
    pub fn copy(&mut self, payload: &[u8], cost: usize, rest: usize) -> Bytes {
        self.charged += cost;
        if payload.len() > SMALL_BYTES {
            return Bytes::copy_from_slice(payload);
        }
        if self.bytes.capacity() < payload.len() {
            let size = rest.min(self.charged);
            if size < 2 * payload.len() {
                // It would be alone in there.
                return Bytes::copy_from_slice(payload);
            }
            self.bytes = BytesMut::with_capacity(size);
        }
        self.bytes.extend_from_slice(payload);
        self.bytes.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_of_a_packet_share_blocks_that_are_no_larger_than_what_they_are_charged() {
        let (mut block, mut charged) = (Block::default(), 0);
        let (count, cost) = (80, 64 + 192);
        let mut messages = Vec::new();
        for n in 0..count {
            let before = block.bytes.capacity();
            messages.push(block.copy(&[n; 64], cost, usize::from(count - n) * 80));
            charged += cost;
            let grown = before < 64;
            assert!(!grown || block.bytes.capacity() + 64 <= charged, "a block larger than {charged}");
        }
        assert!((0..count).zip(&messages).all(|(n, message)| message[..] == [n; 64]));
        let begins = |pair: &&[Bytes]| pair[0].as_ptr() as usize + 64 != pair[1].as_ptr() as usize;
        assert!(messages.windows(2).filter(begins).count() < 5, "few blocks");
    }

    #[test]
    fn what_is_large_or_alone_has_memory_of_its_own() {
        let mut block = Block::default();
        for (len, rest) in [(64, 64), (64, 100), (257, 9000), (1, 1)] {
            assert_eq!(block.copy(&vec![1; len], len + 192, rest).len(), len);
            assert_eq!(block.bytes.capacity(), 0, "{len} of {rest}");
        }
    }
}
