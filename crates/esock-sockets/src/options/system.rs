//! `SOL_SOCKET`, `IPPROTO_IP` and `IPPROTO_IPV6` (socket(7), ip(7), ipv6(7)).
//!
//! What is below SCTP is shared by all sockets of a broker: most options of IP are checked, kept and told, and change
//! nothing.

use super::{Outcome, cut, integer};
use crate::address::Family;
use crate::engine::{Engine, Reply, SocketId, SocketState, Style};
use crate::errno::Errno;
use crate::stamp::Stamps;
use esock_io::kernel::abi::Structure;
use esock_proto::Time;
use std::hash::Hasher;
use std::time::Duration;

/// The least that Linux's buffers are.
const MIN_RECEIVE_BUFFER: usize = 2304;
const MIN_SEND_BUFFER: usize = 4608;

/// What an option may be.
#[derive(PartialEq, Eq)]
enum Values {
    /// Whatever is not 0 is 1.
    Flag,
    Any,
    From(i32, i32),
    /// It is told, and cannot be set.
    Fixed(Errno),
}

use Values::{Any, Fixed, Flag, From};

/// An option that is kept and told: its level and name, what it begins with, and what it may be.
struct Kept(i32, i32, i32, Values);

/// Those that there are.
const KEPT: &[Kept] = &[
    Kept(libc::SOL_SOCKET, libc::SO_DEBUG, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_DONTROUTE, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_BROADCAST, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_OOBINLINE, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_NO_CHECK, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_PRIORITY, 0, Any),
    Kept(libc::SOL_SOCKET, libc::SO_REUSEPORT, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_PASSCRED, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_RCVLOWAT, 1, Any),
    Kept(libc::SOL_SOCKET, libc::SO_SNDLOWAT, 1, Fixed(Errno::ENOPROTOOPT)),
    Kept(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0, From(0, i32::MAX)),
    Kept(libc::SOL_SOCKET, libc::SO_PASSSEC, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_MARK, 0, Any),
    Kept(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_WIFI_STATUS, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_NOFCS, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_SELECT_ERR_QUEUE, 0, Flag),
    Kept(libc::SOL_SOCKET, libc::SO_BUSY_POLL, 0, From(0, i32::MAX)),
    Kept(libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, -1, Any),
    Kept(libc::SOL_SOCKET, libc::SO_INCOMING_CPU, -1, Any),
    Kept(libc::SOL_SOCKET, libc::SO_ZEROCOPY, 0, Fixed(Errno::EOPNOTSUPP)),
    Kept(libc::SOL_SOCKET, libc::SO_BPF_EXTENSIONS, 64, Fixed(Errno::ENOPROTOOPT)),
    Kept(libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID, 0, Fixed(Errno::ENOPROTOOPT)),
    Kept(libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_TOS, 0, Any),
    Kept(libc::IPPROTO_IP, libc::IP_TTL, 64, From(-1, 255)),
    Kept(libc::IPPROTO_IP, libc::IP_RECVOPTS, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_RETOPTS, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_PKTINFO, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT, From(0, 5)),
    Kept(libc::IPPROTO_IP, libc::IP_RECVERR, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_RECVTTL, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_RECVTOS, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_TRANSPARENT, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_ORIGDSTADDR, 0, Flag),
    Kept(libc::IPPROTO_IP, libc::IP_MINTTL, 0, From(0, 255)),
    Kept(libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 0, Flag),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 64, From(-1, 255)),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IP_PMTUDISC_WANT, From(0, 5)),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 0, Flag),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 0, Flag),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 0, Flag),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 0, Flag),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, 0, From(-1, 255)),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0, Flag),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_FLOWINFO_SEND, 0, Flag),
    Kept(libc::IPPROTO_IPV6, libc::IPV6_AUTOFLOWLABEL, 1, Flag),
];

