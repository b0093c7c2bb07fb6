//! What a program and the broker say to each other.
//!
//! A program has one connection for each socket, whose descriptor is what it sees of the socket: it carries no
//! messages, but is readable and writable when the socket is, and its end is the end of the socket (`broker::signal`).
//! Its name, [`socket_name`], says which socket it is, in every process that has the descriptor.
//!
//! Calls go over other connections, one a thread, a request and its reply at a time. Both are a header of fixed
//! size and a body; integers are in the host's byte order, because both ends are on one host.

use crate::engine::SocketId;
use crate::errno::Errno;

/// Changes with every change of this module: both ends must be of one build.
pub const VERSION: u32 = 5;

/// Bytes of a request's header.
pub const REQUEST_BYTES: usize = 40;
/// Bytes of a reply's header.
pub const REPLY_BYTES: usize = 40;
/// The largest body.
pub const MAX_BODY: usize = 64 << 20;
/// The largest body of [`Op::Hello`]: it comes from anybody.
pub const MAX_KEY: usize = 256;
/// Bytes of the memory that a program may pass on with [`Op::Hello`]: data of a message lie there instead of in a body, in
/// either direction, from its beginning on. It is the connection's own, as is the call that is under way on it.
pub const SHARED_BYTES: usize = 256 << 10;
/// Where the offer begins in that memory, behind what calls use: a message that lies there for whoever receives next, who need
/// not ask for it. First its state, then the socket, a reply's header, the front of a reply, each at the place given below.
///
/// An offer is open until it is taken, by the program, or taken back, by the broker: both change the state from what they have
/// read, so that one of them does. The number in it is never that of another offer.
pub const OFFER_AT: usize = SHARED_BYTES;
/// See [`OFFER_AT`].
pub const OFFER_SOCKET: usize = OFFER_AT + 8;
/// See [`OFFER_AT`].
pub const OFFER_HEAD: usize = OFFER_AT + 16;
/// See [`OFFER_AT`].
pub const OFFER_FRONT: usize = OFFER_AT + 64;
/// Where an offer's data begin: behind the beginning of a page, because copying to what begins a little further behind one
/// than what is copied is slow.
pub const OFFER_DATA: usize = OFFER_AT + 4096 + 64;
/// The most data that are offered.
pub const MOST_OFFERED: usize = 64 << 10;
/// Bytes of the memory, with an offer.
pub const MEMORY_BYTES: usize = OFFER_AT + 3 * 4096 + MOST_OFFERED;
/// Of an offer's state: it is open.
pub const OFFER_OPEN: u64 = 1;
/// Of an offer's state: more can be read once it is taken.
pub const OFFER_MORE: u64 = 2;
/// Of an offer's state: it is taken.
pub const OFFER_TAKEN: u64 = 4;
/// Of an offer's state: whoever has taken it has read all of it, and another may lie there.
pub const OFFER_DONE: u64 = 8;
/// From so many bytes on, data go through shared memory: for fewer, the calls that copy them there cost more.
pub const SHARED_FROM: usize = 4096;
/// The most bytes of control messages that come with a message.
pub const MAX_CONTROL: usize = 224;
/// Bytes that come before the data in the reply to [`Op::Recv`], if it has a body: the address and the control
/// messages, each at a place of its own, so that whoever takes the reply knows beforehand where the data begin.
pub const FRONT: usize = 32 + MAX_CONTROL;

/// The abstract name at which the broker of a user listens.
pub fn broker_name(user: u32) -> String {
    format!("esock/broker/{user}")
}

/// The abstract name of the program's end of a socket.
pub fn socket_name(id: SocketId) -> [u8; 24] {
    let mut name = *b"esock/s/0000000000000000";
    for (place, digit) in name[8..].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(id.0 >> (60 - 4 * place)) as usize & 15];
    }
    name
}

/// The socket that has a name.
pub fn socket_of(name: &[u8]) -> Option<SocketId> {
    let digits = name.strip_prefix(b"esock/s/")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().map(SocketId)
}

