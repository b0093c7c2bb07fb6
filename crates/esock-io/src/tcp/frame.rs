//! How messages travel over TCP, so that their boundaries, streams and payload identifiers survive.
//!
//! All integers are in network byte order. Each end first sends a hello of 24 bytes, the end that was connected to only
//! when its user has accepted (or refused) the other:
//!
//! | bytes | hello |
//! |---|---|
//! | 0-7 | `ESOCKTCP` |
//! | 8 | version: 1 |
//! | 9 | flags: 1 there is an adaptation indication, 2 the connection is refused and ends here |
//! | 10-11 | the port of the endpoint that sends this |
//! | 12-13 | outbound streams |
//! | 14-15 | inbound streams, at most |
//! | 16-19 | adaptation indication |
//! | 20-23 | the largest message that is received, in bytes |
//!
//! Frames follow, each a header of 12 bytes and what it says:
//!
//! | bytes | frame |
//! |---|---|
//! | 0 | type: 0 data, 1 shutdown (the sender sends no more data), 2 shutdown ack (all was received, and the sender sends no more), 3 abort; others are skipped |
//! | 1 | flags of data: 1 it was sent unordered |
//! | 2-3 | the stream of data |
//! | 4-7 | how many bytes follow the header: the message, or the reason of an abort |
//! | 8-11 | the payload protocol identifier of data |
//!
//! A graceful end is a shutdown answered by a shutdown ack, after which the connection is closed. A connection that
//! is closed without that was aborted.

use esock_proto::{Config, Negotiated, Ppid, SendOptions, StreamId};

/// The size of a hello.
pub(super) const HELLO_BYTES: usize = 24;

/// The size of a frame's header.
pub(super) const HEADER_BYTES: usize = 12;

/// The longest frame that is no message.
const MAX_CONTROL_BYTES: usize = 1 << 16;

const MAGIC: &[u8; 8] = b"ESOCKTCP";
const VERSION: u8 = 1;
const HAS_ADAPTATION: u8 = 1;
const REFUSED: u8 = 2;
const UNORDERED: u8 = 1;

/// What an end says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub refused: bool,
    pub port: u16,
    pub outbound_streams: u16,
    pub inbound_streams: u16,
    pub adaptation: Option<u32>,
    pub max_message: u32,
}

impl Hello {
    pub fn of(config: &Config, port: u16) -> Self {
        Self {
            refused: false,
            port,
            outbound_streams: config.outbound_streams,
            inbound_streams: config.inbound_streams,
            adaptation: config.adaptation,
            max_message: u32::try_from(config.max_message).unwrap_or(u32::MAX),
        }
    }

    pub fn write(self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        let flags = if self.adaptation.is_some() { HAS_ADAPTATION } else { 0 };
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = VERSION;
        bytes[9] = flags | if self.refused { REFUSED } else { 0 };
        bytes[10..12].copy_from_slice(&self.port.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.outbound_streams.to_be_bytes());
        bytes[14..16].copy_from_slice(&self.inbound_streams.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.adaptation.unwrap_or(0).to_be_bytes());
        bytes[20..].copy_from_slice(&self.max_message.to_be_bytes());
        bytes
    }

    pub fn read(bytes: &[u8; HELLO_BYTES]) -> Result<Self, Violation> {
        if bytes[..8] != MAGIC[..] {
            return Err("the peer does not speak framed TCP: use raw TCP with it");
        }
        if bytes[8] != VERSION {
            return Err("the peer speaks another version of framed TCP");
        }
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let hello = Self {
            refused: bytes[9] & REFUSED != 0,
            port: half(10),
            outbound_streams: half(12),
            inbound_streams: half(14),
            adaptation: (bytes[9] & HAS_ADAPTATION != 0).then(|| word(16)),
            max_message: word(20),
        };
        let usable = hello.outbound_streams > 0 && hello.inbound_streams > 0;
        if usable || hello.refused { Ok(hello) } else { Err("the peer allows no streams") }
    }

