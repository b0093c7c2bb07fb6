//! Options of how messages are sent and told (RFC 6458 §8.1.4 to §8.1.8, §8.1.13 to §8.1.31, §6.2).

use super::{Outcome, cut, exact, integer, structure};
use crate::engine::{Engine, Reply, SocketId, Style};
use crate::errno::Errno;
use crate::notify::{SUBSCRIBE, bit};
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, Time};
use std::time::Duration;

/// What the flags of default parameters may be.
const DEFAULT_FLAGS: u16 = c::SCTP_UNORDERED | c::SCTP_ADDR_OVER | c::SCTP_ABORT | c::SCTP_EOF;

impl Engine {
    /// SCTP_EVENTS: the fields of the structure, as many as are given.
    pub(super) fn set_events(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        if value.len() > SUBSCRIBE.len() {
            return Err(Errno::EINVAL);
        }
        let mut events = self.socket(id)?.settings.association.events;
        for (kind, wanted) in SUBSCRIBE.iter().zip(value) {
            events = if *wanted == 0 { events & !bit(*kind) } else { events | bit(*kind) };
        }
        let all: Vec<AssocId> = self.socket(id)?.associations.values().copied().collect();
        self.socket_mut(id)?.settings.association.events = events;
        for assoc in all {
            if let Some(held) = self.held_mut(assoc) {
                held.settings.events = events;
            }
        }
        if events & bit(c::SCTP_SENDER_DRY_EVENT) != 0
            && let Some(assoc) = self.by_number(id, 0)
        {
            self.tell_if_dry(assoc);
        }
        Ok(Reply::done())
    }

    pub(super) fn events(&self, id: SocketId, room: usize) -> Outcome {
        if room == 0 {
            return Err(Errno::EINVAL);
        }
        let events = self.socket(id)?.settings.association.events;
        cut(SUBSCRIBE.iter().map(|kind| u8::from(events & bit(*kind) != 0)).collect(), room)
    }

    pub(super) fn set_event(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let event: abi::sctp_event = structure(value)?;
        if !SUBSCRIBE.contains(&event.se_type) {
            return Err(Errno::EINVAL);
        }
        let known = self.change_settings(now, id, event.se_assoc_id, |settings| {
            let others = settings.events & !bit(event.se_type);
            settings.events = others | if event.se_on == 0 { 0 } else { bit(event.se_type) };
        })?;
        if event.se_type == c::SCTP_SENDER_DRY_EVENT && event.se_on != 0 {
            known.into_iter().for_each(|assoc| self.tell_if_dry(assoc));
        }
        Ok(Reply::done())
    }

    pub(super) fn event(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut event: abi::sctp_event = structure(value)?;
        if !SUBSCRIBE.contains(&event.se_type) {
            return Err(Errno::EINVAL);
        }
        let settings = self.settings_of(id, event.se_assoc_id)?;
        event.se_on = u8::from(settings.events & bit(event.se_type) != 0);
        Ok(Reply::bytes(event.bytes()))
    }

    pub(super) fn set_autoclose(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        if self.socket(id)?.style == Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        let given: u32 = exact(value)?;
        // As Linux: what is longer is cut to `net.sctp.max_autoclose`.
        let seconds = u32::try_from(self.sysctl().get("max_autoclose")).map_or(given, |most| given.min(most));
        let life = (seconds != 0).then(|| Duration::from_secs(u64::from(seconds)));
        self.socket_mut(id)?.settings.association.autoclose = life;
        Ok(Reply::done())
    }

    pub(super) fn autoclose(&self, id: SocketId, room: usize) -> Outcome {
        let socket = self.socket(id)?;
        if socket.style == Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        let seconds = socket.settings.association.autoclose.map_or(0, |life| life.as_secs() as u32);
        super::word(seconds, room)
    }

    pub(super) fn set_default_send_param(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let info: abi::sctp_sndrcvinfo = exact(value)?;
        if info.sinfo_flags & !DEFAULT_FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        self.change_settings(now, id, info.sinfo_assoc_id, |settings| {
            settings.send.stream = info.sinfo_stream;
            settings.send.flags = info.sinfo_flags;
            settings.send.ppid = info.sinfo_ppid;
            settings.send.context = info.sinfo_context;
            settings.send.lifetime_ms = info.sinfo_timetolive;
        })?;
        Ok(Reply::done())
    }

    pub(super) fn default_send_param(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut info: abi::sctp_sndrcvinfo = structure(value)?;
        let send = self.settings_of(id, info.sinfo_assoc_id)?.send;
        info.sinfo_stream = send.stream;
        info.sinfo_flags = send.flags;
        info.sinfo_ppid = send.ppid;
        info.sinfo_context = send.context;
        info.sinfo_timetolive = send.lifetime_ms;
        Ok(Reply::bytes(info.bytes()))
    }

