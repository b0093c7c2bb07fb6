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
    /// SCTP_SNDRCV or SCTP_SNDINFO, and its association.
    pub send: Option<(SendDefaults, i32)>,
    /// SCTP_PRINFO.
    pub reliability: Option<(u16, u32)>,
    /// SCTP_AUTHINFO: the key.
    pub key: Option<u16>,
    /// SCTP_DSTADDRV4 and SCTP_DSTADDRV6.
    pub destinations: Vec<Address>,
}

/// SCTP_DSTADDRV4; the constants' list has only what the kernel backend uses.
const DSTADDRV4: i32 = 7;
const DSTADDRV6: i32 = 8;

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
            let known = c::SCTP_UNORDERED | c::SCTP_ADDR_OVER | c::SCTP_SACK_IMMEDIATELY | c::SCTP_SENDALL;
            check_flags(info.sinfo_flags, known)?;
            let send = SendDefaults {
                stream: info.sinfo_stream,
                flags: info.sinfo_flags,
                ppid: info.sinfo_ppid,
                context: info.sinfo_context,
                lifetime_ms: info.sinfo_timetolive,
            };
            given.send = Some((send, info.sinfo_assoc_id));
        }
        c::SCTP_SNDINFO => {
            let info: abi::sctp_sndinfo = exact(data)?;
            let known = c::SCTP_UNORDERED | c::SCTP_ADDR_OVER | c::SCTP_SACK_IMMEDIATELY | c::SCTP_SENDALL;
            check_flags(info.snd_flags, known)?;
            let send = SendDefaults {
                stream: info.snd_sid,
                flags: info.snd_flags,
                ppid: info.snd_ppid,
                context: info.snd_context,
                lifetime_ms: 0,
            };
            given.send = Some((send, info.snd_assoc_id));
        }
        c::SCTP_PRINFO => {
            let info: abi::sctp_prinfo = exact(data)?;
            if info.pr_policy & !c::SCTP_PR_SCTP_PRIO != 0 {
                return Err(Errno::EINVAL);
            }
            let value = if info.pr_policy == c::SCTP_PR_SCTP_NONE { 0 } else { info.pr_value };
            given.reliability = Some((info.pr_policy, value));
        }
        c::SCTP_AUTHINFO => {
            let key: u16 = exact(data)?;
            given.key = Some(key);
        }
        DSTADDRV4 => {
            let ip: [u8; 4] = *data.first_chunk().ok_or(Errno::EINVAL)?;
            given.destinations.push(Ipv4Addr::from(ip).into());
        }
        DSTADDRV6 => {
            let ip: [u8; 16] = *data.first_chunk().ok_or(Errno::EINVAL)?;
            given.destinations.push(Address::new(Ipv6Addr::from(ip).into(), 0));
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn check_flags(flags: u16, known: u16) -> Result<(), Errno> {
    let all = known | c::SCTP_ABORT | c::SCTP_EOF | c::SCTP_PR_SCTP_ALL | c::SCTP_PR_SCTP_PRIO;
    if flags & !all == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Adds a control message, if there is room for it; says whether there was.
pub fn push(out: &mut Vec<u8>, room: usize, kind: i32, data: &[u8]) -> bool {
    let length = HEADER + data.len();
    if out.len() + length > room {
        return false;
    }
    out.extend(length.to_ne_bytes());
    out.extend(libc::IPPROTO_SCTP.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend_from_slice(data);
    let aligned = align(out.len()).min(room);
    out.resize(aligned, 0);
    true
}