    /// What this end and the peer agree on.
    pub fn negotiate(self, config: &Config) -> Negotiated {
        let outbound = config.outbound_streams.min(self.inbound_streams);
        let inbound = config.inbound_streams.min(self.outbound_streams);
        let mut negotiated = Negotiated::streams(outbound, inbound);
        negotiated.adaptation = self.adaptation;
        negotiated
    }
}

/// What is wrong with what the peer sent.
pub(super) type Violation = &'static str;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Data { options: SendOptions },
    Shutdown,
    ShutdownAck,
    Abort,
    Unknown,
}

impl Frame {
    pub fn write(self, len: usize) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        bytes[4..8].copy_from_slice(&len.to_be_bytes());
        match self {
            Self::Data { options } => {
                bytes[1] = if options.unordered { UNORDERED } else { 0 };
                bytes[2..4].copy_from_slice(&options.stream.0.to_be_bytes());
                bytes[8..].copy_from_slice(&options.ppid.0.to_be_bytes());
            }
            Self::Shutdown => bytes[0] = 1,
            Self::ShutdownAck => bytes[0] = 2,
            Self::Abort => bytes[0] = 3,
            Self::Unknown => bytes[0] = u8::MAX,
        }
        bytes
    }

    /// Reads a header; says how many bytes follow. `max_message` bounds them.
    pub fn read(bytes: &[u8; HEADER_BYTES], max_message: usize) -> Result<(Self, usize), TooLong> {
        let len = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        let frame = match bytes[0] {
            0 => Self::Data {
                options: SendOptions {
                    stream: StreamId(u16::from_be_bytes([bytes[2], bytes[3]])),
                    ppid: Ppid(u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])),
                    unordered: bytes[1] & UNORDERED != 0,
                    ..SendOptions::default()
                },
            },
            1 => Self::Shutdown,
            2 => Self::ShutdownAck,
            3 => Self::Abort,
            _ => Self::Unknown,
        };
        let is_data = matches!(frame, Self::Data { .. });
        let limit = if is_data { max_message } else { MAX_CONTROL_BYTES };
        if len > limit { Err(TooLong { is_data }) } else { Ok((frame, len)) }
    }
}

/// A frame that is longer than this end takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub is_data: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_comes_back_as_it_was_written() {
        let mut hello = Hello::of(&Config::default(), 30400);
        assert_eq!(Hello::read(&hello.write()), Ok(hello));
        (hello.adaptation, hello.refused) = (Some(0), true);
        assert_eq!(Hello::read(&hello.write()), Ok(hello));
    }

    #[test]
    fn what_is_no_hello_is_told_from_one() {
        let good = Hello::of(&Config::default(), 1).write();
        for at in 0..9 {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(Hello::read(&bad).is_err(), "byte {at}");
        }
        let mut no_streams = Hello::of(&Config::default(), 1);
        no_streams.inbound_streams = 0;
        assert!(Hello::read(&no_streams.write()).is_err());
    }

    #[test]
    fn streams_are_the_smaller_of_what_one_wants_and_the_other_allows() {
        let mut config = Config::default();
        (config.outbound_streams, config.inbound_streams) = (10, 3);
        let mut peer = Hello::of(&Config::default(), 1);
        (peer.outbound_streams, peer.inbound_streams) = (5, 7);
        let negotiated = peer.negotiate(&config);
        assert_eq!((negotiated.outbound_streams, negotiated.inbound_streams), (7, 3));
    }

    #[test]
    fn frames_come_back_as_they_were_written_and_long_ones_are_refused() {
        let options = SendOptions { stream: StreamId(7), ppid: Ppid(46), unordered: true, ..SendOptions::default() };
        for frame in [Frame::Data { options }, Frame::Shutdown, Frame::ShutdownAck, Frame::Abort, Frame::Unknown] {
            assert_eq!(Frame::read(&frame.write(1000), 1000), Ok((frame, 1000)));
            let is_data = matches!(frame, Frame::Data { .. });
            assert_eq!(Frame::read(&frame.write(1 << 20), 1000), Err(TooLong { is_data }));
        }
    }
}
