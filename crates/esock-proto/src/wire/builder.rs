//! The forward writer: one packet, each byte written once.

use super::{CHUNK_HEADER_BYTES, Cause, DATA_HEADER_BYTES, Data, HEADER_BYTES, Header, kind, padded, param_type};
use crate::types::Address;
use std::net::IpAddr;

/// Writes one packet into a buffer. What would not fit into `limit` bytes is refused before it is written.
#[derive(Debug)]
pub struct PacketBuilder<'a> {
    buf: &'a mut [u8],
    at: usize,
    /// Where the open chunk began.
    open: usize,
}

impl<'a> PacketBuilder<'a> {
    /// Starts a packet of at most `buf.len()` bytes.
    pub fn new(buf: &'a mut [u8], header: Header) -> Self {
        header.write(buf);
        Self { buf, at: HEADER_BYTES, open: 0 }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether there is no chunk yet.
    pub fn is_empty(&self) -> bool {
        self.at == HEADER_BYTES
    }

    /// Bytes left.
    pub fn room(&self) -> usize {
        self.buf.len() - self.at
    }

    /// Opens a chunk. There must be room for its header.
    pub fn open(&mut self, kind: u8, flags: u8) {
        self.open = self.at;
        self.buf[self.at..self.at + CHUNK_HEADER_BYTES].copy_from_slice(&[kind, flags, 0, 0]);
        self.at += CHUNK_HEADER_BYTES;
    }

    /// Writes into the open chunk; what does not fit is cut.
    pub fn put(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(self.room());
        self.buf[self.at..self.at + len].copy_from_slice(&bytes[..len]);
        self.at += len;
    }

    /// Writes a u16 into the open chunk.
    pub fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Writes a u32 into the open chunk.
    pub fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Writes a parameter or cause into the open chunk; what does not fit is cut at a multiple of four.
    pub fn tlv(&mut self, kind: u16, value: &[u8]) {
        self.align();
        let Some(room) = self.room().checked_sub(4) else { return };
        let value = if padded(value.len()) > room { &value[..room & !3] } else { value };
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.put_u16(kind);
        self.put_u16(length);
        self.put(&value[..usize::from(length) - 4]);
    }

    /// Writes an address parameter (RFC 9260 §3.3.2.1).
    pub fn address(&mut self, address: Address) {
        match address.ip() {
            IpAddr::V4(v4) => self.tlv(param_type::IPV4_ADDRESS, &v4.octets()),
            IpAddr::V6(v6) => self.tlv(param_type::IPV6_ADDRESS, &v6.octets()),
        }
    }

    fn align(&mut self) {
        while !self.at.is_multiple_of(4) && self.at < self.buf.len() {
            self.buf[self.at] = 0;
            self.at += 1;
        }
    }

    /// Closes the open chunk: writes its length, and its padding.
    pub fn close(&mut self) {
        let length = (self.at - self.open) as u16;
        self.buf[self.open + 2..self.open + 4].copy_from_slice(&length.to_be_bytes());
        self.align();
    }

    /// Writes a whole chunk.
    pub fn chunk(&mut self, kind: u8, flags: u8, value: &[u8]) {
        self.open(kind, flags);
        self.put(value);
        self.close();
    }

    /// Writes a chunk (ABORT or ERROR) with causes.
    pub fn causes(&mut self, kind: u8, flags: u8, causes: &[Cause<'_>]) {
        self.open(kind, flags);
        causes.iter().for_each(|cause| cause.write(self));
        self.close();
    }

    /// Writes a DATA chunk. There must be room for it.
    pub fn data(&mut self, data: &Data<'_>) {
        let length = DATA_HEADER_BYTES + data.payload.len();
        let chunk = &mut self.buf[self.at..self.at + padded(length)];
        let [length_high, length_low] = (length as u16).to_be_bytes();
        let [stream_high, stream_low] = data.stream.0.to_be_bytes();
        let [ssn_high, ssn_low] = data.ssn.0.to_be_bytes();
        let first = u32::from_be_bytes([kind::DATA, data.flags.0, length_high, length_low]);
        let third = u32::from_be_bytes([stream_high, stream_low, ssn_high, ssn_low]);
        let header =
            [first, data.tsn.0, third, data.ppid.0].into_iter().fold(0, |all, word| all << 32 | u128::from(word));
        let (head, body) = chunk.split_at_mut(DATA_HEADER_BYTES);
        head.copy_from_slice(&header.to_be_bytes());
        let (payload, padding) = body.split_at_mut(data.payload.len());
        payload.copy_from_slice(data.payload);
        if !padding.is_empty() {
            padding.fill(0);
        }
        self.at += padded(length);
    }

    /// Fills the packet up to `size` bytes with a PAD chunk (RFC 4820), if the gap can hold one.
    pub fn pad_to(&mut self, size: usize) {
        let gap = size.saturating_sub(self.at);
        if gap >= CHUNK_HEADER_BYTES && gap <= self.room() {
            let length = gap as u16;
            self.buf[self.at..self.at + gap].fill(0);
            self.buf[self.at] = kind::PAD;
            self.buf[self.at + 2..self.at + 4].copy_from_slice(&length.to_be_bytes());
            self.at += gap;
        }
    }

    /// Completes the packet: writes the checksum and tells the size.
    pub fn finish(self) -> usize {
        super::write_checksum(&mut self.buf[..self.at]);
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Chunks, DataFlags, checksum_ok};
    use super::*;
    use crate::{Ppid, Ssn, StreamId, Tsn, VerificationTag};

    #[test]
    fn what_is_written_parses_equal() {
        let mut buf = [0xee; 256];
        let header = Header { source: 5, destination: 7, tag: VerificationTag(9) };
        let data = Data {
            flags: DataFlags(DataFlags::BEGIN | DataFlags::END),
            tsn: Tsn(77),
            stream: StreamId(3),
            ssn: Ssn(4),
            ppid: Ppid(46),
            payload: b"hello",
        };
        let mut packet = PacketBuilder::new(&mut buf, header);
        packet.data(&data);
        packet.causes(kind::ERROR, 0, &[Cause::InvalidStream(12), Cause::UserAbort(b"why")]);
        packet.pad_to(200);
        let size = packet.finish();
        assert_eq!(size, 200);
        assert!(checksum_ok(&buf[..size]));
        assert_eq!(Header::parse(&buf).unwrap(), header);
        let chunks: Vec<_> = Chunks::new(&buf[HEADER_BYTES..size]).map(Result::unwrap).collect();
        assert_eq!(chunks.len(), 3);
        assert_eq!(Data::parse(&chunks[0]).unwrap(), data);
        assert_eq!(super::super::abort_reason(&chunks[1]), Some((12, &b"why"[..])));
        assert_eq!(chunks[2].kind, kind::PAD);
    }

    #[test]
    fn a_cause_that_does_not_fit_is_cut() {
        let mut buf = [0; 64];
        let header = Header { source: 5, destination: 7, tag: VerificationTag(9) };
        let mut packet = PacketBuilder::new(&mut buf, header);
        packet.causes(kind::ABORT, 0, &[Cause::UserAbort(&[1; 1000])]);
        let size = packet.finish();
        let chunk = Chunks::new(&buf[HEADER_BYTES..size]).next().unwrap().unwrap();
        assert_eq!(super::super::abort_reason(&chunk), Some((12, &[1; 44][..])));
    }
}
