//! When messages came (SO_TIMESTAMP, SO_TIMESTAMPNS: socket(7)).

use crate::control;
use std::time::{SystemTime, UNIX_EPOCH};

/// How a socket's messages tell when they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamps {
    /// They do not.
    #[default]
    Off,
    /// SO_TIMESTAMP.
    Micros,
    /// SO_TIMESTAMPNS.
    Nanos,
}

impl Stamps {
    /// The time now, if it will be told.
    pub fn now(self) -> Option<SystemTime> {
        (self != Self::Off).then(SystemTime::now)
    }

    /// Tells when a message came: if that is not known, as of notifications, now. Whether there was room.
    pub fn push(self, came: Option<SystemTime>, out: &mut Vec<u8>, room: usize) -> bool {
        let kind = match self {
            Self::Off => return true,
            Self::Micros => libc::SO_TIMESTAMP,
            Self::Nanos => libc::SO_TIMESTAMPNS,
        };
        let since = came.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH).unwrap_or_default();
        let part = if self == Self::Micros { since.subsec_micros() } else { since.subsec_nanos() };
        let mut data = since.as_secs().to_ne_bytes().to_vec();
        data.extend(u64::from(part).to_ne_bytes());
        control::push_of(libc::SOL_SOCKET, out, room, kind, &data)
    }
}