/// What is asked. The arguments, `args`, are listed with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Op {
    /// The first request of a connection: version, process; the body is the broker's key, or empty. The reply's is the
    /// key, and after a line feed what the broker was started with.
    Hello = 1,
    /// `socket`: family, type.
    Socket = 2,
    /// `bind`; the body is the address.
    Bind = 3,
    /// `listen`: backlog.
    Listen = 4,
    /// `connect`; the body is the address.
    Connect = 5,
    /// `accept`; the body is the new socket's number.
    Accept = 6,
    /// `shutdown`: how, and whether a thread of the program may be waiting to receive.
    Shutdown = 7,
    /// `setsockopt`: level, name; the body is the value.
    SetOption = 8,
    /// `getsockopt`: level, name, room; the body is the value so far.
    GetOption = 9,
    /// `sendmsg`: flags, bytes of the name, bytes of control messages; the body is both, then the data.
    Send = 10,
    /// `recvmsg`: flags, room for the data, for control messages, and whether what comes next may be offered.
    Recv = 11,
    /// `getsockname`.
    LocalName = 12,
    /// `getpeername`.
    PeerName = 13,
    /// `FIONREAD`.
    Available = 14,
    /// Nothing: what has arrived is dealt with before the reply.
    Sync = 15,
    /// How a `connect` that had to wait ended.
    Connected = 16,
    /// `sctp_peeloff`: association; the body is the new socket's number.
    PeelOff = 17,
    /// `sctp_connectx`: the body is the addresses.
    ConnectMany = 18,
    /// A byte was taken out of the program's end of the socket that said something new.
    SayAgain = 19,
    /// A text about the broker and its sockets, for people.
    Report = 20,
    /// Somebody waits for edges: each news of the socket is told by a byte of its own.
    Edges = 21,
    /// Whether `accept` would give a socket.
    Acceptable = 22,
    /// Whether associations of a socket that is closed have not ended, and for how long whoever closed it waits: 1 if so.
    Lingers = 23,
}

impl Op {
    const ALL: [Self; 23] = [
        Self::Hello,
        Self::Socket,
        Self::Bind,
        Self::Listen,
        Self::Connect,
        Self::Accept,
        Self::Shutdown,
        Self::SetOption,
        Self::GetOption,
        Self::Send,
        Self::Recv,
        Self::LocalName,
        Self::PeerName,
        Self::Available,
        Self::Sync,
        Self::Connected,
        Self::PeelOff,
        Self::ConnectMany,
        Self::SayAgain,
        Self::Report,
        Self::Edges,
        Self::Acceptable,
        Self::Lingers,
    ];

    fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|op| *op as u16 == number)
    }
}

/// The header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub op: Op,
    /// Of which socket; 0 where it does not matter.
    pub socket: SocketId,
    /// See [`Op`].
    pub args: [i32; 4],
    /// Bytes that follow.
    pub body: u32,
    /// Bytes of data that lie in shared memory: they come after the body.
    pub shared: u32,
}

/// The header of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyHead {
    /// What the call returns: not below zero, or the negated `errno`.
    pub result: i32,
    /// With `EAGAIN` or `EINPROGRESS`: how long the socket waits, in milliseconds; 0 is for ever.
    pub timeout_ms: u32,
    /// `recvmsg`: the flags of the message.
    pub flags: i32,
    /// `recvmsg`: how many bytes of its place the name has, and how many the control messages have of theirs.
    pub name: u32,
    /// See `name`.
    pub control: u32,
    /// Bytes to be taken out of the program's end of the socket: they say nothing any more.
    pub pull: u32,
    /// The last byte that says nothing any more: the broker counts them, modulo 256.
    pub upto: u8,
    /// Whether the program's end is to be filled: it is not writable any more.
    pub fill: bool,
    /// Whoever wants to receive or accept next can wait at once until the program's end is readable.
    pub patient: bool,
    /// Bytes that follow.
    pub body: u32,
    /// Bytes of data that lie in shared memory: they come after the body.
    pub shared: u32,
}