    pub(super) fn set_default_sndinfo(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let info: abi::sctp_sndinfo = exact(value)?;
        if info.snd_flags & !DEFAULT_FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        self.change_settings(now, id, info.snd_assoc_id, |settings| {
            settings.send.stream = info.snd_sid;
            settings.send.flags = info.snd_flags;
            settings.send.ppid = info.snd_ppid;
            settings.send.context = info.snd_context;
        })?;
        Ok(Reply::done())
    }

    pub(super) fn default_sndinfo(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut info: abi::sctp_sndinfo = structure(value)?;
        let send = self.settings_of(id, info.snd_assoc_id)?.send;
        info.snd_sid = send.stream;
        info.snd_flags = send.flags;
        info.snd_ppid = send.ppid;
        info.snd_context = send.context;
        Ok(Reply::bytes(info.bytes()))
    }

    pub(super) fn set_default_prinfo(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let info: abi::sctp_default_prinfo = exact(value)?;
        if info.pr_policy & !c::SCTP_PR_SCTP_MASK != 0 {
            return Err(Errno::EINVAL);
        }
        let given = if info.pr_policy == c::SCTP_PR_SCTP_NONE { 0 } else { info.pr_value };
        self.change_settings(now, id, info.pr_assoc_id, |settings| {
            settings.send.flags = settings.send.flags & !c::SCTP_PR_SCTP_MASK | info.pr_policy;
            settings.send.lifetime_ms = given;
        })?;
        Ok(Reply::done())
    }

    pub(super) fn default_prinfo(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut info: abi::sctp_default_prinfo = structure(value)?;
        let send = self.settings_of(id, info.pr_assoc_id)?.send;
        (info.pr_policy, info.pr_value) = (send.flags & c::SCTP_PR_SCTP_MASK, send.lifetime_ms);
        Ok(Reply::bytes(info.bytes()))
    }

    pub(super) fn set_context(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_assoc_value = exact(value)?;
        self.change_settings(now, id, given.assoc_id, |settings| settings.context = given.assoc_value)?;
        Ok(Reply::done())
    }

    pub(super) fn context(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut told: abi::sctp_assoc_value = structure(value)?;
        told.assoc_value = self.settings_of(id, told.assoc_id)?.context;
        Ok(Reply::bytes(told.bytes()))
    }

    /// Options that are on or off, whose value may be longer than it must.
    pub(super) fn set_switch(&mut self, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let on = integer(value)? != 0;
        let settings = &mut self.socket_mut(id)?.settings;
        match name {
            c::SCTP_RECVRCVINFO => settings.tell_received = on,
            c::SCTP_RECVNXTINFO => settings.tell_next = on,
            c::SCTP_DISABLE_FRAGMENTS => settings.no_fragments = on,
            c::SCTP_I_WANT_MAPPED_V4_ADDR => settings.mapped = on,
            _ => settings.no_delay = on,
        }
        Ok(Reply::done())
    }

    pub(super) fn switch(&self, id: SocketId, name: i32, room: usize) -> Outcome {
        let settings = &self.socket(id)?.settings;
        let on = match name {
            c::SCTP_RECVRCVINFO => settings.tell_received,
            c::SCTP_RECVNXTINFO => settings.tell_next,
            c::SCTP_DISABLE_FRAGMENTS => settings.no_fragments,
            c::SCTP_I_WANT_MAPPED_V4_ADDR => settings.mapped,
            _ => settings.no_delay,
        };
        super::word(u32::from(on), room)
    }

    /// Whether other messages of other associations are read between the pieces of one.
    pub(super) fn set_fragment_interleave(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        let level: i32 = exact(value)?;
        self.socket_mut(id)?.settings.fragment_interleave = level != 0;
        Ok(Reply::done())
    }

    pub(super) fn set_partial_delivery_point(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let point: u32 = exact(value)?;
        let settings = &mut self.socket_mut(id)?.settings;
        if point as usize > settings.receive_buffer / 2 {
            return Err(Errno::EINVAL);
        }
        settings.partial_delivery_point = point;
        self.apply_settings(id)?;
        let all: Vec<AssocId> = self.socket(id)?.associations.values().copied().collect();
        all.into_iter().for_each(|assoc| self.reconfigure(now, assoc));
        Ok(Reply::done())
    }

    pub(super) fn set_adaptation(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_setadaptation = exact(value)?;
        self.socket_mut(id)?.settings.adaptation = given.ssb_adaptation_ind;
        self.apply_settings(id)?;
        Ok(Reply::done())
    }

    /// SCTP_REUSE_PORT: for one-to-one sockets, and before they have a port.
    pub(super) fn set_reuse_port(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        let socket = self.socket_mut(id)?;
        if socket.style != Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        if socket.port != 0 {
            return Err(Errno::EFAULT);
        }
        socket.settings.reuse_port = integer(value)? != 0;
        Ok(Reply::done())
    }
}
