//! `SOL_SOCKET`, `IPPROTO_IP` and `IPPROTO_IPV6`.

use super::{Outcome, cut, integer};
use crate::address::Family;
use crate::engine::{Engine, Reply, SocketId, SocketState, Style};
use crate::errno::Errno;
use esock_io::kernel::abi::Structure;
use std::time::Duration;

/// The least that Linux's buffers are.
const MIN_RECEIVE_BUFFER: usize = 2304;
const MIN_SEND_BUFFER: usize = 4608;

impl Engine {
    pub(super) fn set_system_option(&mut self, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let limit = |engine: &Self, name| usize::try_from(engine.sysctl().get(name)).unwrap_or(usize::MAX);
        let (receive_limit, send_limit) = (limit(self, "rmem_max"), limit(self, "wmem_max"));
        if matches!(name, libc::SO_LINGER | libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) {
            return self.set_time(id, name, value);
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
            libc::SO_ERROR | libc::SO_TYPE | libc::SO_PROTOCOL | libc::SO_DOMAIN | libc::SO_ACCEPTCONN => {
                return Err(Errno::ENOPROTOOPT);
            }
            _ => {
                settings.kept.insert((libc::SOL_SOCKET, name), number);
            }
        }
        self.apply_settings(id)?;
        Ok(Reply::done())
    }

    fn set_time(&mut self, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let settings = &mut self.socket_mut(id)?.settings;
        if name == libc::SO_LINGER {
            let (on, seconds) = (integer(value)?, integer(value.get(4..).unwrap_or_default())?);
            settings.linger = (on != 0).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
            return Ok(Reply::done());
        }
        let number =
            |at: usize| value.get(at..at + 8).and_then(|bytes| bytes.first_chunk()).map(|b| i64::from_ne_bytes(*b));
        let (Some(seconds), Some(micros)) = (number(0), number(8)) else { return Err(Errno::EINVAL) };
        if !(0..1_000_000).contains(&micros) {
            return Err(Errno(libc::EDOM));
        }
        let time = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) + Duration::from_micros(micros as u64);
        let time = (!time.is_zero()).then_some(time);
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
            libc::SO_LINGER => {
                let time = settings.linger;
                let mut bytes = i32::from(time.is_some()).bytes();
                bytes.extend(clamp(time.map_or(0, |time| time.as_secs() as usize)).bytes());
                return cut(bytes, room);
            }
            libc::SO_RCVTIMEO => return cut(time_bytes(settings.receive_timeout), room),
            libc::SO_SNDTIMEO => return cut(time_bytes(settings.send_timeout), room),
            _ => settings.kept.get(&(libc::SOL_SOCKET, name)).copied().unwrap_or(0),
        };
        cut(number.bytes(), room)
    }

    pub(super) fn set_ip_option(&mut self, id: SocketId, level: i32, name: i32, value: &[u8]) -> Outcome {
        let socket = self.socket_mut(id)?;
        if level == libc::IPPROTO_IPV6 && socket.family == Family::V4 {
            return Err(Errno::ENOPROTOOPT);
        }
        let number = match value {
            [one] => i32::from(*one),
            value => integer(value)?,
        };
        let bound = socket.port != 0;
        match (level, name) {
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) if bound => return Err(Errno::EINVAL),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => socket.settings.v6_only = number != 0,
            (libc::IPPROTO_IP, libc::IP_FREEBIND) => socket.settings.freebind = number != 0,
            _ => {
                socket.settings.kept.insert((level, name), number);
            }
        }
        Ok(Reply::done())
    }

    pub(super) fn get_ip_option(&mut self, id: SocketId, level: i32, name: i32, room: usize) -> Outcome {
        let socket = self.socket(id)?;
        if level == libc::IPPROTO_IPV6 && socket.family == Family::V4 {
            return Err(Errno::ENOPROTOOPT);
        }
        let number = match (level, name) {
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => i32::from(socket.settings.v6_only),
            (libc::IPPROTO_IP, libc::IP_FREEBIND) => i32::from(socket.settings.freebind),
            _ => socket.settings.kept.get(&(level, name)).copied().unwrap_or(0),
        };
        cut(number.bytes(), room)
    }
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
