//! Control messages (RFC 6458 §5.3): what programs give with a message, and what they are told with one.

use crate::engine::SendDefaults;
use crate::errno::Errno;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::Address;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The size of `struct cmsghdr`: length, level, type.
const HEADER: usize = size_of::<usize>() + 8;

/// What the control messages of a call say.
#[derive(Debug, Default)]
pub struct Given {
    /// SCTP_INIT.
    pub init: Option<abi::sctp_initmsg>,
    /// SCTP_SNDRCV.
    pub old: Option<abi::sctp_sndrcvinfo>,
    /// SCTP_SNDINFO.
    pub new: Option<abi::sctp_sndinfo>,
    /// SCTP_PRINFO.
    pub reliability: Option<abi::sctp_prinfo>,
    /// SCTP_DSTADDRV4 and SCTP_DSTADDRV6.
    pub destinations: Vec<Address>,
}

/// What flags a message may have.
const FLAGS: u16 = c::SCTP_UNORDERED
    | c::SCTP_ADDR_OVER
    | c::SCTP_SACK_IMMEDIATELY
    | c::SCTP_SENDALL
    | c::SCTP_PR_SCTP_MASK
    | c::SCTP_ABORT
    | c::SCTP_EOF;

impl Given {
    /// The association that the call names; 0 if it names none.
    pub fn number(&self) -> i32 {
        self.new.map(|info| info.snd_assoc_id).or(self.old.map(|info| info.sinfo_assoc_id)).unwrap_or(0)
    }

    /// The flags that the call itself gives: only those end associations or send to all.
    pub fn flags(&self) -> u16 {
        let flags = self.new.map(|info| info.snd_flags).or(self.old.map(|info| info.sinfo_flags)).unwrap_or(0);
        self.reliability.map_or(flags, |info| flags & !c::SCTP_PR_SCTP_MASK | info.pr_policy)
    }

    /// How to send on an association that has these defaults (RFC 6458 §5.3.2, §5.3.4, §5.3.7).
    pub fn send(&self, defaults: SendDefaults) -> SendDefaults {
        let mut send = SendDefaults::default();
        if let Some(old) = self.old {
            send.stream = old.sinfo_stream;
            send.ppid = old.sinfo_ppid;
            send.context = old.sinfo_context;
            send.lifetime_ms = old.sinfo_timetolive;
        }
        if let Some(new) = self.new {
            send.stream = new.snd_sid;
            send.ppid = new.snd_ppid;
            send.context = new.snd_context;
        }
        send.flags = self.flags();
        if self.old.is_none() && self.new.is_none() {
            let flags = if self.reliability.is_some() { send.flags } else { defaults.flags };
            send = SendDefaults { flags, ..defaults };
        }
        match self.reliability {
            Some(info) => send.lifetime_ms = info.pr_value,
            None if self.old.is_none() => send.lifetime_ms = defaults.lifetime_ms,
            None => {}
        }
        send
    }
}

/// The bytes that a control message takes, aligned.
fn align(length: usize) -> usize {
    length.next_multiple_of(size_of::<usize>())
}

/// Reads the control messages of `sendmsg`.
pub fn parse(mut bytes: &[u8]) -> Result<Given, Errno> {
    let mut given = Given::default();
    while bytes.len() >= HEADER {
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| i32::from_ne_bytes(*word));
        let length = bytes.first_chunk().map_or(0, |length| usize::from_ne_bytes(*length));
        let (level, kind) = (word(size_of::<usize>()), word(size_of::<usize>() + 4));
        if length < HEADER || length > bytes.len() {
            return Err(Errno::EINVAL);
        }
        if level == libc::IPPROTO_SCTP {
            one(&mut given, kind, &bytes[HEADER..length])?;
        }
        bytes = bytes.get(align(length)..).unwrap_or_default();
    }
    Ok(given)
}

/// A structure that is exactly as long as it must be.
fn exact<T: Structure>(data: &[u8]) -> Result<T, Errno> {
    if data.len() == T::BYTES { T::parse(data).ok_or(Errno::EINVAL) } else { Err(Errno::EINVAL) }
}

