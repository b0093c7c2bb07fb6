//! Options of how messages are sent and told.

use super::{Outcome, cut, integer, structure};
use crate::engine::{AssocSettings, Engine, Reply, SocketId, Style};
use crate::errno::Errno;
use crate::notify::{SUBSCRIBE, bit};
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::AssocId;
use std::time::Duration;

impl Engine {
    /// The settings that an option of a one-to-many socket is about: those of one association, or of those to come.
    pub(super) fn settings_of(&self, id: SocketId, number: i32) -> Result<&AssocSettings, Errno> {
        if let Some(assoc) = self.by_number(id, number) {
            return self.held(assoc).map(|held| &held.settings).ok_or(Errno::EINVAL);
        }
        let socket = self.socket(id)?;
        if number > c::SCTP_ALL_ASSOC && socket.style == Style::OneToMany {
            return Err(Errno::EINVAL);
        }
        Ok(&socket.settings.association)
    }

    /// Changes the settings that an option is about: of one association, of those to come, of all that there are, or
    /// of both (RFC 6458 §7.2).
    pub(super) fn change_settings(
        &mut self,
        id: SocketId,
        number: i32,
        mut change: impl FnMut(&mut AssocSettings),
    ) -> Result<Vec<AssocId>, Errno> {
        let socket = self.socket(id)?;
        let many = socket.style == Style::OneToMany;
        let known: Vec<AssocId> = if !many || matches!(number, c::SCTP_CURRENT_ASSOC | c::SCTP_ALL_ASSOC) {
            if socket.waiting.is_empty() { socket.associations.values().copied().collect() } else { Vec::new() }
        } else if number == c::SCTP_FUTURE_ASSOC {
            Vec::new()
        } else {
            vec![self.by_number(id, number).ok_or(Errno::EINVAL)?]
        };
        if !many || matches!(number, c::SCTP_FUTURE_ASSOC | c::SCTP_ALL_ASSOC) {
            change(&mut self.socket_mut(id)?.settings.association);
        }
        for assoc in &known {
            if let Some(held) = self.held_mut(*assoc) {
                change(&mut held.settings);
            }
        }
        Ok(known)
    }

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
        Ok(Reply::done())
    }

    pub(super) fn get_events(&self, id: SocketId, room: usize) -> Outcome {
        if room == 0 {
            return Err(Errno::EINVAL);
        }
        let events = self.socket(id)?.settings.association.events;
        cut(SUBSCRIBE.iter().map(|kind| u8::from(events & bit(*kind) != 0)).collect(), room)
    }

    pub(super) fn set_event(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        let event: abi::sctp_event = structure(value)?;
        if !SUBSCRIBE.contains(&event.se_type) {
            return Err(Errno::EINVAL);
        }
        self.change_settings(id, event.se_assoc_id, |settings| {
            let others = settings.events & !bit(event.se_type);
            settings.events = others | if event.se_on == 0 { 0 } else { bit(event.se_type) };
        })?;
        Ok(Reply::done())
    }

    pub(super) fn get_event(&self, id: SocketId, room: usize, value: &[u8]) -> Outcome {
        let mut event: abi::sctp_event = structure(value)?;
        if !SUBSCRIBE.contains(&event.se_type) {
            return Err(Errno::EINVAL);
        }
        let settings = self.settings_of(id, event.se_assoc_id)?;
        event.se_on = u8::from(settings.events & bit(event.se_type) != 0);
        cut(event.bytes(), room)
    }

    pub(super) fn set_autoclose(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        if value.len() != 4 {
            return Err(Errno::EINVAL);
        }
        if self.socket(id)?.style == Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        let seconds = integer(value)?.cast_unsigned();
        let life = (seconds != 0).then(|| Duration::from_secs(u64::from(seconds)));
        self.socket_mut(id)?.settings.association.autoclose = life;
        Ok(Reply::done())
    }

    pub(super) fn get_autoclose(&self, id: SocketId, room: usize) -> Outcome {
        let socket = self.socket(id)?;
        if socket.style == Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        let seconds = socket.settings.association.autoclose.map_or(0, |life| life.as_secs() as i32);
        cut(seconds.bytes(), room)
    }

    pub(super) fn set_told(&mut self, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let on = integer(value)? != 0;
        let settings = &mut self.socket_mut(id)?.settings;
        if name == c::SCTP_RECVRCVINFO {
            settings.tell_received = on;
        } else {
            settings.tell_next = on;
        }
        Ok(Reply::done())
    }

    pub(super) fn get_told(&self, id: SocketId, name: i32, room: usize) -> Outcome {
        let settings = &self.socket(id)?.settings;
        let on = if name == c::SCTP_RECVRCVINFO { settings.tell_received } else { settings.tell_next };
        if room < 4 { Err(Errno::EINVAL) } else { cut(i32::from(on).bytes(), room) }
    }

    pub(super) fn set_no_fragments(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        self.socket_mut(id)?.settings.no_fragments = integer(value)? != 0;
        Ok(Reply::done())
    }

    pub(super) fn get_no_fragments(&self, id: SocketId, room: usize) -> Outcome {
        let on = self.socket(id)?.settings.no_fragments;
        if room < 4 { Err(Errno::EINVAL) } else { cut(i32::from(on).bytes(), 4) }
    }

    pub(super) fn set_mapped(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        self.socket_mut(id)?.settings.mapped = integer(value)? != 0;
        Ok(Reply::done())
    }

    pub(super) fn get_mapped(&self, id: SocketId, room: usize) -> Outcome {
        let on = self.socket(id)?.settings.mapped;
        if room < 4 { Err(Errno::EINVAL) } else { cut(i32::from(on).bytes(), 4) }
    }

    /// Options that are kept and told, and change nothing here.
    pub(super) fn keep(&mut self, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let number = integer(value)?;
        self.socket_mut(id)?.settings.kept.insert((libc::IPPROTO_SCTP, name), number);
        Ok(Reply::done())
    }

    pub(super) fn kept(&self, id: SocketId, name: i32, room: usize) -> Outcome {
        let number = self.socket(id)?.settings.kept.get(&(libc::IPPROTO_SCTP, name)).copied().unwrap_or(0);
        if room < 4 { Err(Errno::EINVAL) } else { cut(number.bytes(), 4) }
    }
}
