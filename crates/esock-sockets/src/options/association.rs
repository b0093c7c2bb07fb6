//! Options of associations: their parameters, and what can be seen of them.

use super::{Outcome, cut, structure};
use crate::address;
use crate::engine::{Engine, Reply, SocketId};
use crate::errno::Errno;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, PathState, PathStats, State, Time};
use std::time::Duration;

impl Engine {
    pub(super) fn set_init(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        if value.len() != abi::sctp_initmsg::BYTES {
            return Err(Errno::EINVAL);
        }
        let given: abi::sctp_initmsg = structure(value)?;
        let init = &mut self.socket_mut(id)?.settings.init;
        let keep = |old: &mut u16, new: u16| *old = if new == 0 { *old } else { new };
        keep(&mut init.sinit_num_ostreams, given.sinit_num_ostreams);
        keep(&mut init.sinit_max_instreams, given.sinit_max_instreams);
        keep(&mut init.sinit_max_attempts, given.sinit_max_attempts);
        keep(&mut init.sinit_max_init_timeo, given.sinit_max_init_timeo);
        self.apply_settings(id)?;
        Ok(Reply::done())
    }

    pub(super) fn get_init(&self, id: SocketId, room: usize) -> Outcome {
        let init = self.socket(id)?.settings.init;
        if room < abi::sctp_initmsg::BYTES { Err(Errno::EINVAL) } else { cut(init.bytes(), abi::sctp_initmsg::BYTES) }
    }

    pub(super) fn set_rto(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        if value.len() != abi::sctp_rtoinfo::BYTES {
            return Err(Errno::EINVAL);
        }
        let given: abi::sctp_rtoinfo = structure(value)?;
        let old = self.settings_of(id, given.srto_assoc_id)?.config.clone();
        let pick = |new: u32, old: Duration| if new == 0 { old } else { Duration::from_millis(u64::from(new)) };
        let (initial, max, min) = (
            pick(given.srto_initial, old.rto_initial),
            pick(given.srto_max, old.rto_max),
            pick(given.srto_min, old.rto_min),
        );
        if min > max {
            return Err(Errno::EINVAL);
        }
        let known = self.change_settings(id, given.srto_assoc_id, |settings| {
            let config = &mut settings.config;
            (config.rto_initial, config.rto_max, config.rto_min) = (initial.clamp(min, max), max, min);
        })?;
        self.reconfigure(now, &known);
        self.apply_settings(id)?;
        Ok(Reply::done())
    }

    /// Has associations take their settings.
    pub(super) fn reconfigure(&mut self, now: Time, known: &[AssocId]) {
        for assoc in known {
            let Some(config) = self.held(*assoc).map(|held| held.settings.config.clone()) else { continue };
            let _ = self.driver_mut().stack_mut().configure(now, *assoc, &config);
        }
    }

    pub(super) fn get_rto(&self, id: SocketId, room: usize, value: &[u8]) -> Outcome {
        let mut info: abi::sctp_rtoinfo = structure(value)?;
        let config = &self.settings_of(id, info.srto_assoc_id)?.config;
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        (info.srto_initial, info.srto_max, info.srto_min) =
            (millis(config.rto_initial), millis(config.rto_max), millis(config.rto_min));
        cut(info.bytes(), room)
    }

    pub(super) fn status(&mut self, now: Time, id: SocketId, room: usize, value: &[u8]) -> Outcome {
        if room < abi::sctp_status::BYTES {
            return Err(Errno::EINVAL);
        }
        let mut status: abi::sctp_status = structure(value)?;
        let assoc = self.by_number(id, status.sstat_assoc_id).ok_or(Errno::EINVAL)?;
        let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
        let number = self.held(assoc).map_or(0, |held| held.number);
        status.sstat_assoc_id = number;
        status.sstat_state = state(stats.state);
        status.sstat_rwnd = stats.peer_rwnd;
        let chunks = stats.counters.data_chunks_sent.saturating_sub(stats.counters.retransmissions);
        status.sstat_unackdata = u16::try_from(chunks.min(stats.in_flight as u64)).unwrap_or(u16::MAX);
        status.sstat_penddata = u16::try_from(stats.ready_messages).unwrap_or(u16::MAX);
        (status.sstat_instrms, status.sstat_outstrms) =
            (stats.negotiated.inbound_streams, stats.negotiated.outbound_streams);
        let segment = self.held(assoc).map_or(0, |held| held.settings.max_segment) as usize;
        status.sstat_fragmentation_point = self.fragment_size(now, assoc, segment) as u32;
        let primary = stats.paths.iter().find(|path| path.primary).or(stats.paths.first());
        let mut bytes = status.bytes();
        if let Some(primary) = primary {
            let socket = self.socket(id)?;
            let storage = address::write_storage(socket.family, socket.is_mapped(), (primary.remote, stats.peer_port));
            let info = path_info(number, primary, &storage);
            let at = abi::sctp_status::BYTES - abi::sctp_paddrinfo::BYTES;
            bytes[at..].copy_from_slice(&info);
        }
        cut(bytes, room)
    }
}

/// `struct sctp_paddrinfo`.
pub(super) fn path_info(number: i32, path: &PathStats, storage: &[u8]) -> Vec<u8> {
    let mut info = abi::sctp_paddrinfo::zeroed();
    info.spinfo_assoc_id = number;
    info.spinfo_state = match path.state {
        PathState::Unconfirmed => c::SCTP_UNCONFIRMED,
        PathState::Active => c::SCTP_ACTIVE,
        PathState::PotentiallyFailed => c::SCTP_PF,
        PathState::Inactive => c::SCTP_INACTIVE,
    };
    info.spinfo_cwnd = u32::try_from(path.cwnd).unwrap_or(u32::MAX);
    info.spinfo_srtt = path.srtt.map_or(0, |srtt| srtt.as_millis() as u32);
    info.spinfo_rto = path.rto.as_millis() as u32;
    info.spinfo_mtu = u32::from(path.mtu);
    let mut bytes = info.bytes();
    bytes[4..4 + storage.len()].copy_from_slice(storage);
    bytes
}

fn state(state: State) -> i32 {
    match state {
        State::CookieWait => c::SCTP_COOKIE_WAIT,
        State::CookieEchoed => c::SCTP_COOKIE_ECHOED,
        State::Established => c::SCTP_ESTABLISHED,
        State::ShutdownPending => c::SCTP_SHUTDOWN_PENDING,
        State::ShutdownSent => c::SCTP_SHUTDOWN_SENT,
        State::ShutdownReceived => c::SCTP_SHUTDOWN_RECEIVED,
        State::ShutdownAckSent => c::SCTP_SHUTDOWN_ACK_SENT,
        State::Closed => c::SCTP_CLOSED,
    }
}