impl Engine {
    pub(super) fn set_system_option(&mut self, now: Time, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let limit = |engine: &Self, name| usize::try_from(engine.sysctl().get(name)).unwrap_or(usize::MAX);
        let (receive_limit, send_limit) = (limit(self, "rmem_max"), limit(self, "wmem_max"));
        if matches!(name, libc::SO_LINGER | libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) {
            return self.set_time(id, name, value);
        }
        if name == libc::SO_BINDTODEVICE {
            // To none it is bound already.
            return if matches!(value, [] | [0, ..]) { Ok(Reply::done()) } else { Err(Errno::ENOPROTOOPT) };
        }
        let number = integer(value)?;
        let size = |limit: usize, least: usize| {
            // Linux doubles what is asked for, for its own overhead.
            (usize::try_from(number).unwrap_or(limit).min(limit) * 2).max(least)
        };
        let settings = &mut self.socket_mut(id)?.settings;
        match name {
            libc::SO_RCVBUF | libc::SO_RCVBUFFORCE => {
                settings.receive_buffer = size(receive_limit, MIN_RECEIVE_BUFFER);
                settings.receive_buffer_set = true;
            }
            libc::SO_SNDBUF | libc::SO_SNDBUFFORCE => settings.send_buffer = size(send_limit, MIN_SEND_BUFFER),
            libc::SO_REUSEADDR => settings.reuse = number != 0,
            // One or the other, whichever was asked for last.
            libc::SO_TIMESTAMP | libc::SO_TIMESTAMPNS if number == 0 => settings.stamps = Stamps::Off,
            libc::SO_TIMESTAMP => settings.stamps = Stamps::Micros,
            libc::SO_TIMESTAMPNS => settings.stamps = Stamps::Nanos,
            libc::SO_ERROR | libc::SO_TYPE | libc::SO_PROTOCOL | libc::SO_DOMAIN | libc::SO_ACCEPTCONN => {
                return Err(Errno::ENOPROTOOPT);
            }
            // As Linux has it: 0 is 1, and what is less than nothing is as much as there can be.
            libc::SO_RCVLOWAT => {
                let least = if number < 0 { i32::MAX } else { number.max(1) };
                settings.kept.insert((libc::SOL_SOCKET, name), least);
            }
            _ => {
                let number = kept(libc::SOL_SOCKET, name)?.value(number)?;
                settings.kept.insert((libc::SOL_SOCKET, name), number);
            }
        }
        if matches!(name, libc::SO_SNDBUF | libc::SO_SNDBUFFORCE) {
            let known: Vec<_> = self.socket(id)?.associations.values().copied().collect();
            known.into_iter().for_each(|assoc| self.reconfigure(now, assoc));
        }
        self.apply_settings(id)?;
        Ok(Reply::done())
    }

    fn set_time(&mut self, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let settings = &mut self.socket_mut(id)?.settings;
        if name == libc::SO_LINGER {
            let (on, seconds) = (integer(value)?, integer(value.get(4..).unwrap_or_default())?);
            // Without a sign, as on Linux.
            settings.linger = (on != 0).then(|| Duration::from_secs(seconds.cast_unsigned().into()));
            return Ok(Reply::done());
        }
        let number =
            |at: usize| value.get(at..at + 8).and_then(|bytes| bytes.first_chunk()).map(|b| i64::from_ne_bytes(*b));
        let (Some(seconds), Some(micros)) = (number(0), number(8)) else { return Err(Errno::EINVAL) };
        if !(0..1_000_000).contains(&micros) {
            return Err(Errno(libc::EDOM));
        }
        let time = match u64::try_from(seconds) {
            Ok(0) if micros == 0 => None,
            Ok(seconds) => Some(Duration::from_secs(seconds) + Duration::from_micros(micros as u64)),
            // As Linux: who waits for less than nothing does not wait.
            Err(_) => Some(Duration::ZERO),
        };
        if name == libc::SO_RCVTIMEO {
            settings.receive_timeout = time;
        } else {
            settings.send_timeout = time;
        }
        Ok(Reply::done())
    }

    pub(super) fn get_system_option(&mut self, id: SocketId, name: i32, room: usize) -> Outcome {
        let socket = self.socket_mut(id)?;
        let settings = &socket.settings;
        let number = match name {
            libc::SO_ERROR => socket.take_error().map_or(0, |error| error.0),
            libc::SO_TYPE if socket.style == Style::OneToOne => libc::SOCK_STREAM,
            libc::SO_TYPE => libc::SOCK_SEQPACKET,
            libc::SO_PROTOCOL => libc::IPPROTO_SCTP,
            libc::SO_DOMAIN if socket.family == Family::V4 => libc::AF_INET,
            libc::SO_DOMAIN => libc::AF_INET6,
            libc::SO_ACCEPTCONN => i32::from(socket.state == SocketState::Listening),
            libc::SO_RCVBUF => clamp(settings.receive_buffer),
            libc::SO_SNDBUF => clamp(settings.send_buffer),
            libc::SO_REUSEADDR => i32::from(settings.reuse),
            libc::SO_TIMESTAMP => i32::from(settings.stamps == Stamps::Micros),
            libc::SO_TIMESTAMPNS => i32::from(settings.stamps == Stamps::Nanos),
            libc::SO_LINGER => {
                let time = settings.linger;
                let mut bytes = i32::from(time.is_some()).bytes();
                bytes.extend(clamp(time.map_or(0, |time| time.as_secs() as usize)).bytes());
                return cut(bytes, room);
            }
            libc::SO_RCVTIMEO => return cut(time_bytes(settings.receive_timeout), room),
            libc::SO_SNDTIMEO => return cut(time_bytes(settings.send_timeout), room),
            // Nobody's: who is at the other end is another host's matter.
            libc::SO_PEERCRED => {
                return cut([0, -1, -1].into_iter().flat_map(|number: i32| number.bytes()).collect(), room);
            }
            // Bound to none.
            libc::SO_BINDTODEVICE => return Ok(Reply::bytes(Vec::new())),
            libc::SO_COOKIE if room < size_of::<u64>() => return Err(Errno::EINVAL),
            libc::SO_COOKIE => return Ok(Reply::bytes(cookie(id).to_ne_bytes().to_vec())),
            _ => {
                let known = kept(libc::SOL_SOCKET, name)?;
                settings.kept.get(&(libc::SOL_SOCKET, name)).copied().unwrap_or(known.2)
            }
        };
        cut(number.bytes(), room)
    }