fn one(given: &mut Given, kind: i32, data: &[u8]) -> Result<(), Errno> {
    match kind {
        c::SCTP_INIT => given.init = Some(exact(data)?),
        c::SCTP_SNDRCV => {
            let info: abi::sctp_sndrcvinfo = exact(data)?;
            check_flags(info.sinfo_flags)?;
            given.old = Some(info);
        }
        c::SCTP_SNDINFO => {
            let info: abi::sctp_sndinfo = exact(data)?;
            check_flags(info.snd_flags)?;
            given.new = Some(info);
        }
        c::SCTP_PRINFO => {
            let mut info: abi::sctp_prinfo = exact(data)?;
            if info.pr_policy & !c::SCTP_PR_SCTP_MASK != 0 {
                return Err(Errno::EINVAL);
            }
            if info.pr_policy == c::SCTP_PR_SCTP_NONE {
                info.pr_value = 0;
            }
            given.reliability = Some(info);
        }
        // Linux looks at the key only where the peer has RFC 4895.
        c::SCTP_AUTHINFO => drop(exact::<u16>(data)?),
        c::SCTP_DSTADDRV4 => {
            let ip: [u8; 4] = *data.first_chunk().ok_or(Errno::EINVAL)?;
            given.destinations.push(Ipv4Addr::from(ip).into());
        }
        c::SCTP_DSTADDRV6 => {
            let ip: [u8; 16] = *data.first_chunk().ok_or(Errno::EINVAL)?;
            given.destinations.push(Address::new(Ipv6Addr::from(ip).into(), 0));
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn check_flags(flags: u16) -> Result<(), Errno> {
    if flags & !FLAGS == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Adds a control message; says whether there was room for all of it. What has no room is cut off, as by the kernel.
pub fn push(out: &mut Vec<u8>, room: usize, kind: i32, data: &[u8]) -> bool {
    push_of(libc::IPPROTO_SCTP, out, room, kind, data)
}

/// The same, of any level.
pub fn push_of(level: i32, out: &mut Vec<u8>, room: usize, kind: i32, data: &[u8]) -> bool {
    let left = room.saturating_sub(out.len());
    if left < HEADER {
        return false;
    }
    let length = (HEADER + data.len()).min(left);
    out.extend(length.to_ne_bytes());
    out.extend(level.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend_from_slice(&data[..length - HEADER]);
    let aligned = align(out.len()).min(room);
    out.resize(aligned, 0);
    length == HEADER + data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(push(&mut out, 1024, kind, data));
        out
    }

    #[test]
    fn what_a_call_says_goes_before_what_was_said_for_all() {
        let defaults = SendDefaults { stream: 3, flags: c::SCTP_UNORDERED, ppid: 7, context: 9, lifetime_ms: 50 };
        assert_eq!(Given::default().send(defaults), defaults);
        let mut info = abi::sctp_sndinfo::zeroed();
        (info.snd_sid, info.snd_assoc_id) = (1, 5);
        let given = parse(&message(c::SCTP_SNDINFO, &info.bytes())).unwrap();
        let send = given.send(defaults);
        assert_eq!((send.stream, send.flags, send.ppid, send.lifetime_ms, given.number()), (1, 0, 0, 50, 5));
        let mut old = abi::sctp_sndrcvinfo::zeroed();
        old.sinfo_timetolive = 20;
        let both = [message(c::SCTP_SNDRCV, &old.bytes()), message(c::SCTP_SNDINFO, &info.bytes())].concat();
        assert_eq!(parse(&both).unwrap().send(defaults).lifetime_ms, 20);
        let mut lifetime = abi::sctp_prinfo::zeroed();
        (lifetime.pr_policy, lifetime.pr_value) = (c::SCTP_PR_SCTP_TTL, 30);
        let send = parse(&message(c::SCTP_PRINFO, &lifetime.bytes())).unwrap().send(defaults);
        assert_eq!((send.stream, send.flags, send.lifetime_ms), (3, c::SCTP_PR_SCTP_TTL, 30));
    }

    #[test]
    fn a_message_of_another_size_or_kind_or_with_unknown_flags_is_refused() {
        let mut info = abi::sctp_sndinfo::zeroed();
        assert!(parse(&message(c::SCTP_SNDINFO, &info.bytes()[1..])).is_err());
        assert!(parse(&message(99, &[0; 4])).is_err());
        info.snd_flags = 0x8000;
        assert!(parse(&message(c::SCTP_SNDINFO, &info.bytes())).is_err());
        assert!(parse(&message(c::SCTP_DSTADDRV6, &[0; 15])).is_err());
        assert!(parse(&[0xff; 24]).is_err(), "a length beyond the end");
        assert!(parse(&[1; 10]).unwrap().destinations.is_empty(), "too short for any");
    }

    #[test]
    fn what_has_no_room_is_cut_off_and_said_so() {
        let mut out = Vec::new();
        assert!(!push(&mut out, HEADER + 5, c::SCTP_RCVINFO, &[7; 28]));
        assert_eq!(out.len(), HEADER + 5);
        assert_eq!(out[..8], (HEADER + 5).to_ne_bytes());
        assert!(!push(&mut out, HEADER + 5, c::SCTP_NXTINFO, &[7; 16]));
        assert_eq!(out.len(), HEADER + 5);
    }
}