impl Request {
    /// A request without arguments and body.
    pub fn new(op: Op, socket: SocketId) -> Self {
        Self { op, socket, args: [0; 4], body: 0, shared: 0 }
    }

    /// As it is sent.
    pub fn to_bytes(&self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        bytes[0..4].copy_from_slice(&self.body.to_ne_bytes());
        bytes[4..6].copy_from_slice(&(self.op as u16).to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.socket.0.to_ne_bytes());
        for (place, value) in bytes[16..32].chunks_exact_mut(4).zip(self.args) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        bytes[32..36].copy_from_slice(&self.shared.to_ne_bytes());
        bytes
    }

    /// As it was sent; an error for what no program of this build sends.
    pub fn from_bytes(bytes: &[u8; REQUEST_BYTES]) -> Result<Self, Errno> {
        let body = word(bytes, 0);
        let op = Op::of(u16::from_ne_bytes([bytes[4], bytes[5]])).ok_or(Errno::EINVAL)?;
        if body as usize > MAX_BODY {
            return Err(Errno::EMSGSIZE);
        }
        let socket = SocketId(u64::from(word(bytes, 8)) | u64::from(word(bytes, 12)) << 32);
        let socket = if cfg!(target_endian = "big") { SocketId(socket.0.rotate_left(32)) } else { socket };
        let args = std::array::from_fn(|place| word(bytes, 16 + 4 * place).cast_signed());
        Ok(Self { op, socket, args, body, shared: word(bytes, 32) })
    }
}

impl ReplyHead {
    /// As it is sent.
    pub fn to_bytes(&self) -> [u8; REPLY_BYTES] {
        let mut bytes = [0; REPLY_BYTES];
        let words = [
            self.body,
            self.result.cast_unsigned(),
            self.timeout_ms,
            self.flags.cast_unsigned(),
            self.name,
            self.control,
            self.pull,
            u32::from(self.fill) | u32::from(self.patient) << 1 | u32::from(self.upto) << 8,
            self.shared,
        ];
        for (place, value) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// As it was sent.
    pub fn from_bytes(bytes: &[u8; REPLY_BYTES]) -> Self {
        Self {
            body: word(bytes, 0),
            result: word(bytes, 4).cast_signed(),
            timeout_ms: word(bytes, 8),
            flags: word(bytes, 12).cast_signed(),
            name: word(bytes, 16),
            control: word(bytes, 20),
            pull: word(bytes, 24),
            fill: word(bytes, 28) & 1 != 0,
            patient: word(bytes, 28) & 2 != 0,
            upto: (word(bytes, 28) >> 8) as u8,
            shared: word(bytes, 32),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_arrive_as_they_were_sent() {
        let request = Request {
            op: Op::Send,
            socket: SocketId(0x0123_4567_89ab_cdef),
            args: [-1, 2, 3, 4],
            body: 77,
            shared: 1 << 17,
        };
        assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
        let reply = ReplyHead {
            result: -11,
            timeout_ms: 5,
            flags: 0x80,
            name: 16,
            control: 32,
            pull: 1,
            upto: 255,
            fill: true,
            patient: false,
            body: 1 << 20,
            shared: 3,
        };
        assert_eq!(ReplyHead::from_bytes(&reply.to_bytes()), reply);
    }

    #[test]
    fn what_nobody_asks_is_refused() {
        let mut bytes = Request::new(Op::Sync, SocketId(0)).to_bytes();
        bytes[4] = 99;
        assert_eq!(Request::from_bytes(&bytes), Err(Errno::EINVAL));
        let request = Request { body: u32::MAX, ..Request::new(Op::Send, SocketId(1)) };
        assert_eq!(Request::from_bytes(&request.to_bytes()), Err(Errno::EMSGSIZE));
    }

    #[test]
    fn a_sockets_name_says_which_it_is() {
        let id = SocketId(0xfeed_0000_0000_0007);
        assert_eq!(socket_of(&socket_name(id)), Some(id));
        assert_eq!(socket_of(b"esock/sctp/9899"), None);
        assert_eq!(socket_of(b"esock/s/12"), None);
    }
}
