//! The messages of the demo: each can be told from every other, so that a lost, doubled, altered or
//! overtaken one is seen.

use bytes::Bytes;
use esock::{Message, StreamId};

/// How many streams the demo uses, each way.
pub const STREAMS: u16 = 4;

/// Sizes that messages take in turn, in bytes: some share a packet, some need many.
const SIZES: [usize; 6] = [24, 300, 1200, 64, 4000, 16384];

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that connected.
    Client = 0,
    /// The end that accepted.
    Server = 1,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Its name, as long as the other's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The message with this number on this stream.
pub fn payload(from: Side, stream: StreamId, number: u32) -> Bytes {
    let size = SIZES[(number as usize + usize::from(stream.0)) % SIZES.len()];
    let mut payload = Vec::with_capacity(size + 16);
    payload.extend_from_slice(from.name().as_bytes());
    payload.extend_from_slice(&stream.0.to_be_bytes());
    payload.extend_from_slice(&number.to_be_bytes());
    // xorshift32; never zero.
    let mut noise = 0x9e37_79b9 ^ (u32::from(stream.0) << 20) ^ number ^ ((from as u32) << 31);
    while payload.len() < size {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        payload.extend_from_slice(&noise.to_be_bytes());
    }
    payload.truncate(size);
    payload.into()
}

/// Checks what arrives at one end.
#[derive(Debug)]
pub struct Checker {
    from: Side,
    next: [u32; STREAMS as usize],
    /// Bytes of user data that were right.
    pub bytes: u64,
}

impl Checker {
    /// Nothing has arrived from `from`.
    pub fn new(from: Side) -> Self {
        Self { from, next: [0; STREAMS as usize], bytes: 0 }
    }

    /// Takes a message; the error says what is wrong with it.
    pub fn take(&mut self, message: &Message) -> Result<(), String> {
        let stream = message.stream;
        let next = self
            .next
            .get_mut(usize::from(stream.0))
            .ok_or_else(|| format!("a message on stream {}, which nobody uses", stream.0))?;
        if message.payload != payload(self.from, stream, *next) {
            return Err(format!(
                "message {next} from the {} on stream {} is not what was sent, or not in its turn",
                self.from.name(),
                stream.0
            ));
        }
        *next += 1;
        self.bytes += message.payload.len() as u64;
        Ok(())
    }

    /// How many messages have arrived.
    pub fn messages(&self) -> u32 {
        self.next.iter().sum()
    }

    /// How many messages have arrived on each stream.
    pub fn per_stream(&self) -> [u32; STREAMS as usize] {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_by_side_stream_and_number() {
        let one = payload(Side::Client, StreamId(1), 7);
        assert_eq!(one, payload(Side::Client, StreamId(1), 7));
        for other in [
            payload(Side::Server, StreamId(1), 7),
            payload(Side::Client, StreamId(1), 13),
            payload(Side::Client, StreamId(2), 6),
        ] {
            assert_eq!(one.len(), other.len());
            assert_ne!(one, other);
        }
    }
}
