//! What was seen of one host on the wire, read by a walker that shares nothing with the stack.

/// What a host has sent.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Tags that it gave itself in INIT or INIT ACK, newest last.
    pub tags: Vec<u32>,
    /// One past the highest TSN that it sent, or its first TSN.
    pub next_tsn: u32,
    /// The last cumulative TSN ack that it sent.
    pub acked: u32,
    /// The last cookie that it made.
    pub cookie: Vec<u8>,
    /// The value of the last HEARTBEAT that it sent.
    pub heartbeat: Vec<u8>,
    /// Chunks that it sent, by type: `1 << type`, 31 for what is beyond.
    pub kinds: u32,
}

/// The chunks of a packet that is well formed: type, flags, value.
pub fn chunks(packet: &[u8]) -> impl Iterator<Item = (u8, u8, &[u8])> {
    let mut rest = packet.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let value = rest.get(4..length)?;
        let (kind, flags) = (rest[0], rest[1]);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, flags, value))
    })
}

/// A big-endian number in a packet; 0 where there is none.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

impl Seen {
    /// Takes a packet that the host has sent.
    pub fn note(&mut self, packet: &[u8]) {
        for (kind, _, value) in chunks(packet) {
            self.kinds |= 1 << kind.min(31);
            match kind {
                0 => {
                    let next = word(value, 0).wrapping_add(1);
                    if (next.wrapping_sub(self.next_tsn) as i32) > 0 {
                        self.next_tsn = next;
                    }
                }
                1 | 2 => {
                    let tag = word(value, 0);
                    if self.tags.last() != Some(&tag) {
                        self.tags.push(tag);
                    }
                    self.next_tsn = word(value, 12);
                    if kind == 2 {
                        self.note_cookie(value);
                    }
                }
                3 => self.acked = word(value, 0),
                4 => self.heartbeat = value.to_vec(),
                _ => {}
            }
        }
    }

    fn note_cookie(&mut self, init_ack: &[u8]) {
        let mut rest = init_ack.get(16..).unwrap_or_default();
        while let (Some(kind), Some(length)) = (rest.get(..2), rest.get(2..4)) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let Some(value) = rest.get(4..length) else { return };
            if kind == [0, 7] {
                self.cookie = value.to_vec();
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
