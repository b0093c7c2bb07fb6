//! Whom an option is about: an association, those to come, all; or a path (RFC 6458 §7.2).

use crate::address::{self, Family, Named};
use crate::engine::{AssocSettings, Engine, Socket, SocketId, Style};
use crate::errno::Errno;
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, PathStats, Time};

/// Bytes of a `struct sockaddr_storage`.
pub(super) const STORAGE: usize = 128;

/// A path that an option names.
pub(super) struct Found {
    pub(super) assoc: AssocId,
    pub(super) path: PathStats,
    pub(super) port: u16,
}

impl Engine {
    /// The association that an option is about, or none: those to come.
    pub(super) fn one_or_future(&self, id: SocketId, number: i32) -> Result<Option<AssocId>, Errno> {
        let found = self.by_number(id, number);
        let many = self.socket(id)?.style == Style::OneToMany;
        if found.is_none() && number != c::SCTP_FUTURE_ASSOC && many { Err(Errno::EINVAL) } else { Ok(found) }
    }

    /// The settings of one association, or of those to come.
    pub(super) fn settings_of(&self, id: SocketId, number: i32) -> Result<&AssocSettings, Errno> {
        match self.one_or_future(id, number)? {
            Some(assoc) => self.held(assoc).map(|held| &held.settings).ok_or(Errno::EINVAL),
            None => Ok(&self.socket(id)?.settings.association),
        }
    }

    /// Changes the settings of one association, or of those to come.
    pub(super) fn change_one(
        &mut self,
        now: Time,
        id: SocketId,
        number: i32,
        change: impl FnOnce(&mut AssocSettings),
    ) -> Result<(), Errno> {
        match self.one_or_future(id, number)? {
            Some(assoc) => {
                change(&mut self.held_mut(assoc).ok_or(Errno::EINVAL)?.settings);
                self.reconfigure(now, assoc);
                Ok(())
            }
            None => {
                change(&mut self.socket_mut(id)?.settings.association);
                self.apply_settings(id)
            }
        }
    }

    /// Changes the settings of one association, of those to come, of all that there are, or of both. Returns those
    /// that there are.
    pub(super) fn change_settings(
        &mut self,
        now: Time,
        id: SocketId,
        number: i32,
        mut change: impl FnMut(&mut AssocSettings),
    ) -> Result<Vec<AssocId>, Errno> {
        if let Some(assoc) = self.by_number(id, number) {
            change(&mut self.held_mut(assoc).ok_or(Errno::EINVAL)?.settings);
            self.reconfigure(now, assoc);
            return Ok(vec![assoc]);
        }
        let socket = self.socket(id)?;
        let number = match socket.style {
            Style::OneToMany if number > c::SCTP_ALL_ASSOC => return Err(Errno::EINVAL),
            Style::OneToOne => c::SCTP_FUTURE_ASSOC,
            _ => number,
        };
        let current = matches!(number, c::SCTP_CURRENT_ASSOC | c::SCTP_ALL_ASSOC);
        let known: Vec<AssocId> = if current { socket.associations.values().copied().collect() } else { Vec::new() };
        if matches!(number, c::SCTP_FUTURE_ASSOC | c::SCTP_ALL_ASSOC) {
            change(&mut self.socket_mut(id)?.settings.association);
            self.apply_settings(id)?;
        }
        for assoc in &known {
            if let Some(held) = self.held_mut(*assoc) {
                change(&mut held.settings);
            }
            self.reconfigure(now, *assoc);
        }
        Ok(known)
    }

    /// Has an association of the stack take the settings that it has here.
    pub(super) fn reconfigure(&mut self, now: Time, assoc: AssocId) {
        let Some(held) = self.held(assoc) else { return };
        let mut config = held.settings.config.clone();
        held.settings.parameters.apply(&mut config);
        if let Some(socket) = held.socket.and_then(|socket| self.socket(socket).ok()) {
            config.send_buffer = socket.settings.stack_send_buffer();
            config.max_message = socket.settings.largest_whole();
        }
        let _ = self.driver_mut().stack_mut().configure(now, assoc, &config);
        let paths = self.driver().stack().association(now, assoc).map_or(Vec::new(), |stats| stats.paths);
        for path in paths {
            self.reconfigure_path(now, assoc, &path);
        }
    }

    /// The same for one path.
    pub(super) fn reconfigure_path(&mut self, now: Time, assoc: AssocId, path: &PathStats) {
        let Some(held) = self.held(assoc) else { return };
        let detects = held.settings.config.pf_threshold.is_some();
        let parameters = held.settings.path_settings(path.remote).for_stack(path, detects);
        let _ = self.driver_mut().stack_mut().set_path_parameters(now, assoc, path.id, parameters);
    }

    /// Whether an address in a structure is none: a wildcard, or no address at all.
    pub(super) fn is_any(&self, id: SocketId, storage: &[u8]) -> bool {
        let family = storage.first_chunk().map_or(0, |family| i32::from(u16::from_ne_bytes(*family)));
        let v4 = match family {
            libc::AF_INET => true,
            libc::AF_INET6 => false,
            libc::AF_UNSPEC => self.socket(id).is_ok_and(|socket| socket.family == Family::V4),
            _ => return false,
        };
        let ip = if v4 { storage.get(4..8) } else { storage.get(8..24) };
        ip.is_some_and(|ip| ip.iter().all(|byte| *byte == 0))
    }

    /// The path that an address in a structure, and a number that may be there too, mean.
    pub(super) fn path_of(&self, now: Time, id: SocketId, storage: &[u8], number: i32) -> Option<Found> {
        let socket = self.socket(id).ok()?;
        let (address, port) = address::parse(socket.family, storage).ok()?;
        let stack = self.driver().stack();
        let assoc = socket.associations.values().copied().find(|assoc| {
            self.held(*assoc).is_some_and(|held| stack.find(held.endpoint, address, port) == Some(*assoc))
        })?;
        if self.by_number(id, number).is_some_and(|other| other != assoc) {
            return None;
        }
        let stats = stack.association(now, assoc)?;
        let path = stats.paths.into_iter().find(|path| path.remote == address)?;
        Some(Found { assoc, path, port })
    }
}

/// An address in the form in which a socket tells it, as structures have it.
pub(super) fn storage(socket: &Socket, named: Named) -> Vec<u8> {
    address::write_storage(socket.family, socket.is_mapped(), named)
}