    pub(super) fn set_ip_option(&mut self, id: SocketId, level: i32, name: i32, value: &[u8]) -> Outcome {
        let socket = self.socket_mut(id)?;
        if level == libc::IPPROTO_IPV6 && socket.family == Family::V4 {
            return Err(Errno::ENOPROTOOPT);
        }
        // A byte is enough for IPv4, and so is nothing.
        let number = match value {
            [] if level == libc::IPPROTO_IP => 0,
            [one, ..] if level == libc::IPPROTO_IP && value.len() < 4 => i32::from(*one),
            value => integer(value)?,
        };
        let (bound, stream) = (socket.port != 0, socket.style == Style::OneToOne);
        match (level, name) {
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) if bound => return Err(Errno::EINVAL),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => socket.settings.v6_only = number != 0,
            (libc::IPPROTO_IP, libc::IP_FREEBIND) => socket.settings.freebind = number != 0,
            _ => {
                let known = kept(level, name)?;
                if name == libc::IP_TTL && level == libc::IPPROTO_IP && number == 0 {
                    return Err(Errno::EINVAL);
                }
                let number = known.value(number)?;
                let number = match (level, name) {
                    // A byte, without what is for ECN.
                    (libc::IPPROTO_IP, libc::IP_TOS) if stream => number & 0xfc,
                    (libc::IPPROTO_IP, libc::IP_TOS) => number & 0xff,
                    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) if stream => number & 0xfc,
                    _ => number,
                };
                socket.settings.kept.insert((level, name), number);
            }
        }
        Ok(Reply::done())
    }

    pub(super) fn get_ip_option(&mut self, id: SocketId, level: i32, name: i32, room: usize) -> Outcome {
        let socket = self.socket(id)?;
        if level == libc::IPPROTO_IPV6 && socket.family == Family::V4 {
            return Err(self.unknown_level(id));
        }
        let number = match (level, name) {
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => i32::from(socket.settings.v6_only),
            (libc::IPPROTO_IP, libc::IP_FREEBIND) => i32::from(socket.settings.freebind),
            _ => {
                let begins = kept(level, name)?.2;
                socket.settings.kept.get(&(level, name)).copied().unwrap_or(begins)
            }
        };
        match u8::try_from(number) {
            Ok(byte) if level == libc::IPPROTO_IP && (1..4).contains(&room) => Ok(Reply::bytes(vec![byte])),
            _ => cut(number.bytes(), room),
        }
    }
}

fn kept(level: i32, name: i32) -> Result<&'static Kept, Errno> {
    KEPT.iter().find(|kept| kept.0 == level && kept.1 == name).ok_or(Errno::ENOPROTOOPT)
}

impl Kept {
    /// What the option is when it is set to a number.
    fn value(&self, number: i32) -> Result<i32, Errno> {
        match self.3 {
            Flag => Ok(i32::from(number != 0)),
            Any => Ok(number),
            // As it began.
            From(-1, _) if number == -1 => Ok(self.2),
            From(least, most) if (least..=most).contains(&number) => Ok(number),
            From(..) => Err(Errno::EINVAL),
            Fixed(errno) => Err(errno),
        }
    }
}

/// A number of the socket's that is no other's. What names it to the broker is not to be told to everybody.
fn cookie(id: SocketId) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u64(id.0);
    hasher.finish()
}

fn clamp(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn time_bytes(time: Option<Duration>) -> Vec<u8> {
    let time = time.unwrap_or_default();
    let mut bytes = (time.as_secs() as i64).to_ne_bytes().to_vec();
    bytes.extend(i64::from(time.subsec_micros()).to_ne_bytes());
    bytes
}
